import type pg from "pg";
import { PlinthError } from "../../support/errors.ts";
import { compatSchemas } from "../compat/systems.ts";
import { readCommittedMigrations } from "../graphile-migrate.ts";
import { APPLICATION_HISTORY, FORMER_PLINTH_HISTORY, PLINTH_HISTORY } from "../history.ts";
import { locateHistory } from "../history-place.ts";
import { readAppliedMigrations } from "../migrate.ts";
import {
  type MigrationOptions,
  type MigrationSession,
  withMigrationLock,
  withMigrationSession,
} from "../migration-session.ts";
import { type InstallRecord, readInstallRecord, recordRemoval } from "../neighbour/before-install.ts";
import { JOB_SCHEMA, SCHEMAS } from "../schemas.ts";
import { restoreSettings } from "./restore-settings.ts";
import { dropRoles, type RoleFate } from "./roles.ts";
import { dropSteps, lockBudget, packSteps } from "./steps.ts";
import { findSchemas, type LostSchema, type Survey, survey } from "./survey.ts";

export type { Survey };

export interface UninstallOptions extends MigrationOptions {
  /** The schemas of the application, to remove them and its record of migrations too. */
  readonly application?: readonly string[] | undefined;
  /** Whether to drop the roles that nothing else of the server uses. */
  readonly roles?: boolean | undefined;
  /** Whether to continue while sessions of Plinth's roles are connected. */
  readonly force?: boolean | undefined;
  /** Largest number of locks of one transaction; by default a third of the server's. */
  readonly maxLocks?: number;
  readonly signal?: AbortSignal;
}

export interface UninstallOutcome {
  readonly database: string;
  readonly schemas: readonly string[];
  readonly transactions: number;
  readonly droppedRoles: readonly string[];
  readonly keptRoles: readonly RoleFate[];
  /** Statements for settings that only an administrator can restore. */
  readonly notes: readonly string[];
}

/**
 * Returns what an uninstall would remove and what stands in its way. Changes nothing.
 * @throws PlinthError NOT_INSTALLED, MIGRATIONS_PENDING
 */
export async function planUninstall(options: UninstallOptions): Promise<Survey & { transactions: number }> {
  return withMigrationSession(options, async (session) => {
    const found = await surveyInstall(session, options);
    return { ...found, transactions: (await planBatches(session.client, found, options)).length };
  });
}

/**
 * Removes Plinth with all its data from the database, and restores what the install changed outside its schemas. It runs in as few
 * transactions as the server's table of locks allows. If it is interrupted between them, the next run continues.
 * @throws PlinthError NOT_INSTALLED, MIGRATIONS_PENDING, UNINSTALL_BLOCKED, SESSIONS_CONNECTED (nothing was changed), UNINSTALL_FAILED
 */
export async function uninstall(options: UninstallOptions): Promise<UninstallOutcome> {
  return withMigrationLock(options, async (session) => {
    const { client, log } = session;
    const found = await surveyInstall(session, options);
    assertPossible(found, options);
    await client.query("set client_min_messages = warning");
    const batches = await planBatches(client, found, options);
    const record = await readInstallRecord(client);
    let outcome: Pick<UninstallOutcome, "droppedRoles" | "keptRoles" | "notes"> | undefined;
    for (const [index, statements] of batches.entries()) {
      if (options.signal?.aborted)
        throw new PlinthError("INTERRUPTED", "Stopped.", { hint: AGAIN, exitCode: 130 });
      session.onProgress({
        step: "Removing Plinth",
        done: index,
        total: batches.length,
        unit: "parts",
      });
      await inTransaction(client, async () => {
        if (index === 0) await prepare(client, found);
        for (const sql of statements) await client.query(sql);
        if (index === batches.length - 1) outcome = await finish(session, found, { options, record });
      });
      log(`Removed part ${index + 1} of ${batches.length}.`);
    }
    return {
      database: found.database,
      schemas: found.schemas.map(({ name }) => name),
      transactions: batches.length,
      ...outcome!,
    };
  });
}

const AGAIN = "Run plinth uninstall again: it continues where it stopped.";

