import type { QueueOptions } from "pg-boss";
import type { Mailer } from "../mail/mailer.ts";
import type { PaymentProvider } from "../payments/payment-provider.ts";
import type { ErasureFinisher } from "../privacy/finish-erasures.ts";
import type { MemoryEmbeddings } from "./memory-embeddings.ts";

/** Where the job of the archives finds and puts its data. */
interface ArchivesOfJobs {
  readonly workerUrl: string;
  /** Undefined if the settings name no folder. */
  readonly directory: string | undefined;
  readonly keys: readonly Buffer[];
}

/** Outside services that some jobs need. Each is undefined in a worker that was started without it. */
export interface JobTools {
  /** Sends mail. */
  readonly mailer?: Mailer | undefined;
  /** Cancels subscriptions at the payment provider. */
  readonly payments?: PaymentProvider | undefined;
  /** Makes vectors of memories. */
  readonly embeddings?: MemoryEmbeddings | undefined;
  readonly archives?: ArchivesOfJobs | undefined;
  /** Settings of the last steps of an erasure. */
  readonly erasures?: Pick<ErasureFinisher, "directory" | "keys" | "key" | "backups"> | undefined;
  /** The owner's connection URL, for maintenance. */
  readonly ownerUrl?: string | undefined;
  /** The log file of the embedded server. */
  readonly serverLog?: string | undefined;
}

/** The arguments of a job: SQL on one connection as the worker role, and the signal to stop early. */
export interface JobContext extends JobTools {
  /** Runs one statement in a transaction of its own. */
  query(sql: string, values: unknown[]): Promise<Record<string, unknown>[]>;
  /** The payload that `plinth.enqueue_job` was called with; undefined in a scheduled run. */
  readonly payload?: unknown;
  /** Aborted when the worker stops or the job exceeds its time. A job that works in batches then returns. */
  readonly signal: AbortSignal;
}

/** Does the work and returns numbers for the log, never names, addresses or payloads. */
export type JobFunction = (context: JobContext) => Promise<Record<string, number>>;

/** A job with its queue. */
export interface JobDefinition {
  /** Also the queue's name and, for Plinth's own jobs, the file's. */
  readonly name: string;
  /** Five cron fields, in UTC. Without them, the job runs only when `plinth.enqueue_job` asks for it. */
  readonly cron?: string;
  /** The work of a run: a verb and its object, in Markdown. In the documentation and in `plinth jobs show`. */
  readonly does?: string;
  /** The reason for the job and its interval. */
  readonly reason?: string;
  readonly run: JobFunction;
  /** Options that differ from `QUEUE_DEFAULTS` in queues.ts. */
  readonly queue?: QueueOptions;
}

/** A line of the timetable. */
export interface TimetableEntry extends JobDefinition {
  readonly cron: string;
  readonly does: string;
  readonly reason: string;
}

/**
 * Returns a job that calls a SQL function until a batch is short. The function takes a batch size and returns the number of
 * rows it handled. Each batch has its own transaction, so locks are short, vacuum keeps up, and a stopped job loses nothing.
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
