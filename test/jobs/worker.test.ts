import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from "@jest/globals";
import pg from "pg";
import type { Logger } from "pino";
import type { Finding } from "../../src/cli/doctor/check.ts";
import { checkJobs } from "../../src/cli/doctor/jobs.ts";
import { loadConfig } from "../../src/config/config.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import {
  queuesOf,
  TIMETABLE as REAL_TIMETABLE,
  startWorker,
  type TimetableEntry,
  type Worker,
} from "../../src/jobs/index.ts";
import { PlinthError } from "../../src/support/errors.ts";
import { collectLog, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

let db: TestDatabase;
let owner: pg.Client;
let worker: Worker | undefined;
let log: Record<string, unknown>[];

/** Jobs whose behavior a test sets. */
const behaviour: Record<string, () => Promise<Record<string, number>>> = {};
const entry = (name: string): TimetableEntry => ({
  name,
  // Not during a test.
  cron: "0 0 29 2 *",
  does: "does what a test sets",
  reason: "A test.",
  run: () => behaviour[name]!(),
  queue: { retryLimit: 1, retryDelay: 1, retryDelayMax: 1 },
});
const TIMETABLE = [entry("fails"), entry("works"), entry("ensure-partitions")];

beforeAll(async () => {
  db = await createTestDatabase();
  await migrateDatabase({
    ownerUrl: db.url("owner"),
    rolePrefix: db.rolePrefix,
    queues: queuesOf(TIMETABLE.slice(0, 2)),
  });
  owner = new pg.Client(db.url("owner"));
  owner.on("error", () => {});
  await owner.connect();
});
afterEach(async () => {
  await worker?.close();
  worker = undefined;
});
afterAll(async () => {
  await owner.end();
  await db.drop();
});

function collect(): Logger {
  log = [];
  return collectLog(log);
}

async function start(names: string[]): Promise<void> {
  worker = await startWorker({
    workerUrl: db.url("worker"),
    logger: collect(),
    timetable: TIMETABLE.filter(({ name }) => names.includes(name)),
    pollingIntervalSeconds: 0.5,
  });
}

/** Puts a job into its queue as the schedule does. */
const send = (name: string, data: object = {}) =>
  owner.query(
    `insert into plinth_jobs.job (name, data, policy, retry_limit, retry_delay, dead_letter)
     select name, $2, policy, retry_limit, retry_delay, dead_letter from plinth_jobs.queue where name = $1`,
    [name, data],
  );

const jobs = async (name: string, state: string): Promise<number> =>
  (
    await owner.query<{ n: number }>(
      "select count(*)::integer as n from plinth_jobs.job where name = $1 and state = $2",
      [name, state],
    )
  ).rows[0]!.n;

const workerSessions = async (): Promise<number> =>
  (
    await owner.query(
      "select from pg_stat_activity where application_name = 'plinth-worker' and datname = current_database()",
    )
  ).rowCount!;

/** The findings of `plinth doctor` on jobs. */
async function diagnose(): Promise<Record<string, Finding>> {
  const config = loadConfig({ PLINTH_ROLE_PREFIX: db.rolePrefix });
  const database = {
    kind: "external",
    url: db.url,
    close: async () => {},
    died: new Promise<string>(() => {}),
  } as const;
  const findings = await checkJobs({ config, database, client: owner, role: "owner" });
  return Object.fromEntries(findings.map((finding) => [finding.check, finding]));
}

test("runs the real timetable as the worker role with one schedule per job", async () => {
  worker = await startWorker({ workerUrl: db.url("worker"), logger: collect() });
  const { rows } = await owner.query("select name, cron, timezone from plinth_jobs.schedule order by name");
  expect(rows).toEqual(
    REAL_TIMETABLE.map(({ name, cron }) => ({ name, cron, timezone: "UTC" })).sort((a, b) =>
      a.name < b.name ? -1 : 1,
    ),
  );
  await send("delete-expired-sign-in-data");
  // Its own schedule may add a run.
  await until(async () => (await jobs("delete-expired-sign-in-data", "completed")) > 0);
  expect(log).toContainEqual(
    expect.objectContaining({ level: 30, job: "delete-expired-sign-in-data", rows: 0 }),
  );
  expect((await diagnose()).worker).toMatchObject({ status: "ok" });
});

test("removes jobs that left the timetable from the schedule", async () => {
  behaviour.works = async () => ({});
  await start(["works"]);
  const { rows } = await owner.query("select name from plinth_jobs.schedule");
  expect(rows).toEqual([{ name: "works" }]);
});

test("keeps an application's schedules, on its own queues and on Plinth's", async () => {
  behaviour.works = async () => ({});
  const application: unknown[][] = [
    ["fails", "", null],
    ["works", "application", { report: "weekly" }],
    ["fails", "application", { madeBy: "somebody" }],
  ];
  try {
    for (const schedule of application)
      await owner.query(
        "insert into plinth_jobs.schedule (name, key, cron, timezone, data) values ($1, $2, '0 0 29 2 *', 'UTC', $3)",
        schedule,
      );
    await start(["works"]);
    const { rows } = await owner.query("select name, key, data from plinth_jobs.schedule order by name, key");
    expect(rows).toMatchObject([
      { name: "fails", key: "", data: null },
      { name: "fails", key: "application" },
      { name: "works", key: "" },
      { name: "works", key: "application", data: { report: "weekly" } },
    ]);
  } finally {
    await owner.query("delete from plinth_jobs.schedule where name = 'fails' or key <> ''");
  }
});

test("retries a failed job, then moves it to the dead letter queue, which doctor reports", async () => {
  let tries = 0;
  behaviour.fails = async () => {
    tries += 1;
    throw Object.assign(new Error("the mail server is down"), {
      code: "XX123",
      detail: "Key (email)=(ada@example.com)",
    });
  };
  // The second attempt waits until the test has seen the first one.
  const setDelay = "update plinth_jobs.queue set retry_delay = $1 where name = 'fails'";
  await owner.query(setDelay, [3_600]);
  await start(["fails"]);
  await send("fails", { secret: "payload-0815" });
  await owner.query(setDelay, [1]);

  await until(async () => (await jobs("fails", "retry")) === 1);
  expect((await diagnose())["failing-jobs"]).toMatchObject({
    status: "warn",
    details: [expect.stringMatching(/^fails: .*the mail server is down/)],
  });

  await owner.query(
    "update plinth_jobs.job set start_after = now() where name = 'fails' and state = 'retry'",
  );
  await until(async () => (await jobs("dead-letter", "created")) === 1);
  expect(tries).toBe(2);
  expect((await diagnose())["dead-letters"]).toMatchObject({
    status: "fail",
    details: [expect.stringMatching(/^fails: 1 failed, .*the mail server is down/)],
  });

  const errors = log.filter(({ level }) => level === 50);
  expect(errors).toHaveLength(2);
  for (const error of errors) expect(error).toMatchObject({ job: "fails", code: "XX123" });
  // Neither the log nor the job's stored output quotes rows; payloads stay in the queue.
  expect(JSON.stringify(log)).not.toMatch(/payload-0815|ada@example/);
  const { rows } = await owner.query(
    "select output, source_output from plinth_jobs.job where name in ('fails', 'dead-letter')",
  );
  expect(JSON.stringify(rows)).not.toContain("ada@example");
});

test("reports dead letters as a warning once the job has succeeded again", async () => {
  behaviour.fails = async () => ({});
  await start(["fails"]);
  await send("fails");
  await until(async () => (await jobs("fails", "completed")) === 1);
  expect((await diagnose())["dead-letters"]).toMatchObject({ status: "warn" });
});

test("creates partitions before it reports that it runs, and retries in the queue after a failure", async () => {
  let runs = 0;
  const seen = Promise.withResolvers<void>();
  behaviour["ensure-partitions"] = async () => {
    // The queue may be faster than the test.
    if (runs > 0) await seen.promise;
    runs += 1;
    if (runs === 1) throw new Error("not now");
    return { made: 0 };
  };
  await start(["ensure-partitions"]);
  expect(runs).toBe(1);
  seen.resolve();
  await until(() => runs === 2);
});

describe("a worker with broken connections", () => {
  test("reports it once, continues, and works later jobs", async () => {
    behaviour.works = async () => ({});
    // The log repeats an error after half a minute, which must not pass here.
    const time = jest.spyOn(performance, "now").mockReturnValue(performance.now());
    await start(["works"]);
    // The first connections, and then those that replace them, are cut off as soon as they open.
    const ended = new Set<number>();
    await withClient(db.adminUrl, async (admin) => {
      while (ended.size < 5) {
        const { rows } = await admin.query<{ pid: number }>(
          `select pid, pg_terminate_backend(pid, 300000) from pg_stat_activity
           where application_name = 'plinth-worker' and datname = current_database()`,
        );
        for (const { pid } of rows) ended.add(pid);
        await sleep(20);
      }
    });
    const done = await jobs("works", "completed");
    await send("works");
    await until(async () => (await jobs("works", "completed")) === done + 1);
    expect(log.filter(({ level, code }) => level === 50 && code === "57P01").length).toBe(1);
    time.mockRestore();
  });
});

describe("a stopping worker", () => {
  test("lets the running job finish and accepts a second request", async () => {
    let finished = false;
    let started = false;
    const closing = Promise.withResolvers<void>();
    behaviour.works = async () => {
      started = true;
      await closing.promise;
      await sleep(100);
      finished = true;
      return {};
    };
    await start(["works"]);
    await send("works");
    await until(() => started);
    const closed = Promise.all([worker!.close(), worker!.close()]);
    closing.resolve();
    await closed;
    expect(finished).toBe(true);
    // The server notices a closed connection a moment later.
    await until(async () => (await workerSessions()) === 0);
  });
});

describe("a worker that cannot start", () => {
  test.each([
    ["no server", () => "postgres://plinth_worker@127.0.0.1:1/plinth"],
    ["a role that does not exist", () => db.url("worker").replace(/\/\/[^@/]*@/, "//nobody:s3cret@")],
    ["a database without the job queue", () => db.url("worker").replace(db.name, "postgres")],
  ])("reports one error and leaves nothing open with %s", async (_what, url) => {
    const error = await startWorker({ workerUrl: url(), logger: collect() }).catch((cause) => cause);
    expect(error).toBeInstanceOf(PlinthError);
    expect(error).toMatchObject({ code: "WORKER_CANNOT_START", hint: expect.any(String) });
    expect(error.message).not.toContain("s3cret");
  });

  test("reports one error when a job fails at the start and cannot be queued either", async () => {
    behaviour["ensure-partitions"] = async () => {
      await owner.query(`revoke insert on all tables in schema plinth_jobs from ${db.rolePrefix}_worker`);
      throw new Error("not now");
    };
    await expect(start(["ensure-partitions"])).rejects.toMatchObject({ code: "WORKER_CANNOT_START" });
    await until(async () => (await workerSessions()) === 0);
  });
});
