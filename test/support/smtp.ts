import type { AddressInfo } from "node:net";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";

/** A mail as the server received it. */
export interface ReceivedMail {
  readonly from: string;
  readonly to: readonly string[];
  /** Headers, a blank line, and the body, as sent. */
  readonly source: string;
}

export interface TestSmtpServer {
  /** `smtp://127.0.0.1:port` */
  readonly url: string;
  readonly received: ReceivedMail[];
  close(): Promise<void>;
}

/** A real mail server on loopback that keeps what it accepts. */
export async function startSmtpServer(
  options: SMTPServerOptions & {
    /** Called with a mail before it is accepted; an error that it throws is the answer. */
    onMail?: (mail: ReceivedMail) => Promise<void> | void;
  } = {},
): Promise<TestSmtpServer> {
  const { onMail, ...settings } = options;
  const received: ReceivedMail[] = [];
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ["STARTTLS"],
    closeTimeout: 1_000,
    socketTimeout: 600_000,
    // Where no name server answers, it waits for one at each connection.
    disableReverseLookup: true,
    onData(stream, session, callback) {
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", async () => {
        const { mailFrom, rcptTo } = session.envelope;
        const mail = {
          from: mailFrom ? mailFrom.address : "",
          to: rcptTo.map(({ address }) => address),
          source: Buffer.concat(chunks).toString(),
        };
        try {
          await onMail?.(mail);
          received.push(mail);
          callback();
        } catch (error) {
          callback(error as Error);
        }
      });
    },
    ...settings,
  });
  server.on("error", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.server.address() as AddressInfo;
  return {
    url: `smtp://127.0.0.1:${port}`,
    received,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** An answer of a mail server. */
export function smtpError(responseCode: number, message: string): Error {
  return Object.assign(new Error(message), { responseCode });
}

/** A header's value, unfolded; undefined if it is missing. */
export function headerOf({ source }: ReceivedMail, name: string): string | undefined {
  const [head = ""] = source.split("\r\n\r\n");
  const line = head
    .replace(/\r\n[ \t]+/g, " ")
    .split("\r\n")
    .find((each) => each.toLowerCase().startsWith(`${name.toLowerCase()}:`));
  return line?.slice(name.length + 1).trim();
}

/** Names of all headers, in lower case. */
export function headerNames({ source }: ReceivedMail): string[] {
  const [head = ""] = source.split("\r\n\r\n");
  return head
    .replace(/\r\n[ \t]+/g, " ")
    .split("\r\n")
    .map((line) => line.slice(0, line.indexOf(":")).toLowerCase());
}
