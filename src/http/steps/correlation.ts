import type { RequestHandler } from "express";
import { asCurrentRequest, contextOf, currentRequest, type RequestContext } from "../../request/context.ts";
import type { Headers } from "../headers.ts";

declare global {
  namespace Express {
    interface Request {
      /** Set by the first step; with `claims` after the authentication step. */
      context: RequestContext;
    }
  }
}

export function correlationHeaders({ correlationId }: RequestContext): Headers {
  return { "X-Request-Id": correlationId };
}

/** The first step: sets the request's context. */
export function correlationStep(): RequestHandler {
  return (request, response, next) => {
    request.context = contextOf(request);
    response.set(correlationHeaders(request.context));
    currentRequest.run(
      asCurrentRequest(() => request.context),
      next,
    );
  };
}
