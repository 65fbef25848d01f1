import pg from "pg";
import type { ConstructorOptions } from "pg-boss";
import { BOSS_CRON_QUEUE } from "./queues.ts";

/** Longer than any statement of a job should take, so that one stuck behind a lock frees its connection. */
const STATEMENT_TIMEOUT_MS = 300_000;
const MAX_CONNECTIONS = 5;

/** The worker role's connections, as pg-boss wants them. */
export interface WorkerDatabase extends NonNullable<ConstructorOptions["db"]> {
  executeSql(text: string, values?: unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
  close(): Promise<void>;
}

/** pg-boss makes its cron queue at every start. The owner has made it, and the worker role may not make any. */
const MAKES_CRON_QUEUE = new RegExp(`\\.create_queue\\('${BOSS_CRON_QUEUE}'`);

/** @param onError told when an idle connection breaks; the pool opens another when it needs one */
export function openWorkerDatabase(workerUrl: string, onError: (error: Error) => void): WorkerDatabase {
  const pool = new pg.Pool({
    connectionString: workerUrl,
    application_name: "plinth-worker",
    max: MAX_CONNECTIONS,
    connectionTimeoutMillis: 10_000,
    statement_timeout: STATEMENT_TIMEOUT_MS,
  });
  let closing = false;
  // A server that stops right after close() still finds connections that are just being closed.
  pool.on("error", (error) => {
    if (!closing) onError(error);
  });
  return {
    async executeSql(text, values) {
      if (MAKES_CRON_QUEUE.test(text)) return { rows: [] };
      return pool.query(text, values);
    },
    close() {
      closing = true;
      return pool.end();
    },
  };
}
