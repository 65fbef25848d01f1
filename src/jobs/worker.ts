import { type Job, PgBoss } from "pg-boss";
import type { Logger } from "pino";
import { JOB_SCHEMA } from "../database/schemas.ts";
import { createMetrics, type Metrics } from "../observability/metrics.ts";
import { findTracer, inSpan, inStatementSpan, SpanKind } from "../observability/tracing.ts";
import { PlinthError } from "../support/errors.ts";
import { quietly } from "../support/quiet-log.ts";
import type { JobContext, JobDefinition, JobTools } from "./job.ts";
import { startMailPoller } from "./mail-poller.ts";
import { DEAD_LETTER_QUEUE, HEARTBEAT_REFRESH_SECONDS } from "./queues.ts";
import { openWorkerDatabase, type WorkerDatabase } from "./worker-database.ts";

/** A worker without a mailer leaves mail to one that has a mailer. The caller closes the mailer after the worker. */
export interface WorkerOptions extends JobTools {
  /** Connection URL of the worker role, which may use pg-boss's tables but not change them. */
  readonly workerUrl: string;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  readonly timetable: readonly JobDefinition[];
  /** Names of the jobs of the timetable that are the application's. */
  readonly applicationJobs?: ReadonlySet<string>;
  /** Interval between polls of an idle queue; pg-boss accepts 0.5 or more. */
  readonly pollingIntervalSeconds?: number;
}

export interface Worker {
  /** Waits up to 30 s for running jobs (interrupted jobs are retried later), then disconnects. Can be called again. */
  close(): Promise<void>;
}

/** The parts of a running worker. */
interface Running {
  readonly boss: PgBoss;
  readonly database: WorkerDatabase;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly tools: JobTools;
}

const STOP_TIMEOUT_MS = 30_000;
/** Intervals of the search for jobs whose worker has died. A pass waits for both and writes one row of statistics a queue. */
export const SUPERVISION = {
  superviseIntervalSeconds: 10,
  monitorIntervalSeconds: 8,
  queueStatRetentionDays: 1,
};
/** Marks the schedules that a worker created; other users of the queue have their own. */
const MADE_HERE = { madeBy: "plinth" };
/** Those of an application's jobs; a worker that was started without the application does not know them. */
const OF_APPLICATION = { ...MADE_HERE, of: "application" };

/**
 * Schedules the timetable and works its queues until `close()`. If the database goes away, the worker logs it and waits.
 * @throws PlinthError WORKER_CANNOT_START when the database or pg-boss's schema cannot be used.
 */
export async function startWorkerOn(options: WorkerOptions): Promise<Worker> {
  const { workerUrl, logger, timetable, pollingIntervalSeconds = 2, mailer, payments, embeddings } = options;
  const { archives, erasures, ownerUrl, serverLog } = options;
  const { applicationJobs = new Set<string>(), metrics = createMetrics() } = options;
  findTracer();
  const dataOf = ({ name }: JobDefinition) => (applicationJobs.has(name) ? OF_APPLICATION : MADE_HERE);
  // pg-boss retries at the next poll.
  const logError = quietly((error: Error & { code?: string }, repeats: number) =>
    logger.error({ code: error.code, repeats }, `The job queue is unavailable; retrying: ${error.message}`),
  );
  const database = openWorkerDatabase(workerUrl, logError);
  const boss = new PgBoss({
    schema: JOB_SCHEMA,
    db: database,
    migrate: false,
    createSchema: false,
    persistQueueStats: true,
    ...SUPERVISION,
  });
  // Without a listener, an 'error' event would end the process.
  boss.on("error", logError);
  boss.on("warning", ({ message, data }) => logger.warn({ warning: data }, message));

  const running: Running = {
    boss,
    database,
    logger,
    metrics,
    tools: { mailer, payments, embeddings, archives, erasures, ownerUrl, serverLog },
  };
  try {
    await boss.start();
    await dropOldSchedules(boss, timetable, applicationJobs);
    for (const entry of timetable) {
      if (entry.cron !== undefined)
        await boss.schedule(entry.name, entry.cron, dataOf(entry), { tz: "UTC", missed: "once" });
      await boss.work(
        entry.name,
        { pollingIntervalSeconds, heartbeatRefreshSeconds: HEARTBEAT_REFRESH_SECONDS },
        (jobs) => runJob(running, entry, jobs),
      );
    }
    await runAtStart(running, timetable);
  } catch (cause) {
    await boss.stop({ graceful: false }).catch(() => {});
    await database.close();
    throw cannotStart(cause);
  }
  const poller =
    mailer &&
    startMailPoller({
      mailer,
      query: queryOn(database, "deliver-mail"),
      logger,
      intervalMs: pollingIntervalSeconds * 1_000,
      onError: logError,
    });

  const stop = async (): Promise<void> => {
    await poller?.close();
    await boss.stop({ graceful: true, timeout: STOP_TIMEOUT_MS });
    await database.close();
  };
  let stopping: Promise<void> | undefined;
  return {
    close: () => {
      stopping ??= stop();
      return stopping;
    },
  };
}