/** Only schemas that the record proves to be Plinth's, so that no other one of the same name is removed. */
async function surveyInstall(session: MigrationSession, options: UninstallOptions): Promise<Survey> {
  const { client, settings } = session;
  const committed = await readCommittedMigrations(settings);
  if ((await locateHistory(client, PLINTH_HISTORY, committed)) === FORMER_PLINTH_HISTORY)
    throw new PlinthError("MIGRATIONS_PENDING", "An earlier version of Plinth migrated this database.", {
      hint: "Run plinth migrate first.",
    });
  const [history] = await findSchemas(client, [PLINTH_HISTORY]);
  if (!history)
    throw new PlinthError("NOT_INSTALLED", "This database has no Plinth of this owner.", {
      hint: "Check PLINTH_OWNER_URL: the database, and the role that ran plinth migrate.",
    });
  const schemas = [...(await installedSchemas(client, options)), history];
  const found = await survey(client, { schemas, rolePrefix: options.rolePrefix });
  if (options.application) return found;
  const others = (await findSchemas(client, [APPLICATION_HISTORY])).map(
    ({ name }) => `schema ${name} (the application's record of migrations)`,
  );
  return { ...found, blockers: [...found.blockers, ...others] };
}

async function installedSchemas(client: pg.ClientBase, options: UninstallOptions): Promise<LostSchema[]> {
  const application = options.application ? [...options.application, APPLICATION_HISTORY] : [];
  const names = [...compatSchemas(), ...application, ...SCHEMAS.toReversed(), JOB_SCHEMA];
  const { removing } = await readInstallRecord(client);
  if (removing) {
    const { rows } = await client.query<{ name: string }>(
      "select nspname as name from pg_namespace where oid = any ($1::oid[]) and nspname <> $2",
      [removing, PLINTH_HISTORY],
    );
    const left = rows.map(({ name }) => name);
    return findSchemas(client, [
      ...names.filter((name) => left.includes(name)),
      ...left.filter((name) => !names.includes(name)),
    ]);
  }
  const applied = await readAppliedMigrations(client, PLINTH_HISTORY);
  return findSchemas(client, applied.length > 0 ? names : [JOB_SCHEMA]);
}

function assertPossible({ database, blockers, sessions }: Survey, options: UninstallOptions): void {
  const list = (lines: readonly string[]) => lines.map((line) => `\n  ${line}`).join("");
  if (blockers.length > 0)
    throw new PlinthError("UNINSTALL_BLOCKED", "Other objects depend on Plinth's. Nothing was changed.", {
      hint: `${
        options.application
          ? "Drop them first:"
          : "If they are your application's, --application removes its schemas too. Otherwise drop them first:"
      }${list(blockers)}`,
    });
  if (sessions.length > 0 && !options.force)
    throw new PlinthError(
      "SESSIONS_CONNECTED",
      `Sessions of Plinth's roles are connected to ${database}. Nothing was changed.`,
      { hint: `Stop plinth serve, plinth work and so on, or use --force:${list(sessions)}` },
    );
}

async function planBatches(
  client: pg.ClientBase,
  { schemas }: Survey,
  { maxLocks }: UninstallOptions,
): Promise<string[][]> {
  return packSteps(await dropSteps(client, schemas), maxLocks ?? (await lockBudget(client)));
}

/** From here on, `plinth migrate` rejects the database, and a later run knows which schemas to remove. */
async function prepare(client: pg.ClientBase, { schemas, extensions }: Survey): Promise<void> {
  await recordRemoval(
    client,
    schemas.map(({ oid }) => oid),
  );
  await client.query(`delete from ${PLINTH_HISTORY}.migrations`);
  for (const { name, users } of extensions)
    if (users.length > 0) await client.query(`alter extension ${name} set schema public`);
}

async function finish(
  { client }: MigrationSession,
  { roles }: Survey,
  { options, record }: { options: UninstallOptions; record: InstallRecord },
): Promise<Pick<UninstallOutcome, "droppedRoles" | "keptRoles" | "notes">> {
  const notes = await restoreSettings(client, {
    rolePrefix: options.rolePrefix,
    before: record.state ?? undefined,
  });
  return { ...(await dropRoles(client, options.roles ? roles : [])), notes };
}

async function inTransaction(client: pg.ClientBase, use: () => Promise<void>): Promise<void> {
  await client.query("begin");
  try {
    await use();
    await client.query("commit");
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw new PlinthError("UNINSTALL_FAILED", `The uninstall stopped: ${(error as Error).message}.`, {
      hint: AGAIN,
      cause: error,
    });
  }
}
