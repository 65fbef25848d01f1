import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { Mailer } from "../mail/mailer.ts";
import type { JobContext } from "./job.ts";
import { sendEmails } from "./send-emails.ts";

export interface MailPoller {
  /** Resolves when the mail that is being sent is finished. */
  close(): Promise<void>;
}

/**
 * Polls for mail every few seconds: a user who waits for a link should not wait for the next minute's schedule. Several
 * workers share the mail, because each leases the mail it takes.
 * @param options.onError called with errors of the database; the next poll retries
 */
export function startMailPoller(options: {
  mailer: Mailer;
  query: JobContext["query"];
  logger: Logger;
  intervalMs: number;
  onError: (error: Error) => void;
}): MailPoller {
  const { mailer, query, logger, intervalMs, onError } = options;
  const stopping = new AbortController();
  const { signal } = stopping;

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        const delivery = await sendEmails({ query, signal, mailer });
        if (delivery.sent + delivery.retried + delivery.failed > 0)
          logger[delivery.retried + delivery.failed > 0 ? "warn" : "info"](delivery, "Mail handled");
      } catch (error) {
        onError(error as Error);
      }
      await sleep(intervalMs, undefined, { signal }).catch(() => {});
    }
  }

  const running = run();
  return {
    close() {
      stopping.abort();
      return running;
    },
  };
}
