import type { ServerResponse } from "node:http";
import type { RequestHandler } from "express";
import type { Logger } from "pino";
import { endRequestSpan, type OpenSpan } from "../../observability/tracing.ts";
import type { RequestContext } from "../../request/context.ts";
import type { RequestCosts } from "../../request/request-costs.ts";
import { type ObserveResponse, type OperationReport, tenths } from "../observe-response.ts";
import { HEALTH_PATH, READINESS_PATH } from "./health.ts";

/**
 * Logs one line when the response ends or is aborted, without query string, headers, query text or variables.
 * @param context called at that time
 */
export type LogRequest = (
  response: ServerResponse,
  request: {
    readonly method: string;
    readonly path: string;
    readonly context: () => RequestContext;
    /** Undefined for a request without an operation. */
    readonly operation?: () => OperationReport | undefined;
    readonly costs?: RequestCosts;
    readonly span?: OpenSpan | undefined;
  },
) => void;

/**
 * @param observe called with each response, for the metrics and the log of slow operations
 * @param isClosing whether the server is stopping: its readiness probe then fails on purpose
 */
export function createRequestLog(
  parent: Logger,
  observe: ObserveResponse,
  isClosing: () => boolean = () => false,
): LogRequest {
  // The lines have the fields below and nothing else, so searching them for secrets would only cost time.
  const logger = parent.child({}, { redact: ["authorization"] });
  return (response, { method, path: fullPath, context, operation, costs, span }) => {
    const startedAt = performance.now();
    const path = withoutTokens(fullPath);
    response.once("close", () => {
      const { correlationId, traceId, clientIp, claims } = context();
      const ms = performance.now() - startedAt;
      const line = {
        correlationId,
        ...(traceId && { traceId }),
        method,
        path,
        status: response.statusCode,
        durationMs: tenths(ms),
        clientIp,
        ...(claims && { userId: claims.userId }),
        ...(response.writableFinished ? {} : { aborted: true }),
      };
      if (response.statusCode >= 500)
        logger[path === READINESS_PATH && isClosing() ? "info" : "error"](line, "request");
      else if (path === HEALTH_PATH || path === READINESS_PATH) logger.debug(line, "request");
      else logger.info(line, "request");
      const status = response.writableFinished ? response.statusCode : ABORTED;
      observe({ path, status, ms, context: context(), operation: operation?.(), costs });
      endRequestSpan(span, status);
    });
  };
}

export function logStep(logRequest: LogRequest): RequestHandler {
  return (request, response, next) => {
    const { method, path } = request;
    logRequest(response, { method, path, context: () => request.context, span: request.span });
    next();
  };
}

/** The status that proxies log for a request whose client went away. */
const ABORTED = 499;

/** Removes tokens from a path: they are not accepted there, but must not end up in the log or in a trace either. */
export function withoutTokens(path: string): string {
  return path.replace(/pl[a-z]_[A-Za-z0-9_-]{20,}/g, "[token]");
}
