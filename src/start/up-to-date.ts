import type { Application } from "../application/application.ts";
import { timetableOf } from "../application/timetable.ts";
import type { Config } from "../config/config.ts";
import { LOGIN_ROLES, type LoginRole, roleName } from "../config/roles.ts";
import { parseDatabaseUrl } from "../connection/database-url.ts";
import type { Database } from "../database/database.ts";
import { applicationHistory, plinthHistory } from "../database/history.ts";
import { type MigrationOutcome, migrateDatabase, migrationStatus } from "../database/migrate.ts";
import { queuesOf } from "../jobs/index.ts";
import { PlinthError } from "../support/errors.ts";
import type { OnProgress } from "../support/progress.ts";
import { awaitRoles } from "./await-roles.ts";

interface UpToDateOptions {
  readonly application?: Application | undefined;
  readonly log?: ((line: string) => void) | undefined;
  readonly onProgress?: OnProgress | undefined;
  /** Stops the migration that runs. */
  readonly signal?: AbortSignal | undefined;
}

/** Runs pending migrations, Plinth's and then the application's, and installs the job queue with the queues of all jobs. */
export async function bringUpToDate(
  config: Config,
  database: Database,
  { application = {}, log, onProgress, signal }: UpToDateOptions = {},
): Promise<MigrationOutcome> {
  await awaitRoles(config, database, ["owner"], { log, signal });
  return migrateDatabase({
    ownerUrl: database.url("owner"),
    rolePrefix: config.rolePrefix,
    loginPasswords: passwordsInUrls(config),
    applicationMigrations: application.migrations,
    queues: queuesOf(timetableOf(application)),
    patience: config.migrations,
    onProgress,
    signal,
    ...(log ? { log } : {}),
  });
}

/**
 * For commands that only use the schema: a clear message instead of a missing table. Checks an external server only if the owner's
 * URL is set, which the API and the worker do not need.
 * @throws PlinthError MIGRATIONS_PENDING
 */
export async function assertUpToDate(
  config: Config,
  database: Database,
  { migrations }: Pick<Application, "migrations"> = {},
  waiting: Pick<UpToDateOptions, "log" | "signal"> = {},
): Promise<void> {
  if (database.kind === "external" && !config.databaseUrls.owner) return;
  await awaitRoles(config, database, ["owner"], waiting);
  const target = { ownerUrl: database.url("owner"), rolePrefix: config.rolePrefix };
  const histories = [plinthHistory, ...(migrations === undefined ? [] : [applicationHistory(migrations)])];
  const pending: string[] = [];
  for (const history of histories)
    pending.push(...(await migrationStatus({ ...target, ...history })).pending);
  if (pending.length > 0)
    throw new PlinthError(
      "MIGRATIONS_PENDING",
      `The database has ${pending.length === 1 ? "a pending migration" : `${pending.length} pending migrations`}.`,
      {
        hint: "Run plinth migrate first.",
      },
    );
}

/** Returns the passwords to set for the roles: those in the URLs of the API, the worker and the analysts. */
function passwordsInUrls({ databaseUrls, rolePrefix }: Config): Partial<Record<LoginRole, string>> {
  const passwords: Partial<Record<LoginRole, string>> = {};
  for (const role of LOGIN_ROLES) {
    const url = databaseUrls[role];
    const { user, password } = url ? parseDatabaseUrl(url) : {};
    if (password && user === roleName(rolePrefix, role)) passwords[role] = password;
  }
  return passwords;
}
