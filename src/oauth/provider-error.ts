import { AuthorizationResponseError, ResponseBodyError, WWWAuthenticateChallengeError } from "openid-client";
import { PlinthError } from "../support/errors.ts";

/** How a provider's answer ended when it was not accepted. */
export type ProviderFailure =
  /** The person, or the provider in the person's name, said no: access_denied and the like. */
  | "declined"
  /** It cannot be asked now, or it does not accept us: down, too slow, a wrong client secret. */
  | "unavailable"
  /** What it said does not hold: signature, issuer, audience, nonce, code. */
  | "not_believed";

/**
 * Why something at a provider failed. Neither message nor cause holds anything the provider or the browser sent but error
 * codes of a fixed form: bodies and addresses hold codes and tokens.
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

/** RFC 6749 §4.1.2.1: the provider's own trouble, sent by way of the browser. */
const OWN_TROUBLE = new Set(["server_error", "temporarily_unavailable"]);
const CODE = /^[A-Za-z][A-Za-z0-9_]{0,63}$/;
/** openid-client's words for a page where an answer should be: an error page, or maintenance. */
const NO_ANSWER = new Set(["OAUTH_RESPONSE_IS_NOT_CONFORM", "OAUTH_RESPONSE_IS_NOT_JSON"]);

/** Sorts what openid-client throws. */
export function providerError(error: unknown): ProviderError {
  if (error instanceof ProviderError) return error;
  // RFC 6749 §4.1.2.1, in the address that the browser came back to.
  if (error instanceof AuthorizationResponseError)
    return new ProviderError(OWN_TROUBLE.has(error.error) ? "unavailable" : "declined", codeOf(error.error));
  // RFC 6749 §5.2, from the token endpoint: only a bad code is the visitor's doing, a bad client is the operator's.
  if (error instanceof ResponseBodyError)
    return new ProviderError(
      error.error === "invalid_grant" ? "not_believed" : "unavailable",
      codeOf(error.error),
    );
  // The same, or a userinfo endpoint that does not take the token it gave out, told in a header (RFC 6750 §3).
  if (error instanceof WWWAuthenticateChallengeError)
    return new ProviderError("unavailable", "client_or_token_not_accepted");
  if (isNetworkError(error)) return new ProviderError("unavailable", "unreachable");
  const code = codeOf((error as { code?: unknown } | null)?.code);
  return new ProviderError(NO_ANSWER.has(code) ? "unavailable" : "not_believed", code);
}

function codeOf(code: unknown): string {
  return typeof code === "string" && CODE.test(code) ? code : "unknown";
}

/** What fetch throws when nobody answers or the answer breaks off; openid-client passes it on inside its own errors. */
function isNetworkError(error: unknown): boolean {
  let cause = error as { message?: unknown; name?: unknown; cause?: unknown } | null | undefined;
  for (let depth = 0; depth < 5 && typeof cause === "object" && cause; depth++) {
    if (cause.message === "fetch failed" || cause.message === "terminated") return true;
    if (cause.name === "TimeoutError" || cause.name === "AbortError") return true;
    cause = cause.cause as typeof cause;
  }
  return false;
}
