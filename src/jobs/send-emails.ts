import type { Mailer } from "../mail/mailer.ts";
import { MailRefused, type QueuedMail } from "../mail/message.ts";
import type { JobContext } from "./job.ts";

/** Sent side by side; each is done long before the lease of two minutes ends. */
const BATCH_SIZE = 5;

export interface Delivery extends Record<string, number> {
  readonly sent: number;
  readonly retried: number;
  readonly failed: number;
}

/**
 * Sends what is due, batch after batch. At least once: a process that dies between the mail server's yes and the mark
 * leaves the row leased, and it is sent again under the same Message-ID. Never in a transaction: the lease and the mark
 * are statements of their own, and no lock is held while a mail server thinks.
 */
export async function deliverMails({
  query,
  signal,
  mailer,
}: JobContext & { mailer: Mailer }): Promise<Delivery> {
  const outcomes = { sent: 0, pending: 0, failed: 0 };
  for (;;) {
    const mails = (await query("select * from private.take_mails($1)", [
      BATCH_SIZE,
    ])) as unknown as QueuedMail[];
    const work = await Promise.allSettled(
      mails.map(async (mail) => {
        const { error, isPermanent } = await attempt(mailer, mail);
        const [row] = await query("select private.finish_mail($1, $2, $3) as status", [
          mail.id,
          error,
          isPermanent,
        ]);
        if (row?.status) outcomes[row.status as keyof typeof outcomes] += 1;
      }),
    );
    // Told only now, when nothing is sent any more: whoever closes the mailer afterwards cuts nothing off.
    for (const one of work) if (one.status === "rejected") throw one.reason;
    if (mails.length < BATCH_SIZE || signal.aborted)
      return { sent: outcomes.sent, retried: outcomes.pending, failed: outcomes.failed };
  }
}

async function attempt(
  mailer: Mailer,
  mail: QueuedMail,
): Promise<{ error: string | null; isPermanent: boolean }> {
  try {
    await mailer.deliver(mail);
    return { error: null, isPermanent: false };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { error: message || "unknown error", isPermanent: error instanceof MailRefused };
  }
}
