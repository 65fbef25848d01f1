import type { Sealer } from "../auth/sealing.ts";
import { PlinthError } from "../support/errors.ts";
import { MailRefused, type QueuedMail, type SendSms, type Transport } from "./message.ts";
import { render } from "./render.ts";
import type { Template } from "./template.ts";
import { TEMPLATES } from "./templates/index.ts";

export interface Mailer {
  /**
   * Fills the template and sends it.
   * @throws MailRefused when a retry is useless; any other error when a retry may succeed
   */
  deliver(mail: QueuedMail): Promise<void>;
  close(): Promise<void>;
}

export interface MailerOptions {
  readonly transport: Transport;
  /** Opens `sealed_token`. If omitted, mail with a token waits. */
  readonly sealer: Sealer | undefined;
  /** If omitted, text messages wait. */
  readonly sendSms: SendSms | undefined;
  readonly appName: string;
  readonly appUrl: string;
  /** Replace or extend Plinth's own templates. */
  readonly templates?: Readonly<Record<string, Template>>;
}

export function createMailer(options: MailerOptions): Mailer {
  const { transport, sealer, sendSms, appName, appUrl } = options;
  const templates = { ...TEMPLATES, ...options.templates };

  function unseal(sealed: unknown): string {
    if (sealed === undefined) return "";
    if (typeof sealed !== "string") throw new MailRefused("The sealed token must be text.");
    if (!sealer)
      throw new PlinthError("MASTER_KEYS_MISSING", "PLINTH_MASTER_KEYS is not set: mail with a token waits.");
    try {
      return sealer.unseal("mail token", sealed).toString();
    } catch (error) {
      // A missing key can be restored; altered text cannot.
      if (error instanceof PlinthError && error.code === "UNSEALABLE")
        throw new MailRefused(error.message, { cause: error });
      throw error;
    }
  }

  return {
    async deliver({ id, channel, to_address: to, template: name, variables, created_at: date }) {
      const template = Object.hasOwn(templates, name) ? templates[name] : undefined;
      // Retried, because a newer release may have queued a template that this worker does not know yet.
      if (!template) throw new Error(`Unknown mail template: ${name}.`);
      const { sealed_token: sealed, ...others } = variables;
      const message = render(template(others, { appName, appUrl, token: unseal(sealed) }));
      if (channel === "email") await transport.send({ ...message, id, to, date });
      else if (sendSms) await sendSms({ id, to, text: message.text.trim() });
      else throw new PlinthError("UNAVAILABLE", "Text messages are not configured (sendSms).");
    },
    close: () => transport.close(),
  };
}
