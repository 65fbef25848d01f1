import type { IncomingMessage } from "node:http";
import type { Logger } from "pino";
import { isLoopback } from "../support/loopback.ts";

/** The browser pages that may call the API (Fetch Standard, "CORS protocol"), for HTTP and WebSocket alike. */
export interface AllowedOrigins {
  /** Whether a page of another origin may read the response. Rejected origins are logged once. */
  allowsOther(request: IncomingMessage): boolean;
  /** The same, but also true for the server's own pages and for clients that are not browsers. */
  allows(request: IncomingMessage): boolean;
}

/** Clients can invent origins, so the number of logged origins is limited. */
const MAX_LOGGED_ORIGINS = 20;

/**
 * @param options.listed `*` allows all, because tokens travel in a header, not in a cookie
 * @param options.allowLoopback whether pages served from this machine may call the API while no origin is listed, for
 * front ends in development
 */
export function createAllowedOrigins(options: {
  listed: readonly string[];
  allowLoopback: boolean;
  logger: Logger;
}): AllowedOrigins {
  const { listed, logger } = options;
  const allowLoopback = options.allowLoopback && listed.length === 0;
  const logged = new Set<string>();

  function isAllowed(origin: string): boolean {
    if (listed.includes(origin) || listed.includes("*")) return true;
    return allowLoopback && isLoopbackOrigin(origin);
  }

  function logOnce(origin: string): void {
    if (logged.has(origin) || logged.size >= MAX_LOGGED_ORIGINS) return;
    logged.add(origin);
    logger.warn(
      { origin, setting: "PLINTH_CORS_ORIGINS" },
      "rejected a browser page of another origin; to allow it, add the origin to PLINTH_CORS_ORIGINS",
    );
  }

  function allowsOther({ headers }: IncomingMessage): boolean {
    const { origin, host } = headers;
    if (origin === undefined) return false;
    const allowed = isAllowed(origin);
    if (!allowed && !isOwn(origin, host)) logOnce(origin);
    return allowed;
  }

  return {
    allowsOther,
    allows: (request) => {
      const { origin, host } = request.headers;
      return origin === undefined || isOwn(origin, host) || allowsOther(request);
    },
  };
}

function isOwn(origin: string, host: string | undefined): boolean {
  return URL.canParse(origin) && new URL(origin).host === host;
}

function isLoopbackOrigin(origin: string): boolean {
  if (!URL.canParse(origin)) return false;
  const { protocol, hostname } = new URL(origin);
  return /^https?:$/.test(protocol) && isLoopback(hostname);
}
