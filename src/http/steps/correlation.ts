import type { RequestHandler } from "express";
import { asCurrentRequest, contextOf, currentRequest, type RequestContext } from "../../request/context.ts";

declare global {
  namespace Express {
    interface Request {
      /** Set by the first step; with `claims` after the authentication step. */
      context: RequestContext;
    }
  }
}

/** The first step: sets the request's context. */
export function correlationStep(): RequestHandler {
  return (request, response, next) => {
    request.context = contextOf(request);
    response.set("X-Request-Id", request.context.correlationId);
    currentRequest.run(
      asCurrentRequest(() => request.context),
      next,
    );
  };
}
