import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "@jest/globals";
import pg from "pg";
import { checkJobs } from "../../src/cli/doctor/jobs.ts";
import { explainError } from "../../src/cli/explain-error.ts";
import { knownJobs } from "../../src/cli/jobs/known-jobs.ts";
import { loadConfig } from "../../src/config/config.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { cancelRuns, retryRuns } from "../../src/jobs/failed-runs.ts";
import { queuesOf, startWorker, TIMETABLE, type Worker } from "../../src/jobs/index.ts";
import type { JobFunction } from "../../src/jobs/job.ts";
import { type ListedJob, listJobs } from "../../src/jobs/list-jobs.ts";
import { listRuns } from "../../src/jobs/list-runs.ts";
import { overdueSince } from "../../src/jobs/overdue.ts";
import { queueRun } from "../../src/jobs/queue-run.ts";
import { isWorkerConnected } from "../../src/jobs/worker-session.ts";
import { databaseEnv, outcomeOf, startCli } from "../cli/run-cli.ts";
import { runHere } from "../cli/run-here.ts";
import { collectLog, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let owner: pg.Client;
/** Connected as the worker role, with which an operator may use every command. */
let operator: pg.Client;
let worker: Worker | undefined;
const NAME = "deliver-mail";
/** A queue without a schedule, as an application has; its runs have payloads. */
const ON_DEMAND = "thank-customer";

beforeAll(async () => {
  db = await createTestDatabase();
  owner = new pg.Client(db.url("owner"));
  operator = new pg.Client({ connectionString: db.url("worker"), application_name: "plinth" });
  await Promise.all([owner.connect(), operator.connect()]);
  await migrateDatabase({
    ownerUrl: db.url("owner"),
    rolePrefix: db.rolePrefix,
    queues: queuesOf([{ name: ON_DEMAND, run: async () => ({}) }]),
  });
});
beforeEach(() => owner.query("delete from plinth_jobs.job"));
afterEach(async () => {
  await worker?.close();
  worker = undefined;
  await until(async () => !(await hasWorker()));
});
afterAll(async () => {
  await Promise.all([owner.end(), operator.end()]);
  await db.drop();
});

const hasWorker = () => isWorkerConnected(operator, `${db.rolePrefix}_worker`);

/** Starts a worker for one job of the timetable, whose work the test sets. */
async function work(run: JobFunction, name = NAME): Promise<void> {
  const entry = { ...TIMETABLE[0]!, name, cron: "0 0 29 2 *", run };
  worker = await startWorker({
    workerUrl: db.url("worker"),
    logger: collectLog([]),
    timetable: [entry],
    pollingIntervalSeconds: 0.5,
  });
}

const listed = async (now?: Date): Promise<ListedJob> => {
  const [job] = await listJobs(
    operator,
    TIMETABLE.filter(({ name }) => name === NAME),
    now,
  );
  return job!;
};

/** Records a run that failed after all retries, with its copy in the dead letter queue, as pg-boss does. */
async function fail(name: string, data: object | null): Promise<string> {
  const { rows } = await owner.query<{ id: string }>(
    `with failed as (
       insert into plinth_jobs.job (name, policy, data, state, started_on, completed_on, output, retry_count)
       select name, policy, $2, 'failed', now(), now(), '{"message": "not now"}', 5 from plinth_jobs.queue where name = $1
       returning *
     ),
     letter as (
       insert into plinth_jobs.job (name, data, source_name, source_id, source_output)
       select 'dead-letter', data, name, id, output from failed
     )
     select id from failed`,
    [name, data],
  );
  return rows[0]!.id;
}

const states = async (name: string) =>
  (
    await owner.query<{ state: string; data: unknown }>(
      "select state, data from plinth_jobs.job where name = $1 order by created_on, state",
      [name],
    )
  ).rows;

async function findings(now?: Date) {
  const config = loadConfig({ PLINTH_ROLE_PREFIX: db.rolePrefix });
  const database = {
    kind: "external",
    url: db.url,
    close: async () => {},
    died: new Promise<string>(() => {}),
  } as const;
  const found = await checkJobs({ config, database, client: owner, role: "owner", ...(now ? { now } : {}) });
  return Object.fromEntries(found.map((finding) => [finding.check, finding]));
}

test("jobs run queues a run, which the worker does, and prints its outcome, which the lists then show", async () => {
  await work(async () => ({ sent: 2, retried: 0, failed: 0 }));
  const run = await runHere(["jobs", "run", NAME], { env: databaseEnv(db) });
  expect(run).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^Done in \d+ ms\. Changed: sent 2\.$/m),
    stderr: expect.stringMatching(/^Queued the run [0-9a-f-]{36} of deliver-mail\./),
  });
  expect(run.stderr).not.toContain("No worker");
  expect(await listed()).toMatchObject({
    lastState: "completed",
    lastCounts: { sent: 2, retried: 0, failed: 0 },
    lastError: null,
    waiting: 0,
    failures: 0,
  });
  expect((await runHere(["jobs"], { env: databaseEnv(db) })).stdout).toMatch(
    /^deliver-mail +\* \* \* \* \* +\d{4}-\d\d-\d\d \d\d:\d\d +\d+ ms +sent 2 +\d{4}-.* 0 +0$/m,
  );
  const { job, runs } = JSON.parse(
    (await runHere(["jobs", "show", NAME, "--json"], { env: databaseEnv(db) })).stdout,
  );
  expect(job).toMatchObject({ name: NAME, schedule: "* * * * *" });
  expect(runs).toEqual([
    expect.objectContaining({ state: "completed", attempts: 1, counts: { sent: 2, retried: 0, failed: 0 } }),
  ]);
});

