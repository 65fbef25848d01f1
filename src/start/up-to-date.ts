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
 * For what only uses the schema: a clear sentence instead of a missing table. An external server is asked only where
 * the owner's URL is at hand, which the API and the worker need not have.
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
      `The database lacks ${pending.length === 1 ? "a migration" : `${pending.length} migrations`}.`,
      {
        hint: "Run plinth migrate first.",
      },
    );
}

/** The passwords that the roles are to have: those that the API, the worker and the analysts will come with. */
function passwordsInUrls({ databaseUrls, rolePrefix }: Config): Partial<Record<LoginRole, string>> {
  const passwords: Partial<Record<LoginRole, string>> = {};
  for (const role of LOGIN_ROLES) {
    const { username = "", password = "" } = databaseUrls[role] ? new URL(databaseUrls[role]) : {};
    if (password && decodeURIComponent(username) === roleName(rolePrefix, role))
      passwords[role] = decodeURIComponent(password);
  }
  return passwords;
}
