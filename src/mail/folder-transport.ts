import { join } from "node:path";
import { createTransport } from "nodemailer";
import type { Logger } from "pino";
import { makeFolder, writeWhole } from "../support/files.ts";
import type { SendSms, Transport } from "./message.ts";
import { toNodemailer } from "./smtp-transport.ts";

/**
 * For development: writes each mail to a file that only its owner can read and any mail program can open. The log names the
 * file but not its content, because links in mail are secrets.
 */
export function createFolderTransport(options: { folder: string; from: string; logger: Logger }): Transport {
  const { folder, from, logger } = options;
  const composer = createTransport({ streamTransport: true, buffer: true });
  return {
    async send(mail) {
      const { message } = await composer.sendMail(toNodemailer(mail, from));
      const file = join(folder, `${mail.id}.eml`);
      makeFolder(folder);
      writeWhole(file, message.toString());
      logger.info({ file }, "Mail written to a file: PLINTH_SMTP_URL is not set");
    },
    close: async () => composer.close(),
  };
}

/** The same for text messages. */
export function createFolderSms(options: { folder: string; logger: Logger }): SendSms {
  const { folder, logger } = options;
  return async ({ id, to, text }) => {
    const file = join(folder, `${id}.txt`);
    makeFolder(folder);
    writeWhole(file, `To: ${to}\n\n${text}\n`);
    logger.info({ file }, "Text message written to a file: sendSms is not configured");
  };
}
