import { MIGRATIONS_FOLDER } from "../support/paths.ts";

/** The schema that records which of Plinth's migrations a database has run. The graphile-migrate command uses the same. */
export const PLINTH_HISTORY = "graphile_migrate";
/** The same for an application's migrations, whose numbers begin with 1 too. */
export const APPLICATION_HISTORY = "plinth_app_migrate";

export const HISTORY_SCHEMAS = [PLINTH_HISTORY, APPLICATION_HISTORY] as const;
export type HistorySchema = (typeof HISTORY_SCHEMAS)[number];

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
