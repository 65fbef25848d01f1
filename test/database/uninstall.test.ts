import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { getConstructionPlans } from "pg-boss";
import { explainError } from "../../src/cli/explain-error.ts";
import { roleName } from "../../src/config/roles.ts";
import { enableCompat } from "../../src/database/compat/compat.ts";
import { compatSystems } from "../../src/database/compat/systems.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { databaseUrl } from "../../src/database/scratch-database.ts";
import { openThrowawayServer } from "../../src/database/throwaway-server.ts";
import { planUninstall, uninstall } from "../../src/database/uninstall/uninstall.ts";
import { QUEUES } from "../../src/jobs/index.ts";
import { planMigrations } from "../../src/migration-plan/plan-migrations.ts";
import { dumpSchema } from "../../src/schema-dump/dump.ts";
import { cli, startCli } from "../cli/run-cli.ts";
import { runHere } from "../cli/run-here.ts";
import { withClient } from "../support/database.ts";
import { makeMigrationsFolder } from "../support/migrations-folder.ts";
import { type StockServer, startStockServer } from "../support/stock-server.ts";

// A database with a neighbour: Plinth is installed next to it and removed again. Dumps come from pg_dump where the system has a
// PostgreSQL 15 with it, otherwise from the catalogue. The commands are those of docs/operations.md, with --yes for the missing terminal.

const PG_DUMP = "/usr/lib/postgresql/15/bin/pg_dump";
const run = promisify(execFile);
const prefix = `plinth_n${randomBytes(4).toString("hex")}`;
const database = `${prefix}_app`;
const owner = roleName(prefix, "owner");

let server: StockServer | undefined;
let adminUrl: string;
let ownerUrl: string;
let before: string;

const target = () => ({ ownerUrl, rolePrefix: prefix });
const migrate = () => migrateDatabase({ ...target(), queues: QUEUES });
const asOwner = <Row extends object>(sql: string): Promise<Row[]> =>
  withClient(ownerUrl, async (client) => (await client.query<Row>(sql)).rows);
const asAdmin = <Row extends object>(sql: string): Promise<Row[]> =>
  withClient(databaseUrl(adminUrl, database), async (client) => (await client.query<Row>(sql)).rows);
const settings = () => ({ PLINTH_OWNER_URL: ownerUrl, PLINTH_ROLE_PREFIX: prefix });
const plinth = (...args: string[]) => runHere(args, { env: settings() });
const cleanups: (() => Promise<void>)[] = [];

/** The whole database as text, with its privileges and the settings of roles in it. */
async function dump(): Promise<string> {
  if (server) {
    const url = databaseUrl(adminUrl, database);
    const { stdout } = await run(PG_DUMP, ["--create", url], { maxBuffer: 1 << 26 });
    return stdout.replaceAll(/^\\(un)?restrict .*$/gm, "");
  }
  return withClient(databaseUrl(adminUrl, database), async (client) => {
    const schemas = await dumpSchema(client, { rolePrefix: prefix });
    const others = await client.query(
      `select
         (select array_agg(a::text order by a::text) from pg_database, unnest(coalesce(datacl, acldefault('d', datdba))) a
          where datname = current_database()) as acl,
         (select array_agg(nspname order by nspname) from pg_namespace where nspname !~ '^pg_(toast_)?temp') as schemas,
         (select array_agg(format('%s %s', extname, extnamespace) order by extname) from pg_extension) as extensions,
         (select array_agg(defaclacl::text) from pg_default_acl) as defaults,
         (select array_agg(setconfig::text) from pg_db_role_setting where setdatabase = (select oid from pg_database where datname = current_database())) as settings`,
    );
    return JSON.stringify([[...schemas], others.rows], null, 1);
  });
}

const rolesOfPlinth = async () =>
  (
    await asAdmin<{ name: string }>(
      `select rolname as name from pg_roles where starts_with(rolname, '${prefix}_') and rolname <> '${owner}' order by 1`,
    )
  ).map(({ name }) => name);

