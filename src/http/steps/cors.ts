import type { IncomingMessage } from "node:http";
import type { RequestHandler } from "express";
import type { AllowedOrigins } from "../allowed-origins.ts";
import type { Headers } from "../headers.ts";

const ALLOWED_HEADERS = "Authorization, Content-Type, Accept, X-Request-Id, Traceparent, Tracestate";
const EXPOSED_HEADERS = "X-Request-Id, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate";
const PREFLIGHT_MAX_AGE_SECONDS = 600;

/**
 * Allows cross-origin requests (Fetch Standard, "CORS protocol") from allowed origins only. Others get no header, so the
 * browser withholds the response from the page. Credentials are never allowed, because the API uses only the token.
 */
export function corsHeaders(origins: AllowedOrigins, request: IncomingMessage): Headers {
  if (!origins.allowsOther(request)) return { Vary: "Origin" };
  return {
    Vary: "Origin",
    "Access-Control-Allow-Origin": request.headers.origin!,
    "Access-Control-Expose-Headers": EXPOSED_HEADERS,
    "Cross-Origin-Resource-Policy": "cross-origin",
  };
}

/** Sets these headers and answers preflights. */
export function corsStep(origins: AllowedOrigins): RequestHandler {
  return (request, response, next) => {
    const headers = corsHeaders(origins, request);
    response.set(headers);
    if (request.method !== "OPTIONS" || request.headers["access-control-request-method"] === undefined)
      return next();
    if ("Access-Control-Allow-Origin" in headers)
      response.set({
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": ALLOWED_HEADERS,
        "Access-Control-Max-Age": String(PREFLIGHT_MAX_AGE_SECONDS),
      });
    response.status(204).end();
  };
}
