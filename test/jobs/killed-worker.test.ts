import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import pg from "pg";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { QUEUES, startWorker, TIMETABLE, type Worker } from "../../src/jobs/index.ts";
import { queueRun } from "../../src/jobs/queue-run.ts";
import { DEAD_LETTER_QUEUE, HEARTBEAT_REFRESH_SECONDS, HEARTBEAT_SECONDS } from "../../src/jobs/queues.ts";
import { SUPERVISION } from "../../src/jobs/worker.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { collectLog, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { endSession, untilWaiting } from "../support/waiting.ts";

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
      `select l.pid from pg_locks l join pg_database d on d.oid = l.database
       where l.relation = 'learning.content_consumption'::regclass and not l.granted and d.datname = current_database()`,
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
  await until(() => names.every((name) => begun.has(name)), { timeoutMs: 300_000 });
  await until(async () => (await refreshing()).length === 1);
  victim.kill("SIGKILL");
  await once(victim, "exit");
  // The server notices a lost client only when a statement ends, so the machine with the worker is gone in the middle of it.
  for (const pid of await refreshing()) await endSession(db, pid);
  expect(await refreshing()).toEqual([]);
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
  // A job whose worker lives must stay.
  await owner.query(
    `insert into plinth_jobs.job (name, state, started_on, heartbeat_seconds, heartbeat_on)
     values ('delete-old-emails', 'active', now(), 20, now() + interval '1 hour')`,
  );

  let worker: Worker | undefined;
  try {
    worker = await startWorker({
      workerUrl: db.url("worker"),
      logger: collectLog([]),
      timetable: TIMETABLE.filter(({ name }) => names.includes(name)),
      pollingIntervalSeconds: 0.5,
    });
    await until(async () => (await active()) === 0, { timeoutMs: 300_000, everyMs: 200 });
    expect(
      (await owner.query("select state from plinth_jobs.job where name = 'delete-old-emails'")).rows,
    ).toEqual([{ state: "active" }]);
    // The refresh is not retried, because the next run makes up for it.
    await queueRun(owner, REFRESH);
    await until(isPopulated);
  } finally {
    await worker?.close();
  }
});

test("a heartbeat and a search for dead workers fit into the minute", () => {
  const { superviseIntervalSeconds, monitorIntervalSeconds } = SUPERVISION;
  expect(HEARTBEAT_SECONDS + superviseIntervalSeconds + monitorIntervalSeconds).toBeLessThan(60);
  // Late by some, a heartbeat still arrives in time.
  expect(HEARTBEAT_REFRESH_SECONDS * 3).toBeLessThan(HEARTBEAT_SECONDS);
});

test("sends the heartbeats of its jobs while all connections for jobs are busy", async () => {
  // As many jobs as there are connections for jobs, and all wait for one lock. Heartbeats that shared these connections would wait, too.
  const names = TIMETABLE.slice(1, 6).map(({ name }) => name);
  let runs = 0;
  await blocker.query("select pg_advisory_lock(1)");
  const worker = await startWorker({
    workerUrl: db.url("worker"),
    logger: collectLog([]),
    timetable: names.map((name) => ({
      name,
      cron: "0 0 29 2 *",
      reason: "A test.",
      async run({ query }) {
        runs += 1;
        await query("select pg_advisory_xact_lock_shared(1)", []);
        return {};
      },
    })),
    pollingIntervalSeconds: 0.5,
  });
  try {
    for (const name of names) await send(name);
    // A process that stands still for 20 seconds would count as dead.
    await owner.query("update plinth_jobs.job set heartbeat_seconds = 3600");
    await untilWaiting(db, names.length);
    const { rows } = await owner.query<{ now: Date }>("select clock_timestamp() as now");
    const beating = async (since: Date) =>
      (
        await owner.query<{ name: string }>(
          "select name from plinth_jobs.job where state = 'active' and heartbeat_on > $1 order by name",
          [since],
        )
      ).rows.map(({ name }) => name);
    await until(async () => (await beating(rows[0]!.now)).length === names.length, {
      timeoutMs: 300_000,
      everyMs: 200,
    });
    await blocker.query("select pg_advisory_unlock(1)");
    const completed = async () =>
      (
        await owner.query(
          "select from plinth_jobs.job where name = any($1) and state = 'completed' and retry_count = 0",
          [names],
        )
      ).rowCount;
    await until(async () => (await completed()) === names.length, { timeoutMs: 300_000 });
    expect(runs).toBe(names.length);
  } finally {
    await blocker.query("select pg_advisory_unlock_all()");
    await worker.close();
  }
});
