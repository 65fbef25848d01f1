import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { getConstructionPlans, type Job, PgBoss } from "pg-boss";
import { roleName } from "../../src/config/roles.ts";
import { migrateDatabase, migrationStatus } from "../../src/database/migrate.ts";
import { rollback } from "../../src/database/rollback.ts";
import { FORMER_JOB_SCHEMA, JOB_SCHEMA } from "../../src/database/schemas.ts";
import type { ScratchDatabase } from "../../src/database/scratch-database.ts";
import { uninstall } from "../../src/database/uninstall/uninstall.ts";
import { QUEUES } from "../../src/jobs/index.ts";
import { MIGRATIONS_FOLDER } from "../../src/support/paths.ts";
import { createEmptyTestDatabase, withClient } from "../support/database.ts";

// A database whose history and job queue have the names of before, upgraded while an old worker runs.

let db: ScratchDatabase;
/** Migrations since the schemas have their own names; rolling them back leaves a database of before. */
let since: number;
const target = () => ({ ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix });
const migrate = () => migrateDatabase({ ...target(), queues: QUEUES });
const query = <Row extends object>(sql: string, values: unknown[] = []): Promise<Row[]> =>
  withClient(db.url("owner"), async (client) => (await client.query<Row>(sql, values)).rows);
const bossOf = (schema: string, connectionString: string): PgBoss => {
  const boss = new PgBoss({
    connectionString,
    schema,
    migrate: false,
    createSchema: false,
    supervise: false,
    // Otherwise it sends the scheduled job itself at 02:17.
    schedule: false,
  });
  boss.on("error", () => {});
  return boss;
};
const driftOf = async (schema: string) => {
  const boss = bossOf(schema, db.url("owner"));
  try {
    await boss.start();
    return (await boss.detectSchemaDrift()).ok;
  } finally {
    await boss.stop({ graceful: false });
  }
};
const places = async () =>
  (
    await query<{ name: string }>(
      `select nspname as name from pg_namespace
       where nspname in ('graphile_migrate', 'pgboss', 'plinth_jobs', 'plinth_migrate') order by 1`,
    )
  ).map(({ name }) => name);

beforeAll(async () => {
  db = await createEmptyTestDatabase();
  const { applied } = await migrate();
  since = applied.length - applied.findIndex((name) => name.includes("own-schema-names"));
});
afterAll(() => db.drop());

test("a rollback leaves the history and the queue where the version before looks for them", async () => {
  await rollback({ ...target(), steps: since });
  expect(await places()).toEqual(["graphile_migrate", "pgboss"]);
  expect(await driftOf(FORMER_JOB_SCHEMA)).toBe(true);
  expect((await migrationStatus(target())).pending).toHaveLength(since);
  expect(await query("select plinth.enqueue_job('end-expired-sessions') is not null as queued")).toEqual([
    { queued: true },
  ]);
});

test("migrate moves both with their jobs and schedules: an old worker gets an error, a new one finishes its job", async () => {
  const old = bossOf(FORMER_JOB_SCHEMA, db.url("worker"));
  await old.start();
  let job: Job | undefined;
  try {
    await old.schedule("ensure-partitions", "17 2 * * *", { madeBy: "plinth" }, { tz: "UTC" });
    await old.send("ensure-partitions", { by: "old" });
    [job] = await old.fetch("ensure-partitions");
    expect(job).toMatchObject({ data: { by: "old" } });

    expect((await migrate()).applied).toHaveLength(since);
    expect(await places()).toEqual(["plinth_jobs", "plinth_migrate"]);
    await expect(old.complete("ensure-partitions", job!.id)).rejects.toThrow(/pgboss.* does not exist/);
  } finally {
    await old.stop({ graceful: false });
  }
  expect(await driftOf(JOB_SCHEMA)).toBe(true);
  expect(
    await query("select name, state::text from plinth_jobs.job where name not like '\\_%' order by 1"),
  ).toEqual([
    { name: "end-expired-sessions", state: "created" },
    { name: "ensure-partitions", state: "active" },
  ]);
  expect(await query("select name, cron from plinth_jobs.schedule")).toEqual([
    { name: "ensure-partitions", cron: "17 2 * * *" },
  ]);

  // As if the old worker had been silent for a minute.
  await query("update plinth_jobs.job set heartbeat_on = now() - interval '1 minute' where id = $1", [
    job!.id,
  ]);
  const next = bossOf(JOB_SCHEMA, db.url("worker"));
  await next.start();
  try {
    await next.supervise("ensure-partitions");
    await query("update plinth_jobs.job set start_after = now() where id = $1", [job!.id]);
    const [again] = await next.fetch("ensure-partitions");
    expect(again).toMatchObject({ id: job!.id, data: { by: "old" } });
    await next.complete("ensure-partitions", again!.id);
  } finally {
    await next.stop({ graceful: false });
  }
  expect(await query("select state from plinth_jobs.job where id = $1", [job!.id])).toEqual([
    { state: "completed" },
  ]);
  expect(await migrate()).toEqual({ applied: [] });
});

