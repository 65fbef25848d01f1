import type { Queue } from "pg-boss";
import { deleteExpiredTokens } from "./delete-expired-tokens.ts";
import { endExpiredSessions } from "./end-expired-sessions.ts";
import { ensurePartitions } from "./ensure-partitions.ts";
import { expireTokenHolds } from "./expire-token-holds.ts";
import type { TimetableEntry } from "./job.ts";
import { queuesOf } from "./queues.ts";
import { resetUsageTracking } from "./reset-usage-tracking.ts";
import { retireTokenGrants } from "./retire-token-grants.ts";
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
    name: "expire-token-holds",
    cron: "* * * * *",
    reason: "Tokens set aside for a call that died are the user's again within a minute, in every total.",
    run: expireTokenHolds,
  },
  {
    name: "reset-usage-tracking",
    cron: "*/10 * * * *",
    reason:
      "A month begins at 0 for everybody; often, so that a start missed at midnight is made up for soon.",
    run: resetUsageTracking,
  },
  {
    name: "retire-token-grants",
    cron: "23 * * * *",
    reason: "Ended grants would be looked at by every reserve for good.",
    run: retireTokenGrants,
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
