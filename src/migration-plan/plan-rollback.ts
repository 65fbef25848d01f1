import { compilePlaceholders } from "graphile-migrate/dist/migration.js";
import { readCommittedMigrations } from "../database/graphile-migrate.ts";
import {
  applicationHistory,
  type MigrationHistory,
  PLINTH_HISTORY,
  plinthHistory,
} from "../database/history.ts";
import { locateHistory } from "../database/history-place.ts";
import { findJobSchema } from "../database/job-schema.ts";
import { pendingMigrations, readAppliedMigrations } from "../database/migrate.ts";
import { type MigrationOptions, withMigrationSession } from "../database/migration-session.ts";
import { sessionsInTheWay } from "../database/plinth-sessions.ts";
import { rollbackScripts } from "../database/rollback.ts";
import { forecast } from "./forecast.ts";
import { observe } from "./observe.ts";
import { type Plan, readLive, versionNote, type WithScratchServer } from "./plan.ts";
import { withScratchCopy } from "./scratch-copy.ts";
import { splitStatements } from "./statements.ts";

/**
 * Returns what `rollback` would do now: all its files are one step, because they run in one transaction. The live database is only
 * read.
 * @param options.history the migrations to roll back
 * @param options.applicationMigrations folder of the application's migrations, which the database may have run too
 * @throws PlinthError as rollback() does
 */
export function planRollback(
  options: Omit<MigrationOptions, keyof MigrationHistory> & {
    readonly history: MigrationHistory;
    readonly steps: number;
    readonly applicationMigrations?: string | undefined;
    readonly withScratchServer: WithScratchServer;
  },
): Promise<Plan> {
  const { history, applicationMigrations } = options;
  return withMigrationSession({ ...options, ...history }, async (session) => {
    const { client } = session;
    const { scripts } = await rollbackScripts(session, options.steps);
    const names = scripts.map(({ migration }) => migration.realFilename);
    const step = {
      name: names.length === 1 ? names[0]! : `${names[0]} to ${names.at(-1)}`,
      of: history.historySchema === PLINTH_HISTORY ? ("plinth" as const) : ("application" as const),
      isTransaction: true,
      isReversible: true,
      forecast: undefined,
    };
    const all = [
      history.historySchema === PLINTH_HISTORY ? history : plinthHistory,
      ...(applicationMigrations === undefined ? [] : [applicationHistory(applicationMigrations)]),
    ];
    const histories = await Promise.all(
      all.map(async (each) => {
        const committed = await readCommittedMigrations({
          ...session.settings,
          migrationsFolder: each.migrationsFolder,
        });
        const place = await locateHistory(client, each.historySchema, committed);
        const rows = await readAppliedMigrations(client, place);
        const pending = pendingMigrations(committed, rows);
        return { history: each, applied: committed.slice(0, committed.length - pending.length) };
      }),
    );
    const jobs = await findJobSchema(client);
    const sessions = await sessionsInTheWay(client, options.rolePrefix);
    const notes = sessions === undefined ? [] : [sessions];
    session.onProgress({ step: "Starting a scratch server" });
    return options.withScratchServer(async (server) => {
      if ("missing" in server) return { steps: [step], notes: [server.missing, ...notes] };
      return withScratchCopy(
        server.rootUrl,
        { histories, jobs, onProgress: session.onProgress },
        async (copy) => {
          const { settings } = copy.session(history);
          const statements = scripts.flatMap(({ migration, text }) =>
            splitStatements(compilePlaceholders(settings, text), `rollback/${migration.realFilename}`),
          );
          options.log?.("Trying the rollback on a scratch database");
          await copy.client.query("begin");
          const seen = await observe(copy.client, statements);
          await copy.client.query("rollback");
          return {
            steps: [{ ...step, forecast: await forecast(client, seen, await readLive(client)) }],
            notes: [...(await versionNote(client, copy)), ...notes],
          };
        },
      );
    });
  });
}
