import type pg from "pg";
import type { Queue } from "pg-boss";
import { type LoginRole, roleName } from "../config/roles.ts";
import { PlinthError } from "../support/errors.ts";
import { PLINTH_VERSION } from "../support/version.ts";
import { ensureRoles } from "./bootstrap.ts";
import {
  type CommittedMigration,
  isBlankSql,
  readCommittedMigrations,
  readCurrent,
} from "./graphile-migrate.ts";
import { applicationHistory, type HistorySchema } from "./history.ts";
import { hasRecord, locateHistory, moveFormerHistory } from "./history-place.ts";
import { installJobSchema } from "./job-schema.ts";
import { markLatestMigration } from "./latest-migration.ts";
import { retryWhenBlocked } from "./locks/retry-when-blocked.ts";
import {
  type MigrationOptions,
  type MigrationSession,
  withMigrationLock,
  withMigrationSession,
} from "./migration-session.ts";
import { readBeforeInstall, recordBeforeInstall } from "./neighbour/before-install.ts";
import { assertMigratable } from "./neighbour/collisions.ts";
import { lostConnections } from "./neighbour/lost-connections.ts";
import { runMigration } from "./run-migration.ts";

export interface MigrationStatus {
  /** File names, oldest first. */
  applied: string[];
  pending: string[];
  currentIsBlank: boolean;
}

export interface MigrationOutcome {
  /** File names of Plinth's migrations that ran, oldest first. */
  applied: string[];
  /** The same for the application; only if it has migrations. */
  application?: string[];
}

/**
 * Brings a database up to date: creates missing roles if the owner may, runs the pending migrations (each in its own
 * transaction), Plinth's first and then the application's, and installs or upgrades the job queue's schema. Concurrent calls are
 * safe: the second waits and finds nothing to do. Needs only the owner's connection.
 * @param options.applicationMigrations folder of the application's migrations
 * @throws PlinthError MIGRATION_FAILED and MIGRATION_BLOCKED (that migration changed nothing), MIGRATION_CHANGED, MIGRATIONS_AHEAD,
 *   MIGRATIONS_INVALID, MIGRATIONS_MISSING, DATABASE_OCCUPIED and ROLE_PREFIX_DIFFERS (nothing was changed)
 */
export async function migrateDatabase(
  options: MigrationOptions & {
    applicationMigrations?: string | undefined;
    loginPasswords?: Partial<Record<LoginRole, string>>;
    queues?: readonly Queue[];
  },
): Promise<MigrationOutcome> {
  return withMigrationLock(options, async (session) => {
    const { client, log } = session;
    const application = sessionOfApplication(session, options.applicationMigrations);
    // Both are read before either runs, so that an invalid file changes nothing.
    const pending = await readPending(session);
    const pendingOfApplication = application && (await readPending(application));
    const committed = await readCommittedMigrations(session.settings);
    const isNew = pending.length === committed.length;
    await assertMigratable(client, { prefix: options.rolePrefix, isNew });
    const before = isNew ? await readBeforeInstall(client, options.rolePrefix) : undefined;
    for (const note of await lostConnections(client, options.rolePrefix)) log(`Note: ${note}`);
    await ensureRoles(client, options.rolePrefix, options.loginPasswords);
    await moveFormerHistory(client, committed);
    await createMigrationTables(session);
    if (application) await createMigrationTables(application);
    if (before) await recordBeforeInstall(client, before);
    const applied = await runMigrations(session, pending);
    await markLatestMigration(client, session.historySchema, PLINTH_VERSION);
    const appliedOfApplication = application && (await runMigrations(application, pendingOfApplication!));
    session.onProgress({ step: "Installing the job queue" });
    await retryWhenBlocked(session, "The job queue's schema", () =>
      installJobSchema(client, {
        workerRole: roleName(options.rolePrefix, "worker"),
        queues: options.queues ?? [],
        log,
      }),
    );
    return { applied, ...(appliedOfApplication && { application: appliedOfApplication }) };
  });
}

/** The same connection with the application's files and its record of them. */
function sessionOfApplication(
  session: MigrationSession,
  folder: string | undefined,
): MigrationSession | undefined {
  if (folder === undefined) return undefined;
  const { migrationsFolder, historySchema } = applicationHistory(folder);
  return { ...session, settings: { ...session.settings, migrationsFolder }, historySchema };
}

