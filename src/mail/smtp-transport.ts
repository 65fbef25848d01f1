import { createTransport } from "nodemailer";
import type Mail from "nodemailer/lib/mailer/index.js";
import { isLoopback } from "../support/loopback.ts";
import { withTimeout } from "../support/with-timeout.ts";
import { MailRefused, type OutgoingMail, type Transport } from "./message.ts";

const CONNECT_TIMEOUT_MS = 10_000;
const SOCKET_TIMEOUT_MS = 20_000;
/** A mail is at work for less than the lease of private.take_mails in any case. */
const SEND_TIMEOUT_MS = 60_000;

/** The commands whose refusal is about this mail; a refused login or greeting is about the server. */
const ABOUT_THE_MAIL = /^(MAIL FROM|RCPT TO|DATA)/;

/**
 * Sends by SMTP.
 * @param options.url `smtp(s)://user:password@host:port`; options of nodemailer may follow as `?name=value`
 * @param options.from `Name <address>` or an address
 */
export function createSmtpTransport({ url, from }: { url: string; from: string }): Transport {
  const { username, hostname, searchParams } = new URL(url);
  const transport = createTransport({
    url,
    pool: true,
    maxConnections: 5,
    connectionTimeout: CONNECT_TIMEOUT_MS,
    greetingTimeout: CONNECT_TIMEOUT_MS,
    dnsTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: SOCKET_TIMEOUT_MS,
    // A password is not sent in clear because somebody cut STARTTLS out of the greeting.
    ...(username && !isLoopback(hostname) && !searchParams.has("requireTLS") ? { requireTLS: true } : {}),
  });

  return {
    async send(mail) {
      try {
        await withTimeout(
          transport.sendMail(toNodemailer(mail, from)),
          SEND_TIMEOUT_MS,
          () => new Error("The mail server took too long."),
        );
      } catch (error) {
        const { responseCode, command } = error as { responseCode?: number; command?: string };
        if (responseCode !== undefined && responseCode >= 500 && ABOUT_THE_MAIL.test(command ?? ""))
          throw new MailRefused(describe(error), { cause: error });
        throw new Error(describe(error), { cause: error });
      }
    },
    close: async () => transport.close(),
  };
}

/** What a mail looks like to nodemailer, which quotes, folds and encodes headers. */
export function toNodemailer(mail: OutgoingMail, from: string): Mail.Options {
  const { id, to, subject, text, html, date } = mail;
  return {
    from,
    // An object, because a text would be read as a list of addresses with names.
    to: { name: "", address: to },
    subject,
    text,
    html,
    date,
    messageId: `<${id}@${/@([^>\s]+)>?$/.exec(from)?.[1] ?? "localhost"}>`,
    // Out-of-office answers to these help nobody (RFC 3834).
    headers: { "Auto-Submitted": "auto-generated" },
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

/** Code and words of the server, without the address it repeats. */
function describe(error: unknown): string {
  const { code, responseCode, message } = error as { code?: string; responseCode?: number; message: string };
  return [code, responseCode, message.replace(/[^\s<>]+@[^\s<>]+/g, "(address)")].filter(Boolean).join(" ");
}
