import pg from "pg";
import { COMPAT_ROLES, roleName } from "../../config/roles.ts";
import { PlinthError } from "../../support/errors.ts";
import { changeRoles } from "../change-roles.ts";
import { withConnection } from "../connection.ts";
import { passwordSql } from "../role-password-sql.ts";
import { compatRolesSql } from "./compat-roles-sql.ts";
import type { CompatOptions } from "./options.ts";

/**
 * Creates the roles of the compatibility schemas, unless they exist as they must be.
 * @param client the owner's connection
 * @throws PlinthError ROLES_MISSING with the command that prints the statements for an administrator
 */
export async function ensureCompatRoles(client: pg.Client, options: CompatOptions): Promise<void> {
  const { rolePrefix: prefix, adminUrl } = options;
  if (adminUrl === undefined) return createRoles(client, options, compatRolesSql({ prefix }));
  const { rows } = await client.query<{ owner: string }>("select current_user as owner");
  const sql = compatRolesSql({ prefix, owner: rows[0]!.owner });
  await withConnection({ connectionString: adminUrl, application_name: "plinth compat" }, (admin) =>
    createRoles(admin, options, sql),
  );
}

async function createRoles(
  client: pg.Client,
  { rolePrefix, applicationPassword }: CompatOptions,
  sql: string,
): Promise<void> {
  try {
    await changeRoles(client, sql);
  } catch (error) {
    if (!isForbidden(error)) throw error;
    const names = COMPAT_ROLES.map((role) => roleName(rolePrefix, role)).join(" and ");
    throw new PlinthError(
      "ROLES_MISSING",
      `The roles ${names} are missing or differ, and the owner may not create roles.`,
      {
        hint: "Let an administrator run the statements that plinth compat enable --print-roles prints.",
        cause: error,
      },
    );
  }
  if (applicationPassword === undefined) return;
  // An administrator who created the role has set its password.
  await changeRoles(client, passwordSql(rolePrefix, "application", applicationPassword)).catch(
    (error: unknown) => {
      if (!isForbidden(error)) throw error;
    },
  );
}

function isForbidden(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === "42501";
}