beforeAll(async () => {
  server = await startStockServer();
  if (server) {
    const { stop } = server;
    adminUrl = server.adminUrl;
    cleanups.push(stop);
  } else {
    const embedded = await openThrowawayServer();
    adminUrl = embedded.superuserUrl();
    cleanups.push(embedded.close);
  }
  await withClient(adminUrl, async (client) => {
    await client.query(`create role ${owner} login createrole password 'secret'`);
    await client.query(`create database ${database} owner ${owner}`);
  });
  ownerUrl = databaseUrl(adminUrl, database, owner, "secret");
  await asOwner(`
    alter role ${owner} in database ${database} set search_path = shop, public;
    create extension btree_gist with schema public;
    create schema shop;
    create table shop.bookings (
      id integer primary key, room integer, during tstzrange, exclude using gist (room with =, during with &&)
    );
    insert into shop.bookings values (1, 1, '[2026-01-01, 2026-01-02)');
    create function shop.rooms() returns bigint language sql as 'select count(*) from shop.bookings';
    create schema graphile_migrate;
    create table graphile_migrate.migrations (
      hash text primary key, previous_hash text, filename text not null, date timestamptz not null default now()
    );
    insert into graphile_migrate.migrations (hash, filename) values ('sha1:theirs', '000001.sql')`);
  await asOwner(getConstructionPlans("pgboss"));
  before = await dump();
});
afterAll(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup();
});