test("jobs run says that no worker is connected; Ctrl-C ends the waiting, and the run continues", async () => {
  const child = startCli(["jobs", "run", NAME], databaseEnv(db));
  const said = new Promise<void>((resolve) => {
    let text = "";
    child.stderr!.on("data", (chunk) => {
      text += chunk;
      if (text.includes("No worker is connected.")) resolve();
    });
  });
  const ended = outcomeOf(child);
  await said;
  child.kill("SIGINT");
  expect(await ended).toMatchObject({ code: 130, stderr: expect.stringContaining("the run continues") });
  expect(await states(NAME)).toMatchObject([{ state: "created" }]);
  await work(async () => ({ sent: 1 }));
  await until(async () => (await states(NAME))[0]?.state === "completed");
});

test("jobs run reports a failure, and retry queues it once, after which the dead letter is gone", async () => {
  await owner.query("update plinth_jobs.queue set retry_limit = 0 where name = $1", [NAME]);
  let isBroken = true;
  await work(async () => {
    if (isBroken) throw new Error("the mail server is down");
    return { sent: 1 };
  });
  expect(await runHere(["jobs", "run", NAME], { env: databaseEnv(db) })).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /The job deliver-mail failed: the mail server is down\n.*plinth jobs retry/s,
    ),
  });
  expect(await listed()).toMatchObject({
    failures: 1,
    lastError: "the mail server is down",
    lastCounts: null,
  });
  expect((await findings())["dead-letters"]).toMatchObject({
    status: "fail",
    hint: expect.stringContaining("plinth jobs retry"),
  });
  isBroken = false;
  expect(await retryRuns(operator, { job: NAME })).toEqual({
    queued: { [NAME]: 1 },
    covered: {},
    hurried: {},
  });
  expect(await retryRuns(operator, { job: NAME })).toEqual({ queued: {}, covered: {}, hurried: {} });
  await until(async () => (await states(NAME)).some(({ state }) => state === "completed"));
  expect((await findings())["dead-letters"]).toMatchObject({ status: "ok" });
});

