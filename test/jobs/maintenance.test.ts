import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { openServerLog } from "../../src/database/embedded/server-log.ts";
import { TIMETABLE } from "../../src/jobs/index.ts";
import type { JobContext, JobTools } from "../../src/jobs/job.ts";
import { findTasks } from "../../src/maintenance/find-tasks.ts";
import { cli, databaseEnv } from "../cli/run-cli.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let owner: pg.Client;
let worker: pg.Client;
beforeAll(async () => {
  db = await createTestDatabase();
  owner = new pg.Client(db.url("owner"));
  worker = new pg.Client(db.url("worker"));
  await owner.connect();
  await worker.connect();
});
afterAll(async () => {
  await worker?.end();
  await owner?.end();
  await db?.drop();
});

const runJob = (name: string, tools: JobTools) => {
  const context: JobContext = {
    ...tools,
    signal: new AbortController().signal,
    query: async (sql, values) => (await worker.query(sql, values)).rows,
  };
  return TIMETABLE.find((job) => job.name === name)!.run(context);
};

const sizeOf = async (index: string): Promise<number> =>
  Number((await owner.query("select pg_relation_size($1::regclass) as size", [index])).rows[0].size);

test("bloated, invalid and left over indexes and stale tables are found and mended, by the command or the job [C13, A14]", async () => {
  // Ten times as many rows as are left, and an index whose build failed.
  await owner.query(`
    create table private.bloated (id bigint primary key, name text) with (autovacuum_enabled = off);
    insert into private.bloated select n, n % 1000 from generate_series(1, 200000) n;
    delete from private.bloated where id % 10 <> 0;`);
  for (const name of ["bloated_name_idx", "bloated_name_idx_ccnew"])
    await expect(
      owner.query(`create unique index concurrently ${name} on private.bloated (name)`),
    ).rejects.toMatchObject({ code: "23505" });
  await owner.query("select pg_stat_force_next_flush()");
  await owner.query("select pg_stat_clear_snapshot()");

  const ownTasks = async () => (await findTasks(owner)).filter(({ target }) => target.includes("bloated"));
  expect((await ownTasks()).map(({ kind, target }) => `${kind} ${target}`)).toEqual([
    "drop private.bloated_name_idx_ccnew",
    "vacuum private.bloated",
    "reindex private.bloated_name_idx",
  ]);
  const before = await sizeOf("private.bloated_pkey");
  // The invalid index cannot be rebuilt while its rows are equal; the others are not held up.
  const first = await cli(["maintenance", "--json"], { env: databaseEnv(db) });
  expect(first.code).toBe(1);
  const failed = JSON.parse(first.stdout).tasks.filter(
    ({ error }: { error: string | null }) => error !== null,
  );
  expect(failed).toEqual([expect.objectContaining({ target: "private.bloated_name_idx", kind: "reindex" })]);
  await owner.query("update private.bloated set name = id");
  await owner.query("select pg_stat_force_next_flush()");
  await owner.query("vacuum analyze private.bloated");
  expect((await ownTasks()).map(({ kind, target }) => `${kind} ${target}`)).toEqual([
    // The rebuild that failed has left it.
    "drop private.bloated_name_idx_ccnew",
    "reindex private.bloated_name_idx",
    "reindex private.bloated_pkey",
  ]);

  // Without the owner's URL, the job may not.
  expect(await runJob("maintain-tables", {})).toEqual({
    vacuumed: 0,
    analyzed: 0,
    reindexed: 0,
    dropped: 0,
    failed: 0,
  });
  expect(await runJob("maintain-tables", { ownerUrl: db.url("owner") })).toMatchObject({
    reindexed: 2,
    failed: 0,
  });
  expect(await ownTasks()).toEqual([]);
  expect(await sizeOf("private.bloated_pkey")).toBeLessThan(before / 3);
  await owner.query("drop table private.bloated");
});

test("partitioned tables, which autovacuum leaves out, are analyzed, and emptied default partitions vacuumed [A14]", async () => {
  await owner.query(`
    insert into security.login_attempts (status, created_at)
    select 'success', timestamptz '2020-01-15' + n * interval '1 minute' from generate_series(1, 2000) n`);
  await owner.query("select private.ensure_partitions(3)");
  // Autovacuum would be right to do the same first, or to look at rows that the vacuum then keeps.
  for (const partition of ["default", "2020_01"])
    await owner.query(`alter table security.login_attempts_${partition} set (autovacuum_enabled = off)`);
  await owner.query("analyze security.login_attempts_2020_01");
  await owner.query("select pg_stat_force_next_flush()");
  await owner.query("select pg_stat_clear_snapshot()");
  const targets = async () => (await findTasks(owner)).map(({ kind, target }) => `${kind} ${target}`);
  expect(await targets()).toEqual(
    expect.arrayContaining(["vacuum security.login_attempts_default", "analyze security.login_attempts"]),
  );
  await runJob("maintain-tables", { ownerUrl: db.url("owner") });
  expect(await targets()).toEqual([]);
  expect(await sizeOf("security.login_attempts_default")).toBe(0);
});

test("the server's log is rotated by size and age, and the job deletes files older than the policy keeps [C13]", async () => {
  const folder = mkdtempSync(join(tmpdir(), "plinth-log-"));
  const path = join(folder, "postgres.log");
  try {
    // A week old, then too large, then neither.
    for (const content of ["2020-02-29 23:59:59.999 UTC [1] old\n", "x".repeat(11 * 1024 * 1024), "new"]) {
      writeFileSync(path, content);
      openServerLog(path).close();
    }
    expect(readdirSync(folder).sort()).toEqual(["postgres.log", "postgres.log.1", "postgres.log.2"]);
    mkdirSync(join(folder, "postgres"));
    const days = (age: number) => new Date(Date.now() - age * 86_400_000);
    utimesSync(`${path}.1`, days(29), days(29));
    utimesSync(`${path}.2`, days(31), days(31));
    expect(await runJob("delete-old-server-logs", { serverLog: path })).toEqual({ files: 1 });
    expect(readdirSync(folder).sort()).toEqual(["postgres", "postgres.log", "postgres.log.1"]);
    await owner.query("update security.retention_policies set action = 'keep' where log = 'server_log'");
    utimesSync(`${path}.1`, days(99), days(99));
    expect(await runJob("delete-old-server-logs", { serverLog: path })).toEqual({ files: 0 });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
