import { advanceSubscriptions } from "./advance-subscriptions.ts";
import { archiveOldPartitions } from "./archive-old-partitions.ts";
import { breakOffExpiredTurns } from "./break-off-expired-turns.ts";
import { cancelProviderSubscriptions } from "./cancel-provider-subscriptions.ts";
import { closeAuditBlocks } from "./close-audit-blocks.ts";
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
import { deleteOldServerLogs } from "./delete-old-server-logs.ts";
import { deliverMail } from "./deliver-mail.ts";
import { detectSuspiciousActivity } from "./detect-suspicious-activity.ts";
import { embedMemories } from "./embed-memories.ts";
import { endExpiredSessions } from "./end-expired-sessions.ts";
import { ensurePartitions } from "./ensure-partitions.ts";
import { expireTokenHolds } from "./expire-token-holds.ts";
import { finishErasures } from "./finish-erasures.ts";
import { grantFreeQuotas } from "./grant-free-quotas.ts";
import type { TimetableEntry } from "./job.ts";
import { maintainTables } from "./maintain-tables.ts";
import { processPaymentEvents } from "./process-payment-events.ts";
import { recordDueCompletions } from "./record-due-completions.ts";
import { refreshContentPopularity } from "./refresh-content-popularity.ts";
import { refreshSubscriptionMetrics } from "./refresh-subscription-metrics.ts";
import { resetUsageTracking } from "./reset-usage-tracking.ts";
import { retireTokenGrants } from "./retire-token-grants.ts";
import { rollUpDays } from "./roll-up-days.ts";
import { writeDataExports } from "./write-data-exports.ts";

