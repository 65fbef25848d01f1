import pg from "pg";
import type { ConstructorOptions } from "pg-boss";
import { DatabaseClient } from "../connection/client.ts";
import { BOSS_CRON_QUEUE } from "./queues.ts";

/** Longer than any statement of a job should take. A statement that is stuck behind a lock then frees its connection. */
const STATEMENT_TIMEOUT_MS = 300_000;
/** Time past the statement timeout after which the connection counts as dead. */
const ANSWER_GRACE_MS = 5_000;
const MAX_JOB_CONNECTIONS = 5;
const MAX_QUEUE_CONNECTIONS = 2;

interface Rows {
  readonly rows: Record<string, unknown>[];
}

/** The worker role's connections, in pg-boss's form. */
export interface WorkerDatabase extends NonNullable<ConstructorOptions["db"]> {
  /** Runs the queue's own statements, such as heartbeats, which never wait behind a job. */
  executeSql(text: string, values?: unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
  /**
   * Runs a job's statement in a transaction of its own.
   * @param job its name, which the audit logs record
   */
  runJobSql(text: string, values?: unknown[], job?: string): Promise<Rows>;
  close(): Promise<void>;
}

/** pg-boss creates its cron queue at each start. The owner has already created it, and the worker role may not create queues. */
const MAKES_CRON_QUEUE = new RegExp(`\\.create_queue\\('${BOSS_CRON_QUEUE}'`);

/** @param onError called when an idle connection breaks; the pool opens another when it needs one */
export function openWorkerDatabase(workerUrl: string, onError: (error: Error) => void): WorkerDatabase {
  let closing = false;
  const openPool = (max: number): pg.Pool =>
    new pg.Pool({
      Client: DatabaseClient,
      connectionString: workerUrl,
      application_name: "plinth-worker",
      max,
      connectionTimeoutMillis: 10_000,
      // Not as a parameter of the connection, which PgBouncer rejects. Behind it, the setting may get lost, but not the other limit.
      onConnect: (client) =>
        client.query(`set statement_timeout = ${STATEMENT_TIMEOUT_MS}`) as unknown as undefined,
      query_timeout: STATEMENT_TIMEOUT_MS + ANSWER_GRACE_MS,
    }).on("error", (error) => {
      // A server that stops right after close() breaks connections that are still closing.
      if (!closing) onError(error);
    });
  const queue = openPool(MAX_QUEUE_CONNECTIONS);
  const jobs = openPool(MAX_JOB_CONNECTIONS);
  return {
    async executeSql(text, values) {
      if (MAKES_CRON_QUEUE.test(text)) return { rows: [] };
      return queue.query(text, values);
    },
    runJobSql: (text, values, job) =>
      job === undefined ? jobs.query(text, values) : runAs(jobs, job, { text, values }),
    async close() {
      closing = true;
      await Promise.all([queue.end(), jobs.end()]);
    },
  };
}

/** The setting is local to the transaction, so that it is right behind a pooler as well. */
async function runAs(
  pool: pg.Pool,
  job: string,
  statement: { text: string; values?: unknown[] | undefined },
): Promise<Rows> {
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    await client.query("begin");
    await client.query("select set_config('plinth.job', $1, true)", [job]);
    const { rows } = await client.query(statement.text, statement.values);
    await client.query("commit");
    return { rows };
  } catch (error) {
    await client.query("rollback").catch((cause) => {
      failure = cause;
    });
    throw error;
  } finally {
    client.release(failure);
  }
}
