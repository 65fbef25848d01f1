import type { JobFunction } from "./job.ts";
import { sendEmails } from "./send-emails.ts";

/** Sends the mail that is due. The worker also polls for mail; this job lets plinth doctor see failures. */
export const deliverMail: JobFunction = async ({ mailer, ...context }) =>
  // A worker without a mailer leaves the mail to one that has it.
  mailer ? sendEmails({ ...context, mailer }) : { sent: 0, retried: 0, failed: 0 };
