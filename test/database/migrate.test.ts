import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { migrateDatabase, migrationStatus } from "../../src/database/migrate.ts";
import type { ScratchDatabase } from "../../src/database/scratch-database.ts";
import { until } from "../support/api.ts";
import { createEmptyTestDatabase, withClient } from "../support/database.ts";
import {
  type FolderContents,
  type MigrationsFolder,
  makeMigrationsFolder,
} from "../support/migrations-folder.ts";
import { whileLocked } from "../support/waiting.ts";

let db: ScratchDatabase;
let folder: MigrationsFolder;
beforeEach(async () => {
  db = await createEmptyTestDatabase();
});
afterEach(async () => {
  await folder.remove();
  await db.drop();
});

const TWO: FolderContents = {
  committed: {
    "000001-one.sql": "create schema one;\ncreate table one.t (id integer primary key);",
    "000002-two.sql":
      "grant usage on schema one to :PLINTH_USER;\ncomment on schema one is 'owned by :PLINTH_OWNER';",
  },
  current: "-- Enter migration here\n",
};
const NAMES = Object.keys(TWO.committed!);

const use = async (contents: FolderContents) => {
  folder = await makeMigrationsFolder(contents);
};
const options = () => ({
  ownerUrl: db.url("owner"),
  rolePrefix: db.rolePrefix,
  migrationsFolder: folder.path,
});
const migrate = (log?: (line: string) => void) => migrateDatabase({ ...options(), ...(log ? { log } : {}) });
const rows = <Row extends object>(sql: string): Promise<Row[]> =>
  withClient(db.url("owner"), async (client) => (await client.query<Row>(sql)).rows);

describe("migrateDatabase", () => {
  test("runs pending migrations in order as an ordinary role, and finds nothing to do afterwards", async () => {
    await use(TWO);
    const lines: string[] = [];
    expect(await migrate((line) => lines.push(line))).toEqual({ applied: NAMES });
    expect(lines.filter((line) => NAMES.some((name) => line.includes(name)))).toHaveLength(2);
    expect(await rows("select from one.t")).toEqual([]);
    expect(await rows("select rolsuper from pg_roles where rolname = current_user")).toEqual([
      { rolsuper: false },
    ]);
    expect(await migrate()).toEqual({ applied: [] });
  });

  test("fills in the role names", async () => {
    await use(TWO);
    await migrate();
    expect(
      await rows(`select obj_description('one'::regnamespace) as comment,
                    has_schema_privilege('${db.rolePrefix}_user', 'one', 'usage') as usage`),
    ).toEqual([{ comment: `owned by ${db.rolePrefix}_owner`, usage: true }]);
  });

  test("runs each migration once when two calls overlap, by making the second wait", async () => {
    const waits = NAMES.map((name) => [name, `select pg_advisory_xact_lock(1);\n${TWO.committed![name]}`]);
    await use({ committed: Object.fromEntries(waits) });
    const lines: string[] = [];
    const isWaiting = () => lines.filter((line) => /waiting/.test(line)).length === 2;
    const calls = await whileLocked(db, [["select pg_advisory_xact_lock(1)"]], async () => {
      const calls = [1, 2, 3].map(() => migrate((line) => lines.push(line)));
      await until(isWaiting);
      return calls;
    });
    const outcomes = await Promise.all(calls);
    expect(outcomes.flatMap((outcome) => outcome.applied)).toEqual(NAMES);
    expect(outcomes.filter((outcome) => outcome.applied.length === 0)).toHaveLength(2);
    expect(isWaiting()).toBe(true);
  });

  test("runs an application's migrations after Plinth's, with a record of their own, and none before its first commit", async () => {
    await use(TWO);
    const application = await makeMigrationsFolder({
      committed: { "000001-one.sql": "create table one.more (id integer primary key);" },
    });
    const empty = await makeMigrationsFolder({});
    try {
      await rm(join(empty.path, "committed"), { recursive: true });
      const run = (applicationMigrations: string) => migrateDatabase({ ...options(), applicationMigrations });
      expect(await run(empty.path)).toEqual({ applied: NAMES, application: [] });
      expect(await run(application.path)).toEqual({ applied: [], application: ["000001-one.sql"] });
      const counts = await rows(
        `select (select count(*) from plinth_migrate.migrations)::integer as plinth,
           (select count(*) from plinth_app_migrate.migrations)::integer as application`,
      );
      expect(counts).toEqual([{ plinth: 2, application: 1 }]);
    } finally {
      await application.remove();
      await empty.remove();
    }
  });

  test("keeps a failing migration from changing anything, and keeps those before it", async () => {
    await use({
      committed: {
        ...TWO.committed,
        "000003-three.sql":
          "create table one.half (id integer);\n\n-- é, one character of two bytes\nselect * from one.missing;",
      },
    });
    await expect(migrate()).rejects.toMatchObject({
      name: "PlinthError",
      code: "MIGRATION_FAILED",
      // Two header lines, a blank one, then the body's fourth line.
      message: expect.stringMatching(/000003-three\.sql .*line 7\b.*42P01/),
    });
    expect(
      await rows("select to_regclass('one.half') as half, to_regclass('one.t') is not null as t"),
    ).toEqual([{ half: null, t: true }]);
    expect(await migrationStatus(options())).toMatchObject({ applied: NAMES, pending: ["000003-three.sql"] });
  });

  test("does not depend on settings of the owner's sessions", async () => {
    await use({
      committed: {
        "000001-one.sql":
          "create table public.t (at timestamptz default '2026-01-01 00:00', timeout text default current_setting('statement_timeout')); insert into public.t default values;",
      },
    });
    await rows(`alter role ${db.rolePrefix}_owner set timezone = 'Asia/Tokyo'`);
    await rows(`alter role ${db.rolePrefix}_owner set statement_timeout = '1h'`);
    await migrate();
    await rows(`alter role ${db.rolePrefix}_owner reset all`);
    expect(
      await rows(
        "select timeout, pg_get_expr(adbin, adrelid) ~ '00:00:00\\+00' as utc from public.t, pg_attrdef where adrelid = 'public.t'::regclass and adnum = 1",
      ),
    ).toEqual([{ timeout: "0", utc: true }]);
  });

  test("rejects names without a schema, which would depend on the search path", async () => {
    await use({ committed: { "000001-one.sql": "create table t (id integer);" } });
    await expect(migrate()).rejects.toMatchObject({ code: "MIGRATION_FAILED", cause: { code: "3F000" } });
  });
});