describe("plinth migrate next to others", () => {
  test("names everything that it would collide with, before it changes anything", async () => {
    const user = roleName(prefix, "user");
    await asAdmin(`
      create schema billing;
      create table billing.invoices (id integer);
      create extension pg_trgm with schema public;
      create role ${user} login createdb`);
    await asOwner("create schema learning");
    const occupied = await dump();
    await expect(migrate()).rejects.toMatchObject({
      code: "DATABASE_OCCUPIED",
      message: expect.stringContaining(`database ${database}: 4 names are in use`),
      hint: expect.stringMatching(
        new RegExp(
          [
            `schema billing \\(owner ${server ? "admin" : "\\w+"}, 1 table or view\\): rename it`,
            `schema learning \\(owner ${owner}, empty\\): drop schema learning;`,
            "extension pg_trgm \\(in schema public\\): .*drop extension pg_trgm;",
            `role ${user} is login, createdb: set PLINTH_ROLE_PREFIX`,
          ].join(".*\\n\\s+"),
        ),
      ),
    });
    for (const command of [["migrate", "--plan"], ["migrate"]])
      expect(await plinth(...command)).toMatchObject({
        code: 1,
        stdout: "",
        stderr: expect.stringMatching(/ 4 names are in use\. .*drop extension pg_trgm;/s),
      });
    const doctor = await plinth("doctor", "--json");
    expect(JSON.parse(doctor.stdout).findings).toContainEqual({
      check: "migrations",
      status: "fail",
      message: expect.stringContaining(`database ${database}: 4 names are in use`),
      hint: expect.stringContaining("drop extension pg_trgm;"),
    });
    expect(await dump()).toBe(occupied);
    expect(await rolesOfPlinth()).toEqual([user]);
    await asAdmin(
      `drop schema billing cascade; drop extension pg_trgm; drop role ${user}; drop schema learning`,
    );
  });

  test("names the roles that lose CONNECT with PUBLIC, before and when it revokes it", async () => {
    await asAdmin(`
      create role shop_app login; grant usage on schema shop to shop_app;
      create role shop_readers; grant select on shop.bookings to shop_readers;
      create role "Shop member" login in role shop_readers;
      create role shop_setting login; alter role shop_setting in database ${database} set work_mem = '8MB';
      create role shop_session login password 'secret';
      create role shop_allowed login in role shop_readers; grant connect on database ${database} to shop_allowed;
      create role shop_admin login superuser in role shop_readers;
      create role elsewhere login`);
    const names = '"Shop member", shop_app, shop_session, shop_setting';
    const grant = `grant connect on database ${database} to ${names};`;
    const note = expect.stringMatching(
      new RegExp(
        `^(Note: )?PUBLIC loses CONNECT on the database ${database}\\. .* only through PUBLIC: ${names}\\. .*: ${grant}$`,
      ),
    );
    const lines: string[] = [];
    const session = databaseUrl(adminUrl, database, "shop_session", "secret");
    await withClient(session, async () => {
      const withScratchServer = () => Promise.reject(new Error("A new database needs no scratch server."));
      expect((await planMigrations({ ...target(), withScratchServer })).notes).toContainEqual(note);
      await migrateDatabase({ ...target(), queues: QUEUES, log: (line) => lines.push(line) });
    });
    expect(lines.filter((line) => line.startsWith("Note: "))).toEqual([note]);
    const denied = await withClient(session, async () => {}).catch(explainError);
    expect(denied).toMatchObject({ hint: expect.stringContaining("grant connect on database") });
    await asAdmin(grant);
    await migrateDatabase({ ...target(), queues: QUEUES, log: (line) => lines.push(line) });
    expect(lines.filter((line) => line.startsWith("Note: "))).toHaveLength(1);
    await withClient(session, async () => {});
    const all = `${names}, shop_allowed, shop_readers, shop_admin, elsewhere`;
    await asAdmin(`drop owned by ${all}; drop role ${all}`);
  });

  test("is installed beside a neighbour's history, queue and extension", async () => {
    expect(await migrate()).toEqual({ applied: [] });
    expect(
      await asOwner(
        "select extname, extnamespace::regnamespace::text as schema from pg_extension where extname ~ '_' order by 1",
      ),
    ).toEqual([
      { extname: "btree_gin", schema: "plinth" },
      { extname: "btree_gist", schema: "public" },
      { extname: "pg_trgm", schema: "plinth" },
    ]);
    expect(await asOwner("select hash from graphile_migrate.migrations")).toEqual([{ hash: "sha1:theirs" }]);
    expect(await asOwner("select from pgboss.queue")).toEqual([]);
  });

  test("rejects a second Plinth with other roles", async () => {
    await expect(migrateDatabase({ ownerUrl, rolePrefix: `${prefix}_b` })).rejects.toMatchObject({
      code: "ROLE_PREFIX_DIFFERS",
    });
    const other = roleName(`${prefix}_b`, "owner");
    await asAdmin(
      `create role ${other} login createrole password 'secret'; grant create on database ${database} to ${other}; grant connect on database ${database} to ${other}`,
    );
    const url = databaseUrl(adminUrl, database, other, "secret");
    await expect(migrateDatabase({ ownerUrl: url, rolePrefix: `${prefix}_b` })).rejects.toMatchObject({
      code: "DATABASE_OCCUPIED",
      hint: expect.stringContaining(`${owner} has installed a Plinth here`),
    });
    await expect(uninstall({ ownerUrl: url, rolePrefix: `${prefix}_b` })).rejects.toMatchObject({
      code: "NOT_INSTALLED",
    });
    await asAdmin(`drop owned by ${other}; drop role ${other}`);
  });
});

