import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import type { DoctorContext, Finding } from "../../src/cli/doctor/check.ts";
import { examineDatabase } from "../../src/cli/doctor/doctor.ts";
import { checkDrift } from "../../src/cli/doctor/drift.ts";
import { checkRoles } from "../../src/cli/doctor/roles.ts";
import { checkTables } from "../../src/cli/doctor/tables.ts";
import { loadConfig } from "../../src/config/config.ts";
import { LOGIN_ROLES, roleName, rolePlaceholders } from "../../src/config/roles.ts";
import { runBootstrap } from "../../src/database/bootstrap.ts";
import { openDatabase } from "../../src/database/database.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { rollback } from "../../src/database/rollback.ts";
import { databaseUrl, type ScratchDatabase } from "../../src/database/scratch-database.ts";
import { QUEUES } from "../../src/jobs/index.ts";
import { createEmptyTestDatabase, createTestDatabase, testSetup, withClient } from "../support/database.ts";
import type { Fault } from "../support/drift-faults/fault.ts";
import { FAULTS } from "../support/drift-faults/faults.ts";
import { dumpAndRestore, findPgDump } from "../support/pg-dump.ts";
import { cli, databaseEnv } from "./run-cli.ts";

// With its own roles: roles belong to the server, and other tests read theirs while this one changes some. All changes are rolled
// back, so one database serves all cases.

const { rows: versions } = await withClient(testSetup().adminUrl, (client) =>
  client.query<{ major: number }>("select current_setting('server_version_num')::integer / 10000 as major"),
);
/** The test with pg_restore needs PostgreSQL's own programs of the server's version. */
const PG_DUMP = await findPgDump(versions[0]!.major);

let db: ScratchDatabase;
let admin: pg.Client;
beforeAll(async () => {
  db = await createEmptyTestDatabase();
  await migrateDatabase({ ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, queues: QUEUES });
  admin = new pg.Client({ connectionString: databaseUrl(testSetup().adminUrl, db.name) });
  await admin.connect();
});
afterAll(async () => {
  await admin.end();
  await db.drop();
});

/** The expected details name roles with the usual prefix, and the usual superuser. */
const withUsualNames = (details: readonly string[] = []) =>
  details.map((line) =>
    line
      .replaceAll(`${db.rolePrefix}_`, "plinth_")
      .replace(`belongs to ${new URL(testSetup().adminUrl).username}`, "belongs to postgres"),
  );

const troubles = (findings: readonly Finding[]) =>
  findings
    .filter(({ status }) => status === "fail" || status === "warn")
    .map(({ status, check, details }) => [status, check, ...withUsualNames(details)]);

/** The findings of the groups that read the catalogue, on a connection that is perhaps inside a transaction. */
async function examineCatalogue(client: pg.Client, rolePrefix = db.rolePrefix) {
  const context = { client, role: "owner", config: loadConfig({ PLINTH_ROLE_PREFIX: rolePrefix }) };
  const groups = [checkDrift, checkRoles, checkTables];
  const findings: Finding[] = [];
  for (const group of groups) findings.push(...(await group(context as DoctorContext)));
  return troubles(findings);
}

async function examineAll(env: Record<string, string> = databaseEnv(db)): Promise<Finding[]> {
  const config = loadConfig(env);
  return examineDatabase(config, await openDatabase(config));
}

function inSql(text: string): string {
  const { rolePrefix } = db;
  const placeholders = {
    ...rolePlaceholders(rolePrefix, roleName(rolePrefix, "owner")),
    ":PLINTH_STRANGER": `${rolePrefix}_stranger`,
  };
  return Object.entries(placeholders).reduce(
    (sql, [placeholder, name]) => sql.replaceAll(placeholder, name),
    text,
  );
}

async function findingsOf({ sql, by }: Fault) {
  await admin.query("begin");
  try {
    if (!by) await admin.query(inSql("set local role :PLINTH_OWNER"));
    await admin.query(inSql(sql));
    await admin.query("reset role");
    return await examineCatalogue(admin);
  } finally {
    await admin.query("rollback");
  }
}

const PRIVATE_GRANT: Fault = Object.values(FAULTS)
  .flat()
  .find(({ title }) => title === "a grant on a table of secrets")!;

