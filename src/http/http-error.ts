import type { Headers } from "./headers.ts";

/** An error that becomes a response with a status and a code, in the shape of a GraphQL response. */
export class HttpError extends Error {
  readonly status: number;
  readonly code: string;
  readonly headers: Headers;
  readonly extensions: Readonly<Record<string, unknown>>;

  constructor(
    status: number,
    code: string,
    message: string,
    headers: Headers = {},
    extensions: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
    this.name = "HttpError";
    this.status = status;
    this.code = code;
    this.headers = headers;
    this.extensions = extensions;
  }
}

/** Codes of errors that have only a status. */
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

/** The body of the response for an error. */
export function errorBody({ code, message, extensions }: HttpError): object {
  return { errors: [{ message, extensions: { code, ...extensions } }] };
}