test("retry keeps each payload, makes one run of several of a scheduled job, and starts waiting attempts", async () => {
  for (const orderId of [1, 2]) await fail(ON_DEMAND, { orderId });
  for (let runs = 0; runs < 3; runs += 1) await fail(NAME, null);
  const { rows } = await owner.query<{ id: string }>(
    `insert into plinth_jobs.job (name, state, start_after, started_on)
     values ('delete-old-emails', 'retry', now() + interval '1 hour', now()) returning id`,
  );
  expect(await retryRuns(operator, {})).toEqual({
    queued: { [ON_DEMAND]: 2, [NAME]: 1 },
    covered: { [NAME]: 2 },
    hurried: { "delete-old-emails": 1 },
  });
  expect(await states("dead-letter")).toEqual([]);
  const again = (await states(ON_DEMAND)).filter(({ state }) => state === "created");
  expect(again.map(({ data }) => data)).toEqual(expect.arrayContaining([{ orderId: 1 }, { orderId: 2 }]));
  expect(await listRuns(operator, "delete-old-emails", 5)).toMatchObject([
    { id: rows[0]!.id, state: "retry" },
  ]);
  expect(
    (await owner.query("select from plinth_jobs.job where id = $1 and start_after <= now()", [rows[0]!.id]))
      .rowCount,
  ).toBe(1);
});

test("retry and cancel take one run by its id, and an interrupted retry loses no run", async () => {
  const [first, second] = [await fail(ON_DEMAND, { orderId: 1 }), await fail(ON_DEMAND, { orderId: 2 })];
  const third = await fail(ON_DEMAND, { orderId: 3 });
  await owner.query(
    "alter table plinth_jobs.job_common add constraint no_more check (state <> 'created' or name = 'dead-letter') not valid",
  );
  await expect(retryRuns(operator, { id: first })).rejects.toMatchObject({ code: "23514" });
  await owner.query("alter table plinth_jobs.job_common drop constraint no_more");
  expect(await states("dead-letter")).toHaveLength(3);
  expect(await retryRuns(operator, { id: first })).toMatchObject({ queued: { [ON_DEMAND]: 1 } });
  expect(await cancelRuns(operator, { id: second })).toEqual({ waiting: 0, failed: 1 });
  expect(await states("dead-letter")).toMatchObject([{ data: { orderId: 3 } }]);
  expect(await cancelRuns(operator, { job: ON_DEMAND })).toEqual({ waiting: 1, failed: 1 });
  expect(await retryRuns(operator, { id: third })).toMatchObject({ queued: {} });
  expect((await states(ON_DEMAND)).map(({ state }) => state).sort()).toEqual([
    "cancelled",
    "failed",
    "failed",
    "failed",
  ]);
});

test("a scheduled job has at most one run, whose next attempt a new request starts, and no data is lost", async () => {
  const first = await queueRun(operator, NAME);
  expect(first.isNew).toBe(true);
  await owner.query("update plinth_jobs.job set start_after = now() + interval '1 hour'");
  expect(await queueRun(operator, NAME)).toEqual({ id: first.id, isNew: false });
  expect((await owner.query("select from plinth_jobs.job where start_after <= now()")).rowCount).toBe(1);
  await expect(queueRun(operator, NAME, { orderId: 1 })).rejects.toMatchObject({ code: "JOB_BUSY" });
  const payload = await queueRun(operator, ON_DEMAND, { orderId: 7 });
  expect(payload.isNew).toBe(true);
  expect(await states(ON_DEMAND)).toEqual([{ state: "created", data: { orderId: 7 } }]);
});

