import pg from "pg";
import { ALL_LOGIN_ROLES, type AnyLoginRole, roleName } from "../../src/config/roles.ts";
import { runBootstrap } from "../../src/database/bootstrap.ts";
import { dropDatabase } from "../../src/database/drop-database.ts";
import { databaseUrl, type ScratchDatabase } from "../../src/database/scratch-database.ts";
import { withClient } from "./client.ts";
import { dumpAndRestore } from "./pg-dump.ts";

/**
 * Moves a database to another server as docs/operations.md says: roles by the script of `plinth migrate --print-roles`, then pg_dump and
 * pg_restore as the owner.
 */
export async function copyDatabase(
  programs: string,
  db: ScratchDatabase,
  adminUrl: string,
): Promise<ScratchDatabase> {
  const passwords = Object.fromEntries(
    ALL_LOGIN_ROLES.map((role) => [role, decodeURIComponent(new URL(db.url(role)).password)]),
  ) as Record<AnyLoginRole, string>;
  const copy: ScratchDatabase = {
    ...db,
    url: (role) => databaseUrl(adminUrl, db.name, roleName(db.rolePrefix, role), passwords[role]),
    drop: () => withClient(adminUrl, (client) => dropAll(client, db)),
  };
  await withClient(adminUrl, (client) => client.query(`create database ${pg.escapeIdentifier(db.name)}`));
  try {
    await withClient(databaseUrl(adminUrl, db.name), (client) =>
      runBootstrap(client, { prefix: db.rolePrefix, ownerIsCurrentUser: false, passwords }),
    );
    await dumpAndRestore(programs, db.url("owner"), copy.url("owner"));
    return copy;
  } catch (error) {
    await copy.drop();
    throw error;
  }
}

async function dropAll(client: pg.Client, { name, rolePrefix }: ScratchDatabase): Promise<void> {
  await dropDatabase(client, name);
  const { rows } = await client.query<{ name: string }>(
    "select rolname as name from pg_roles where starts_with(rolname, $1)",
    [`${rolePrefix}_`],
  );
  for (const role of rows) await client.query(`drop role ${pg.escapeIdentifier(role.name)}`);
}
