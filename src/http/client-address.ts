import type { IncomingMessage } from "node:http";
import type { Express } from "express";

/** Returns Express's `ip` of a request that Express has not handled: without a trusted proxy, the socket's address. */
export function createAddressOf(app: Express): (request: IncomingMessage) => string | undefined {
  return ({ headers, socket }) =>
    headers["x-forwarded-for"] === undefined
      ? socket.remoteAddress
      : Object.assign(Object.create(app.request), { headers, socket }).ip;
}
