import type { RequestHandler } from "express";
import type { Logger } from "pino";
import { ExpiringCache } from "../../accounts/api-tokens/expiring-cache.ts";
import type { Config } from "../../config/config.ts";
import { RequestLeases, type TakeLease } from "../../limits/request-leases.ts";
import type { TurnCalls } from "../../limits/turn-calls.ts";
import type { TurnLimit } from "../../limits/turn-limit.ts";
import { clientKey } from "../../request/client-key.ts";
import type { RequestContext } from "../../request/context.ts";
import type { Headers } from "../headers.ts";
import { HttpError } from "../http-error.ts";
import { createRateLimitHeaders } from "../rate-limit-headers.ts";

/** A counted request. */
interface CountedRequest {
  readonly isOverLimit: boolean;
  /** With Retry-After over the limit. */
  readonly headers: Headers;
}

export interface RateLimit {
  /** Counts an HTTP request. */
  count(clientIp: string | undefined): Promise<CountedRequest>;
  /** Counts an event that is not an HTTP request, such as an operation over a WebSocket; returns false over the limit. */
  admit(clientIp: string | undefined): Promise<boolean>;
  /** Whether a request over the limit may still be inspected for streaming or ending an answer. */
  mayShowTurn(clientIp: string | undefined): boolean;
  /** Returns the error for an inspected request over the limit and counts the attempt. */
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
  const headersOf = createRateLimitHeaders({ limit: requests, windowSeconds });
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

  async function count(clientIp: string | undefined): Promise<CountedRequest> {
    const key = clientKey(clientIp);
    const { totalHits, resetTime } = await store.increment(key);
    const resetSeconds = Math.max(0, Math.ceil((resetTime.getTime() - Date.now()) / 1000));
    const headers = headersOf(key, totalHits, resetSeconds);
    return totalHits > requests
      ? { isOverLimit: true, headers: { ...headers, "Retry-After": String(resetSeconds) } }
      : { isOverLimit: false, headers };
  }

  return {
    count,
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

/** Rejects requests over the limit. */
export function rateLimitStep(rateLimit: RateLimit): RequestHandler {
  return async (request, response, next) => {
    const { isOverLimit, headers } = await rateLimit.count(request.context.clientIp);
    response.set(headers);
    if (isOverLimit) throw tooMany();
    next();
  };
}

export function tooMany(headers?: Headers): HttpError {
  return new HttpError(429, "RATE_LIMITED", "Too many requests; try again later.", headers);
}
