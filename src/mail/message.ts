import type { RenderedMessage } from "./render.ts";

/** A row of private.take_emails. */
export interface QueuedMail {
  readonly id: string;
  readonly channel: "email" | "sms";
  readonly to_address: string;
  readonly template: string;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly created_at: Date;
}

/** A mail as a transport receives it. */
export interface OutgoingMail extends RenderedMessage {
  /** The same for each attempt to send this mail; also part of its Message-ID. */
  readonly id: string;
  readonly to: string;
  readonly date: Date;
}

/** A text message as `sendSms` receives it. If the outcome of a call is unknown, it is called again with the same id. */
export interface SmsMessage {
  readonly id: string;
  /** E.164 with plus sign. */
  readonly to: string;
  readonly text: string;
}

/** Sends a text message, or rejects. */
export type SendSms = (message: SmsMessage) => Promise<void>;

/** Accepts an email for delivery, or rejects: with MailRefused when a retry is useless. */
export interface Transport {
  send(mail: OutgoingMail): Promise<void>;
  close(): Promise<void>;
}

/** The mail server will never accept this mail. */
export class MailRefused extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "MailRefused";
  }
}
