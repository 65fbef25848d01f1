/** The codes of the server's errors; docs/errors.md explains each. */
export const SERVER_ERROR_CODES = [
  "UNAUTHENTICATED",
  "INVALID_CREDENTIALS",
  "FORBIDDEN",
  "NOT_FOUND",
  "CONFLICT",
  "BAD_USER_INPUT",
  "QUOTA_EXCEEDED",
  "RATE_LIMITED",
  "PAGE_TOO_LARGE",
  "QUERY_TOO_COMPLEX",
  "GRAPHQL_PARSE_FAILED",
  "GRAPHQL_VALIDATION_FAILED",
  "PERSISTED_QUERY_NOT_FOUND",
  "DOCUMENT_NOT_ALLOWED",
  "TIMEOUT",
  "UNAVAILABLE",
  "INTERNAL",
  "BAD_REQUEST",
  "METHOD_NOT_ALLOWED",
  "NOT_ACCEPTABLE",
  "PAYLOAD_TOO_LARGE",
  "UNSUPPORTED_MEDIA_TYPE",
] as const;

/** `NETWORK`: the server cannot be reached, or something else answered in its place. */
export type PlinthErrorCode = (typeof SERVER_ERROR_CODES)[number] | "NETWORK";

/** The codes after which the same request may succeed later. */
export const TRANSIENT_CODES: ReadonlySet<PlinthErrorCode> = new Set([
  "UNAVAILABLE",
  "TIMEOUT",
  "RATE_LIMITED",
  "NETWORK",
]);
