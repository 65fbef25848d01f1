import type { JobFunction } from "./job.ts";
import { deliverMails } from "./send-emails.ts";

/** Sends the mail that is due. The worker also looks every few seconds by itself; this is what doctor sees. */
export const deliverMail: JobFunction = async ({ mailer, ...context }) =>
  // A worker without a mailer leaves the mail to one that has it.
  mailer ? deliverMails({ ...context, mailer }) : { sent: 0, retried: 0, failed: 0 };
