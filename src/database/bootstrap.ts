import pg from "pg";
import { LOGIN_ROLES, type LoginRole, ROLES, roleName } from "../config/roles.ts";
import { PlinthError } from "../support/errors.ts";
import { type BootstrapOptions, bootstrapSql } from "./bootstrap-sql.ts";
import { changeRoles } from "./change-roles.ts";
import { passwordSql } from "./role-password-sql.ts";

export { type BootstrapOptions, bootstrapSql };

/**
 * Runs {@link bootstrapSql}.
 * @throws pg.DatabaseError
 */
export async function runBootstrap(client: pg.ClientBase, options: BootstrapOptions): Promise<void> {
  await changeRoles(client, bootstrapSql(options));
}

/**
 * Creates missing roles on an external server. The connected role becomes the owner; it needs CREATEROLE only if roles are
 * missing. Sets passwords if it may; otherwise the administrator who created the roles has set them.
 * @throws PlinthError SERVER_TOO_OLD, DATABASE_NOT_WRITABLE, ROLES_MISSING (the hint names the script for an administrator)
 */
export async function ensureRoles(
  ownerClient: pg.ClientBase,
  prefix: string,
  passwords?: Partial<Record<LoginRole, string>>,
): Promise<void> {
  await assertUsable(ownerClient);
  try {
    await runBootstrap(ownerClient, { prefix, ownerIsCurrentUser: true });
  } catch (error) {
    if (!isForbidden(error)) throw error;
    throw await rolesMissing(ownerClient, prefix, error);
  }
  for (const role of LOGIN_ROLES) {
    const password = passwords?.[role];
    if (!password || role === "owner") continue;
    try {
      await changeRoles(ownerClient, passwordSql(prefix, role, password));
    } catch (error) {
      if (!isForbidden(error)) throw error;
    }
  }
}

async function assertUsable(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ version: string; supported: boolean; create: boolean; name: string }>(
    `select
       current_setting('server_version') as version,
       current_setting('server_version_num')::integer >= 150000 as supported,
       has_database_privilege(current_database(), 'create') as create,
       current_database() as name`,
  );
  const { version, supported, create, name } = rows[0]!;
  if (!supported)
    throw new PlinthError("SERVER_TOO_OLD", `The server is PostgreSQL ${version}; Plinth needs 15 or newer.`);
  if (!create)
    throw new PlinthError(
      "DATABASE_NOT_WRITABLE",
      `The owner's role may not create schemas in database ${name}.`,
      {
        hint: `Make it the owner of the database (alter database ${pg.escapeIdentifier(name)} owner to …). ${SCRIPT_HINT}`,
      },
    );
}

const SCRIPT_HINT =
  "To let a database administrator do it, print a script with: plinth migrate --print-roles";

async function rolesMissing(client: pg.ClientBase, prefix: string, cause: unknown): Promise<PlinthError> {
  const wanted = ROLES.filter((role) => role !== "owner").map((role) => roleName(prefix, role));
  const { rows } = await client.query<{ name: string }>(
    "select name from unnest($1::text[]) as wanted (name) where to_regrole(quote_ident(name)) is null",
    [wanted],
  );
  const missing = rows.map(({ name }) => name).join(", ");
  return new PlinthError(
    "ROLES_MISSING",
    missing
      ? `The server lacks the roles ${missing}, and the owner's role may not create roles.`
      : `The server's roles differ from those that Plinth needs (${(cause as Error).message}), and the owner's role may not change them.`,
    { hint: SCRIPT_HINT, cause },
  );
}

function isForbidden(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === "42501";
}
