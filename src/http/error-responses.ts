import type { ErrorRequestHandler } from "express";
import type { Logger } from "pino";
import type { RequestContext } from "../request/context.ts";
import type { UnforeseenError } from "../request/error-log.ts";
import { isTransient, UNAVAILABLE } from "../request/public-error.ts";
import { PlinthError } from "../support/errors.ts";
import { CODES_BY_STATUS, errorBody, HttpError } from "./http-error.ts";

/** Returns what a client may know about any error. */
export type DescribeError = (error: unknown, context: RequestContext | undefined) => HttpError;

/** Logs what clients must not see: unavailability, and every unforeseen error with an id that the client gets too. */
export function createErrorDescription(
  logger: Logger,
  onUnforeseen: (error: UnforeseenError) => void,
): DescribeError {
  return (error, context) => {
    if (error instanceof HttpError) return error;
    const correlationId = context?.correlationId;
    if (isTransient(error)) {
      logger.warn({ correlationId, err: error }, "unavailable");
      const { message } = error instanceof PlinthError ? error : UNAVAILABLE;
      return new HttpError(503, "UNAVAILABLE", message, { "Retry-After": "1" });
    }
    // Express's own errors, such as a path that cannot be decoded.
    const { status } = error as { status?: unknown };
    if (typeof status === "number" && status >= 400 && status < 500)
      return new HttpError(status, CODES_BY_STATUS[status] ?? "BAD_REQUEST", "The request cannot be read.");
    const errorId = crypto.randomUUID();
    logger.error({ correlationId, errorId, err: error }, "internal error");
    onUnforeseen({ errorId, error, correlationId, userId: context?.claims?.userId });
    return new HttpError(500, "INTERNAL", "Something went wrong on our side.", {}, { errorId });
  };
}

/** The last step: turns every thrown error into a GraphQL-shaped response without internal details. */
export function errorResponses(
  describeError: DescribeError,
  countError: (code: string) => void,
): ErrorRequestHandler {
  // Express recognizes an error handler by its four parameters.
  return (thrown, request, response, next) => {
    if (response.headersSent) return next(thrown);
    const error = describeError(thrown, request.context);
    countError(error.code);
    response.status(error.status).set(error.headers).set("Cache-Control", "no-store").json(errorBody(error));
  };
}
