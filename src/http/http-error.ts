import type { ErrorRequestHandler, Response } from "express";
import type { Logger } from "pino";
import type { UnforeseenError } from "../request/error-log.ts";
import { isTransient, UNAVAILABLE } from "../request/public-error.ts";
import { PlinthError } from "../support/errors.ts";

/** An error that becomes a response with a status and a code, in the shape of a GraphQL response. */
export class HttpError extends Error {
  readonly status: number;
  readonly code: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, code: string, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.name = "HttpError";
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

/** Codes of the errors that grafserv reports only by status. */
export const CODES_BY_STATUS: Readonly<Record<number, string>> = {
  400: "BAD_REQUEST",
  401: "UNAUTHENTICATED",
  403: "FORBIDDEN",
  404: "NOT_FOUND",
  405: "METHOD_NOT_ALLOWED",
  406: "NOT_ACCEPTABLE",
  413: "PAYLOAD_TOO_LARGE",
  415: "UNSUPPORTED_MEDIA_TYPE",
  429: "RATE_LIMITED",
  503: "UNAVAILABLE",
};

export function sendError(
  response: Response,
  { status, code, message, headers }: Omit<HttpError, "name">,
  extensions: Record<string, unknown> = {},
): void {
  response
    .status(status)
    .set(headers)
    .set("Cache-Control", "no-store")
    .json({ errors: [{ message, extensions: { code, ...extensions } }] });
}

/** The last step: turns every thrown error into a GraphQL-shaped response without internal details. */
export function errorResponses(
  logger: Logger,
  onUnforeseen: (error: UnforeseenError) => void,
): ErrorRequestHandler {
  // Express recognizes an error handler by its four parameters.
  return (error, request, response, next) => {
    if (response.headersSent) return next(error);
    if (error instanceof HttpError) return sendError(response, error);
    const correlationId = request.context?.correlationId;
    if (isTransient(error)) {
      logger.warn({ correlationId, err: error }, "unavailable");
      const { message } = error instanceof PlinthError ? error : UNAVAILABLE;
      return sendError(response, new HttpError(503, "UNAVAILABLE", message, { "Retry-After": "1" }));
    }
    // Express's own errors, such as a path that cannot be decoded.
    const status = (error as { status?: unknown }).status;
    if (typeof status === "number" && status >= 400 && status < 500)
      return sendError(
        response,
        new HttpError(status, CODES_BY_STATUS[status] ?? "BAD_REQUEST", "The request cannot be read."),
      );
    const errorId = crypto.randomUUID();
    logger.error({ correlationId, errorId, err: error }, "internal error");
    onUnforeseen({ errorId, error, correlationId, userId: request.context?.claims?.userId });
    sendError(response, new HttpError(500, "INTERNAL", "Something went wrong on our side."), { errorId });
  };
}
