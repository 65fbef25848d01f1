import { MIGRATIONS_FOLDER } from "../support/paths.ts";

/** The schema that records which of Plinth's migrations a database has run. */
export const PLINTH_HISTORY = "plinth_migrate";
/** The same for an application's migrations, whose numbers begin with 1 too. */
export const APPLICATION_HISTORY = "plinth_app_migrate";

export const HISTORY_SCHEMAS = [PLINTH_HISTORY, APPLICATION_HISTORY] as const;
/** Its name before Plinth had schemas of its own for everything; the graphile-migrate command of a neighbour uses it too. */
export const FORMER_PLINTH_HISTORY = "graphile_migrate";
export type HistorySchema = (typeof HISTORY_SCHEMAS)[number] | typeof FORMER_PLINTH_HISTORY;

/** A folder of migrations with committed/, fixtures/, rollback/ and current.sql, and the record of those that have run. */
export interface MigrationHistory {
  readonly migrationsFolder: string;
  readonly historySchema: HistorySchema;
}

export const plinthHistory: MigrationHistory = {
  migrationsFolder: MIGRATIONS_FOLDER,
  historySchema: PLINTH_HISTORY,
};

export function applicationHistory(migrationsFolder: string): MigrationHistory {
  return { migrationsFolder, historySchema: APPLICATION_HISTORY };
}
