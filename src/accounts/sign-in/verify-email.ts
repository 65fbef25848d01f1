import { createSecretToken, hashSecret, isSecretToken } from "../../auth/secret-token.ts";
import { type RequestContext, requireClaims } from "../../request/context.ts";
import { PlinthError } from "../../support/errors.ts";
import type { SignInDependencies } from "./dependencies.ts";
import { invalidLink } from "./reset-password.ts";

export interface VerifyEmailInput {
  /** From the email: `plv_…`. */
  readonly token: string;
}

type Outcome = "sent" | "no_address" | "already_verified" | "too_many";

/**
 * Sends a link that verifies the account's address.
 * @throws PlinthError UNAUTHENTICATED, RATE_LIMITED, CONFLICT when there is no address to verify
 */
export async function requestEmailVerification(
  { callPrivateFunction, sealer }: SignInDependencies,
  request: RequestContext,
): Promise<void> {
  const { userId } = requireClaims(request);
  const { token, hash } = createSecretToken("plv_");
  const [row] = await callPrivateFunction<{ outcome: Outcome }>(
    request,
    "select private.request_email_verification($1, $2, $3) as outcome",
    [userId, hash, sealer.seal("mail token", token)],
  );
  if (row?.outcome === "too_many") throw tooManyRequested("links");
  if (row?.outcome === "already_verified")
    throw new PlinthError("CONFLICT", "The address is already verified.");
  if (row?.outcome === "no_address") throw new PlinthError("CONFLICT", "The account has no address.");
}

/** Verifies an address with a token from an email; works in any browser, signed in or not. */
export async function verifyEmail(
  { callPrivateFunction }: SignInDependencies,
  { token }: VerifyEmailInput,
  request: RequestContext,
): Promise<void> {
  const [row] = isSecretToken("plv_", token)
    ? await callPrivateFunction<{ verified: boolean }>(
        request,
        "select private.verify_email($1) as verified",
        [hashSecret(token)],
      )
    : [];
  if (!row?.verified) throw invalidLink();
}

export function tooManyRequested(what: string): PlinthError {
  return new PlinthError("RATE_LIMITED", `Too many ${what} were requested.`, { hint: "Try again tomorrow." });
}
