import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import pg from "pg";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { QUEUES, startWorker, TIMETABLE, type Worker } from "../../src/jobs/index.ts";
import { DEAD_LETTER_QUEUE } from "../../src/jobs/queues.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { collectLog, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let owner: pg.Client;

beforeAll(async () => {
  db = await createTestDatabase();
  owner = new pg.Client(db.url("owner"));
  await owner.connect();
});
beforeEach(() => owner.query("delete from pgboss.job"));
afterAll(async () => {
  await owner.end();
  await db.drop();
});

/** Creates a job from a schedule, as pg-boss does. */
const send = (name: string) =>
  owner.query(
    `insert into pgboss.job (name, policy, retry_limit, retry_delay, dead_letter, expire_seconds, heartbeat_seconds)
     select name, policy, retry_limit, retry_delay, dead_letter, expire_seconds, heartbeat_seconds
     from pgboss.queue
     where name = $1`,
    [name],
  );

test("gives every worked queue a heartbeat, also in existing databases", async () => {
  await owner.query("update pgboss.queue set heartbeat_seconds = null");
  await migrateDatabase({ ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, queues: QUEUES });
  const { rows } = await owner.query<{ name: string; heartbeat_seconds: number | null }>(
    "select name, heartbeat_seconds from pgboss.queue",
  );
  expect(rows.map(({ name }) => name).sort()).toEqual(QUEUES.map(({ name }) => name).sort());
  for (const { name, heartbeat_seconds } of rows)
    if (name !== DEAD_LETTER_QUEUE) expect([name, heartbeat_seconds]).toEqual([name, 20]);
});

test("releases the jobs of a worker within a minute after kill -9", async () => {
  // A job that is retried and a job that is not, whose next run only needs the queue.
  const names = ["expire-token-holds", "detect-suspicious-activity"];
  const victim = spawn(
    process.execPath,
    [join(PACKAGE_ROOT, "test/support/sleeping-worker.ts"), db.url("worker"), ...names],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const begun = new Set<string>();
  createInterface(victim.stdout).on("line", (line) => begun.add(line));
  for (const name of names) await send(name);
  await until(() => names.every((name) => begun.has(name)), { timeoutMs: 60_000 });
  victim.kill("SIGKILL");
  await once(victim, "exit");

  let worker: Worker | undefined;
  try {
    worker = await startWorker({
      workerUrl: db.url("worker"),
      logger: collectLog([]),
      timetable: TIMETABLE.filter(({ name }) => names.includes(name)),
      pollingIntervalSeconds: 0.5,
    });
    const active = async () =>
      (await owner.query("select from pgboss.job where name = any($1) and state = 'active'", [names]))
        .rowCount;
    expect(await active()).toBe(2);
    await until(async () => (await active()) === 0, { timeoutMs: 60_000, everyMs: 200 });
  } finally {
    await worker?.close();
  }
});

test("keeps a job alive beyond its heartbeat while all connections are busy", async () => {
  // As many jobs as there are connections for jobs; heartbeats that shared those connections would be late by 30 seconds.
  const names = TIMETABLE.slice(1, 6).map(({ name }) => name);
  const log: Record<string, unknown>[] = [];
  let runs = 0;
  const worker = await startWorker({
    workerUrl: db.url("worker"),
    logger: collectLog(log),
    timetable: names.map((name) => ({
      name,
      cron: "0 0 29 2 *",
      reason: "A test.",
      async run({ query }) {
        runs += 1;
        await query("select pg_sleep(30)", []);
        return {};
      },
    })),
    pollingIntervalSeconds: 0.5,
  });
  // Looks for jobs whose worker has died.
  const other = await startWorker({ workerUrl: db.url("worker"), logger: collectLog([]), timetable: [] });
  try {
    for (const name of names) await send(name);
    await until(async () => log.filter(({ msg }) => msg === "Job done").length >= names.length, {
      timeoutMs: 110_000,
      everyMs: 200,
    });
    expect(runs).toBe(names.length);
    await until(
      async () =>
        (
          await owner.query(
            "select from pgboss.job where name = any($1) and state = 'completed' and retry_count = 0",
            [names],
          )
        ).rowCount === names.length,
    );
  } finally {
    await other.close();
    await worker.close();
  }
}, 240_000);
