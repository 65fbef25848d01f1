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
      /** One request too many of its client; it is answered only if it streams or ends an answer. */
      isOverLimit?: boolean;
    }
  }
}

export interface RateLimit {
  readonly step: RequestHandler;
  /** Counts something that is no HTTP request, such as an operation over a WebSocket; false when it is one too many. */
  admit(clientIp: string | undefined): Promise<boolean>;
  /** Whether what is one too many may still show that it streams or ends an answer. */
  mayShowTurn(clientIp: string | undefined): boolean;
  /** The answer to what was one too many and showed nothing; counts that it tried. */
  refusal(clientIp: string | undefined): HttpError;
  /**
   * Charges a counted request to its account instead of its client when it streams or ends an answer.
   * @param calls undefined for any other request
   * @throws HttpError RATE_LIMITED when account or client has used up what it has
   */
  settle(request: RequestContext, isOverLimit: boolean, calls: TurnCalls | undefined): Promise<void>;
  /** Counts the planning of an operation as a request per {@link FIELDS_PER_REQUEST} fields. */
  chargePlanning(clientIp: string | undefined, fields: number): void;
  close(): void;
}

/** A whole request takes the processor about as long as planning this many fields. */
const FIELDS_PER_REQUEST = 25;
/** A client's requests beyond its limit that are looked into, as a multiple of the limit; further ones are refused unread. */
const LOOKED_INTO = 10;
const MAX_CLIENTS = 10_000;

/**
 * Requests per client and window, told in the headers of draft-ietf-httpapi-ratelimit-headers-08. Counted in memory
 * first, and in the database for clients that need a good part of their limit (see RequestLeases).
 *
 * What streams or ends an answer is charged to its account (see TurnLimit), also when its client has used up its limit.
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
    // They warn about proxies by printing; which proxies to trust is decided by PLINTH_TRUSTED_PROXIES.
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
        // It stays counted, so that refusing without an end is limited too.
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