test("leaves a neighbour's history and queue alone, also when it rolls back and migrates again", async () => {
  await query(`
    create schema graphile_migrate;
    create table graphile_migrate.migrations (
      hash text primary key, previous_hash text, filename text not null, date timestamptz not null default now()
    );
    insert into graphile_migrate.migrations (hash, filename) values ('sha1:a neighbour''s', '000001.sql')`);
  await query(getConstructionPlans(FORMER_JOB_SCHEMA));
  await query("select pgboss.create_queue('theirs', '{\"policy\": \"standard\"}')");
  const theirs = () =>
    query(
      `select (select string_agg(hash, ',') from graphile_migrate.migrations) as history,
         (select string_agg(name, ',') from pgboss.queue) as queues`,
    );
  const before = await theirs();
  expect(before).toEqual([{ history: "sha1:a neighbour's", queues: "theirs" }]);
  await rollback({ ...target(), steps: since });
  expect((await migrate()).applied).toHaveLength(since);
  expect(await migrate()).toEqual({ applied: [] });
  expect(await theirs()).toEqual(before);
  expect(await places()).toEqual(["graphile_migrate", "pgboss", "plinth_jobs", "plinth_migrate"]);
  expect(
    await query("select has_schema_privilege($1, 'pgboss', 'usage') as may", [
      roleName(db.rolePrefix, "worker"),
    ]),
  ).toEqual([{ may: false }]);
});

test("a version before finds no history here, and its first migration fails without a change", async () => {
  const [first] = (await readdir(join(MIGRATIONS_FOLDER, "committed"))).sort();
  const text = await readFile(join(MIGRATIONS_FOLDER, "committed", first!), "utf8");
  const sql = text.replaceAll(
    /:PLINTH_(\w+)/g,
    (_, role: string) => `${db.rolePrefix}_${role.toLowerCase()}`,
  );
  const [before] = await query("select count(*) from pg_class");
  await withClient(db.url("owner"), async (client) => {
    await client.query("begin; set local search_path = ''");
    await expect(client.query(sql)).rejects.toMatchObject({
      code: "42P06",
      message: 'schema "plinth" already exists',
    });
    await client.query("rollback");
  });
  expect(await query("select count(*) from pg_class")).toEqual([before]);
});

test("uninstall keeps a neighbour's schemas and, if an earlier version made the install, gives PUBLIC no privilege", async () => {
  // Earlier versions did not record the state before the install.
  await query("drop table plinth_migrate.before_install");
  expect(await uninstall(target())).toMatchObject({
    droppedRoles: [],
    notes: [
      expect.stringMatching(/^PUBLIC may not connect\. .*grant connect, temporary on database/),
      // This owner may not change roles.
      expect.stringMatching(/^An administrator can reset it: alter role "\w+_analyst"/),
      expect.stringMatching(/^An administrator can reset it: .* reset statement_timeout;$/),
      expect.stringMatching(/^An administrator can reset it: .* reset idle_in_transaction_session_timeout;$/),
    ],
  });
  expect(await places()).toEqual(["graphile_migrate", "pgboss"]);
  expect(
    await query("select has_database_privilege('public', current_database(), 'connect') as may"),
  ).toEqual([{ may: false }]);
});
