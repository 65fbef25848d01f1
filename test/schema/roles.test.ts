import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { ALL_ROLES, type LoginRole, ROLES, roleName } from "../../src/config/roles.ts";
import { createTestDatabase, expectSqlState, type TestDatabase, withClient } from "../support/database.ts";

// Rights of each role that connects with psql: exactly those that the README lists.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});

const DENIED = "42501";
const run = (role: LoginRole, sql: string) => withClient(db.url(role), (client) => client.query(sql));
const denied = (role: LoginRole, sql: string) => expectSqlState(run(role, sql), DENIED);
const TABLES = [
  "identity.users",
  "llm.messages",
  "access.roles",
  "security.security_audit_log",
  "private.user_passwords",
];

test("no role is a superuser, bypasses row security, creates databases or replicates [A12]", async () => {
  // By name, because other tests create roles with this prefix.
  const names = ALL_ROLES.map((role) => roleName(db.rolePrefix, role));
  const { rows } = await run(
    "owner",
    `select rolname as name, rolsuper or rolbypassrls or rolcreatedb or rolreplication as is_mighty
     from pg_roles where rolname = any ('{${names.join(",")}}')`,
  );
  expect(rows.length).toBeGreaterThanOrEqual(ROLES.length);
  expect(rows.filter(({ is_mighty }) => is_mighty)).toEqual([]);
});

test("no role except the owner owns objects in the database", async () => {
  const { rows } = await run(
    "owner",
    `select c.oid::regclass::text, r.rolname from pg_class c join pg_roles r on r.oid = c.relowner
     where r.rolname like '${db.rolePrefix.replaceAll("_", "\\_")}\\_%' and r.rolname <> current_user`,
  );
  expect(rows).toEqual([]);
});

describe("authenticator", () => {
  test.each(TABLES)("cannot read %s itself", async (table) => {
    await denied("authenticator", `select from ${table}`);
  });
  test("can become only a visitor or a user", async () => {
    await run("authenticator", `set role ${roleName(db.rolePrefix, "user")}`);
    await run("authenticator", `set role ${roleName(db.rolePrefix, "anonymous")}`);
    for (const role of ["service", "worker", "analyst"] as const)
      await denied("authenticator", `set role ${roleName(db.rolePrefix, role)}`);
    const owner = await withClient(db.url("owner"), (client) =>
      client.query<{ name: string }>("select current_user as name"),
    );
    await denied("authenticator", `set role ${owner.rows[0]?.name}`);
  });
  test("sees no account as a user without claims or with an unknown user's claims", async () => {
    await withClient(db.url("authenticator"), async (client) => {
      await client.query(`set role ${roleName(db.rolePrefix, "user")}`);
      expect((await client.query("select from identity.users")).rowCount).toBe(0);
      await client.query("set jwt.claims.user_id = '00000000-0000-7000-8000-000000000000'");
      expect((await client.query("select from identity.users")).rowCount).toBe(0);
    });
  });
  test("cannot create objects", async () => {
    await denied("authenticator", "create table public.t ()");
    await denied("authenticator", "create schema s");
    await denied("authenticator", "create temporary table t ()");
  });
});

describe("service", () => {
  test("signs people in through the listed functions", async () => {
    expect((await run("service", "select user_id from private.find_login('nobody')")).rows).toEqual([
      { user_id: null },
    ]);
  });
  test.each(TABLES)("cannot read %s", async (table) => {
    await denied("service", `select from ${table}`);
  });
  test("cannot call unlisted functions", async () => {
    await denied("service", "select private.record_security_event('x', null)");
    await denied("service", "select private.import_prompts('[]')");
    await denied("service", "select private.delete_expired_sign_in_data(1)");
    await denied("service", "select private.end_sessions(null, 'logout')");
  });
});

describe("worker", () => {
  test("runs its jobs", async () => {
    expect((await run("worker", "select private.delete_expired_sign_in_data(10)")).rowCount).toBe(1);
    expect((await run("worker", "select private.end_expired_sessions(10)")).rowCount).toBe(1);
    // The first call creates what the migrations could not, if another month has begun since.
    await run("worker", "select * from private.ensure_partitions(3)");
    expect((await run("worker", "select * from private.ensure_partitions(3)")).rowCount).toBe(0);
  });
  test.each(TABLES)("cannot read %s", async (table) => {
    await denied("worker", `select from ${table}`);
  });
  test("cannot sign in a user", async () => {
    await denied("worker", "select * from private.find_login('ada')");
  });
});

describe("analyst", () => {
  test("reads every view of analytics without naming the schema", async () => {
    const { rows } = await run(
      "analyst",
      "select table_name as name from information_schema.views where table_schema = 'analytics'",
    );
    expect(rows.length).toBeGreaterThan(3);
    for (const { name } of rows) await run("analyst", `select * from ${name} limit 1`);
  });
  test.each(TABLES)("cannot read %s", async (table) => {
    await denied("analyst", `select from ${table}`);
  });
  test("cannot write", async () => {
    await denied("analyst", "create table analytics.t ()");
    await denied("analyst", "create temporary table t ()");
  });
});
