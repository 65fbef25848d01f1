import type { RequestHandler } from "express";
import type { Logger } from "pino";

/** Logs one line per request when it ends or is aborted, without query string, headers, query text or variables. */
export function logStep(parent: Logger): RequestHandler {
  // The lines have the fields below and nothing else, so searching them for secrets would only cost time.
  const logger = parent.child({}, { redact: ["authorization"] });
  return (request, response, next) => {
    const startedAt = performance.now();
    const { method } = request;
    const path = withoutTokens(request.path);
    response.once("close", () => {
      const { correlationId, clientIp, claims } = request.context;
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
      else if (path === "/healthz" || path === "/readyz") logger.debug(line, "request");
      else logger.info(line, "request");
    });
    next();
  };
}

/** Removes tokens from a path: they are not accepted there, but must not end up in the log either. */
function withoutTokens(path: string): string {
  return path.replace(/pl[a-z]_[A-Za-z0-9_-]{20,}/g, "[token]");
}
