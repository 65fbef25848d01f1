import type { Queue } from "pg-boss";
import { advanceSubscriptions } from "./advance-subscriptions.ts";
import { breakOffExpiredTurns } from "./break-off-expired-turns.ts";
import { cancelProviderSubscriptions } from "./cancel-provider-subscriptions.ts";
import { deleteDueAccounts } from "./delete-due-accounts.ts";
import { deleteEndedTurns } from "./delete-ended-turns.ts";
import { deleteExpiredExports } from "./delete-expired-exports.ts";
import { deleteExpiredMemories } from "./delete-expired-memories.ts";
import { deleteExpiredPresence } from "./delete-expired-presence.ts";
import { deleteExpiredRateLimits } from "./delete-expired-rate-limits.ts";
import { deleteExpiredSignInData } from "./delete-expired-sign-in-data.ts";
import { deleteExpiredVerifications } from "./delete-expired-verifications.ts";
import { deleteOldApiTokens } from "./delete-old-api-tokens.ts";
import { deleteOldEmails } from "./delete-old-emails.ts";
import { deleteOldErrorLogs } from "./delete-old-error-logs.ts";
import { deleteOldHeartbeats } from "./delete-old-heartbeats.ts";
import { deleteOldPromptUseKeys } from "./delete-old-prompt-use-keys.ts";
import { deliverMail } from "./deliver-mail.ts";
import { detectSuspiciousActivity } from "./detect-suspicious-activity.ts";
import { embedMemories } from "./embed-memories.ts";
import { endExpiredSessions } from "./end-expired-sessions.ts";
import { ensurePartitions } from "./ensure-partitions.ts";
import { expireTokenHolds } from "./expire-token-holds.ts";
import { grantFreeQuotas } from "./grant-free-quotas.ts";
import type { TimetableEntry } from "./job.ts";
import { processPaymentEvents } from "./process-payment-events.ts";
import { queuesOf } from "./queues.ts";
import { recordDueCompletions } from "./record-due-completions.ts";
import { refreshContentPopularity } from "./refresh-content-popularity.ts";
import { refreshSubscriptionMetrics } from "./refresh-subscription-metrics.ts";
import { resetUsageTracking } from "./reset-usage-tracking.ts";
import { retireTokenGrants } from "./retire-token-grants.ts";
import { startWorkerOn, type Worker, type WorkerOptions } from "./worker.ts";
import { writeDataExports } from "./write-data-exports.ts";

export type { JobContext, JobDefinition, JobFunction, TimetableEntry } from "./job.ts";
export { queuesOf } from "./queues.ts";
export type { Worker, WorkerOptions } from "./worker.ts";