test("bad input is answered with a sentence: unknown and left-out jobs, no queue, a read-only database, wrong usage", async () => {
  const jobs = knownJobs(loadConfig({ PLINTH_MODULES: "rooms" }), {});
  expect(() => jobs.find("delivermail")).toThrow(
    expect.objectContaining({ code: "JOB_UNKNOWN", hint: "Did you mean deliver-mail?" }),
  );
  expect(() => jobs.find("emails")).toThrow(
    expect.objectContaining({ hint: "Did you mean delete-old-emails?" }),
  );
  expect(() => jobs.find("x\x1b[2J")).toThrow(
    expect.objectContaining({
      message: "The job x does not exist.",
      hint: expect.stringMatching(/^plinth jobs/),
    }),
  );
  expect(() => jobs.find("grant-free-quotas")).toThrow(
    expect.objectContaining({ code: "JOB_LEFT_OUT", message: expect.stringContaining("the module billing") }),
  );
  await expect(queueRun(operator, "not-migrated")).rejects.toMatchObject({
    code: "QUEUE_MISSING",
    hint: "Run plinth migrate.",
  });
  await operator.query("set default_transaction_read_only = on");
  try {
    for (const attempt of [
      () => queueRun(operator, NAME),
      () => retryRuns(operator, {}),
      () => cancelRuns(operator, { job: NAME }),
    ]) {
      const error = await attempt().catch((cause) => cause);
      expect(explainError(error)?.message).toMatch(/^The database is read-only/);
    }
    expect(await listed()).toMatchObject({ name: NAME });
  } finally {
    await operator.query("reset default_transaction_read_only");
  }
  const usage = await Promise.all(
    [["retry"], ["retry", NAME, "--all"], ["run", NAME, "--data", "[1]"], ["run", NAME, "--data", "{}"]].map(
      (args) => runHere(["jobs", ...args], { env: databaseEnv(db) }),
    ),
  );
  expect(usage.map(({ code }) => code)).toEqual([2, 2, 2, 2]);
  expect(usage.map(({ stderr }) => stderr)).toEqual([
    expect.stringContaining("--all"),
    expect.stringContaining("either a name or --all"),
    expect.stringContaining("needs a JSON object"),
    expect.stringContaining("takes no data"),
  ]);
  expect(await states(NAME)).toEqual([]);
});

test("doctor names overdue jobs and since when, with the clock moved by minutes, 40 days and to a leap day", async () => {
  const schedule = (name: string, cron: string, createdOn: string) =>
    owner.query(
      "insert into plinth_jobs.schedule (name, cron, created_on) values ($1, $2, $3) on conflict (name, key) do update set cron = $2, created_on = $3",
      [name, cron, createdOn],
    );
  await owner.query("delete from plinth_jobs.schedule");
  // Never scheduled, so not overdue, whatever the time.
  expect((await findings(new Date("2028-03-01T00:00:00Z")))["overdue-jobs"]).toMatchObject({ status: "ok" });
  await schedule("ensure-partitions", "17 2 * * *", "2028-02-27T12:00:00Z");
  const at = async (now: string) => (await findings(new Date(now)))["overdue-jobs"];
  expect(await at("2028-02-28T02:31:00Z")).toMatchObject({ status: "ok" });
  expect(await at("2028-02-28T02:33:00Z")).toMatchObject({
    status: "warn",
    details: ["ensure-partitions: since 2028-02-28T02:17:00Z, no run is known"],
  });
  const ran = (startedOn: string, state = "completed") =>
    owner.query(
      "insert into plinth_jobs.job (name, state, started_on) values ('ensure-partitions', $2, $1)",
      [startedOn, state],
    );
  // The clock of the worker that started it is half a second ahead.
  await ran("2028-02-28T02:16:59.5Z");
  expect(await at("2028-02-28T23:00:00Z")).toMatchObject({ status: "ok" });
  const leapDay = "ensure-partitions: since 2028-02-29T02:17:00Z, last run 2028-02-28T02:16:59Z";
  expect(await at("2028-02-29T02:33:00Z")).toMatchObject({ details: [leapDay] });
  expect(await at("2028-04-08T00:00:00Z")).toMatchObject({ details: [leapDay] });
  await ran("2028-02-29T02:40:00Z", "active");
  expect(await at("2028-04-08T00:00:00Z")).toMatchObject({ status: "ok" });
});

test("a job whose runs are no longer known is overdue only if one was due since", () => {
  const yearly = { ...TIMETABLE[0]!, cron: "0 0 29 2 *" };
  const known = { lastRun: null, isRunning: false, scheduledOn: new Date("2024-01-01T00:00:00Z") };
  expect(overdueSince(yearly, known, new Date("2028-03-01T00:00:00Z"))).toEqual(
    new Date("2028-02-29T00:00:00Z"),
  );
  expect(overdueSince(yearly, known, new Date("2028-03-20T00:00:00Z"))).toBeNull();
});
