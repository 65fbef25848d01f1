import { AuthorizationResponseError, ResponseBodyError, WWWAuthenticateChallengeError } from "openid-client";
import { PlinthError } from "../support/errors.ts";

/** The kinds of failure at a provider. */
export type ProviderFailure =
  /** The user, or the provider on the user's behalf, denied access: access_denied and the like. */
  | "declined"
  /** The provider is unreachable or does not accept this client: down, too slow, a wrong client secret. */
  | "unavailable"
  /** The response is invalid: signature, issuer, audience, nonce, code. */
  | "not_believed";

/**
 * A failure at a provider. Message and cause contain only error codes of a fixed form, nothing else that the provider or the
 * browser sent, because bodies and URLs contain codes and tokens.
 */
export class ProviderError extends PlinthError {
  readonly failure: ProviderFailure;
  /** For the audit log: a code of RFC 6749, OpenID Connect or openid-client. */
  readonly reason: string;

  constructor(failure: ProviderFailure, reason: string) {
    super(`PROVIDER_${failure.toUpperCase()}`, `The provider failed: ${reason}.`);
    this.failure = failure;
    this.reason = reason;
  }
}

/** RFC 6749 §4.1.2.1: the provider's own errors, sent via the browser. */
const OWN_TROUBLE = new Set(["server_error", "temporarily_unavailable"]);
const CODE = /^[A-Za-z][A-Za-z0-9_]{0,63}$/;
/** openid-client's codes for a page in place of a response: an error or maintenance page. */
const NO_ANSWER = new Set(["OAUTH_RESPONSE_IS_NOT_CONFORM", "OAUTH_RESPONSE_IS_NOT_JSON"]);

/** Classifies the errors of openid-client. */
export function providerError(error: unknown): ProviderError {
  if (error instanceof ProviderError) return error;
  // RFC 6749 §4.1.2.1, in the URL that the browser was redirected to.
  if (error instanceof AuthorizationResponseError)
    return new ProviderError(OWN_TROUBLE.has(error.error) ? "unavailable" : "declined", codeOf(error.error));
  // RFC 6749 §5.2, from the token endpoint: only a bad code is the user's fault, a bad client is the operator's.
  if (error instanceof ResponseBodyError)
    return new ProviderError(
      error.error === "invalid_grant" ? "not_believed" : "unavailable",
      codeOf(error.error),
    );
  // The same, or a userinfo endpoint that rejects the provider's own token, reported in a header (RFC 6750 §3).
  if (error instanceof WWWAuthenticateChallengeError)
    return new ProviderError("unavailable", "client_or_token_not_accepted");
  if (isNetworkError(error)) return new ProviderError("unavailable", "unreachable");
  const code = codeOf((error as { code?: unknown } | null)?.code);
  return new ProviderError(NO_ANSWER.has(code) ? "unavailable" : "not_believed", code);
}

function codeOf(code: unknown): string {
  return typeof code === "string" && CODE.test(code) ? code : "unknown";
}

/** Whether fetch failed for lack of a complete response; openid-client wraps the error in its own. */
function isNetworkError(error: unknown): boolean {
  let cause = error as { message?: unknown; name?: unknown; cause?: unknown } | null | undefined;
  for (let depth = 0; depth < 5 && typeof cause === "object" && cause; depth++) {
    if (cause.message === "fetch failed" || cause.message === "terminated") return true;
    if (cause.name === "TimeoutError" || cause.name === "AbortError") return true;
    cause = cause.cause as typeof cause;
  }
  return false;
}
