import { AsyncLocalStorage } from "node:async_hooks";
import { randomUUID } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { isIP } from "node:net";
import type { Claims } from "../auth/api-token.ts";
import { PlinthError } from "../support/errors.ts";

/** Who asks and from where: set once per HTTP request or WebSocket, read by everything behind it. */
export interface RequestContext {
  /** Found in the log, in the X-Request-Id header of the answer and in the audit rows. */
  readonly correlationId: string;
  /** IPv4 or IPv6 as PostgreSQL's inet reads it; undefined when the socket is gone. */
  readonly clientIp: string | undefined;
  readonly userAgent: string | undefined;
  /** Null for a visitor. */
  readonly claims: Claims | null;
}

/**
 * The context of a request that has just come in; `ip` is Express's: the socket's address, or
 * what X-Forwarded-For says as far as trusted proxies wrote it.
 */
export function contextOf(request: { headers: IncomingHttpHeaders; ip: string | undefined }): RequestContext {
  return {
    correlationId: correlationIdOf(request.headers),
    clientIp: normalizeAddress(request.ip),
    userAgent: request.headers["user-agent"]?.slice(0, MAX_USER_AGENT_LENGTH),
    claims: null,
  };
}

/** For what the server asks for itself, and for a visitor of whom nothing is known. */
export function contextWithoutRequest(correlationId: string = randomUUID()): RequestContext {
  return { correlationId, clientIp: undefined, userAgent: undefined, claims: null };
}

/**
 * The claims of who asks, where a visitor may not.
 * @throws PlinthError UNAUTHENTICATED
 */
export function requireClaims({ claims }: Pick<RequestContext, "claims">): Claims {
  if (!claims) throw new PlinthError("UNAUTHENTICATED", "Sign in to do this.");
  return claims;
}

/** What the audit rows need of a request; transaction-local settings carry it to SQL (`plinth.request_context`). */
export function contextSettings(context: Omit<RequestContext, "claims">): Record<string, string | undefined> {
  return {
    "plinth.correlation_id": context.correlationId,
    "plinth.client_ip": context.clientIp,
    "plinth.user_agent": context.userAgent,
  };
}

/** Only API tokens may be limited to reading. */
export function mayWrite(claims: RequestContext["claims"] | Pick<Claims, "userId" | "sessionId">): boolean {
  return !claims || !("scopes" in claims) || claims.scopes.includes("write");
}

/** Lets code without a request at hand (the error mask) say in the log which request it worked for. */
export const currentRequest = new AsyncLocalStorage<CurrentRequest>();

export interface CurrentRequest extends Pick<RequestContext, "correlationId"> {
  /** Undefined for a visitor, and before the token is verified. */
  readonly userId?: string | undefined;
  /** False for an API token without the scope "write". */
  readonly mayWrite?: boolean;
}

/** What `currentRequest` holds of a context that learns later who asks. */
export function asCurrentRequest(context: () => RequestContext): CurrentRequest {
  return {
    correlationId: context().correlationId,
    get userId() {
      return context().claims?.userId;
    },
    get mayWrite() {
      return mayWrite(context().claims);
    },
  };
}

/** Safe in a header, a log line and SQL, and long enough for the ids that tracing systems make. */
const SANE_ID = /^[A-Za-z0-9._:/+=@-]{8,128}$/;
/** W3C Trace Context §3.2: version, trace id, parent id, flags. An id of zeros only is invalid. */
const TRACEPARENT = /^[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)/;
const MAX_USER_AGENT_LENGTH = 1000;

/** The caller's X-Request-Id, else the trace id of its traceparent, else a new UUID. */
export function correlationIdOf(headers: IncomingHttpHeaders): string {
  const given = headers["x-request-id"];
  if (typeof given === "string" && SANE_ID.test(given)) return given;
  const { traceparent } = headers;
  const traceId = typeof traceparent === "string" ? TRACEPARENT.exec(traceparent)?.[1] : undefined;
  return traceId ?? randomUUID();
}

/** An address as PostgreSQL's inet reads it: IPv4 in IPv6 form becomes plain, a zone is dropped, the rest refused. */
export function normalizeAddress(address: string | undefined): string | undefined {
  const plain = address?.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "").replace(/%.*$/, "");
  return plain && isIP(plain) ? plain : undefined;
}
