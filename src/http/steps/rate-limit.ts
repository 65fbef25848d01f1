import type { Request, RequestHandler } from "express";
import { rateLimit } from "express-rate-limit";
import type { Logger } from "pino";
import { ExpiringCache } from "../../accounts/api-tokens/expiring-cache.ts";
import type { Config } from "../../config/config.ts";
import { GRAPHQL_PATH } from "../../graphql/preset.ts";
import { RequestLeases, type TakeLease } from "../../limits/request-leases.ts";
import type { TurnCalls } from "../../limits/turn-calls.ts";
import type { TurnLimit } from "../../limits/turn-limit.ts";
import { clientKey } from "../../request/client-key.ts";
import type { RequestContext } from "../../request/context.ts";
import { HttpError, sendError } from "../http-error.ts";

declare global {
  namespace Express {
    interface Request {
      /** Whether the client is over its limit; then the request is served only if it streams or ends an answer. */
      isOverLimit?: boolean;
    }
  }
}

export interface RateLimit {
  readonly step: RequestHandler;
  /** Counts an event that is not an HTTP request, such as an operation over a WebSocket; returns false over the limit. */
  admit(clientIp: string | undefined): Promise<boolean>;
  /** Whether a request over the limit may still be inspected for streaming or ending an answer. */
  mayShowTurn(clientIp: string | undefined): boolean;
  /** Returns the error for a request over the limit and counts the attempt. */
  refusal(clientIp: string | undefined): HttpError;
  /**
   * Charges a counted request to its account instead of its client if it streams or ends an answer.
   * @param calls undefined for any other request
   * @throws HttpError RATE_LIMITED when the account or client is over its limit
   */
  settle(request: RequestContext, isOverLimit: boolean, calls: TurnCalls | undefined): Promise<void>;
  /** Counts the planning of an operation as a request per {@link FIELDS_PER_REQUEST} fields. */
  chargePlanning(clientIp: string | undefined, fields: number): void;
  close(): void;
}

/** A request takes about as much CPU time as planning this many fields. */
const FIELDS_PER_REQUEST = 25;
/** Maximum requests over the limit that are inspected, as a multiple of the limit; further ones are rejected unread. */
const LOOKED_INTO = 10;
const MAX_CLIENTS = 10_000;

/**
 * Limits requests per client and window, reported in the headers of draft-ietf-httpapi-ratelimit-headers-08. Counts in
 * memory first, and in the database for clients that use a good part of their limit (see RequestLeases).
 *
 * Requests that stream or end an answer are charged to the account (see TurnLimit), even when the client is over its limit.
 */
export function createRateLimit(options: {
  config: Config["http"]["rateLimit"];
  takeLease: TakeLease;
  turnLimit: TurnLimit;
  logger: Logger;
}): RateLimit {
  const { config, takeLease, turnLimit, logger } = options;
  const { requests, windowSeconds } = config;
  const windowMs = windowSeconds * 1000;
  const store = new RequestLeases({ limit: requests, windowMs, takeLease, logger });
  const lookedInto = new ExpiringCache<{ count: number }>({ ttlMs: windowMs, maxEntries: MAX_CLIENTS });

  const mayShowTurn = (clientIp: string | undefined): boolean =>
    (lookedInto.get(clientKey(clientIp))?.count ?? 0) < requests * LOOKED_INTO;

  function countLook(clientIp: string | undefined): void {
    const key = clientKey(clientIp);
    const counted = lookedInto.get(key);
    if (counted) counted.count += 1;
    else lookedInto.set(key, { count: 1 });
  }

  function refusal(clientIp: string | undefined): HttpError {
    countLook(clientIp);
    return tooMany();
  }

  const step = rateLimit({
    windowMs,
    limit: requests,
    standardHeaders: "draft-8",
    legacyHeaders: false,
    identifier: "requests",
    store,
    keyGenerator: (request) => clientKey(request.context.clientIp),
    // The library's checks print warnings about proxies; PLINTH_TRUSTED_PROXIES decides which proxies to trust.
    validate: false,
    handler(request, response, next) {
      if (isWithToken(request) && mayShowTurn(request.context.clientIp)) {
        request.isOverLimit = true;
        next();
      } else sendError(response, tooMany());
    },
  });

  return {
    step,
    admit: async (clientIp) => (await store.increment(clientKey(clientIp))).totalHits <= requests,
    mayShowTurn,
    refusal,
    async settle({ claims, clientIp }, isOverLimit, calls) {
      if (!claims || !calls) {
        if (isOverLimit) throw refusal(clientIp);
        return;
      }
      const waitMs = await turnLimit.charge(claims.userId, calls);
      if (waitMs > 0) {
        // The request stays counted, so that endless rejections are limited too.
        if (isOverLimit) countLook(clientIp);
        throw tooMany({ "Retry-After": String(Math.ceil(waitMs / 1000)) });
      }
      if (!isOverLimit) store.decrement(clientKey(clientIp));
    },
    chargePlanning(clientIp, fields) {
      const key = clientKey(clientIp);
      for (let charged = 0; charged < Math.floor(fields / FIELDS_PER_REQUEST); charged++)
        void store.increment(key);
    },
    close() {
      store.shutdown();
      turnLimit.close();
    },
  };
}

function isWithToken({ method, path, headers }: Request): boolean {
  return method === "POST" && path === GRAPHQL_PATH && headers.authorization !== undefined;
}

function tooMany(headers?: Record<string, string>): HttpError {
  return new HttpError(429, "RATE_LIMITED", "Too many requests; try again later.", headers);
}
