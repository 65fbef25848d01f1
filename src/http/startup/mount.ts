import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { FormattedExecutionResult } from "graphql";
import type { Claims } from "../../auth/api-token.ts";
import { roleName } from "../../config/roles.ts";
import { createExecute } from "../../graphql/execute.ts";
import {
  asCurrentRequest,
  contextWithoutRequest,
  currentRequest,
  type RequestContext,
} from "../../request/context.ts";
import { requestSettings } from "../../request/settings.ts";
import { runAsUser, type UserClient } from "../../request/user-client.ts";
import type { HttpError } from "../http-error.ts";
import { type AnyRequest, createContextOf, headersOf } from "../mount/caller.ts";
import { createFastifyPlugin, type FastifyPlugin } from "../mount/fastify.ts";
import { createFetch, type FetchHandler } from "../mount/fetch.ts";
import { createHandler, type Handler } from "../mount/handler.ts";
import { InProgress } from "../mount/in-progress.ts";
import { locate } from "../mount/location.ts";
import { createPublicErrors } from "../mount/public-errors.ts";
import { withClaims } from "../steps/authenticate.ts";
import { createWebSockets, type WebSockets } from "../websocket/websocket.ts";
import type { ServerApp } from "./app.ts";
import type { Connections } from "./connections.ts";
import type { ServerOptions } from "./options.ts";

/** The caller that a route of the application acts for, and its request, whose id and address go into audit rows. */
interface Caller {
  /** From `authenticate`; null for a visitor. */
  readonly claims: Claims | null;
  readonly request?: AnyRequest | undefined;
}

/** The API inside an application's own server, see docs/mount.md. */
export interface Mounted {
  /** Answers a request of Node's http server, or as a middleware of Express. */
  readonly handler: Handler;
  /** Answers a request of the Fetch Standard. */
  readonly fetch: FetchHandler;
  /** A plugin for `fastify.register`. */
  readonly fastify: FastifyPlugin;
  /** Takes a WebSocket of the API; returns false for other paths, which stay the application's. */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean;
  /**
   * Returns the claims of a request's token, checked as the API does; null for a visitor.
   * @throws HttpError UNAUTHENTICATED, RATE_LIMITED, UNAVAILABLE, with a status and headers to send
   */
  authenticate(request: AnyRequest): Promise<Claims | null>;
  /**
   * Runs SQL as a user under row-level security: `callback` runs in one transaction, which is committed when it returns and rolled
   * back when it throws. A read-only token makes it read-only too.
   * @throws the error of `callback` or of the database, which `describeError` makes presentable
   */
  withUser<T>(
    claims: Claims | null,
    callback: (client: UserClient) => Promise<T>,
    options?: { readonly readOnly?: boolean; readonly request?: AnyRequest },
  ): Promise<T>;
  /** Executes a GraphQL operation without HTTP, with the limits of the API except those on the number of requests. */
  execute(
    operation: Caller & {
      readonly document: string;
      readonly variables?: Readonly<Record<string, unknown>>;
      readonly operationName?: string;
    },
  ): Promise<FormattedExecutionResult>;
  /** Returns what a client may know about any error. Unforeseen errors become INTERNAL and are logged. */
  describeError(error: unknown, caller?: Caller): HttpError;
}

/** Creates what applications use of the API. Disposing the stack waits for what they have asked for. */
export async function createMounted(
  options: ServerOptions,
  { apiPool, replicas }: Connections,
  app: ServerApp,
  stack: AsyncDisposableStack,
): Promise<Mounted & { readonly sockets: WebSockets }> {
  const { rolePrefix, pool } = options.config;
  const { prefix = "" } = options;
  const { statementTimeoutMs } = pool;
  const execute = createExecute(app.engine, replicas);
  const contextOf = createContextOf(app.addressOf);
  const contextOfCaller = ({ claims, request }: Caller): RequestContext => ({
    ...(request ? contextOf(request) : contextWithoutRequest()),
    claims,
  });
  const publicErrors = createPublicErrors({
    constraints: app.constraints,
    anonymousRole: roleName(rolePrefix, "anonymous"),
    describeError: app.describeError,
  });

  const sockets = createWebSockets(app);
  const inProgress = new InProgress();
  stack.defer(async () => {
    sockets.close();
    await inProgress.close();
  });
  const handler = createHandler({ ...app, prefix, inProgress });
  const inContext = <T>(context: RequestContext, work: () => Promise<T>) =>
    inProgress.run(() =>
      currentRequest.run(
        asCurrentRequest(() => context),
        work,
      ),
    );

  return {
    handler,
    fetch: createFetch(handler),
    fastify: createFastifyPlugin(handler),
    sockets,
    handleUpgrade(request, socket, head) {
      const location = locate(request, prefix);
      return location !== undefined && sockets.upgrade(request, socket, head, location.url);
    },
    async authenticate(request) {
      const context = contextOf(request);
      try {
        return await inProgress.run(async () => {
          const { authorization } = headersOf(request);
          return (await withClaims(app.authenticator, context, authorization)).claims;
        });
      } catch (error) {
        throw publicErrors(error, context);
      }
    },
    withUser(claims, callback, { readOnly = false, request } = {}) {
      const context = contextOfCaller({ claims, request });
      const settings = requestSettings(context, { rolePrefix, statementTimeoutMs, readOnly });
      return inContext(context, () => runAsUser(apiPool, settings, callback));
    },
    execute({ document, variables, operationName, ...caller }) {
      const context = contextOfCaller(caller);
      return inContext(context, async () => {
        const { payload } = await execute({ query: document, variables, operationName }, context);
        return payload;
      });
    },
    describeError: (error, caller = { claims: null }) => publicErrors(error, contextOfCaller(caller)),
  };
}
