import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import pg from "pg";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { QUEUES, startWorker, TIMETABLE, type Worker } from "../../src/jobs/index.ts";
import { queueRun } from "../../src/jobs/queue-run.ts";
import { DEAD_LETTER_QUEUE } from "../../src/jobs/queues.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { collectLog, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

let db: TestDatabase;
let owner: pg.Client;
/** Holds the lock that a refresh waits for. */
let blocker: pg.Client;

beforeAll(async () => {
  db = await createTestDatabase();
  owner = new pg.Client(db.url("owner"));
  blocker = new pg.Client(db.url("owner"));
  await Promise.all([owner.connect(), blocker.connect()]);
});
beforeEach(() => owner.query("delete from plinth_jobs.job"));
afterAll(async () => {
  await Promise.all([owner.end(), blocker.end()]);
  await db.drop();
});

const REFRESH = "refresh-content-popularity";

/** The sessions that wait in the middle of a refresh. */
const refreshing = async (): Promise<number[]> =>
  (
    await owner.query<{ pid: number }>(
      "select pid from pg_locks where relation = 'learning.content_consumption'::regclass and not granted",
    )
  ).rows.map(({ pid }) => pid);

const isPopulated = async () =>
  (
    await owner.query<{ populated: boolean }>(
      "select relispopulated as populated from pg_class where oid = 'analytics.content_popularity'::regclass",
    )
  ).rows[0]!.populated;

/** Creates a job from a schedule, as pg-boss does. */
const send = (name: string) =>
  owner.query(
    `insert into plinth_jobs.job (name, policy, retry_limit, retry_delay, dead_letter, expire_seconds, heartbeat_seconds)
     select name, policy, retry_limit, retry_delay, dead_letter, expire_seconds, heartbeat_seconds
     from plinth_jobs.queue
     where name = $1`,
    [name],
  );

test("gives every worked queue a heartbeat, also in existing databases", async () => {
  await owner.query("update plinth_jobs.queue set heartbeat_seconds = null");
  await migrateDatabase({ ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, queues: QUEUES });
  const { rows } = await owner.query<{ name: string; heartbeat_seconds: number | null }>(
    "select name, heartbeat_seconds from plinth_jobs.queue",
  );
  expect(rows.map(({ name }) => name).sort()).toEqual(QUEUES.map(({ name }) => name).sort());
  for (const { name, heartbeat_seconds } of rows)
    if (name !== DEAD_LETTER_QUEUE) expect([name, heartbeat_seconds]).toEqual([name, 20]);
});

test("releases the jobs of a worker within a minute after kill -9, also of one that refreshes a view", async () => {
  // A job that is retried and a job that is not, whose next run only needs the queue.
  const sleeping = ["expire-token-holds", "detect-suspicious-activity"];
  const names = [...sleeping, REFRESH];
  await owner.query("refresh materialized view analytics.content_popularity with no data");
  await blocker.query("begin; lock table learning.content_consumption");
  const victim = spawn(
    process.execPath,
    [join(PACKAGE_ROOT, "test/support/sleeping-worker.ts"), db.url("worker"), ...sleeping, `real:${REFRESH}`],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const begun = new Set<string>();
  createInterface(victim.stdout).on("line", (line) => begun.add(line));
  for (const name of names) await send(name);
  await until(() => names.every((name) => begun.has(name)), { timeoutMs: 60_000 });
  await until(async () => (await refreshing()).length === 1);
  victim.kill("SIGKILL");
  await once(victim, "exit");
  // The server notices a lost client only when a statement ends, so the machine with the worker is gone in the middle of it.
  await withClient(db.adminUrl, async (admin) =>
    admin.query("select pg_terminate_backend(pid) from unnest($1::integer[]) pid", [await refreshing()]),
  );
  await until(async () => (await refreshing()).length === 0);
  await blocker.query("rollback");
  expect(await isPopulated()).toBe(false);
  const active = async () =>
    (await owner.query("select from plinth_jobs.job where name = any($1) and state = 'active'", [names]))
      .rowCount;
  expect(await active()).toBe(3);
  // As if the 20 seconds of a heartbeat had passed; the rest of the minute is the worker's search for such jobs.
  const { rows: aged } = await owner.query(
    `update plinth_jobs.job set heartbeat_on = heartbeat_on - interval '20 seconds'
     where state = 'active' and heartbeat_seconds = 20 returning name`,
  );
  expect(aged).toHaveLength(3);

  let worker: Worker | undefined;
  try {
    worker = await startWorker({
      workerUrl: db.url("worker"),
      logger: collectLog([]),
      timetable: TIMETABLE.filter(({ name }) => names.includes(name)),
      pollingIntervalSeconds: 0.5,
    });
    await until(async () => (await active()) === 0, { timeoutMs: 60_000, everyMs: 200 });
    // The refresh is not retried, because the next run makes up for it.
    await queueRun(owner, REFRESH);
    await until(isPopulated);
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
            "select from plinth_jobs.job where name = any($1) and state = 'completed' and retry_count = 0",
            [names],
          )
        ).rowCount === names.length,
    );
  } finally {
    await other.close();
    await worker.close();
  }
});
