import { readdirSync } from "node:fs";
import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type pg from "pg";
import { getRollbackPlans } from "pg-boss";
import { planLines } from "../../src/cli/plan-lines.ts";
import { FORMER_PLINTH_HISTORY, PLINTH_HISTORY, plinthHistory } from "../../src/database/history.ts";
import { lockMode } from "../../src/database/locks/lock-modes.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { rollback } from "../../src/database/rollback.ts";
import type { ScratchDatabase } from "../../src/database/scratch-database.ts";
import type { Forecast } from "../../src/migration-plan/forecast.ts";
import type { WithScratchServer } from "../../src/migration-plan/plan.ts";
import { planMigrations } from "../../src/migration-plan/plan-migrations.ts";
import { planRollback } from "../../src/migration-plan/plan-rollback.ts";
import { MIGRATIONS_FOLDER } from "../../src/support/paths.ts";
import { databaseEnv } from "../cli/run-cli.ts";
import { runHere } from "../cli/run-here.ts";
import {
  createEmptyTestDatabase,
  createTestDatabase,
  type TestDatabase,
  testSetup,
  withClient,
} from "../support/database.ts";
import { type MigrationsFolder, makeMigrationsFolder } from "../support/migrations-folder.ts";

// Each forecast is compared with the locks that the migration holds when it really runs: it is stopped at its last statement, which
// records it.

const RELATIONS = `
  select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`;

const LOCKS = `
  select distinct n.nspname || '.' || c.relname as name, l.mode
  from pg_locks l
    join pg_stat_activity a on a.pid = l.pid
    join pg_class c on c.oid = l.relation
    join pg_namespace n on n.oid = c.relnamespace
  where a.application_name = 'plinth migrate' and a.datname = current_database() and l.granted
    and l.database = (select oid from pg_database where datname = current_database())
    -- Reads and writes of indexes depend on rows, and exclude nothing that the table's lock does not.
    and not (c.relkind in ('i', 'I') and l.mode in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock'))`;

const HISTORIES = [PLINTH_HISTORY, FORMER_PLINTH_HISTORY];
const isRecord = (name: string) => HISTORIES.some((schema) => name === `${schema}.migrations`);
const isOfHistory = (name: string) => HISTORIES.some((schema) => name.startsWith(`${schema}.`));

/** Returns the names of all relations, but those of the server. */
const relationNames = (url: string): Promise<Set<string>> =>
  withClient(url, async (client) => {
    const { rows } = await client.query<{ name: string }>(RELATIONS);
    return new Set(rows.map(({ name }) => name));
  });

interface Lock {
  readonly name: string;
  readonly mode: string;
}

/** Returns the locks on relations that existed before, while `run` waits to record its migration. */
async function locksOf(url: string, run: () => Promise<unknown>): Promise<Lock[]> {
  return withClient(url, async (blocker) =>
    withClient(url, async (client) => {
      const rows = async (sql: string) => (await client.query<Lock>(sql)).rows;
      const before = await relationNames(url);
      // A run from before own-schema-names moves the record first.
      const record = [...before].find(isRecord);
      const oid = (await rows(`select '${record}'::regclass::oid::text as name`))[0]!.name;
      await blocker.query(`begin; lock table ${record} in share mode`);
      const running = run();
      // Tables of other clones of the template have the same number.
      const waiting = `select from pg_locks where not granted and relation = ${oid}
        and database = (select oid from pg_database where datname = current_database())`;
      while ((await rows(waiting)).length === 0) await sleep(10);
      const locks = await rows(LOCKS);
      await blocker.query("rollback");
      await running;
      return locks.filter(({ name }) => before.has(name) && !isOfHistory(name));
    }),
  );
}

const described = (locks: readonly Lock[]) =>
  locks.map(({ name, mode }) => `${name}: ${lockMode(mode)}`).sort();

const locksIn = (forecast: Forecast | undefined) =>
  forecast!.locks.map(({ relation, mode }) => `${relation}: ${mode}`).sort();

/**
 * The locks without those that only the first row of a session takes: PostgreSQL reads the bounds of a partition once, and then holds
 * ACCESS SHARE on its table, which a row locks more strongly anyway. A plan, like `plinth migrate`, applies all migrations in one
 * session, and the test each in its own.
 */
const onceInSession = (locks: readonly string[]) =>
  locks.filter(
    (lock) =>
      !lock.endsWith(": ACCESS SHARE") || !locks.includes(lock.replace("ACCESS SHARE", "ROW EXCLUSIVE")),
  );

const withScratchServer: WithScratchServer = (use) => use({ rootUrl: testSetup().adminUrl });