/**
 * Deletes the schedules of jobs that left the timetable: a schedule outlives the release that created it. An application's
 * own schedules, on its queues or on ours, stay.
 */
async function dropOldSchedules(
  boss: PgBoss,
  timetable: readonly JobDefinition[],
  applicationJobs: ReadonlySet<string>,
): Promise<void> {
  const wanted = new Set(timetable.filter(({ cron }) => cron !== undefined).map(({ name }) => name));
  for (const { name, key, data } of await boss.getSchedules()) {
    const { madeBy, of } = (data ?? {}) as Partial<typeof OF_APPLICATION>;
    const isKnown = of !== OF_APPLICATION.of || applicationJobs.size > 0;
    const isOurs = madeBy === MADE_HERE.madeBy && isKnown;
    if (isOurs && !wanted.has(name)) await boss.unschedule(name, key);
  }
}

/**
 * Creates partitions at the start, because a database that was off for months has none for today. The job runs here and is
 * not queued, so that they exist when `startWorker` returns. If it fails, the queue retries it.
 */
async function runAtStart(running: Running, timetable: readonly JobDefinition[]): Promise<void> {
  const { boss, logger } = running;
  const entry = timetable.find(({ name }) => name === "ensure-partitions");
  if (!entry) return;
  try {
    await entry.run(contextOf(running, entry, { signal: new AbortController().signal }));
  } catch (error) {
    logger.error(
      { job: entry.name, code: codeOf(error) },
      `Job failed at startup; retrying: ${messageOf(error)}`,
    );
    await boss.send(entry.name);
  }
}

async function runJob(running: Running, entry: JobDefinition, jobs: Job<unknown>[]): Promise<unknown> {
  const { boss, logger, metrics } = running;
  const [job] = jobs;
  if (!job) return undefined;
  const log = logger.child({ job: entry.name, jobId: job.id, attempt: job.retryCount + 1 });
  const started = performance.now();
  const count = (outcome: "ok" | "error") => {
    metrics.jobs.inc({ job: entry.name, outcome });
    metrics.jobSeconds.observe({ job: entry.name }, (performance.now() - started) / 1_000);
  };
  try {
    const result = await inSpan(`job ${entry.name}`, { kind: SpanKind.CONSUMER }, () =>
      entry.run(contextOf(running, entry, job)),
    );
    count("ok");
    log.info({ ...result, ms: Math.round(performance.now() - started) }, "Job done");
    return result;
  } catch (error) {
    count("error");
    const code = codeOf(error);
    const last = job.retryCount >= (await retryLimitOf(boss, entry.name));
    log.error(
      { code },
      `Job failed; ${last ? `moved to ${DEAD_LETTER_QUEUE}` : "retrying"}: ${messageOf(error)}`,
    );
    // pg-boss stores the thrown error, so throw message and code only: PostgreSQL's detail quotes rows.
    throw Object.assign(new Error(messageOf(error)), code ? { code } : {});
  }
}

function contextOf(
  { database, tools }: Running,
  { name }: JobDefinition,
  { signal, data }: { readonly signal: AbortSignal; readonly data?: unknown },
): JobContext {
  const payload = isScheduled(data) ? undefined : data;
  return { ...tools, signal, payload, query: queryOn(database, name) };
}

/** A schedule's own mark is no payload, and neither is the null of a job without one. */
function isScheduled(data: unknown): boolean {
  return data == null || (data as Partial<typeof MADE_HERE>).madeBy === MADE_HERE.madeBy;
}

function queryOn(database: WorkerDatabase, job: string): JobContext["query"] {
  return async (sql, values) => (await inStatementSpan(() => database.runJobSql(sql, values, job))).rows;
}

/** Affects only the log line, so an unavailable database must not hide the job's own error. */
async function retryLimitOf(boss: PgBoss, name: string): Promise<number> {
  try {
    return (await boss.getQueue(name))?.retryLimit ?? 0;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

function cannotStart(cause: unknown): PlinthError {
  return new PlinthError("WORKER_CANNOT_START", `The job worker cannot start: ${messageOf(cause)}`, {
    hint: "Check that the database is up and migrated (plinth doctor), and that PLINTH_WORKER_URL is right.",
    cause,
  });
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // When several addresses refuse the connection, the error is an AggregateError with an empty message.
  return error.message || (error as { code?: string }).code || error.name;
}

function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}
