import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { Mailer } from "../mail/mailer.ts";
import type { JobContext } from "./job.ts";
import { deliverMails } from "./send-emails.ts";

export interface MailPoller {
  /** Lets mail at work finish; resolves when nothing is sent any more. */
  close(): Promise<void>;
}

/**
 * Looks for mail every few seconds: who waits for a link will not wait for the minute of a schedule. Several workers
 * share the mail, because each leases what it takes.
 * @param options.onError told of failures of the database; the next look tries again
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
        const delivery = await deliverMails({ query, signal, mailer });
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
