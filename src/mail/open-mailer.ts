import { join } from "node:path";
import type { Logger } from "pino";
import { parseMasterKeys } from "../auth/master-keys.ts";
import { createSealer } from "../auth/sealing.ts";
import type { Config } from "../config/config.ts";
import { createFolderSms, createFolderTransport } from "./folder-transport.ts";
import { createMailer, type Mailer } from "./mailer.ts";
import type { SendSms } from "./message.ts";
import { createSmtpTransport } from "./smtp-transport.ts";
import type { Template } from "./template.ts";

/** Mail options of the application. */
export interface MailHooks {
  /** Sends a text message. If omitted, only the embedded database can verify phone numbers, by writing messages to files. */
  readonly sendSms?: SendSms;
  /** Templates that replace Plinth's own, by name; see src/mail/templates. */
  readonly templates?: Readonly<Record<string, Template>>;
}

/**
 * Opens the mailer that the settings describe.
 * @param options.masterKeys undefined if this process does not have them: mail with tokens then waits for a worker that does
 * @param options.isDevelopment whether text messages are written to files when sendSms is missing
 */
export function openMailer(
  options: MailHooks & {
    config: Config;
    masterKeys: string | undefined;
    isDevelopment: boolean;
    logger: Logger;
  },
): Mailer {
  const { config, masterKeys, isDevelopment, logger, templates, sendSms } = options;
  const { smtpUrl, from, appUrl } = config.mail;
  const folder = join(config.dataDirectory, "mail");
  if (!smtpUrl && !isDevelopment)
    logger.warn({ folder }, "PLINTH_SMTP_URL is not set: mail is written to this folder and is not sent");
  if (!masterKeys)
    logger.warn("PLINTH_MASTER_KEYS is not set: mail with links and codes waits for a worker that has them");
  return createMailer({
    transport: smtpUrl
      ? createSmtpTransport({ url: smtpUrl, from })
      : createFolderTransport({ folder, from, logger }),
    sealer: masterKeys ? createSealer(parseMasterKeys(masterKeys)) : undefined,
    sendSms: sendSms ?? (isDevelopment ? createFolderSms({ folder, logger }) : undefined),
    appName: config.app.name,
    appUrl,
    ...(templates && { templates }),
  });
}
