import type { RequestHandler } from "express";
import { type OpenSpan, runInSpan, startRequestSpan, traceIdOf } from "../../observability/tracing.ts";
import { asCurrentRequest, contextOf, currentRequest, type RequestContext } from "../../request/context.ts";
import type { Headers } from "../headers.ts";
import { withoutTokens } from "./log.ts";

declare global {
  namespace Express {
    interface Request {
      /** Set by the first step; with `claims` after the authentication step. */
      context: RequestContext;
      /** The span of the request, if the process has an OpenTelemetry SDK. */
      span?: OpenSpan | undefined;
    }
  }
}

export function correlationHeaders({ correlationId }: RequestContext): Headers {
  return { "X-Request-Id": correlationId };
}

/** The first step: sets the request's context. */
export function correlationStep(): RequestHandler {
  return (request, response, next) => {
    const span = startRequestSpan(request.headers, request.method, withoutTokens(request.path));
    request.span = span;
    request.context = contextOf(request, traceIdOf(span));
    response.set(correlationHeaders(request.context));
    currentRequest.run(
      asCurrentRequest(() => request.context),
      () => runInSpan(span, next),
    );
  };
}
