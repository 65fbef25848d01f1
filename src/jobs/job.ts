import type { QueueOptions } from "pg-boss";
import type { Mailer } from "../mail/mailer.ts";
import type { PaymentProvider } from "../payments/payment-provider.ts";

/** What some jobs reach the world outside with; each is undefined in a worker that was started without it. */
export interface JobTools {
  /** Sends mail. */
  readonly mailer?: Mailer | undefined;
  /** Ends subscriptions where they are billed. */
  readonly payments?: PaymentProvider | undefined;
}

/** What a job gets: one connection's worth of SQL as the worker role, and the signal to stop early. */
export interface JobContext extends JobTools {
  /** Runs one statement in a transaction of its own. */
  query(sql: string, values: unknown[]): Promise<Record<string, unknown>[]>;
  /** Set when the worker stops or the job has used up its time; a job that works in batches then returns. */
  readonly signal: AbortSignal;
}

/** Does the work and says what it did, as numbers for the log: never names, addresses or payloads. */
export type JobFunction = (context: JobContext) => Promise<Record<string, number>>;

/** A line of the timetable. */
export interface TimetableEntry {
  /** Also the queue's name and the file's. */
  readonly name: string;
  /** Five cron fields, in UTC. */
  readonly cron: string;
  /** Why the job exists and why it runs this often. */
  readonly reason: string;
  readonly run: JobFunction;
  /** Where the queue differs from `QUEUE_DEFAULTS` in queues.ts. */
  readonly queue?: QueueOptions;
}

/**
 * A job around a SQL function that takes a batch size and returns how many rows it handled: called until a batch
 * comes back short. Each batch commits by itself, so that no lock is held for long, vacuum can follow, and a job
 * that is stopped has lost nothing.
 */
export function inBatches(sql: string, batchSize: number): JobFunction {
  return async ({ query, signal }) => {
    let rows = 0;
    for (;;) {
      const [result] = await query(sql, [batchSize]);
      const handled = Number(result?.handled ?? 0);
      rows += handled;
      if (handled < batchSize || signal.aborted) return { rows };
    }
  };
}