async function readPending({
  client,
  settings,
  historySchema,
}: MigrationSession): Promise<CommittedMigration[]> {
  const committed = await readCommittedMigrations(settings);
  const place = await locateHistory(client, historySchema, committed);
  return pendingMigrations(committed, await readAppliedMigrations(client, place));
}

/** Runs migrations and records them. */
export async function runMigrations(
  session: MigrationSession,
  pending: readonly CommittedMigration[],
): Promise<string[]> {
  for (const [index, migration] of pending.entries()) {
    session.onProgress({
      step: "Applying migrations",
      done: index,
      total: pending.length,
      unit: "migrations",
    });
    const started = performance.now();
    await runMigration(session, migration);
    const ms = Math.round(performance.now() - started);
    session.log(`Applied ${migration.realFilename} (${index + 1} of ${pending.length}, ${ms} ms)`);
  }
  return pending.map((migration) => migration.realFilename);
}

/**
 * Compares the committed files with the migrations that the database has run. Changes nothing and does not wait.
 * @throws PlinthError MIGRATION_CHANGED, MIGRATIONS_AHEAD, MIGRATIONS_INVALID, MIGRATIONS_MISSING
 */
export async function migrationStatus(options: MigrationOptions): Promise<MigrationStatus> {
  return withMigrationSession(options, async ({ client, settings, historySchema }) => {
    const committed = await readCommittedMigrations(settings);
    const place = await locateHistory(client, historySchema, committed);
    const pending = pendingMigrations(committed, await readAppliedMigrations(client, place));
    const names = committed.map((migration) => migration.realFilename);
    return {
      applied: names.slice(0, names.length - pending.length),
      pending: names.slice(names.length - pending.length),
      currentIsBlank: isBlankSql((await readCurrent(settings)).text),
    };
  });
}

export interface AppliedMigration {
  /** `000001.sql`: graphile-migrate records the number without the message. */
  filename: string;
  hash: string;
}

/** Returns the migrations that the database has run, oldest first; none if it never ran any. */
export async function readAppliedMigrations(
  client: pg.ClientBase,
  historySchema: HistorySchema,
): Promise<AppliedMigration[]> {
  if (!(await hasRecord(client, historySchema))) return [];
  const applied = await client.query<AppliedMigration>(
    `select filename, hash from ${historySchema}.migrations order by filename collate "C"`,
  );
  return applied.rows;
}

/**
 * Returns the committed migrations that are pending.
 * @throws PlinthError MIGRATIONS_AHEAD when the database has run a migration that is missing here, MIGRATION_CHANGED when it has
 *   run another text under the same number
 */
export function pendingMigrations(
  committed: readonly CommittedMigration[],
  applied: readonly AppliedMigration[],
): CommittedMigration[] {
  for (const [index, row] of applied.entries()) {
    const file = committed[index];
    if (!committed.some((migration) => migration.filename === row.filename))
      throw new PlinthError(
        "MIGRATIONS_AHEAD",
        `The database has run migration ${row.filename}, which this version does not have.`,
        { hint: "Use the newer version that ran it, or roll back with that version first." },
      );
    if (file?.filename !== row.filename || file.hash !== row.hash)
      throw new PlinthError(
        "MIGRATION_CHANGED",
        `${file?.realFilename ?? row.filename} is not the migration that the database has run under that number.`,
        { hint: "Use the version that ran it. Before the first release, migrate a new database instead." },
      );
  }
  return committed.slice(applied.length);
}

/** Creates the tables that graphile-migrate 2.0 records migrations in. */
export async function createMigrationTables({ client, historySchema }: MigrationSession): Promise<void> {
  await client.query(`
    create schema if not exists ${historySchema};
    create table if not exists ${historySchema}.migrations (
      hash text primary key,
      previous_hash text references ${historySchema}.migrations,
      filename text not null,
      date timestamptz not null default now()
    );
    create table if not exists ${historySchema}.current (
      filename text primary key default 'current.sql',
      content text not null,
      date timestamptz not null default now()
    );
  `);
}
