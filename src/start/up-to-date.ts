import type { Config } from "../config/config.ts";
import { LOGIN_ROLES, type LoginRole, roleName } from "../config/roles.ts";
import type { Database } from "../database/database.ts";
import { migrateDatabase, migrationStatus } from "../database/migrate.ts";
import { QUEUES } from "../jobs/index.ts";
import { PlinthError } from "../support/errors.ts";

/** Runs pending migrations and installs the job queue with the timetable's queues. */
export function bringUpToDate(
  config: Config,
  database: Database,
  log?: (line: string) => void,
): Promise<{ applied: string[] }> {
  return migrateDatabase({
    ownerUrl: database.url("owner"),
    rolePrefix: config.rolePrefix,
    loginPasswords: passwordsInUrls(config),
    queues: QUEUES,
    ...(log ? { log } : {}),
  });
}

/**
 * For commands that only use the schema: a clear message instead of a missing table. Checks an external server only if the owner's
 * URL is set, which the API and the worker do not need.
 * @throws PlinthError MIGRATIONS_PENDING
 */
export async function assertUpToDate(config: Config, database: Database): Promise<void> {
  if (database.kind === "external" && !config.databaseUrls.owner) return;
  const { pending } = await migrationStatus({
    ownerUrl: database.url("owner"),
    rolePrefix: config.rolePrefix,
  });
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
    const { username = "", password = "" } = databaseUrls[role] ? new URL(databaseUrls[role]) : {};
    if (password && decodeURIComponent(username) === roleName(rolePrefix, role))
      passwords[role] = decodeURIComponent(password);
  }
  return passwords;
}
