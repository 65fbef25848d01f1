import type { RequestHandler } from "express";
import {
  asCurrentRequest,
  correlationIdOf,
  currentRequest,
  normalizeAddress,
  type RequestContext,
  userAgentOf,
} from "./request-context.ts";

declare global {
  namespace Express {
    interface Request {
      /** Set by the first step; with `claims` after the authentication step. */
      context: RequestContext;
    }
  }
}

/**
 * First: who asks and from where. `request.ip` is the socket's address, or what X-Forwarded-For says as far as trusted
 * proxies wrote it.
 */
export function correlationStep(): RequestHandler {
  return (request, response, next) => {
    const correlationId = correlationIdOf(request.headers);
    request.context = {
      correlationId,
      clientIp: normalizeAddress(request.ip),
      userAgent: userAgentOf(request.headers),
      claims: null,
    };
    response.set("X-Request-Id", correlationId);
    currentRequest.run(
      asCurrentRequest(() => request.context),
      next,
    );
  };
}
