import type { Queue } from "pg-boss";
import { advanceSubscriptions } from "./advance-subscriptions.ts";
import { breakOffExpiredTurns } from "./break-off-expired-turns.ts";
import { cancelProviderSubscriptions } from "./cancel-provider-subscriptions.ts";
import { deleteDueAccounts } from "./delete-due-accounts.ts";
import { deleteEndedTurns } from "./delete-ended-turns.ts";
import { deleteExpiredExports } from "./delete-expired-exports.ts";
import { deleteExpiredPresence } from "./delete-expired-presence.ts";
import { deleteExpiredRateLimits } from "./delete-expired-rate-limits.ts";
import { deleteExpiredTokens } from "./delete-expired-tokens.ts";
import { deleteExpiredVerifications } from "./delete-expired-verifications.ts";
import { deleteOldApiTokens } from "./delete-old-api-tokens.ts";
import { deleteOldErrorLogs } from "./delete-old-error-logs.ts";
import { deleteOldHeartbeats } from "./delete-old-heartbeats.ts";
import { deleteOldMails } from "./delete-old-mails.ts";
import { deleteOldPromptUseKeys } from "./delete-old-prompt-use-keys.ts";
import { deliverMail } from "./deliver-mail.ts";
import { detectSuspiciousActivity } from "./detect-suspicious-activity.ts";
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
    name: "detect-suspicious-activity",
    cron: "* * * * *",
    reason: "An attack is news for a minute or two; later its victims have found out themselves.",
    run: detectSuspiciousActivity,
    // The next minute's run looks back over this one's.
    queue: { retryLimit: 0 },
  },
  {
    name: "delete-expired-rate-limits",
    cron: "*/10 * * * *",
    reason: "Every address that signs in leaves a counter; a flood of addresses must not fill the disk.",
    run: deleteExpiredRateLimits,
  },
  {
    name: "delete-old-error-logs",
    cron: "47 3 * * *",
    reason: "Errors of 90 days ago are fixed or have happened again, and they name accounts.",
    run: deleteOldErrorLogs,
  },
  {
    name: "delete-old-api-tokens",
    cron: "37 3 * * *",
    reason:
      "Tokens that ended long ago are of no use to their owner, and where they were used is personal data.",
    run: deleteOldApiTokens,
  },
  {
    name: "deliver-mail",
    cron: "* * * * *",
    reason: "The worker looks for mail every few seconds by itself; this is where doctor sees it fail.",
    run: deliverMail,
  },
  {
    name: "delete-old-mails",
    cron: "37 * * * *",
    reason: "Addresses and names in sent mail are personal data that nobody needs any more.",
    run: deleteOldMails,
  },
  {
    name: "delete-expired-verifications",
    cron: "47 3 * * *",
    reason: "Links and codes that ended tell who asked for what; after a month nobody needs to know.",
    run: deleteExpiredVerifications,
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
    name: "cancel-provider-subscriptions",
    cron: "*/5 * * * *",
    reason:
      "Who deleted the account must not be billed again; soon, and over days while the provider is away.",
    run: cancelProviderSubscriptions,
  },
  {
    name: "refresh-subscription-metrics",
    cron: "11 * * * *",
    reason: "Who reads the metrics should not compute them, and an hour is recent enough.",
    run: refreshSubscriptionMetrics,
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
  {
    name: "break-off-expired-turns",
    cron: "* * * * *",
    reason:
      "An answer whose writer was killed looks as if it still came; its reader should know within a minute.",
    run: breakOffExpiredTurns,
    // The next minute's run does what this one did not.
    queue: { retryLimit: 0 },
  },
  {
    name: "delete-ended-turns",
    cron: "23 * * * *",
    reason: "Deltas say what the message says too; readers that were cut off have caught up within a day.",
    run: deleteEndedTurns,
  },
  {
    name: "delete-old-prompt-use-keys",
    cron: "53 3 * * *",
    reason: "Nobody tells a use of a prompt again after a week, and the keys say who used what when.",
    run: deleteOldPromptUseKeys,
  },
  {
    name: "delete-expired-presence",
    cron: "*/15 * * * *",
    reason: "When somebody was last seen is nobody's business afterwards.",
    run: deleteExpiredPresence,
  },
  {
    name: "refresh-content-popularity",
    cron: "*/15 * * * *",
    reason: "Recommendations and reports show what people take to now; a quarter of an hour is now enough.",
    run: refreshContentPopularity,
    // The next run brings it all up to date.
    queue: { retryLimit: 0 },
  },
  {
    name: "record-due-completions",
    cron: "* * * * *",
    reason:
      "A part whose availability ends may complete a course for those who have the rest; they see it within a minute.",
    run: recordDueCompletions,
    // The next minute's run does what this one did not.
    queue: { retryLimit: 0 },
  },
  {
    name: "delete-old-heartbeats",
    cron: "27 * * * *",
    reason:
      "A mark for every heartbeat adds up to the largest table there is; after 35 days none can be repeated.",
    run: deleteOldHeartbeats,
  },
  {
    name: "delete-due-accounts",
    cron: "*/5 * * * *",
    reason: "An account whose owner did not cancel its deletion must go on the day that they were told.",
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
    reason: "An export holds everything about a person in one place, so it is kept no longer than promised.",
    run: deleteExpiredExports,
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
