import type { RequestHandler } from "express";
import type { AllowedOrigins } from "../allowed-origins.ts";

const ALLOWED_HEADERS = "Authorization, Content-Type, Accept, X-Request-Id, Traceparent, Tracestate";
const EXPOSED_HEADERS = "X-Request-Id, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate";
const PREFLIGHT_MAX_AGE_SECONDS = 600;

/**
 * Allows cross-origin requests (Fetch Standard, "CORS protocol") from allowed origins only. Others get no header, so the
 * browser withholds the response from the page. Credentials are never allowed, because the API uses only the token.
 */
export function corsStep(origins: AllowedOrigins): RequestHandler {
  return (request, response, next) => {
    response.vary("Origin");
    const isPreflight =
      request.method === "OPTIONS" && request.headers["access-control-request-method"] !== undefined;
    if (origins.allowsOther(request)) {
      response.set("Access-Control-Allow-Origin", request.headers.origin);
      response.set("Access-Control-Expose-Headers", EXPOSED_HEADERS);
      response.set("Cross-Origin-Resource-Policy", "cross-origin");
      if (isPreflight)
        response.set({
          "Access-Control-Allow-Methods": "POST",
          "Access-Control-Allow-Headers": ALLOWED_HEADERS,
          "Access-Control-Max-Age": String(PREFLIGHT_MAX_AGE_SECONDS),
        });
    }
    if (isPreflight) response.status(204).end();
    else next();
  };
}