describe("hand-written migrations", () => {
  const BASE = `
    create schema one;
    create table one.parent (id integer primary key, note text);
    create table one.child (id integer, parent_id integer, gone text, kept text);
    create table one.dropped (id integer);
    create table one.filled (id integer);
    create table one.log (at date not null, text text) partition by range (at);
    create table one.log_a partition of one.log for values from ('2026-01-01') to ('2026-02-01');
    create index log_text_idx on one.log (text);
    create view one.names as select id from one.parent;
    create function one.touch() returns void language sql as 'update one.parent set note = id::text';`;
  const CASES: Record<string, string> = {
    "000002-rewrite.sql":
      "alter table one.child alter column id type bigint;\nalter table one.filled add column at timestamptz default clock_timestamp();",
    "000003-validate.sql":
      "alter table one.child alter column parent_id set not null;\nalter table one.child add constraint child_parent_fkey foreign key (parent_id) references one.parent;",
    "000004-without-work.sql":
      "alter table one.parent add column added integer default 0;\ncreate or replace view one.names as select id, note from one.parent;\ncreate policy p on one.child using (true);",
    "000005-index.sql": "create index child_kept_idx on one.child (kept);",
    "000006-log.sql":
      "alter table one.log add column level integer;\ncreate index log_level_idx on one.log (level);",
    "000007-hidden.sql":
      "do $$ begin execute 'lock table one.parent in share mode'; perform one.touch(); end $$;\nupdate one.child set kept = '';",
    "000008-lose.sql":
      "drop table one.dropped;\nalter table one.child drop column gone;\ntruncate one.filled;\ndelete from one.parent where false;\ndrop index one.log_text_idx;",
    "000009-concurrent.sql":
      "--! no-transaction\ncreate index concurrently if not exists parent_note_idx on one.parent (note);",
  };
  const NAMES = Object.keys(CASES);

  let db: ScratchDatabase;
  const folders: MigrationsFolder[] = [];
  beforeAll(async () => {
    db = await createEmptyTestDatabase();
    await migrateDatabase({ ...options(await folderWith(0)) });
    await withClient(db.url("owner"), (client) =>
      client.query(`
        create table one.log_b partition of one.log for values from ('2026-02-01') to ('2026-03-01');
        insert into one.parent select generate_series(1, 3);
        insert into one.child select 1, 1, nullif(g, 1)::text from generate_series(1, 3) g;
        insert into one.dropped values (1), (2);
        insert into one.filled values (1);
        analyze one.child;`),
    );
  });
  afterAll(async () => {
    for (const folder of folders) await folder.remove();
    await db.drop();
  });

  async function folderWith(count: number): Promise<MigrationsFolder> {
    const committed = {
      "000001-base.sql": BASE,
      ...Object.fromEntries(Object.entries(CASES).slice(0, count)),
    };
    const folder = await makeMigrationsFolder({
      committed,
      rollback: {
        "000001-base.sql": "drop schema one cascade;",
        "000002-rewrite.sql": "alter table one.child drop column gone;\ndrop table one.dropped, one.log;",
      },
    });
    folders.push(folder);
    return folder;
  }
  const options = (folder: MigrationsFolder) => ({
    ownerUrl: db.url("owner"),
    rolePrefix: db.rolePrefix,
    migrationsFolder: folder.path,
  });
  const inOwner = <T>(use: (client: pg.Client) => Promise<T>) => withClient(db.url("owner"), use);

  test("the forecast names rewrites, scans, index builds, losses, and sessions in the way, and changes nothing", async () => {
    const folder = await folderWith(NAMES.length);
    const plan = await inOwner(async (reader) => {
      await reader.query("set application_name = 'monthly report'; begin; select from one.child");
      return planMigrations({ ...options(folder), withScratchServer });
    });
    const steps = new Map(plan.steps.map((step) => [step.name, step]));
    expect([...steps.keys()]).toEqual(NAMES);
    const work = NAMES.map((name) =>
      steps.get(name)!.forecast!.work.map((each) => `${each.work} ${each.relation}:${each.at.line}`),
    );
    expect(work).toEqual([
      ["rewrite one.child:4", "rewrite one.filled:5"],
      ["scan one.child:4", "scan one.child:5"],
      [],
      ["index build one.child:4"],
      ["index build one.log_a:5", "index build one.log_b:5"],
      ["scan one.parent:4", "scan one.child:5"],
      [],
      ["index build one.parent:5"],
    ]);
    const losses = NAMES.flatMap((name) => steps.get(name)!.forecast!.losses);
    expect(
      losses.map(({ loss, relation, column, rows, isExact }) => [loss, relation, column, rows, isExact]),
    ).toEqual([
      ["rows", "one.parent", null, null, false],
      ["update", "one.child", null, null, false],
      ["table", "one.dropped", null, 2, true],
      ["column", "one.child", "gone", 2, true],
      ["truncate", "one.filled", null, 1, true],
      ["delete", "one.parent", null, null, false],
    ]);
    expect(steps.get("000002-rewrite.sql")).toMatchObject({ isReversible: true, isTransaction: true });
    expect(steps.get("000009-concurrent.sql")).toMatchObject({ isReversible: false, isTransaction: false });
    expect(steps.get("000002-rewrite.sql")!.forecast!.locks[0]).toMatchObject({
      relation: "one.child",
      mode: "ACCESS EXCLUSIVE",
      blocks: "reads and writes",
      rows: 3,
      statements: 2,
      bytes: expect.any(Number),
    });
    expect(steps.get("000002-rewrite.sql")!.forecast!.blockers).toEqual([
      expect.objectContaining({
        relation: "one.child",
        needs: "ACCESS EXCLUSIVE",
        mode: "ACCESS SHARE",
        application: "monthly report",
        state: "idle in transaction",
      }),
    ]);
    const lines = planLines(plan, { isRollback: false }).join("\n");
    expect(lines).toMatch(
      /ACCESS EXCLUSIVE on one\.child \(about 3 rows, \d+ kB\) blocks reads and writes from line 4, for 2 statements/,
    );
    expect(lines).toMatch(/ACCESS EXCLUSIVE on one\.log with 2 partitions \(/);
    // The lock of the foreign key is weaker than the one that the table has by then.
    expect(lines).toMatch(/SHARE ROW EXCLUSIVE on one\.parent \(.* blocks writes from line 5/);
    expect(lines).not.toMatch(/SHARE ROW EXCLUSIVE on one\.child/);
    expect(lines).toMatch(/000008-lose\.sql .*no rollback file: it cannot be undone/);
    expect(await inOwner((client) => client.query(`select from ${PLINTH_HISTORY}.migrations`))).toMatchObject(
      {
        rowCount: 1,
      },
    );
  });

  test("the forecast equals the locks that each migration holds when it runs", async () => {
    const plan = await planMigrations({ ...options(await folderWith(NAMES.length)), withScratchServer });
    for (const [index, name] of NAMES.entries()) {
      const folder = await folderWith(index + 1);
      const forecast = locksIn(plan.steps[index]!.forecast);
      // A concurrent build has released its lock when it is recorded.
      const expected = described(await locksOf(db.url("owner"), () => migrateDatabase(options(folder))));
      if (name === "000009-concurrent.sql") expect(forecast).toEqual(["one.parent: SHARE UPDATE EXCLUSIVE"]);
      else expect([name, ...forecast]).toEqual([name, ...expected]);
      if (name !== "000009-concurrent.sql") expect(forecast.length).toBeGreaterThan(0);
    }
  });

  test("a rollback's plan counts the rows of each table and column that would be lost", async () => {
    const other = await createEmptyTestDatabase();
    try {
      const folder = await folderWith(1);
      const target = { ownerUrl: other.url("owner"), rolePrefix: other.rolePrefix };
      await migrateDatabase({ ...target, migrationsFolder: folder.path });
      await withClient(other.url("owner"), (client) =>
        client.query(`
          insert into one.child values (1, 1, 'x'), (2, 1, null);
          insert into one.dropped values (1), (2), (3);
          insert into one.log values ('2026-01-05');`),
      );
      const { steps, notes } = await withClient(other.url("worker"), () =>
        planRollback({
          ...target,
          history: { ...plinthHistory, migrationsFolder: folder.path },
          steps: 1,
          withScratchServer,
        }),
      );
      expect(notes).toEqual([expect.stringContaining("1 session of Plinth's roles is connected.")]);
      expect(steps.map(({ name }) => name)).toEqual(["000002-rewrite.sql"]);
      const { losses, locks } = steps[0]!.forecast!;
      expect(
        losses.map(({ loss, relation, column, rows, isExact }) => [loss, relation, column, rows, isExact]),
      ).toEqual(
        expect.arrayContaining([
          ["column", "one.child", "gone", 1, true],
          ["table", "one.dropped", null, 3, true],
          ["table", "one.log", null, 1, true],
        ]),
      );
      expect(losses).toHaveLength(3);
      expect(locks.filter(({ mode }) => mode === "ACCESS EXCLUSIVE").map(({ relation }) => relation)).toEqual(
        expect.arrayContaining(["one.child", "one.dropped", "one.log", "one.log_a"]),
      );
      expect(planLines({ steps, notes: [] }, { isRollback: true }).join("\n")).toContain(
        "drops the table one.dropped, 3 rows (counted), at rollback/000002-rewrite.sql:2",
      );
    } finally {
      await other.drop();
    }
  });

  test("says that everything is new, or why nothing can be forecast", async () => {
    const empty = await createEmptyTestDatabase();
    try {
      const folder = await folderWith(1);
      const target = {
        ownerUrl: empty.url("owner"),
        rolePrefix: empty.rolePrefix,
        migrationsFolder: folder.path,
      };
      const fresh = await planMigrations({ ...target, withScratchServer });
      expect(fresh).toMatchObject({
        steps: [{ forecast: undefined }, { forecast: undefined }, { of: "jobs" }],
        notes: [expect.stringContaining("everything is new")],
      });
    } finally {
      await empty.drop();
    }
    const folder = await makeMigrationsFolder({ committed: { "000001-own.sql": "select 1;" } });
    folders.push(folder);
    const missing = await planMigrations({
      ...options(await folderWith(NAMES.length)),
      applicationMigrations: folder.path,
      withScratchServer: (use) => use({ missing: "There is no scratch server." }),
    });
    expect(missing).toMatchObject({
      steps: [{ name: "000001-own.sql", of: "application", forecast: undefined }],
      notes: ["There is no scratch server."],
    });
  });
});

describe("Plinth's own migrations", () => {
  const names = readdirSync(join(MIGRATIONS_FOLDER, "committed"))
    .filter((name) => name.endsWith(".sql"))
    .sort();
  /** The one that moves the record and the job queue: a part of the files before it cannot run with this version of Plinth. */
  const moving = names.findIndex((name) => name.endsWith("-own-schema-names.sql"));
  const latest = names.length - 8;
  let db: TestDatabase;
  let folder: string;
  // The tests run in order: the database goes back once, and then forward.
  beforeAll(async () => {
    db = await createTestDatabase();
    folder = await mkdtemp(join(tmpdir(), "plinth-test-plan-"));
    await mkdir(join(folder, "committed"));
    await rollback({ ...target(), steps: names.length - moving });
  });
  afterAll(async () => {
    await rm(folder, { recursive: true });
    await db.drop();
  });
  const target = () => ({ ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix });
  const upTo = async (count: number) => {
    for (const name of names.slice(0, count))
      await cp(join(MIGRATIONS_FOLDER, "committed", name), join(folder, "committed", name));
    return { ...target(), migrationsFolder: folder };
  };
  const dropQueue = (schema: string) =>
    withClient(db.url("owner"), (client) => client.query(getRollbackPlans(schema)));

  test("the forecast includes the job queue under its former name", async () => {
    await dropQueue("pgboss");
    const env = { ...databaseEnv(db), TEST_DATABASE_URL: testSetup().adminUrl };
    const planned = await runHere(["migrate", "--plan", "--json"], { env });
    expect(planned).toMatchObject({ code: 0 });
    const { steps } = JSON.parse(planned.stdout) as Awaited<ReturnType<typeof planMigrations>>;
    const moves = steps.find(({ name }) => name === names[moving]);
    expect(locksIn(moves!.forecast)).toContainEqual(expect.stringMatching(/\.bam: /));
    // Its tables have other names by then, so that they are new to the live database.
    expect(steps.at(-1)).toMatchObject({ name: "job queue", forecast: { locks: [] } });
    expect((await migrateDatabase(await upTo(moving + 1))).applied).toEqual([names[moving]]);
  });

  /**
   * A forecast of several migrations leaves out the tables that an earlier one of them creates, so that the one of the latest eight
   * tells more of them.
   */
  test("the forecasts of those since the job queue has its own schema, and of the latest eight, equal the locks that they hold", async () => {
    const forecasts: { planned: ReadonlySet<string>; steps: Map<string, Forecast | undefined> }[] = [];
    for (let index = moving + 1; index < names.length; index++) {
      if (index === moving + 1 || index === latest) {
        await dropQueue("plinth_jobs");
        const planned = await relationNames(db.url("owner"));
        const { steps } = await planMigrations({ ...target(), withScratchServer });
        expect(steps.map(({ name }) => name)).toEqual([...names.slice(index), "job queue"]);
        forecasts.push({ planned, steps: new Map(steps.map((step) => [step.name, step.forecast])) });
      }
      const name = names[index]!;
      const files = await upTo(index + 1);
      const locks = await locksOf(db.url("owner"), async () =>
        expect((await migrateDatabase(files)).applied).toEqual([name]),
      );
      for (const { planned, steps } of forecasts) {
        const held = described(locks.filter((lock) => planned.has(lock.name)));
        expect([name, ...onceInSession(locksIn(steps.get(name)))]).toEqual([name, ...onceInSession(held)]);
      }
    }
    expect(forecasts).toHaveLength(2);
  });
});
