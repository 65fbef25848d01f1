import type { PgConnection } from "./node-pg.ts";

/** A connection that collects messages, and a function that sends them as one buffer in one write. */
export function record(connection: PgConnection): { recorder: PgConnection; send: () => void } {
  const messages: Buffer[] = [];
  const recorder: PgConnection = Object.assign(Object.create(connection), {
    _send: (message: Buffer) => messages.push(message),
  });
  return { recorder, send: () => connection._send(Buffer.concat(messages)) };
}
