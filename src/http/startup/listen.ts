import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../../config/config.ts";
import { PlinthError } from "../../support/errors.ts";
import { refuse } from "../websocket/refuse.ts";
import type { WebSockets } from "../websocket/websocket.ts";

/** Time for requests in progress to finish when the server stops. */
const DRAIN_TIMEOUT_MS = 10_000;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** Longer than load balancers keep idle connections (usually 60 s), so that they close first. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000;

/**
 * Accepts HTTP and WebSocket connections until the stack is disposed, which drains them.
 * @returns `http://host:port`
 * @throws PlinthError ADDRESS_IN_USE, ADDRESS_NOT_ALLOWED
 */
export async function listen(
  parts: {
    readonly config: Config["http"];
    readonly listener: RequestListener;
    readonly handleUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => boolean;
    readonly sockets: WebSockets;
  },
  stack: AsyncDisposableStack,
): Promise<string> {
  const server = createServer(
    {
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    },
    parts.listener,
  );
  server.on("upgrade", (request, socket, head) => {
    if (parts.handleUpgrade(request, socket, head)) return;
    socket.on("error", () => socket.destroy());
    refuse(socket, "404 Not Found");
  });
  const url = await openPort(server, parts.config);
  stack.defer(async () => {
    await sendAway(server, parts.config.shutdownDelaySeconds);
    await drain(server, parts.sockets);
  });
  return url;
}

/**
 * Goes on answering while load balancers learn from the readiness probe, which fails by now, to send requests elsewhere. Each
 * answer ends its connection, because a client that keeps one would send its next request here.
 */
async function sendAway(server: Server, seconds: number): Promise<void> {
  if (seconds === 0) return;
  server.prependListener("request", (_request, response) => response.setHeader("Connection", "close"));
  await sleep(seconds * 1_000);
}

async function openPort(server: Server, { host, port }: Config["http"]): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject).listen(port, host, resolve);
  try {
    await promise;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "EADDRINUSE")
      throw new PlinthError("ADDRESS_IN_USE", `Another program uses port ${port} of ${host}.`, {
        hint: "Stop that program or set PLINTH_PORT to another port.",
        cause,
      });
    if (code === "EACCES" || code === "EADDRNOTAVAIL" || code === "ENOTFOUND")
      throw new PlinthError(
        "ADDRESS_NOT_ALLOWED",
        `The server cannot listen on port ${port} of ${host} (${code}).`,
        {
          hint: "Set PLINTH_HOST to an address of this machine and PLINTH_PORT to a port of 1024 or higher.",
          cause,
        },
      );
    throw cause;
  }
  const { address, family, port: actualPort } = server.address() as AddressInfo;
  return `http://${family === "IPv6" ? `[${address}]` : address}:${actualPort}`;
}

/** Accepts no new connections and lets requests finish; closes sockets, and requests that take too long. */
async function drain(server: Server, sockets: WebSockets): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  sockets.close();
  // A busy connection becomes idle after its response and would be kept open for the next request.
  const sweeping = setInterval(() => server.closeIdleConnections(), 50);
  const giveUp = setTimeout(() => server.closeAllConnections(), DRAIN_TIMEOUT_MS);
  await closed;
  clearInterval(sweeping);
  clearTimeout(giveUp);
}