describe("migrateDatabase rejects", () => {
  test("a file edited after its commit", async () => {
    await use(TWO);
    await folder.write(
      "committed/000002-two.sql",
      `${await folder.read("committed/000002-two.sql")}select 1;\n`,
    );
    await expect(migrate()).rejects.toMatchObject({ code: "MIGRATION_CHANGED" });
    expect(await rows("select to_regnamespace('one') as one")).toEqual([{ one: null }]);
  });

  test("a history rewritten after it ran", async () => {
    await use(TWO);
    await migrate();
    await folder.remove();
    await use({ committed: { ...TWO.committed, "000001-one.sql": "create schema one;" } });
    await expect(migrate()).rejects.toMatchObject({ code: "MIGRATION_CHANGED" });
    await expect(migrationStatus(options())).rejects.toMatchObject({ code: "MIGRATION_CHANGED" });
  });

  test("a database that is ahead of the files", async () => {
    await use(TWO);
    await migrate();
    await folder.remove();
    await use({ committed: { "000001-one.sql": TWO.committed!["000001-one.sql"]! } });
    await expect(migrate()).rejects.toMatchObject({ code: "MIGRATIONS_AHEAD" });
    await expect(migrationStatus(options())).rejects.toMatchObject({ code: "MIGRATIONS_AHEAD" });
  });

  test("a file written by hand, and a missing folder", async () => {
    await use({});
    await folder.write("committed/000001-one.sql", "create schema one;\n");
    await expect(migrate()).rejects.toMatchObject({ code: "MIGRATIONS_INVALID" });
    await folder.remove();
    await expect(migrate()).rejects.toMatchObject({ code: "MIGRATIONS_MISSING" });
  });
});

describe("migrationStatus", () => {
  test("separates applied from pending, changes nothing, and does not wait for a migration", async () => {
    await use(TWO);
    const before = { applied: [], pending: NAMES, currentIsBlank: true };
    expect(await migrationStatus(options())).toEqual(before);
    expect(await rows("select to_regnamespace('plinth_migrate') as made")).toEqual([{ made: null }]);
    await withClient(db.url("owner"), async (client) => {
      await client.query("select pg_advisory_lock(4727445306447283)");
      expect(await migrationStatus(options())).toEqual(before);
    });
    await migrate();
    expect(await migrationStatus(options())).toMatchObject({ applied: NAMES, pending: [] });
  });

  test.each([
    ["/* a\n comment */ -- and another", true],
    ["select 1;", false],
    ["-- a comment\nselect 1; -- and another", false],
    ["--! Message: with a header\n\n-- only", true],
    ["--!include f.sql", false],
  ])("reports whether current.sql %j is blank: %s", async (current, blank) => {
    await use({ current, fixtures: { "f.sql": "select 1;" } });
    expect((await migrationStatus(options())).currentIsBlank).toBe(blank);
  });

  test("names a missing include in current.sql", async () => {
    await use({ current: "--!include missing.sql", fixtures: { "f.sql": "select 1;" } });
    await expect(migrationStatus(options())).rejects.toMatchObject({
      code: "MIGRATIONS_INVALID",
      message: expect.stringContaining("missing.sql"),
    });
  });
});
