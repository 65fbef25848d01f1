import { PlinthError } from "../support/errors.ts";

/** The codes that resolvers of an application may return; docs/errors.md says what clients do with each. */
export type ClientErrorCode =
  | "BAD_USER_INPUT"
  | "CONFLICT"
  | "FORBIDDEN"
  | "NOT_FOUND"
  | "QUOTA_EXCEEDED"
  | "RATE_LIMITED"
  | "TIMEOUT"
  | "UNAUTHENTICATED"
  | "UNAVAILABLE";

/**
 * Creates an error whose message reaches the client. Any other error of a resolver becomes INTERNAL.
 * @param options.field name of the argument or input field at fault
 */
export function clientError(
  code: ClientErrorCode,
  message: string,
  options: { readonly field?: string; readonly hint?: string } = {},
): PlinthError {
  return new PlinthError(code, message, options);
}