/** The timetable: each job with its schedule, its work and its reason. The table in docs/jobs.md comes from it. */
export const TIMETABLE: readonly TimetableEntry[] = [
  {
    name: "ensure-partitions",
    cron: "17 2 * * *",
    does: "creates the log partitions of the next three months",
    reason:
      "Rows of a month without a partition land in the default partition, which cannot be dropped month by month.",
    run: ensurePartitions,
    // It runs once a day, so retry for hours.
    queue: { retryLimit: 12, retryDelayMax: 3 * 3_600 },
  },
  {
    name: "archive-old-partitions",
    cron: "37 2 * * *",
    does: "archives or drops the months of logs that are older than their [policy](operations.md#retention-and-archives) allows",
    reason: "Logs grow forever otherwise, and hold personal data for longer than their policies promise.",
    run: archiveOldPartitions,
    // A first run may have years to archive.
    queue: { expireInSeconds: 6 * 3_600 },
  },
  {
    name: "maintain-tables",
    cron: "7 3 * * 0",
    does: "runs [maintenance](operations.md#maintenance) where the worker has the owner's URL (`start` has)",
    reason: "Autovacuum neither rebuilds bloated indexes nor analyzes partitioned tables.",
    run: maintainTables,
    // The next week's run finds the same.
    queue: { expireInSeconds: 6 * 3_600, retryLimit: 0 },
  },
  {
    name: "delete-old-server-logs",
    cron: "7 4 * * *",
    does: "deletes old log files of the embedded server",
    reason: "The server's log names accounts and addresses.",
    run: deleteOldServerLogs,
  },
  {
    name: "delete-expired-sign-in-data",
    cron: "*/15 * * * *",
    does: "deletes expired refresh tokens, challenges, provider flows and revocations, and unconfirmed factors",
    reason: "Expired tokens bloat the index that each refresh reads; frequent runs keep the batches small.",
    run: deleteExpiredSignInData,
  },
  {
    name: "end-expired-sessions",
    cron: "7 * * * *",
    does: "ends sessions past their limits",
    reason: "A user's list of sessions shows only active ones, and ended sessions are personal data.",
    run: endExpiredSessions,
  },
  {
    name: "detect-suspicious-activity",
    cron: "* * * * *",
    does: "looks for [suspicious activity](accounts.md#limits-logs-suspicion)",
    reason:
      "A warning helps only within a minute or two; later the victims have noticed the attack themselves.",
    run: detectSuspiciousActivity,
    // The next minute's run also covers the time of this one.
    queue: { retryLimit: 0 },
  },
  {
    name: "delete-expired-rate-limits",
    cron: "*/10 * * * *",
    does: "deletes rate limit counters of past windows",
    reason: "Each address that signs in leaves a counter; a flood of addresses must not fill the disk.",
    run: deleteExpiredRateLimits,
  },
  {
    name: "delete-old-error-logs",
    cron: "47 3 * * *",
    does: "deletes errors that are older than their policy allows, by default 90 days",
    reason: "Old errors are fixed or have recurred, and they name accounts.",
    run: deleteOldErrorLogs,
  },
  {
    name: "delete-old-api-tokens",
    cron: "37 3 * * *",
    does: "deletes API tokens that expired or were revoked more than 90 days ago",
    reason:
      "Tokens that ended long ago are useless to their owners, and their places of use are personal data.",
    run: deleteOldApiTokens,
  },
  {
    name: "deliver-mail",
    cron: "* * * * *",
    does: "sends [mail](mail.md); the worker also polls every few seconds",
    reason: "The worker also polls for mail every few seconds; this job lets plinth doctor see failures.",
    run: deliverMail,
  },
  {
    name: "delete-old-emails",
    cron: "37 * * * *",
    does: "deletes mail that was sent more than 7 days ago or failed more than 30 days ago",
    reason: "Addresses and names in sent mail are personal data that is no longer needed.",
    run: deleteOldEmails,
  },
  {
    name: "delete-expired-verifications",
    cron: "47 3 * * *",
    does: "deletes links and codes that expired more than a month ago",
    reason: "Expired links and codes record who requested them; after a month this is no longer needed.",
    run: deleteExpiredVerifications,
  },
  {
    name: "advance-subscriptions",
    cron: "*/5 * * * *",
    does: "takes the due steps of [subscriptions](billing.md#jobs)",
    reason:
      "A subscription that ended must not give access, and a new period's tokens must be available at once.",
    run: advanceSubscriptions,
  },
  {
    name: "grant-free-quotas",
    cron: "3 * * * *",
    does: "grants the month's free tokens",
    reason: "Balances should be correct from the start of the month, before any tokens are spent.",
    run: grantFreeQuotas,
  },
  {
    name: "process-payment-events",
    cron: "* * * * *",
    does: "processes payment events that a server left unprocessed or that wait for other events",
    reason: "A server may die between storing an event and processing it, and some events wait for others.",
    run: processPaymentEvents,
  },
  {
    name: "cancel-provider-subscriptions",
    cron: "*/5 * * * *",
    does: "cancels the Stripe subscriptions of deleted accounts",
    reason:
      "A deleted account must not be billed again; the job retries for days while the provider is unavailable.",
    run: cancelProviderSubscriptions,
  },
  {
    name: "refresh-subscription-metrics",
    cron: "11 * * * *",
    does: "refreshes `analytics.subscription_metrics`",
    reason: "Readers of the metrics should not have to compute them, and hourly data is recent enough.",
    run: refreshSubscriptionMetrics,
  },
  {
    name: "roll-up-days",
    cron: "4,19,34,49 * * * *",
    does: "sums the days with new rows for the [views](analytics.md#kept-totals) of analysts",
    reason: "Questions about a day read its sum, and sums outlive deleted accounts and archived logs.",
    run: rollUpDays,
    // The first run sums every day there is. The next run continues a failed one.
    queue: { expireInSeconds: 6 * 3_600, retryLimit: 0 },
  },
  {
    name: "close-audit-blocks",
    cron: "* * * * *",
    does: "chains the commitments to new rows of the [audit logs](audit.md)",
    reason:
      "A row can be altered unnoticed until its commitment is in the chain, so it should be there within a minute.",
    run: closeAuditBlocks,
    // The next minute's run completes this one's work.
    queue: { retryLimit: 0 },
  },
  {
    name: "expire-token-holds",
    cron: "* * * * *",
    does: "expires holds that were never settled or released",
    reason: "Tokens reserved for a call that died return to the user's balance within a minute.",
    run: expireTokenHolds,
  },
  {
    name: "reset-usage-tracking",
    cron: "*/10 * * * *",
    does: "starts the new month for idle accounts",
    reason:
      "Each account's usage starts the month at 0; frequent runs soon make up for a run missed at midnight.",
    run: resetUsageTracking,
  },
  {
    name: "retire-token-grants",
    cron: "23 * * * *",
    does: "excludes ended grants from those that reserve reads",
    reason: "Without it, each reservation would scan all ended grants.",
    run: retireTokenGrants,
  },
  {
    name: "break-off-expired-turns",
    cron: "* * * * *",
    does: "ends [answers](chat.md#for-operators) whose lease has expired",
    reason:
      "An answer whose writer was killed looks unfinished; its reader should learn this within a minute.",
    run: breakOffExpiredTurns,
    // The next minute's run completes this one's work.
    queue: { retryLimit: 0 },
  },
  {
    name: "delete-ended-turns",
    cron: "23 * * * *",
    does: "deletes the deltas of answers that ended more than a day ago",
    reason: "Deltas repeat the text of the message; disconnected readers catch up within a day.",
    run: deleteEndedTurns,
  },
  {
    name: "delete-old-prompt-use-keys",
    cron: "53 3 * * *",
    does: "deletes idempotency keys of prompt uses older than a week",
    reason: "Clients do not repeat a prompt use after a week, and the keys record each user's prompt uses.",
    run: deleteOldPromptUseKeys,
  },
  {
    name: "embed-memories",
    cron: "* * * * *",
    does: "makes the vectors of [memories](memory.md#recall-by-meaning), where they are enabled",
    reason: "A new memory is found by its meaning only once it has a vector.",
    run: embedMemories,
  },
  {
    name: "delete-expired-memories",
    cron: "*/15 * * * *",
    does: "deletes [memories](memory.md) that have expired",
    reason: "An expired memory is personal data that the user wanted to be forgotten.",
    run: deleteExpiredMemories,
  },
  {
    name: "delete-expired-presence",
    cron: "*/15 * * * *",
    does: "deletes expired presence rows",
    reason: "The time a user was last seen is personal data that is no longer needed.",
    run: deleteExpiredPresence,
  },
  {
    name: "refresh-content-popularity",
    cron: "*/15 * * * *",
    does: "refreshes `analytics.content_popularity`",
    reason: "Recommendations and reports show current popularity; 15 minutes is current enough.",
    run: refreshContentPopularity,
    // The next run refreshes everything.
    queue: { retryLimit: 0 },
  },
  {
    name: "record-due-completions",
    cron: "* * * * *",
    does: "records courses and trainings completed because the availability of an item started or ended",
    reason:
      "The end of an item's availability may complete a course for its learners, who see it within a minute.",
    run: recordDueCompletions,
    // The next minute's run completes this one's work.
    queue: { retryLimit: 0 },
  },
  {
    name: "delete-old-heartbeats",
    cron: "27 * * * *",
    does: "deletes deduplication keys of heartbeats older than 35 days",
    reason:
      "The deduplication keys of heartbeats grow into the largest table; after 35 days no heartbeat can repeat.",
    run: deleteOldHeartbeats,
  },
  {
    name: "delete-due-accounts",
    cron: "*/5 * * * *",
    does: "deletes [accounts](accounts.md#deleted-accounts-and-exports) whose grace period is over",
    reason: "An account whose deletion was not canceled must be deleted on the announced day.",
    run: deleteDueAccounts,
  },
  {
    name: "finish-erasures",
    cron: "*/5 * * * *",
    does: "erases deleted accounts from [archives](privacy.md#erasure) and signs their [certificates](privacy.md#certificate)",
    reason:
      "Files are not part of the transaction that deletes an account, and a signature needs a key that the database lacks.",
    run: finishErasures,
    // A run reads all archives.
    queue: { expireInSeconds: 6 * 3_600 },
  },
  {
    name: "write-data-exports",
    cron: "* * * * *",
    does: "writes requested [exports](accounts.md#deleted-accounts-and-exports)",
    reason: "A user waits for the export of their data.",
    run: writeDataExports,
  },
  {
    name: "delete-expired-exports",
    cron: "*/15 * * * *",
    does: "deletes the contents of expired exports",
    reason: "An export holds all data of a user in one place, so it is kept no longer than promised.",
    run: deleteExpiredExports,
  },
];
