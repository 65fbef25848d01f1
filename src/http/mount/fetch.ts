import { type ClientRequest, createServer, type IncomingMessage, request as sendRequest } from "node:http";
import { type Duplex, duplexPair, Readable } from "node:stream";
import type { Handler } from "./handler.ts";

/** Answers a request of the Fetch Standard, for frameworks that pass on those. */
export type FetchHandler = (
  request: Request,
  options?: {
    /** The client's IP address. Without it, all clients share one rate limit. */
    readonly clientAddress?: string | undefined;
  },
) => Promise<Response>;

/** Headers of one connection (RFC 9110 §7.6.1), which is not the one in here. */
const HOP_BY_HOP = /^(connection|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade|expect)$/i;
const WITHOUT_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/**
 * Speaks HTTP over a stream in memory: Node's own server and client, so that bodies stream, slow readers slow the writer down,
 * and a client that leaves is noticed.
 */
export function createFetch(handler: Handler): FetchHandler {
  const server = createServer((request, response) => handler(request, response));

  return async (request, { clientAddress } = {}) => {
    const { pathname, search, host } = new URL(request.url);
    const headers: Record<string, string> = { host };
    for (const [name, value] of request.headers) if (!HOP_BY_HOP.test(name)) headers[name] = value;
    const outgoing = sendRequest({
      createConnection: () => connect(clientAddress),
      method: request.method,
      path: pathname + search,
      headers,
      signal: request.signal,
    });
    const answered = Promise.withResolvers<IncomingMessage>();
    outgoing.once("response", answered.resolve).on("error", answered.reject);
    if (request.body) {
      outgoing.flushHeaders();
      sendBody(request.body, outgoing).catch((error) => outgoing.destroy(error));
    } else outgoing.end();
    return toResponse(await answered.promise, request.method);
  };

  function connect(clientAddress: string | undefined): Duplex {
    const [ours, theirs] = duplexPair();
    Object.defineProperty(theirs, "remoteAddress", { value: clientAddress });
    ours.once("close", () => theirs.destroy());
    theirs.once("close", () => {
      if (!theirs.writableFinished) ours.destroy(new Error("The response was aborted."));
    });
    server.emit("connection", theirs);
    return ours;
  }
}

/**
 * Sends a body until the server has answered without the rest. The rest is not canceled: canceling a Request that a framework made
 * from a Node stream can throw an error that nothing catches.
 */
async function sendBody(body: ReadableStream<Uint8Array>, outgoing: ClientRequest): Promise<void> {
  const closed = new Promise<void>((resolve) => outgoing.once("close", resolve));
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (outgoing.destroyed) return;
    if (done) break;
    if (!outgoing.write(value))
      await Promise.race([closed, new Promise<void>((resolve) => outgoing.once("drain", resolve))]);
  }
  outgoing.end();
}

function toResponse(incoming: IncomingMessage, method: string): Response {
  const headers = new Headers();
  const { rawHeaders, statusCode: status = 500 } = incoming;
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (!HOP_BY_HOP.test(rawHeaders[i]!)) headers.append(rawHeaders[i]!, rawHeaders[i + 1]!);
  if (method === "HEAD" || WITHOUT_BODY.has(status)) {
    incoming.resume();
    return new Response(null, { status, headers });
  }
  return new Response(Readable.toWeb(incoming) as ReadableStream, { status, headers });
}
