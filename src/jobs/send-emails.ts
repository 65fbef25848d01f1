import type { Mailer } from "../mail/mailer.ts";
import { MailRefused, type QueuedMail } from "../mail/message.ts";
import type { JobContext } from "./job.ts";

/** Sent concurrently; each finishes long before the lease of two minutes ends. */
const BATCH_SIZE = 5;

export interface Delivery extends Record<string, number> {
  readonly sent: number;
  readonly retried: number;
  readonly failed: number;
}

/**
 * Sends the mail that is due, batch after batch, at least once: if the process dies after the mail server accepts an email and
 * before the row is marked, the mail is sent again under the same Message-ID. Not in a transaction: the lease and the mark are
 * separate statements, so no lock is held while a mail server responds.
 */
export async function sendEmails({
  query,
  signal,
  mailer,
}: JobContext & { mailer: Mailer }): Promise<Delivery> {
  const outcomes = { sent: 0, pending: 0, failed: 0 };
  for (;;) {
    const emails = (await query("select * from private.take_emails($1)", [
      BATCH_SIZE,
    ])) as unknown as QueuedMail[];
    const work = await Promise.allSettled(
      emails.map(async (email) => {
        const { error, isPermanent } = await attempt(mailer, email);
        const [row] = await query("select private.finish_email($1, $2, $3) as status", [
          email.id,
          error,
          isPermanent,
        ]);
        if (row?.status) outcomes[row.status as keyof typeof outcomes] += 1;
      }),
    );
    // Thrown only after all attempts ended, so that a caller that closes the mailer interrupts none of them.
    for (const one of work) if (one.status === "rejected") throw one.reason;
    if (emails.length < BATCH_SIZE || signal.aborted)
      return { sent: outcomes.sent, retried: outcomes.pending, failed: outcomes.failed };
  }
}

async function attempt(
  mailer: Mailer,
  email: QueuedMail,
): Promise<{ error: string | null; isPermanent: boolean }> {
  try {
    await mailer.deliver(email);
    return { error: null, isPermanent: false };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { error: message || "unknown error", isPermanent: error instanceof MailRefused };
  }
}
