import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { Express, Request } from "express";
import { CloseCode } from "graphql-ws";
import { WebSocket, WebSocketServer } from "ws";
import type { Config } from "../../config/config.ts";
import { GRAPHQL_PATH } from "../../graphql/preset.ts";
import { asCurrentRequest, contextOf, currentRequest } from "../../request/context.ts";
import type { AllowedOrigins } from "../allowed-origins.ts";
import { pathOf } from "../mount/location.ts";
import { type Connection, closeIfUnavailable } from "./connection.ts";
import { keepAlive } from "./keep-alive.ts";
import { makeProtocol, type ProtocolParts } from "./protocol.ts";
import { readMessage } from "./read-message.ts";
import { refuse } from "./refuse.ts";
import { SocketLimit } from "./socket-limit.ts";

export interface WebSocketParts extends ProtocolParts {
  readonly app: Express;
  readonly config: Config["http"];
  readonly origins: AllowedOrigins;
}

const CLOSE_TIMEOUT_MS = 1_000;
/** Maximum open sockets per client; many users may share an address. */
const MAX_SOCKETS_PER_CLIENT = 1_000;

/** Takes the sockets of an HTTP server. */
export interface WebSockets {
  /**
   * Takes an upgraded connection if its path is that of the API.
   * @param url the request's URL, relative to the place at which the API is mounted
   */
  upgrade(request: IncomingMessage, stream: Duplex, head: Buffer, url: string): boolean;
  /** Closes all sockets (1001) and accepts no new ones. Idempotent. */
  close(): void;
}

/**
 * GraphQL over WebSocket (graphql-transport-ws) at the path of the HTTP API. `connectionParams.authorization` holds
 * "Bearer …" like the header; without it, the caller is a visitor. A socket lives at most as long as its token.
 */
export function createWebSockets(parts: WebSocketParts): WebSockets {
  const { app, config, logger, origins, rateLimit } = parts;
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: config.bodyLimitBytes,
    clientTracking: true,
  });
  const protocol = makeProtocol(parts);
  const limit = new SocketLimit(MAX_SOCKETS_PER_CLIENT);
  parts.metrics.sample(() => parts.metrics.sockets.set(sockets.clients.size));

  let isClosed = false;

  function upgrade(raw: IncomingMessage, stream: Duplex, head: Buffer, url: string): boolean {
    if (pathOf(url) !== GRAPHQL_PATH) return false;
    stream.on("error", () => stream.destroy());
    if (isClosed) {
      refuse(stream, "503 Service Unavailable");
      return true;
    }
    // Like Express does with its requests, so that `ip` respects the trusted proxies.
    const request = Object.setPrototypeOf(raw, app.request) as Request;
    const context = contextOf(request);
    void (async () => {
      if (!origins.allows(request)) return refuse(stream, "403 Forbidden");
      // Taken before the first await, so that concurrent sockets cannot share the last free slot.
      const release = limit.take(context.clientIp);
      if (!release) return refuse(stream, "429 Too Many Requests");
      stream.once("close", release);
      if (!(await rateLimit.admit(context.clientIp))) return refuse(stream, "429 Too Many Requests");
      sockets.handleUpgrade(request, stream, head, (socket) => {
        serve({ socket, request: context, live: new Set(), preparing: 0 });
      });
    })().catch((error: unknown) => {
      logger.error({ correlationId: context.correlationId, err: error }, "upgrade failed");
      stream.destroy();
    });
    return true;
  }

  function serve(connection: Connection): void {
    const { socket, request } = connection;
    const { correlationId, clientIp } = request;
    const startedAt = performance.now();
    // A broken or oversized frame; "close" follows.
    socket.on("error", (error) => logger.debug({ correlationId, err: error }, "socket error"));
    keepAlive(socket);
    function onFailure(error: unknown): void {
      if (closeIfUnavailable(error, connection, logger)) return;
      logger.error({ correlationId, err: error }, "socket operation failed");
      socket.close(CloseCode.InternalServerError, "Something went wrong on our side.");
    }
    const closed = protocol.opened(
      {
        protocol: socket.protocol,
        send: (data) =>
          new Promise((resolve, reject) => {
            // The socket is closing, so the answer is dropped; "close" follows and ends running operations.
            if (socket.readyState !== WebSocket.OPEN) resolve();
            else socket.send(data, (error) => (error ? reject(error) : resolve()));
          }),
        close: (code, reason) => socket.close(code, reason),
        onMessage: (receive) =>
          socket.on("message", (data: Buffer) => {
            const current = asCurrentRequest(() => connection.request);
            currentRequest.run(current, () => receive(readMessage(data)).catch(onFailure));
          }),
      },
      connection,
    );
    socket.once("close", (code: number, reason: Buffer) => {
      void closed(code, reason.toString());
      for (const subscription of connection.live) subscription.end();
      const { claims } = connection.request;
      const durationMs = Math.round(performance.now() - startedAt);
      logger.info({ correlationId, clientIp, code, durationMs, userId: claims?.userId }, "socket closed");
    });
  }

  return {
    upgrade,
    close() {
      if (isClosed) return;
      isClosed = true;
      sockets.close();
      for (const socket of sockets.clients) socket.close(1001, "The server is stopping.");
      // Terminates sockets that do not complete the closing handshake.
      setTimeout(() => {
        for (const socket of sockets.clients) socket.terminate();
      }, CLOSE_TIMEOUT_MS).unref();
    },
  };
}
