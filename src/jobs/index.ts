import type { Queue } from "pg-boss";
import { advanceSubscriptions } from "./advance-subscriptions.ts";
import { deleteExpiredTokens } from "./delete-expired-tokens.ts";
import { endExpiredSessions } from "./end-expired-sessions.ts";
import { ensurePartitions } from "./ensure-partitions.ts";
import { grantFreeQuotas } from "./grant-free-quotas.ts";
import type { TimetableEntry } from "./job.ts";
import { processPaymentEvents } from "./process-payment-events.ts";
import { queuesOf } from "./queues.ts";
import { refreshSubscriptionMetrics } from "./refresh-subscription-metrics.ts";
import { startWorkerOn, type Worker, type WorkerOptions } from "./worker.ts";

export type { JobContext, JobFunction, TimetableEntry } from "./job.ts";
export { DEAD_LETTER_QUEUE, queuesOf } from "./queues.ts";
export type { Worker, WorkerOptions } from "./worker.ts";

/** The timetable: what runs, when, and why. */
export const TIMETABLE: readonly TimetableEntry[] = [
  {
    name: "ensure-partitions",
    cron: "17 2 * * *",
    reason:
      "Rows of a month without a partition pile up in the default one, which cannot be dropped by the month.",
    run: ensurePartitions,
    // It runs once a day, so it had better succeed: keep trying for hours.
    queue: { retryLimit: 12, retryDelayMax: 3 * 3_600 },
  },
  {
    name: "delete-expired-tokens",
    cron: "*/15 * * * *",
    reason:
      "Expired tokens are dead weight on the index that every refresh reads; often means small batches.",
    run: deleteExpiredTokens,
  },
  {
    name: "end-expired-sessions",
    cron: "7 * * * *",
    reason: "The list of my sessions shows only those that still work, and old ones are personal data.",
    run: endExpiredSessions,
  },
  {
    name: "advance-subscriptions",
    cron: "*/5 * * * *",
    reason:
      "A subscription that ended must stop giving access, and a new period's tokens are wanted at once.",
    run: advanceSubscriptions,
  },
  {
    name: "grant-free-quotas",
    cron: "3 * * * *",
    reason: "A balance should be right when the month begins, before anything is spent.",
    run: grantFreeQuotas,
  },
  {
    name: "process-payment-events",
    cron: "* * * * *",
    reason: "A server may die between keeping an event and acting on it; some events wait for others.",
    run: processPaymentEvents,
  },
  {
    name: "refresh-subscription-metrics",
    cron: "11 * * * *",
    reason: "Who reads the metrics should not compute them, and an hour is recent enough.",
    run: refreshSubscriptionMetrics,
  },
];

/** Made by the owner when it migrates; the worker role may not make queues. */
export const QUEUES: readonly Queue[] = queuesOf(TIMETABLE);

/**
 * Schedules the timetable and works its queues until `close()`.
 * @throws PlinthError WORKER_CANNOT_START when the database or pg-boss's schema cannot be used.
 */
export function startWorker(
  options: Omit<WorkerOptions, "timetable"> & Partial<Pick<WorkerOptions, "timetable">>,
): Promise<Worker> {
  return startWorkerOn({ timetable: TIMETABLE, ...options });
}
