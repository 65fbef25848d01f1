import { createTransport } from "nodemailer";
import type Mail from "nodemailer/lib/mailer/index.js";
import { isLoopback } from "../support/loopback.ts";
import { withTimeout } from "../support/with-timeout.ts";
import { MailRefused, type OutgoingMail, type Transport } from "./message.ts";

const CONNECT_TIMEOUT_MS = 10_000;
const SOCKET_TIMEOUT_MS = 20_000;
/** Shorter than the lease of private.take_emails. */
const SEND_TIMEOUT_MS = 60_000;

/** Commands whose rejection concerns this mail. A rejected login or greeting concerns the server. */
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
    // An attacker who strips STARTTLS from the greeting must not get the password in clear text.
    ...(username && !isLoopback(hostname) && !searchParams.has("requireTLS") ? { requireTLS: true } : {}),
  });

  return {
    async send(mail) {
      try {
        await withTimeout(
          transport.sendMail(toNodemailer(mail, from)),
          SEND_TIMEOUT_MS,
          () => new Error("The mail server timed out."),
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

/** Returns an email in nodemailer's form. nodemailer quotes, folds and encodes the headers. */
export function toNodemailer(mail: OutgoingMail, from: string): Mail.Options {
  const { id, to, subject, text, html, date } = mail;
  return {
    from,
    // An object, because nodemailer parses a string as a list of addresses with names.
    to: { name: "", address: to },
    subject,
    text,
    html,
    date,
    messageId: `<${id}@${/@([^>\s]+)>?$/.exec(from)?.[1] ?? "localhost"}>`,
    // Suppresses out-of-office replies (RFC 3834).
    headers: { "Auto-Submitted": "auto-generated" },
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

/** The server's code and message, without the address that the message repeats. */
function describe(error: unknown): string {
  const { code, responseCode, message } = error as { code?: string; responseCode?: number; message: string };
  return [code, responseCode, message.replace(/[^\s<>]+@[^\s<>]+/g, "(address)")].filter(Boolean).join(" ");
}