describe("plinth uninstall", () => {
  test("refuses while others use Plinth's objects, and while its sessions are connected, and changes nothing", async () => {
    await asOwner(`
      create table shop.customers (id uuid references identity.users, name text);
      create index on shop.customers using gin (name plinth.gin_trgm_ops);
      create view shop.people as select id from identity.users;
      create materialized view shop.counted as select count(*) from identity.users;
      create table llm.notes (id integer)`);
    await asAdmin(`alter table llm.notes owner to ${server ? "admin" : "current_user"}`);
    const plan = await planUninstall(target());
    expect(plan.blockers).toEqual([
      "materialized view shop.counted",
      "table constraint customers_id_fkey on shop.customers",
      "view shop.people",
      expect.stringMatching(/^index shop\.customers_name_idx .*alter extension pg_trgm set schema public;/),
      expect.stringMatching(/^table llm\.notes of role /),
    ]);
    expect(plan.extensions).toEqual([
      { name: "btree_gin", users: [] },
      { name: "pg_trgm", users: ["index shop.customers_name_idx"] },
    ]);
    await expect(uninstall(target())).rejects.toMatchObject({
      code: "UNINSTALL_BLOCKED",
      hint: expect.stringContaining("table constraint customers_id_fkey on shop.customers"),
    });
    await asAdmin(
      "drop materialized view shop.counted; drop view shop.people; drop table shop.customers, llm.notes",
    );

    // Objects without a schema would go with what they use, without a word.
    await asOwner(`
      create function private.probe() returns event_trigger language plpgsql as 'begin end';
      create type shop.pair as (a integer);
      create function private.probe(shop.pair) returns text language sql immutable as 'select 1::text';
      create cast (shop.pair as text) with function private.probe(shop.pair)`);
    await asAdmin(`
      create event trigger watch on ddl_command_end when tag in ('CREATE CAST') execute function private.probe();
      create publication shop_users for table identity.users;
      create publication shop_rooms for tables in schema rooms`);
    expect((await planUninstall(target())).blockers).toEqual([
      "cast (shop.pair AS pg_catalog.text)",
      "event trigger watch",
      "publication namespace rooms in publication shop_rooms",
      "publication relation identity.users in publication shop_users",
    ]);
    await asAdmin(`
      drop event trigger watch; drop publication shop_users, shop_rooms;
      drop cast (shop.pair as text); drop function private.probe(), private.probe(shop.pair); drop type shop.pair`);

    await asAdmin(`alter role ${roleName(prefix, "service")} password 'secret'`);
    const service = databaseUrl(adminUrl, database, roleName(prefix, "service"), "secret");
    await withClient(service, async (client) => {
      await client.query("set application_name = 'a server'");
      await expect(uninstall(target())).rejects.toMatchObject({
        code: "SESSIONS_CONNECTED",
        hint: expect.stringContaining(`${roleName(prefix, "service")}: 1 (a server)`),
      });
    });
    expect(await asOwner("select count(*) > 20 as kept from plinth_migrate.migrations")).toEqual([
      { kept: true },
    ]);
  });

  test("with --plan counts the lost rows and names the roles that others use; without a terminal asks for --yes", async () => {
    await asAdmin(`create role ${prefix}_friend; grant ${roleName(prefix, "analyst")} to ${prefix}_friend`);
    const { code, stdout } = await plinth("uninstall", "--plan", "--json", "--roles");
    expect(code).toBe(0);
    const plan = JSON.parse(stdout);
    expect(plan).toMatchObject({ database, blockers: [], transactions: expect.any(Number) });
    expect(plan.schemas.find(({ name }: { name: string }) => name === "plinth_jobs")).toMatchObject({
      rows: expect.any(Number),
    });
    const [{ n } = { n: 0 }] = await asOwner<{ n: number }>(
      "select count(*)::integer as n from access.permissions",
    );
    expect(plan.schemas.find(({ name }: { name: string }) => name === "access").rows).toBeGreaterThan(n);
    expect(plan.roles).toContainEqual({
      name: roleName(prefix, "analyst"),
      usedBy: [`member ${prefix}_friend`],
    });
    expect((await cli(["uninstall"], { env: settings() })).code).toBe(2);
    await asAdmin(`drop role ${prefix}_friend`);
  });

  test("leaves the database as it was before the install, in one transaction if the locks suffice", async () => {
    await enableCompat(compatSystems(), target());
    const outcome = await uninstall({ ...target(), roles: true, maxLocks: 1_000_000 });
    expect(outcome).toMatchObject({ transactions: 1, keptRoles: [], notes: [] });
    expect(outcome.droppedRoles).toHaveLength(8);
    expect(await dump()).toBe(before);
    expect(await rolesOfPlinth()).toEqual([]);
    await expect(uninstall(target())).rejects.toMatchObject({ code: "NOT_INSTALLED" });
  });

  test("killed in the middle, it finishes when it runs again, and migrate rejects the rest; with the application if asked to", async () => {
    const folder = await makeMigrationsFolder({
      committed: {
        "000001-extra.sql":
          "create schema extra; create table extra.t (user_id uuid references identity.users on delete cascade);",
      },
    });
    cleanups.push(() => folder.remove());
    await folder.write("plinth.config.mjs", 'export default { schemas: ["extra"], migrations: "." };');
    await migrateDatabase({ ...target(), queues: QUEUES, applicationMigrations: folder.path });
    await asOwner(
      "create table shop.customers (name text); create index on shop.customers using gin (name plinth.gin_trgm_ops)",
    );
    await expect(uninstall(target())).rejects.toMatchObject({
      code: "UNINSTALL_BLOCKED",
      hint: expect.stringMatching(
        /--application .*\n {2}table constraint t_user_id_fkey on extra\.t\n {2}index shop\.customers_name_idx .*\n {2}schema plinth_app_migrate/,
      ),
    });
    // A superuser moves the extension that the neighbour's index uses.
    await asAdmin("alter extension pg_trgm set schema public");
    const env = { ...settings(), PLINTH_CONFIG: join(folder.path, "plinth.config.mjs") };
    await withClient(ownerUrl, async (holder) => {
      await holder.query("begin; lock table plinth_jobs.version in access share mode");
      const child = startCli(["uninstall", "--application", "--yes", "--force"], env);
      let log = "";
      child.stderr!.on("data", (text) => {
        log += text;
      });
      const ended = new Promise((resolve) => child.once("close", resolve));
      const isWaiting = async () =>
        (
          await asAdmin(
            "select from pg_stat_activity where datname = current_database() and application_name = 'plinth migrate' and wait_event_type = 'Lock'",
          )
        ).length === 1;
      while (child.exitCode === null && !(log.includes("Removed part 1 ") && (await isWaiting())))
        await sleep(20);
      expect([child.exitCode, log]).toEqual([null, expect.stringContaining("Removed part 1 ")]);
      child.kill("SIGKILL");
      await ended;
      await holder.query("rollback");
    });
    // The server may end the statement of the killed process only later.
    const orphans =
      "select from pg_stat_activity where datname = current_database() and application_name like 'plinth migrate%'";
    while ((await asAdmin(orphans)).length > 0) await sleep(20);
    await expect(migrate()).rejects.toMatchObject({
      code: "DATABASE_OCCUPIED",
      hint: expect.stringContaining("run plinth uninstall again"),
    });
    // A new schema of the same name is not Plinth's.
    await asOwner(
      "set client_min_messages = warning; drop schema learning cascade; create schema learning; create table learning.theirs ()",
    );
    const { code, stdout, stderr } = await cli(["uninstall", "--application", "--yes", "--roles"], { env });
    expect([code, stderr]).toEqual([0, expect.stringContaining("Removed part")]);
    expect(stdout).toContain(`Removed Plinth from the database ${database}`);
    await asOwner("drop table learning.theirs; drop schema learning");
    // The neighbour's index keeps its extension.
    expect(
      await asOwner(
        "select extname as name, extnamespace::regnamespace::text as schema from pg_extension where extname = 'pg_trgm'",
      ),
    ).toEqual([{ name: "pg_trgm", schema: "public" }]);
    await asOwner("drop table shop.customers; drop extension pg_trgm");
    expect(await dump()).toBe(before);
    expect(await rolesOfPlinth()).toEqual([]);
  });
});
