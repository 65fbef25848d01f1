import type { ServerResponse } from "node:http";
import type { RequestHandler } from "express";
import type { Logger } from "pino";
import type { RequestContext } from "../../request/context.ts";
import { HEALTH_PATH, READINESS_PATH } from "./health.ts";

/**
 * Logs one line when the response ends or is aborted, without query string, headers, query text or variables.
 * @param context called at that time
 */
export type LogRequest = (
  response: ServerResponse,
  request: { readonly method: string; readonly path: string; readonly context: () => RequestContext },
) => void;

export function createRequestLog(parent: Logger): LogRequest {
  // The lines have the fields below and nothing else, so searching them for secrets would only cost time.
  const logger = parent.child({}, { redact: ["authorization"] });
  return (response, { method, path: fullPath, context }) => {
    const startedAt = performance.now();
    const path = withoutTokens(fullPath);
    response.once("close", () => {
      const { correlationId, clientIp, claims } = context();
      const line = {
        correlationId,
        method,
        path,
        status: response.statusCode,
        durationMs: Math.round((performance.now() - startedAt) * 10) / 10,
        clientIp,
        ...(claims && { userId: claims.userId }),
        ...(response.writableFinished ? {} : { aborted: true }),
      };
      if (response.statusCode >= 500) logger.error(line, "request");
      else if (path === HEALTH_PATH || path === READINESS_PATH) logger.debug(line, "request");
      else logger.info(line, "request");
    });
  };
}

export function logStep(logRequest: LogRequest): RequestHandler {
  return (request, response, next) => {
    const { method, path } = request;
    logRequest(response, { method, path, context: () => request.context });
    next();
  };
}

/** Removes tokens from a path: they are not accepted there, but must not end up in the log either. */
function withoutTokens(path: string): string {
  return path.replace(/pl[a-z]_[A-Za-z0-9_-]{20,}/g, "[token]");
}
