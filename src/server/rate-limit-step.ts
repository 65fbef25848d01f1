import type { RequestHandler } from "express";
import { ipKeyGenerator, MemoryStore, rateLimit } from "express-rate-limit";
import type { Config } from "../config.ts";
import { HttpError, sendError } from "./http-error.ts";

export interface RateLimit {
  readonly step: RequestHandler;
  /** Counts something that is no HTTP request, such as an operation over a WebSocket; false when it is one too many. */
  admit(clientIp: string | undefined): Promise<boolean>;
  /** Counts the planning of an operation as a request per {@link FIELDS_PER_REQUEST} fields. */
  chargePlanning(clientIp: string | undefined, fields: number): void;
  close(): void;
}

/** A whole request takes the processor about as long as planning this many fields. */
const FIELDS_PER_REQUEST = 25;

/**
 * Requests per client and window, told in the headers of draft-ietf-httpapi-ratelimit-headers-08. A client is an IPv4
 * address or an IPv6 network of 56 bits, the size one customer gets. Counted per server process.
 */
export function createRateLimit(config: Config["http"]["rateLimit"]): RateLimit {
  const { requests, windowSeconds } = config;
  const store = new MemoryStore();
  const step = rateLimit({
    windowMs: windowSeconds * 1000,
    limit: requests,
    standardHeaders: "draft-8",
    legacyHeaders: false,
    identifier: "requests",
    store,
    keyGenerator: (request) => clientKey(request.context.clientIp),
    // They warn about proxies by printing; which proxies to trust is decided by PLINTH_TRUSTED_PROXIES.
    validate: false,
    handler: (_request, response) =>
      sendError(response, new HttpError(429, "RATE_LIMITED", "Too many requests; try again later.")),
  });
  return {
    step,
    admit: async (clientIp) => (await store.increment(clientKey(clientIp))).totalHits <= requests,
    chargePlanning(clientIp, fields) {
      const key = clientKey(clientIp);
      for (let charged = 0; charged < Math.floor(fields / FIELDS_PER_REQUEST); charged++)
        void store.increment(key);
    },
    close: () => store.shutdown(),
  };
}

/** Whose requests are counted together: an IPv4 address or an IPv6 network of 56 bits. */
export function clientKey(clientIp: string | undefined): string {
  return clientIp ? ipKeyGenerator(clientIp) : "unknown";
}
