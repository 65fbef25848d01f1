import { checkBacklogs } from "../../../src/cli/doctor/backlogs.ts";
import { checkDocuments } from "../../../src/cli/doctor/documents.ts";
import { checkJobs } from "../../../src/cli/doctor/jobs.ts";
import { checkMemories } from "../../../src/cli/doctor/memories.ts";
import { checkPayments } from "../../../src/cli/doctor/payments.ts";
import { checkQueues } from "../../../src/cli/doctor/queues.ts";
import { JOB_SCHEMA } from "../../../src/database/schemas.ts";
import type { Broken } from "./installation.ts";

const job = (name: string, columns: string, values: string) =>
  `insert into ${JOB_SCHEMA}.job (name, ${columns}) values ('${name}', ${values})`;

/** Jobs, and rows that wait for them. */
export const brokenWork: readonly Broken[] = [
  {
    title: "a job queue that is not installed",
    group: checkJobs,
    check: "job-queue",
    sql: `alter schema ${JOB_SCHEMA} rename to moved`,
    says: /not installed/,
  },
  {
    title: "a job queue of another version",
    group: checkJobs,
    check: "job-queue",
    sql: `update ${JOB_SCHEMA}.version set version = version - 1`,
    says: /Run plinth migrate/,
  },
  {
    title: "a worker that is off",
    group: checkJobs,
    check: "worker",
    status: "warn",
    says: /no worker is connected/,
  },
  {
    title: "a job that keeps failing",
    group: checkJobs,
    check: "failing-jobs",
    status: "warn",
    sql: job("deliver-mail", "state, retry_count, output", "'retry', 2, '{\"message\": \"no route\"}'"),
    says: /deliver-mail: 3 attempts, no route/,
  },
  {
    title: "a job that failed after all retries",
    group: checkJobs,
    check: "dead-letters",
    sql: job(
      "dead-letter",
      "state, source_name, source_output",
      "'created', 'deliver-mail', '{\"message\": \"no route\"}'",
    ),
    says: /deliver-mail: 1 failed/,
  },
  {
    title: "a queue that is missing",
    group: checkQueues,
    check: "job-queues",
    sql: `delete from ${JOB_SCHEMA}.queue where name = 'deliver-mail'`,
    says: /deliver-mail/,
  },
  {
    title: "a schedule that is missing",
    group: checkQueues,
    check: "schedules",
    status: "warn",
    sql: `insert into ${JOB_SCHEMA}.schedule (name, cron) values ('deliver-mail', '0 0 1 1 *')`,
    says: /deliver-mail: 0 0 1 1 \* instead of/,
  },
  {
    title: "a queue that is stuck",
    group: checkQueues,
    check: "due-jobs",
    status: "warn",
    sql: job("deliver-mail", "start_after", "now() - interval '1 hour'"),
    says: /deliver-mail: 1 jobs/,
  },
  {
    title: "mail that waits",
    group: checkBacklogs,
    check: "mail-queue",
    status: "warn",
    sql: "insert into private.mail_outbox (to_address, template, created_at) values ('a@example.org', 'verify-email', now() - interval '1 hour')",
    says: /PLINTH_SMTP_URL/,
  },
  {
    title: "mail that was rejected",
    group: checkBacklogs,
    check: "failed-mail",
    status: "warn",
    sql: "insert into private.mail_outbox (to_address, template, status) values ('a@example.org', 'verify-email', 'failed')",
    says: /last_error/,
  },
  {
    title: "a payment event that waits",
    group: checkBacklogs,
    check: "payment-events",
    status: "warn",
    sql: "insert into private.payment_events (provider, provider_event_id, event_type, occurred_at, received_at) values ('stripe', 'evt_1', 'x', now(), now() - interval '1 day')",
    says: /processed_at is null/,
  },
  {
    title: "a server that may execute no document",
    group: checkDocuments,
    check: "documents",
    env: () => ({ PLINTH_DOCUMENTS: "added" }),
    says: /each operation is rejected/,
  },
  {
    title: "a subscription of a deleted account",
    group: checkPayments,
    check: "cancellations",
    status: "warn",
    sql: "insert into private.provider_cancellations (provider, provider_subscription_id, requested_at) values ('stripe', 'sub_old', now() - interval '1 hour')",
    says: /stripe sub_old/,
  },
  {
    title: "vectors that are not enabled",
    group: checkMemories,
    check: "memory-vectors",
    status: "warn",
    env: () => ({ PLINTH_EMBEDDINGS_URL: "http://127.0.0.1:1/v1", PLINTH_EMBEDDINGS_MODEL: "m" }),
    says: /enable-vectors/,
  },
];