/** The timetable: each job with its schedule and its reason. */
export const TIMETABLE: readonly TimetableEntry[] = [
  {
    name: "ensure-partitions",
    cron: "17 2 * * *",
    reason:
      "Rows of a month without a partition land in the default partition, which cannot be dropped month by month.",
    run: ensurePartitions,
    // It runs once a day, so retry for hours.
    queue: { retryLimit: 12, retryDelayMax: 3 * 3_600 },
  },
  {
    name: "delete-expired-sign-in-data",
    cron: "*/15 * * * *",
    reason: "Expired tokens bloat the index that each refresh reads; frequent runs keep the batches small.",
    run: deleteExpiredSignInData,
  },
  {
    name: "end-expired-sessions",
    cron: "7 * * * *",
    reason: "A user's list of sessions shows only active ones, and ended sessions are personal data.",
    run: endExpiredSessions,
  },
  {
    name: "detect-suspicious-activity",
    cron: "* * * * *",
    reason:
      "A warning helps only within a minute or two; later the victims have noticed the attack themselves.",
    run: detectSuspiciousActivity,
    // The next minute's run also covers the time of this one.
    queue: { retryLimit: 0 },
  },
  {
    name: "delete-expired-rate-limits",
    cron: "*/10 * * * *",
    reason: "Each address that signs in leaves a counter; a flood of addresses must not fill the disk.",
    run: deleteExpiredRateLimits,
  },
  {
    name: "delete-old-error-logs",
    cron: "47 3 * * *",
    reason: "Errors older than 90 days are fixed or have recurred, and they name accounts.",
    run: deleteOldErrorLogs,
  },
  {
    name: "delete-old-api-tokens",
    cron: "37 3 * * *",
    reason:
      "Tokens that ended long ago are useless to their owners, and their places of use are personal data.",
    run: deleteOldApiTokens,
  },
  {
    name: "deliver-mail",
    cron: "* * * * *",
    reason: "The worker also polls for mail every few seconds; this job lets plinth doctor see failures.",
    run: deliverMail,
  },
  {
    name: "delete-old-emails",
    cron: "37 * * * *",
    reason: "Addresses and names in sent mail are personal data that is no longer needed.",
    run: deleteOldEmails,
  },
  {
    name: "delete-expired-verifications",
    cron: "47 3 * * *",
    reason: "Expired links and codes record who requested them; after a month this is no longer needed.",
    run: deleteExpiredVerifications,
  },
  {
    name: "advance-subscriptions",
    cron: "*/5 * * * *",
    reason:
      "A subscription that ended must not give access, and a new period's tokens must be available at once.",
    run: advanceSubscriptions,
  },
  {
    name: "grant-free-quotas",
    cron: "3 * * * *",
    reason: "Balances should be correct from the start of the month, before any tokens are spent.",
    run: grantFreeQuotas,
  },
  {
    name: "process-payment-events",
    cron: "* * * * *",
    reason: "A server may die between storing an event and processing it, and some events wait for others.",
    run: processPaymentEvents,
  },
  {
    name: "cancel-provider-subscriptions",
    cron: "*/5 * * * *",
    reason:
      "A deleted account must not be billed again; the job retries for days while the provider is unavailable.",
    run: cancelProviderSubscriptions,
  },
  {
    name: "refresh-subscription-metrics",
    cron: "11 * * * *",
    reason: "Readers of the metrics should not have to compute them, and hourly data is recent enough.",
    run: refreshSubscriptionMetrics,
  },
  {
    name: "expire-token-holds",
    cron: "* * * * *",
    reason: "Tokens reserved for a call that died return to the user's balance within a minute.",
    run: expireTokenHolds,
  },
  {
    name: "reset-usage-tracking",
    cron: "*/10 * * * *",
    reason:
      "Each account's usage starts the month at 0; frequent runs soon make up for a run missed at midnight.",
    run: resetUsageTracking,
  },
  {
    name: "retire-token-grants",
    cron: "23 * * * *",
    reason: "Without it, each reservation would scan all ended grants.",
    run: retireTokenGrants,
  },
  {
    name: "break-off-expired-turns",
    cron: "* * * * *",
    reason:
      "An answer whose writer was killed looks unfinished; its reader should learn this within a minute.",
    run: breakOffExpiredTurns,
    // The next minute's run completes this one's work.
    queue: { retryLimit: 0 },
  },
  {
    name: "delete-ended-turns",
    cron: "23 * * * *",
    reason: "Deltas repeat the text of the message; disconnected readers catch up within a day.",
    run: deleteEndedTurns,
  },
  {
    name: "delete-old-prompt-use-keys",
    cron: "53 3 * * *",
    reason: "Clients do not repeat a prompt use after a week, and the keys record each user's prompt uses.",
    run: deleteOldPromptUseKeys,
  },
  {
    name: "embed-memories",
    cron: "* * * * *",
    reason: "A new memory is found by its meaning only once it has a vector.",
    run: embedMemories,
  },
  {
    name: "delete-expired-memories",
    cron: "*/15 * * * *",
    reason: "An expired memory is personal data that the user wanted to be forgotten.",
    run: deleteExpiredMemories,
  },
  {
    name: "delete-expired-presence",
    cron: "*/15 * * * *",
    reason: "The time a user was last seen is personal data that is no longer needed.",
    run: deleteExpiredPresence,
  },
  {
    name: "refresh-content-popularity",
    cron: "*/15 * * * *",
    reason: "Recommendations and reports show current popularity; 15 minutes is current enough.",
    run: refreshContentPopularity,
    // The next run refreshes everything.
    queue: { retryLimit: 0 },
  },
  {
    name: "record-due-completions",
    cron: "* * * * *",
    reason:
      "The end of an item's availability may complete a course for its learners, who see it within a minute.",
    run: recordDueCompletions,
    // The next minute's run completes this one's work.
    queue: { retryLimit: 0 },
  },
  {
    name: "delete-old-heartbeats",
    cron: "27 * * * *",
    reason:
      "The deduplication keys of heartbeats grow into the largest table; after 35 days no heartbeat can repeat.",
    run: deleteOldHeartbeats,
  },
  {
    name: "delete-due-accounts",
    cron: "*/5 * * * *",
    reason: "An account whose deletion was not canceled must be deleted on the announced day.",
    run: deleteDueAccounts,
  },
  {
    name: "write-data-exports",
    cron: "* * * * *",
    reason: "A user waits for the export of their data.",
    run: writeDataExports,
  },
  {
    name: "delete-expired-exports",
    cron: "*/15 * * * *",
    reason: "An export holds all data of a user in one place, so it is kept no longer than promised.",
    run: deleteExpiredExports,
  },
];

/** Created by the owner during a migration; the worker role may not create queues. */
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
