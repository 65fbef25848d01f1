import type { RenderedMessage } from "./render.ts";

/** A row of private.take_mails. */
export interface QueuedMail {
  readonly id: string;
  readonly channel: "email" | "sms";
  readonly to_address: string;
  readonly template: string;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly created_at: Date;
}

/** What a transport is handed. */
export interface OutgoingMail extends RenderedMessage {
  /** The same for every attempt to send this mail; also in its Message-ID. */
  readonly id: string;
  readonly to: string;
  readonly date: Date;
}

/** What `sendSms` is handed. It may be called again with the same id when the first call was not heard of. */
export interface SmsMessage {
  readonly id: string;
  /** E.164 with plus sign. */
  readonly to: string;
  readonly text: string;
}

export type SendSms = (message: SmsMessage) => Promise<void>;

/** Takes responsibility for a mail, or rejects: with MailRefused when trying again is no use. */
export interface Transport {
  send(mail: OutgoingMail): Promise<void>;
  close(): Promise<void>;
}

/** The mail will never be accepted as it is. */
export class MailRefused extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "MailRefused";
  }
}
