import type { IncomingMessage } from "node:http";
import type { Logger } from "pino";
import { isLoopback } from "../support/loopback.ts";

/** Which browser pages may call (Fetch Standard, "CORS protocol"), for HTTP and WebSocket alike. */
export interface AllowedOrigins {
  /** Whether a page of another origin may read the answer. An origin that may not is logged once. */
  allowsOther(request: IncomingMessage): boolean;
  /** The same, and also true for the server's own pages and for clients that are no browsers. */
  allows(request: IncomingMessage): boolean;
}

/** A client makes origins up at will, so that the log must not grow with them. */
const MAX_LOGGED_ORIGINS = 20;

/**
 * @param options.listed `*` allows all: tokens travel in a header, not in a cookie
 * @param options.allowLoopback whether pages served from this machine may call while nothing is listed, which is what a
 * front end under development needs
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
      "a browser page of another origin was refused; to let it call, add the origin to PLINTH_CORS_ORIGINS",
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
