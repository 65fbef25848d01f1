import pg from "pg";
import type { ConstructorOptions } from "pg-boss";
import { BOSS_CRON_QUEUE } from "./queues.ts";

/** Longer than any statement of a job should take, so that one stuck behind a lock frees its connection. */
const STATEMENT_TIMEOUT_MS = 300_000;
const MAX_JOB_CONNECTIONS = 5;
const MAX_QUEUE_CONNECTIONS = 2;

interface Rows {
  readonly rows: Record<string, unknown>[];
}

/** The worker role's connections, as pg-boss wants them. */
export interface WorkerDatabase extends NonNullable<ConstructorOptions["db"]> {
  /** The queue's own statements, heartbeats among them: none waits behind a job. */
  executeSql(text: string, values?: unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
  /** A job's statements. */
  runJobSql(text: string, values?: unknown[]): Promise<Rows>;
  close(): Promise<void>;
}

/** pg-boss makes its cron queue at every start. The owner has made it, and the worker role may not make any. */
const MAKES_CRON_QUEUE = new RegExp(`\\.create_queue\\('${BOSS_CRON_QUEUE}'`);

/** @param onError told when an idle connection breaks; the pool opens another when it needs one */
export function openWorkerDatabase(workerUrl: string, onError: (error: Error) => void): WorkerDatabase {
  let closing = false;
  const openPool = (max: number): pg.Pool =>
    new pg.Pool({
      connectionString: workerUrl,
      application_name: "plinth-worker",
      max,
      connectionTimeoutMillis: 10_000,
      statement_timeout: STATEMENT_TIMEOUT_MS,
    }).on("error", (error) => {
      // A server that stops right after close() still finds connections that are just being closed.
      if (!closing) onError(error);
    });
  const queue = openPool(MAX_QUEUE_CONNECTIONS);
  const jobs = openPool(MAX_JOB_CONNECTIONS);
  return {
    async executeSql(text, values) {
      if (MAKES_CRON_QUEUE.test(text)) return { rows: [] };
      return queue.query(text, values);
    },
    runJobSql: (text, values) => jobs.query(text, values),
    async close() {
      closing = true;
      await Promise.all([queue.end(), jobs.end()]);
    },
  };
}
