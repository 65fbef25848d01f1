import { randomBytes } from "node:crypto";
import pg from "pg";
import {
  ALL_LOGIN_ROLES,
  type AnyLoginRole,
  DEFAULT_ROLE_PREFIX,
  ROLES,
  roleName,
} from "../../src/config/roles.ts";
import { runBootstrap } from "../../src/database/bootstrap.ts";
import { dropDatabase } from "../../src/database/drop-database.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { databaseUrl } from "../../src/database/scratch-database.ts";
import { QUEUES } from "../../src/jobs/index.ts";
import { withClient } from "./client.ts";
import type { TestServer } from "./server.ts";

/** The server as test processes see it; passed in the environment variable {@link SETUP_VARIABLE}. */
export interface TestSetup {
  readonly adminUrl: string;
  readonly adminIsSuperuser: boolean;
  readonly rolePrefix: string;
  readonly passwords: Readonly<Record<AnyLoginRole, string>>;
  /** Database that is migrated once and cloned for each test file. */
  readonly template: string;
  /** Reason why there is no template. Tests that need none still run. */
  readonly failure?: string;
}

export const SETUP_VARIABLE = "PLINTH_TEST_SETUP";

/** Creates the roles and a migrated database to clone. */
export async function makeTemplate(server: TestServer): Promise<TestSetup> {
  const rolePrefix = server.isOurs ? DEFAULT_ROLE_PREFIX : `plinth_t${randomBytes(4).toString("hex")}`;
  const template = `${rolePrefix}_template`;
  const passwords = Object.fromEntries(
    ALL_LOGIN_ROLES.map((role) => [role, randomBytes(18).toString("base64url")]),
  ) as Record<AnyLoginRole, string>;
  const { adminUrl } = server;
  const adminIsSuperuser = await withClient(adminUrl, async (client) => {
    await client.query(`create database ${pg.escapeIdentifier(template)}`);
    const { rows } = await client.query<{ super: boolean }>(
      "select rolsuper as super from pg_roles where rolname = current_user",
    );
    return rows[0]!.super;
  });
  const setup: TestSetup = { adminUrl, adminIsSuperuser, rolePrefix, passwords, template };
  try {
    await withClient(databaseUrl(adminUrl, template), async (client) => {
      await runBootstrap(client, { prefix: rolePrefix, ownerIsCurrentUser: false, passwords });
      // A role that is no superuser acts as another role through membership; see transaction.ts.
      if (!adminIsSuperuser)
        for (const role of ROLES)
          await client.query(`grant ${pg.escapeIdentifier(roleName(rolePrefix, role))} to current_user`);
    });
    await migrateDatabase({
      ownerUrl: databaseUrl(adminUrl, template, roleName(rolePrefix, "owner"), passwords.owner),
      rolePrefix,
      queues: QUEUES,
    });
    return setup;
  } catch (error) {
    const { message, hint } = error as Error & { hint?: string };
    return { ...setup, failure: [message, hint].filter(Boolean).join("\n") };
  }
}

/** Removes every database and role whose name starts with the prefix of this run. */
export async function removeAll(setup: TestSetup): Promise<void> {
  await withClient(setup.adminUrl, async (client) => {
    const databases = await client.query<{ name: string }>(
      "select datname as name from pg_database where starts_with(datname, $1) order by 1",
      [`${setup.rolePrefix}_`],
    );
    for (const { name } of databases.rows) await dropDatabase(client, name);
    const roles = await client.query<{ name: string }>(
      "select rolname as name from pg_roles where starts_with(rolname, $1) order by 1",
      [`${setup.rolePrefix}_`],
    );
    for (const { name } of roles.rows) await client.query(`drop role ${pg.escapeIdentifier(name)}`);
  });
}
