import { AsyncLocalStorage } from "node:async_hooks";
import { randomUUID } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { isIP } from "node:net";
import type { Claims } from "../auth/api-token.ts";
import { PlinthError } from "../support/errors.ts";
import type { RequestCosts } from "./request-costs.ts";

/** The caller and its address: set once per HTTP request or WebSocket, read by everything behind it. */
export interface RequestContext {
  /** Appears in the log, in the X-Request-Id response header and in the audit rows. */
  readonly correlationId: string;
  /** Of OpenTelemetry's span, or of the caller's traceparent; in the log next to the correlation id. */
  readonly traceId?: string;
  /** IPv4 or IPv6 in the form of PostgreSQL's inet; undefined when the socket is closed. */
  readonly clientIp: string | undefined;
  readonly userAgent: string | undefined;
  /** Null for a visitor. */
  readonly claims: Claims | null;
}

/**
 * Returns the context of a new request. `ip` is Express's: the socket's address, or the X-Forwarded-For address as far as
 * trusted proxies wrote it.
 */
export function contextOf(
  request: { headers: IncomingHttpHeaders; ip: string | undefined },
  traceId = traceIdIn(request.headers),
): RequestContext {
  return {
    correlationId: correlationIdOf(request.headers),
    ...(traceId && { traceId }),
    clientIp: normalizeAddress(request.ip),
    userAgent: request.headers["user-agent"]?.slice(0, MAX_USER_AGENT_LENGTH),
    claims: null,
  };
}

/** The context of the server's own queries, and of a visitor without a request. */
export function contextWithoutRequest(correlationId: string = randomUUID()): RequestContext {
  return { correlationId, clientIp: undefined, userAgent: undefined, claims: null };
}

/**
 * Returns the caller's claims.
 * @throws PlinthError UNAUTHENTICATED
 */
export function requireClaims({ claims }: Pick<RequestContext, "claims">): Claims {
  if (!claims) throw new PlinthError("UNAUTHENTICATED", "You must be signed in.");
  return claims;
}

/** The request data for audit rows, passed to SQL in transaction-local settings (`plinth.request_context`). */
export function contextSettings(context: Omit<RequestContext, "claims">): Record<string, string | undefined> {
  return {
    "plinth.correlation_id": context.correlationId,
    "plinth.client_ip": context.clientIp,
    "plinth.user_agent": context.userAgent,
  };
}

/** Only API tokens can be read-only. */
export function mayWrite(claims: RequestContext["claims"] | Pick<Claims, "userId" | "sessionId">): boolean {
  return !claims || !("scopes" in claims) || claims.scopes.includes("write");
}

/** Lets code without access to the request (the error mask) log which request it works for. */
export const currentRequest = new AsyncLocalStorage<CurrentRequest>();

export interface CurrentRequest extends Pick<RequestContext, "correlationId"> {
  /** Undefined for a visitor, and before the token is verified. */
  readonly userId?: string | undefined;
  /** False for an API token without the scope "write". */
  readonly mayWrite?: boolean;
  /** The costs of the request so far; absent where nothing reads them. */
  readonly costs?: RequestCosts | undefined;
}

/** Returns the `currentRequest` view of a context whose claims are set later. */
export function asCurrentRequest(context: () => RequestContext, costs?: RequestCosts): CurrentRequest {
  return {
    correlationId: context().correlationId,
    costs,
    get userId() {
      return context().claims?.userId;
    },
    get mayWrite() {
      return mayWrite(context().claims);
    },
  };
}

/** Safe in a header, a log line and SQL, and long enough for the ids of tracing systems. */
const SANE_ID = /^[A-Za-z0-9._:/+=@-]{8,128}$/;
/** W3C Trace Context §3.2: version, trace id, parent id, flags. An all-zero id is invalid. */
const TRACEPARENT = /^[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)/;
const MAX_USER_AGENT_LENGTH = 1000;

/** The caller's X-Request-Id, else the trace id of its traceparent, else a new UUID. */
export function correlationIdOf(headers: IncomingHttpHeaders): string {
  const given = headers["x-request-id"];
  if (typeof given === "string" && SANE_ID.test(given)) return given;
  return traceIdIn(headers) ?? randomUUID();
}

function traceIdIn({ traceparent }: IncomingHttpHeaders): string | undefined {
  return typeof traceparent === "string" ? TRACEPARENT.exec(traceparent)?.[1] : undefined;
}

/** Returns an address in the form of PostgreSQL's inet: unwraps IPv4 in IPv6, removes a zone, rejects anything else. */
export function normalizeAddress(address: string | undefined): string | undefined {
  const plain = address?.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "").replace(/%.*$/, "");
  return plain && isIP(plain) ? plain : undefined;
}
