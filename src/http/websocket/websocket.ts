import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { Express, Request } from "express";
import { execute, subscribe } from "grafast";
import { type ExecutionArgs, type ExecutionResult, GraphQLError } from "graphql";
import { CloseCode, type Context, makeServer, type OperationResult, type SubscribePayload } from "graphql-ws";
import type { Logger } from "pino";
import { WebSocket, WebSocketServer } from "ws";
import type { Config } from "../../config/config.ts";
import type { GraphqlEngine } from "../../graphql/engine.ts";
import { GRAPHQL_PATH } from "../../graphql/preset.ts";
import { type TurnCalls, turnCallsOf } from "../../limits/turn-calls.ts";
import { type Live, MAX_SUBSCRIPTIONS_PER_SOCKET } from "../../live/index.ts";
import type { LiveSubscription } from "../../live/live-subscription.ts";
import type { Metrics } from "../../observability/metrics.ts";
import { asCurrentRequest, contextOf, currentRequest, type RequestContext } from "../../request/context.ts";
import { PlinthError } from "../../support/errors.ts";
import type { AllowedOrigins } from "../allowed-origins.ts";
import type { FindDocument } from "../find-document.ts";
import { HttpError } from "../http-error.ts";
import { pathOf } from "../mount/location.ts";
import type { Authenticator } from "../steps/authenticate.ts";
import type { RateLimit } from "../steps/rate-limit.ts";
import { deliver } from "./deliver.ts";
import { type OpenSockets, TOKEN_INVALID, TOKEN_REVOKED, TRY_AGAIN } from "./open-sockets.ts";
import { makeLive, prepareOperation } from "./prepare-operation.ts";
import { readMessage } from "./read-message.ts";
import { SocketLimit } from "./socket-limit.ts";

export interface WebSocketParts {
  readonly app: Express;
  readonly config: Config["http"];
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly engine: GraphqlEngine;
  readonly findDocument: FindDocument;
  readonly authenticator: Authenticator;
  readonly rateLimit: RateLimit;
  readonly origins: AllowedOrigins;
  readonly openSockets: OpenSockets;
  readonly live: Live;
}

/** A socket without a connection_init message within this time is closed (4408). */
const INIT_TIMEOUT_MS = 5_000;
/** A socket that does not answer a ping before the next one is dead. */
const PING_INTERVAL_MS = 20_000;
const CLOSE_TIMEOUT_MS = 1_000;
/** Maximum open sockets per client; many users may share an address. */
const MAX_SOCKETS_PER_CLIENT = 1_000;
/** Maximum concurrent operations per socket, besides its subscriptions. */
const MAX_OPERATIONS = 20;

interface Connection {
  readonly socket: WebSocket;
  request: RequestContext;
  readonly live: Set<LiveSubscription>;
  /** Number of operations not yet known to be subscriptions or not. */
  preparing: number;
}

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

type SocketContext = Context<Record<string, unknown>, Connection>;

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
      if (isUnavailable(error)) {
        logger.warn({ correlationId, err: error }, "unavailable");
        socket.close(TRY_AGAIN.code, TRY_AGAIN.reason);
        return;
      }
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

