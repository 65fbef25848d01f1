import { type Job, PgBoss } from "pg-boss";
import type { Logger } from "pino";
import { PlinthError } from "../support/errors.ts";
import { quietly } from "../support/quiet-log.ts";
import type { JobContext, JobTools, TimetableEntry } from "./job.ts";
import { startMailPoller } from "./mail-poller.ts";
import { DEAD_LETTER_QUEUE, HEARTBEAT_REFRESH_SECONDS } from "./queues.ts";
import { openWorkerDatabase, type WorkerDatabase } from "./worker-database.ts";

/** Mail waits for a worker that was started with a mailer, which the caller closes after the worker. */
export interface WorkerOptions extends JobTools {
  /** Connection URL of the worker role, which may use pg-boss's tables but not change them. */
  readonly workerUrl: string;
  readonly logger: Logger;
  readonly timetable: readonly TimetableEntry[];
  /** How often an idle queue is looked at; pg-boss accepts 0.5 or more. */
  readonly pollingIntervalSeconds?: number;
}

export interface Worker {
  /** Waits for running jobs (30 s at most; what is cut short is retried later), then disconnects; can be called again. */
  close(): Promise<void>;
}

/** What a running worker works with. */
interface Running {
  readonly boss: PgBoss;
  readonly database: WorkerDatabase;
  readonly logger: Logger;
  readonly tools: JobTools;
}

const STOP_TIMEOUT_MS = 30_000;
/** How often jobs are looked for whose worker has died. A pass needs both times, and writes a row of statistics a queue. */
const SUPERVISION = { superviseIntervalSeconds: 10, monitorIntervalSeconds: 8, queueStatRetentionDays: 1 };
/** Known by this data are schedules that a worker made; the queue's other users have theirs. */
const MADE_HERE = { madeBy: "plinth" };

/**
 * Schedules the timetable and works its queues until `close()`. A database that goes away is logged and waited for.
 * @throws PlinthError WORKER_CANNOT_START when the database or pg-boss's schema cannot be used.
 */
export async function startWorkerOn(options: WorkerOptions): Promise<Worker> {
  const { workerUrl, logger, timetable, pollingIntervalSeconds = 2, mailer, payments } = options;
  // pg-boss tries again at the next poll by itself.
  const logError = quietly((error: Error & { code?: string }, repeats: number) =>
    logger.error(
      { code: error.code, repeats },
      `The job queue cannot be used; trying again: ${error.message}`,
    ),
  );
  const database = openWorkerDatabase(workerUrl, logError);
  const boss = new PgBoss({
    db: database,
    migrate: false,
    createSchema: false,
    persistQueueStats: true,
    ...SUPERVISION,
  });
  // An 'error' event without a listener would end the process.
  boss.on("error", logError);
  boss.on("warning", ({ message, data }) => logger.warn({ warning: data }, message));

  const running: Running = { boss, database, logger, tools: { mailer, payments } };
  try {
    await boss.start();
    await dropOldSchedules(boss, timetable);
    for (const entry of timetable) {
      await boss.schedule(entry.name, entry.cron, MADE_HERE, { tz: "UTC", missed: "once" });
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
      query: queryOn(database),
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
 * A schedule outlives the release that made it, so jobs that left the timetable are taken off it here. An application
 * may have schedules of its own, on its queues and on ours: they stay.
 */
async function dropOldSchedules(boss: PgBoss, timetable: readonly TimetableEntry[]): Promise<void> {
  const wanted = new Set(timetable.map((entry) => entry.name));
  for (const { name, key, data } of await boss.getSchedules()) {
    const isOurs = (data as Partial<typeof MADE_HERE> | null)?.madeBy === MADE_HERE.madeBy;
    if (isOurs && !wanted.has(name)) await boss.unschedule(name, key);
  }
}

/**
 * Partitions are not left to the clock: a database that was off for months has none for today. Run here and not sent,
 * so that they exist when `startWorker` returns; when that fails, the queue's retries take over.
 */
async function runAtStart(running: Running, timetable: readonly TimetableEntry[]): Promise<void> {
  const { boss, logger } = running;
  const entry = timetable.find(({ name }) => name === "ensure-partitions");
  if (!entry) return;
  try {
    await entry.run(contextOf(running, new AbortController().signal));
  } catch (error) {
    logger.error(
      { job: entry.name, code: codeOf(error) },
      `Job failed at the start; retrying: ${messageOf(error)}`,
    );
    await boss.send(entry.name);
  }
}

async function runJob(running: Running, entry: TimetableEntry, jobs: Job<unknown>[]): Promise<unknown> {
  const { boss, logger } = running;
  const [job] = jobs;
  if (!job) return undefined;
  const log = logger.child({ job: entry.name, jobId: job.id, attempt: job.retryCount + 1 });
  const started = performance.now();
  try {
    const result = await entry.run(contextOf(running, job.signal));
    log.info({ ...result, ms: Math.round(performance.now() - started) }, "Job done");
    return result;
  } catch (error) {
    const code = codeOf(error);
    const last = job.retryCount >= (await retryLimitOf(boss, entry.name));
    log.error(
      { code },
      `Job failed; ${last ? `moved to ${DEAD_LETTER_QUEUE}` : "retrying"}: ${messageOf(error)}`,
    );
    // pg-boss stores what is thrown: message and code, not PostgreSQL's detail, which quotes rows.
    throw Object.assign(new Error(messageOf(error)), code ? { code } : {});
  }
}

function contextOf({ database, tools }: Running, signal: AbortSignal): JobContext {
  return { ...tools, signal, query: queryOn(database) };
}

function queryOn(database: WorkerDatabase): JobContext["query"] {
  return async (sql, values) => (await database.runJobSql(sql, values)).rows;
}

/** Only words a log line, so a database that is away must not hide the job's own error. */
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
  // A refused connection to several addresses is an AggregateError, whose own message is empty.
  return error.message || (error as { code?: string }).code || error.name;
}

function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}
