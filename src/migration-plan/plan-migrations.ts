import { existsSync } from "node:fs";
import { join } from "node:path";
import { isNoTransactionDefined } from "graphile-migrate/dist/header.js";
import { compilePlaceholders } from "graphile-migrate/dist/migration.js";
import { ROLES, roleName } from "../config/roles.ts";
import {
  type CommittedMigration,
  countLinesAbove,
  readCommittedMigrations,
} from "../database/graphile-migrate.ts";
import {
  applicationHistory,
  type MigrationHistory,
  PLINTH_HISTORY,
  plinthHistory,
} from "../database/history.ts";
import { locateHistory } from "../database/history-place.ts";
import { BOSS_SCHEMA_VERSION, findJobSchema, jobSchemaUpgrade } from "../database/job-schema.ts";
import { pendingMigrations, readAppliedMigrations } from "../database/migrate.ts";
import {
  type MigrationOptions,
  type MigrationSession,
  withMigrationSession,
} from "../database/migration-session.ts";
import { assertMigratable } from "../database/neighbour/collisions.ts";
import { lostConnections } from "../database/neighbour/lost-connections.ts";
import { type Forecast, forecast } from "./forecast.ts";
import type { Observation } from "./observation.ts";
import { observe, observeOutsideTransaction } from "./observe.ts";
import { type Plan, type PlanStep, readLive, versionNote, type WithScratchServer } from "./plan.ts";
import { type ScratchCopy, withScratchCopy } from "./scratch-copy.ts";
import { splitStatements } from "./statements.ts";

interface PendingHistory {
  readonly history: MigrationHistory;
  readonly applied: readonly CommittedMigration[];
  readonly pending: readonly CommittedMigration[];
}

export interface PlanOptions extends MigrationOptions {
  readonly applicationMigrations?: string | undefined;
  readonly withScratchServer: WithScratchServer;
}

/**
 * Returns what `migrateDatabase` would do now. The live database is only read.
 * @throws PlinthError MIGRATION_FAILED if a pending migration fails on the scratch database, those of migrationStatus, and
 *   DATABASE_OCCUPIED and ROLE_PREFIX_DIFFERS as migrateDatabase
 */
export function planMigrations(options: PlanOptions): Promise<Plan> {
  return withMigrationSession(options, async (session) => {
    const { rolePrefix: prefix } = options;
    const histories = await readHistories(session, options);
    await assertMigratable(session.client, { prefix, isNew: histories[0]!.applied.length === 0 });
    const jobs = await findJobSchema(session.client);
    const steps = histories.flatMap(stepsOf);
    const upgradesJobs = jobs?.version !== BOSS_SCHEMA_VERSION;
    if (upgradesJobs) steps.push(JOBS_STEP);
    const notes = [
      ...(await missingRoles(session, prefix)),
      ...(await lostConnections(session.client, prefix)),
    ];
    if (steps.length === 0) return { steps, notes };
    if (histories.every(({ applied }) => applied.length === 0))
      return {
        steps,
        notes: [
          ...notes,
          "The database has run no migration: everything is new, so no lock blocks another session.",
        ],
      };
    session.onProgress({ step: "Starting a scratch server" });
    return options.withScratchServer(async (server) => {
      if ("missing" in server) return { steps, notes: [...notes, server.missing] };
      return withScratchCopy(
        server.rootUrl,
        { histories, jobs, onProgress: session.onProgress },
        async (copy) => {
          const live = await readLive(session.client);
          const forecasts: Forecast[] = [];
          const add = async (seen: Observation) => forecasts.push(await forecast(session.client, seen, live));
          for (const { history, pending } of histories)
            for (const migration of pending)
              await add(await tryMigration(copy, history, migration, options.log));
          if (upgradesJobs && jobs !== undefined) await add(await tryJobs(copy, jobs.version));
          return {
            steps: steps.map((step, index) => ({ ...step, forecast: forecasts[index] })),
            notes: [...notes, ...(await versionNote(session.client, copy))],
          };
        },
      );
    });
  });
}

const JOBS_STEP: PlanStep = {
  name: "job queue",
  of: "jobs",
  isTransaction: true,
  isReversible: false,
  forecast: undefined,
};

async function readHistories(session: MigrationSession, options: PlanOptions): Promise<PendingHistory[]> {
  const { migrationsFolder = plinthHistory.migrationsFolder, applicationMigrations } = options;
  const histories = [
    { ...plinthHistory, migrationsFolder },
    ...(applicationMigrations === undefined ? [] : [applicationHistory(applicationMigrations)]),
  ];
  return Promise.all(
    histories.map(async (history) => {
      const settings = { ...session.settings, migrationsFolder: history.migrationsFolder };
      const committed = await readCommittedMigrations(settings);
      const place = await locateHistory(session.client, history.historySchema, committed);
      const pending = pendingMigrations(committed, await readAppliedMigrations(session.client, place));
      return { history, applied: committed.slice(0, committed.length - pending.length), pending };
    }),
  );
}

function stepsOf({ history, pending }: PendingHistory): PlanStep[] {
  return pending.map(({ realFilename, body }) => ({
    name: realFilename,
    of: history.historySchema === PLINTH_HISTORY ? "plinth" : "application",
    isTransaction: !isNoTransactionDefined(body),
    isReversible: existsSync(join(history.migrationsFolder, "rollback", realFilename)),
    forecast: undefined,
  }));
}

async function tryMigration(
  copy: ScratchCopy,
  history: MigrationHistory,
  migration: CommittedMigration,
  log: (line: string) => void = () => {},
): Promise<Observation> {
  const { client } = copy;
  const sql = compilePlaceholders(copy.session(history).settings, migration.body);
  const statements = splitStatements(sql, migration.realFilename, await countLinesAbove(migration));
  log(`Trying ${migration.realFilename} on a scratch database`);
  if (isNoTransactionDefined(sql)) return observeOutsideTransaction(client, copy.url, statements);
  await client.query("begin");
  const seen = await observe(client, statements);
  await client.query("commit");
  return seen;
}

async function tryJobs({ client }: ScratchCopy, from: number): Promise<Observation> {
  const upgrade = splitStatements(await jobSchemaUpgrade(client, from), "job queue");
  await client.query("begin");
  const seen = await observe(
    client,
    upgrade.filter(({ sql }) => !/^(begin|commit)$/i.test(sql.trim())),
  );
  await client.query("commit");
  return seen;
}

async function missingRoles({ client }: MigrationSession, prefix: string): Promise<string[]> {
  const names = ROLES.filter((role) => role !== "owner").map((role) => roleName(prefix, role));
  const { rows } = await client.query<{ name: string }>(
    "select name from unnest($1::text[]) name where not exists (select from pg_catalog.pg_roles where rolname = name)",
    [names],
  );
  return rows.length === 0 ? [] : [`Missing roles are created: ${rows.map(({ name }) => name).join(", ")}.`];
}