function makeProtocol(parts: WebSocketParts) {
  const { engine, findDocument, authenticator, rateLimit, openSockets, logger, live, metrics } = parts;

  function documentOf({ clientIp }: RequestContext, payload: SubscribePayload, isOverLimit: boolean) {
    try {
      return findDocument(payload);
    } catch (error) {
      throw isOverLimit ? rateLimit.refusal(clientIp) : error;
    }
  }

  function masked(errors: readonly GraphQLError[]): GraphQLError[] {
    const known = errors.map(engine.maskError);
    for (const { extensions } of known) metrics.countError(extensions.code);
    return known;
  }

  return makeServer<Record<string, unknown>, Connection>({
    // Their results have a part of @defer and @stream, which are both off.
    execute: execute as (args: ExecutionArgs) => OperationResult,
    subscribe: subscribe as (args: ExecutionArgs) => OperationResult,
    onNext: (_context, _id, _payload, _args, { errors, ...others }) =>
      errors && { errors: masked(errors), ...others },
    onError(_context, _id, _payload, errors) {
      metrics.operations.inc({ type: "unknown", transport: "websocket", outcome: "error" });
      return masked(errors);
    },
    connectionInitWaitTimeout: INIT_TIMEOUT_MS,

    async onConnect({ connectionParams, extra }: SocketContext) {
      const { socket } = extra;
      try {
        const claims = await authenticator.authenticate(authorizationOf(connectionParams), extra.request);
        extra.request = { ...extra.request, claims };
        if (claims) {
          const forget = openSockets.add(claims, (code, reason) => socket.close(code, reason));
          socket.once("close", forget);
        }
        return true;
      } catch (error) {
        const { correlationId } = extra.request;
        if (isUnavailable(error)) {
          logger.warn({ correlationId, err: error }, "unavailable");
          socket.close(TRY_AGAIN.code, TRY_AGAIN.reason);
        } else {
          logger.debug({ correlationId, err: error }, "socket refused");
          socket.close(TOKEN_INVALID.code, TOKEN_INVALID.reason);
        }
        return false;
      }
    },

    async onSubscribe({ extra, subscriptions }: SocketContext, _id: string, received: SubscribePayload) {
      const { socket, request } = extra;
      // Before any work is done; `subscriptions` contains operations of every kind.
      if (Object.keys(subscriptions).length > MAX_OPERATIONS + MAX_SUBSCRIPTIONS_PER_SOCKET)
        return [tooMany("operations")];
      const isOverLimit = !(await rateLimit.admit(request.clientIp));
      if (isOverLimit && !(request.claims && rateLimit.mayShowTurn(request.clientIp)))
        return [tooMany("operations")];
      if (request.claims && !(await authenticator.isStillValid(request.claims, request))) {
        socket.close(TOKEN_REVOKED.code, TOKEN_REVOKED.reason);
        return [coded("UNAUTHENTICATED", TOKEN_REVOKED.reason)];
      }
      let payload: SubscribePayload;
      try {
        payload = documentOf(request, received, isOverLimit);
        await rateLimit.settle(request, isOverLimit, turnCallsInPayload(request, payload));
      } catch (error) {
        if (error instanceof HttpError) return [coded(error.code, error.message)];
        throw error;
      }
      extra.preparing += 1;
      const prepared = await prepareOperation(engine, request, payload).finally(() => {
        extra.preparing -= 1;
      });
      if (!("args" in prepared)) return prepared;
      metrics.operations.inc({ type: prepared.type, transport: "websocket", outcome: "ok" });
      if (!prepared.isSubscription) {
        const underWay = Object.keys(subscriptions).length - extra.live.size - extra.preparing;
        return underWay > MAX_OPERATIONS ? [tooMany("operations")] : prepared.args;
      }
      const opened = live.open(socket, request.claims?.userId, prepared.subscriber, (ended) =>
        extra.live.delete(ended),
      );
      if (!opened) return [tooMany("subscriptions")];
      extra.live.add(opened.subscription);
      return makeLive(prepared.args, opened);
    },

    onOperation(_context, _id, _payload, args: ExecutionArgs, result) {
      const { live: opened } = args.contextValue as Grafast.Context;
      if (!opened) return;
      const { subscription } = opened;
      // Any other result explains why there is no subscription.
      if (!isAsyncIterable(result)) return subscription.end();
      return deliver(result as AsyncIterableIterator<ExecutionResult>, subscription);
    },
  });
}

function turnCallsInPayload(
  { claims }: RequestContext,
  { query, operationName, variables }: SubscribePayload,
): TurnCalls | undefined {
  const calls = claims ? turnCallsOf(query, operationName, 0) : undefined;
  return calls && { ...calls, bytes: Buffer.byteLength(query + JSON.stringify(variables ?? {})) };
}

function isUnavailable(error: unknown): boolean {
  return error instanceof PlinthError && error.code === "UNAVAILABLE";
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

function authorizationOf(connectionParams: Record<string, unknown> | undefined): string | undefined {
  const value = connectionParams?.authorization ?? connectionParams?.Authorization;
  // A value that is not a string is an error, not a visitor.
  return value == null ? undefined : String(value);
}

function keepAlive(socket: WebSocket): void {
  let isAlive = true;
  socket.on("pong", () => {
    isAlive = true;
  });
  const timer = setInterval(() => {
    if (!isAlive) return socket.terminate();
    isAlive = false;
    socket.ping();
  }, PING_INTERVAL_MS).unref();
  socket.once("close", () => clearInterval(timer));
}

/** Rejects an upgraded connection. */
export function refuse(stream: Duplex, status: string): void {
  // Closes both halves: a client that keeps its half open would keep the server from stopping.
  stream.once("finish", () => stream.destroy());
  stream.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

function tooMany(what: string): GraphQLError {
  return coded("RATE_LIMITED", `Too many ${what}; try again later.`);
}

function coded(code: string, message: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code } });
}
