import { randomBytes } from "node:crypto";
import pg from "pg";
import { type AnyLoginRole, roleName } from "../../src/config/roles.ts";
import { runBootstrap } from "../../src/database/bootstrap.ts";
import { dropDatabase, onceUnused } from "../../src/database/drop-database.ts";
import { databaseUrl } from "../../src/database/scratch-database.ts";
import { withClient } from "./client.ts";
import { endKeptConnections, keepConnectionsTo } from "./kept-connections.ts";
import { SETUP_VARIABLE, type TestSetup } from "./template.ts";

// Apart from database.ts, because only Jest can load what that imports.

/** A migrated database of one test file. Roles belong to the server: all test files of a run share them. */
export interface TestDatabase {
  readonly name: string;
  readonly rolePrefix: string;
  /** For setup, and for statements that no role of Plinth may run; assertions connect as a role. */
  readonly adminUrl: string;
  readonly adminIsSuperuser: boolean;
  /** Connection URL of a real login role. */
  url(role: AnyLoginRole): string;
  drop(): Promise<void>;
}

/** The setup that global-setup.ts prepared. */
export function testSetup(): TestSetup {
  const setup = process.env[SETUP_VARIABLE];
  if (!setup) throw new Error("There is no test server: run tests with `npm test`.");
  return JSON.parse(setup) as TestSetup;
}

/** A clone of the migrated template; takes about 50 ms. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const { adminUrl, adminIsSuperuser, rolePrefix, passwords, template, failure } = testSetup();
  if (failure !== undefined) throw new Error(`The test database could not be migrated.\n${failure}`);
  const name = `${rolePrefix}_${randomBytes(6).toString("hex")}`;
  const quoted = pg.escapeIdentifier(name);
  await withClient(adminUrl, (client) =>
    onceUnused(() =>
      client.query(`create database ${quoted} template ${pg.escapeIdentifier(template)} strategy file_copy`),
    ),
  );
  const ownUrl = databaseUrl(adminUrl, name);
  // A clone does not inherit its owner, its connect privileges or the settings of its roles.
  await withClient(ownUrl, (client) =>
    runBootstrap(client, { prefix: rolePrefix, ownerIsCurrentUser: false }),
  );
  keepConnectionsTo(name);
  return {
    name,
    rolePrefix,
    adminUrl: ownUrl,
    adminIsSuperuser,
    url: (role) => databaseUrl(adminUrl, name, roleName(rolePrefix, role), passwords[role]),
    async drop() {
      await endKeptConnections(name);
      await withClient(adminUrl, (client) => dropDatabase(client, name));
    },
  };
}