describe("a change by hand is named, alone, with its object", () => {
  describe.each(Object.entries(FAULTS))("%s:", (_kind, faults) => {
    const possible = faults.filter(({ by }) => by !== "a superuser" || testSetup().adminIsSuperuser);
    test.each(possible)("$title", async (fault) => {
      expect(await findingsOf(fault)).toEqual(fault.findings);
    });
  });

  test("each with what to do", async () => {
    await admin.query(
      inSql(`begin; ${PRIVATE_GRANT.sql}; alter table llm.chats drop constraint chats_pkey cascade;
      create table llm.more (); alter table llm.chats disable trigger all; drop function identity.logout();
      alter function identity.viewer() security definer`),
    );
    const context = { client: admin, role: "owner", config: loadConfig(databaseEnv(db)) } as DoctorContext;
    const findings = await checkDrift(context).finally(() => admin.query("rollback"));
    expect(findings.map(({ check, status }) => [check, status])).toEqual([
      ["schema", "fail"],
      ["drift-access", "fail"],
      ["drift-functions", "fail"],
      ["drift-structure", "fail"],
      ["drift-extra", "warn"],
    ]);
    for (const { hint } of findings) expect(hint).toMatch(/as the owner|your own objects/);
  });
});

describe("an unchanged database has no finding", () => {
  test("after all migrations", async () => {
    expect(await examineCatalogue(admin)).toEqual([]);
  });

  test("with partitions of further months", async () => {
    const created = await withClient(db.url("worker"), (client) =>
      client.query("select from private.ensure_partitions(6)"),
    );
    expect(created.rowCount).toBeGreaterThan(2);
    expect(await examineCatalogue(admin)).toEqual([]);
  });

  (PG_DUMP ? test : test.skip)(
    "after pg_dump, pg_restore and the script of plinth migrate --print-roles",
    async () => {
      const name = `${db.name}_restored`;
      const quoted = pg.escapeIdentifier(name);
      const owner = pg.escapeIdentifier(roleName(db.rolePrefix, "owner"));
      await admin.query(`create database ${quoted} owner ${owner}`);
      try {
        await dumpAndRestore(PG_DUMP!, db.url("owner"), databaseUrl(db.url("owner"), name));
        const findings = await withClient(databaseUrl(testSetup().adminUrl, name), async (client) => {
          await runBootstrap(client, { prefix: db.rolePrefix, ownerIsCurrentUser: false });
          return examineCatalogue(client);
        });
        expect(findings).toEqual([]);
      } finally {
        await admin.query(`drop database ${quoted} with (force)`);
      }
    },
  );

  test("beside another Plinth with other roles on the same server", async () => {
    const other = await createTestDatabase();
    try {
      expect(other.rolePrefix).not.toBe(db.rolePrefix);
      expect(
        await withClient(other.adminUrl, (client) => examineCatalogue(client, other.rolePrefix)),
      ).toEqual([]);
    } finally {
      await other.drop();
    }
  });
});

describe("reads the catalogue as", () => {
  test.each(LOGIN_ROLES)("%s, with the same result", async (role) => {
    await withClient(db.url("owner"), (client) => client.query(inSql(PRIVATE_GRANT.sql)));
    try {
      const findings = await withClient(db.url(role), (client) =>
        checkDrift({ client, role, config: loadConfig(databaseEnv(db)) } as DoctorContext),
      );
      expect(troubles(findings)).toEqual(PRIVATE_GRANT.findings);
    } finally {
      await withClient(db.url("owner"), (client) =>
        client.query(inSql("revoke select on private.user_passwords from :PLINTH_ANONYMOUS")),
      );
    }
  });
});

test("the command prints the differences as JSON and exits with 1", async () => {
  await withClient(db.url("owner"), (client) =>
    client.query("alter policy select_own on identity.users using (true)"),
  );
  try {
    const { code, stdout } = await cli(["doctor", "--json"], { env: databaseEnv(db) });
    expect(code).toBe(1);
    const { findings } = JSON.parse(stdout) as { findings: Finding[] };
    expect(findings.find(({ check }) => check === "drift-access")).toMatchObject({
      status: "fail",
      hint: expect.stringContaining("migrations/fixtures"),
      details: [
        expect.stringMatching(/^policy select_own on identity\.users: expected using .*, found true$/),
      ],
    });
  } finally {
    await withClient(db.url("owner"), (client) =>
      client.query(
        "alter policy select_own on identity.users using (id = (select plinth.current_user_id()))",
      ),
    );
  }
});

test("names pending migrations instead of differences, and finds none after an upgrade", async () => {
  const options = { ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, queues: QUEUES };
  const { rolledBack } = await rollback({ ...options, steps: 2 });
  const before = await examineAll();
  expect(before.find(({ check }) => check === "migrations")).toMatchObject({
    status: "fail",
    details: rolledBack.toReversed(),
  });
  expect(before.filter(({ check }) => check === "schema" || check.startsWith("drift-"))).toEqual([]);
  await migrateDatabase(options);
  const after = await examineAll();
  expect(after.filter(({ status }) => status === "fail")).toEqual([]);
  expect(after.filter(({ check }) => check.startsWith("drift-")).map(({ status }) => status)).toEqual(
    Array(4).fill("ok"),
  );
});
