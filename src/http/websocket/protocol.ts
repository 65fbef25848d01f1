import { execute, subscribe } from "grafast";
import { type ExecutionArgs, type ExecutionResult, GraphQLError } from "graphql";
import { type Context, makeServer, type OperationResult, type SubscribePayload } from "graphql-ws";
import type { Logger } from "pino";
import type { GraphqlEngine } from "../../graphql/engine.ts";
import { type TurnCalls, turnCallsOf } from "../../limits/turn-calls.ts";
import { type Live, MAX_SUBSCRIPTIONS_PER_SOCKET } from "../../live/index.ts";
import type { Metrics } from "../../observability/metrics.ts";
import type { RequestContext } from "../../request/context.ts";
import type { FindDocument } from "../find-document.ts";
import { HttpError } from "../http-error.ts";
import type { Authenticator } from "../steps/authenticate.ts";
import type { RateLimit } from "../steps/rate-limit.ts";
import { type Connection, closeIfUnavailable } from "./connection.ts";
import { deliver } from "./deliver.ts";
import { type OpenSockets, TOKEN_INVALID, TOKEN_REVOKED } from "./open-sockets.ts";
import { makeLive, prepareOperation } from "./prepare-operation.ts";

export interface ProtocolParts {
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly engine: GraphqlEngine;
  readonly findDocument: FindDocument;
  readonly authenticator: Authenticator;
  readonly rateLimit: RateLimit;
  readonly openSockets: OpenSockets;
  readonly live: Live;
}

/** A socket without a connection_init message within this time is closed (4408). */
const INIT_TIMEOUT_MS = 5_000;
/** Maximum concurrent operations per socket, besides its subscriptions. */
const MAX_OPERATIONS = 20;

type SocketContext = Context<Record<string, unknown>, Connection>;

/** The rules of the operations of a socket. */
export function makeProtocol(parts: ProtocolParts) {
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
        if (closeIfUnavailable(error, extra, logger)) return false;
        const { correlationId } = extra.request;
        logger.debug({ correlationId, err: error }, "socket refused");
        socket.close(TOKEN_INVALID.code, TOKEN_INVALID.reason);
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

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

function authorizationOf(connectionParams: Record<string, unknown> | undefined): string | undefined {
  const value = connectionParams?.authorization ?? connectionParams?.Authorization;
  // A value that is not a string is an error, not a visitor.
  return value == null ? undefined : String(value);
}

function tooMany(what: string): GraphQLError {
  return coded("RATE_LIMITED", `Too many ${what}; try again later.`);
}

function coded(code: string, message: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code } });
}
