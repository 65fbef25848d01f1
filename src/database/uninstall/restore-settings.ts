import pg from "pg";
import { ALL_ROLES, roleName } from "../../config/roles.ts";
import { resetAnalystLimits } from "../analyst-limits.ts";
import type { BeforeInstall } from "../neighbour/before-install.ts";

/**
 * Restores what an install changed outside its schemas: the owner's default privileges, the privileges on the database, the
 * search paths and the analyst's limits.
 * @param options.before undefined for a database that an earlier version installed; then PUBLIC gets no privilege on the database
 * @returns what only an administrator can restore
 */
export async function restoreSettings(
  client: pg.ClientBase,
  { rolePrefix, before }: { rolePrefix: string; before: BeforeInstall | undefined },
): Promise<string[]> {
  const { rows } = await client.query<{
    database: string;
    owner: string;
    mayGrant: boolean;
    roles: string[];
  }>(
    `select
       datname as database,
       current_user as owner,
       pg_has_role(datdba, 'usage') as "mayGrant",
       array(select rolname::text from pg_roles where rolname = any ($1) and rolname <> current_user order by 1) as roles
     from pg_database
     where datname = current_database()`,
    [ALL_ROLES.map((role) => roleName(rolePrefix, role))],
  );
  const { owner, mayGrant, roles } = rows[0]!;
  const database = pg.escapeIdentifier(rows[0]!.database);
  const notes: string[] = [];

  if (!before?.functionsArePrivate)
    await client.query("alter default privileges grant execute on functions to public");
  if (mayGrant) {
    for (const role of roles)
      await client.query(`revoke all on database ${database} from ${pg.escapeIdentifier(role)}`);
    for (const privilege of before?.publicPrivileges ?? [])
      await client.query(`grant ${privilege} on database ${database} to public`);
  } else
    notes.push(
      `The database's owner can revoke privileges: revoke all on database ${database} from ${roles.join(", ")};`,
    );
  if (!before)
    notes.push(
      `PUBLIC may not connect. If it could before: grant connect, temporary on database ${database} to public;`,
    );

  const analyst = roleName(rolePrefix, "analyst");
  for (const role of [owner, analyst]) {
    if (role !== owner && !roles.includes(role)) continue;
    const alter = `alter role ${pg.escapeIdentifier(role)} in database ${database}`;
    const path = role === owner ? before?.searchPath : undefined;
    await client.query("savepoint search_path");
    try {
      if (path) {
        await client.query("select set_config('search_path', $1, true)", [path]);
        await client.query(`${alter} set search_path from current`);
      } else await client.query(`${alter} reset search_path`);
    } catch (error) {
      if (!(error instanceof pg.DatabaseError) || error.code !== "42501") throw error;
      await client.query("rollback to savepoint search_path");
      notes.push(`An administrator can reset it: ${alter} reset search_path;`);
    }
  }
  if (roles.includes(analyst)) await resetAnalystLimits(client, { analyst, database, notes });
  return notes;
}
