import { createSecretToken } from "../../auth/secret-token.ts";
import { type RequestContext, requireClaims } from "../../request/context.ts";
import { checkPassword, type PasswordAccount } from "./check-password.ts";
import type { SignInDependencies } from "./dependencies.ts";
import { badInput, checkEmail, checkTypedPassword, invalidCredentials, noAddresses } from "./input.ts";
import { tooManyRequested } from "./verify-email.ts";

export interface ChangeEmailInput {
  readonly newEmail: string;
  readonly currentPassword: string;
}

type Outcome = "accepted" | "refused" | "unchanged" | "too_many";

/**
 * Sends a link to a new address, which becomes the account's when the link is opened. The response is the same for an
 * address that another account uses.
 */
export async function changeEmail(
  { callPrivateFunction, emailHasher, hasher, sealer, privacyMode }: SignInDependencies,
  { newEmail, currentPassword }: ChangeEmailInput,
  request: RequestContext,
): Promise<void> {
  const { userId, sessionId } = requireClaims(request);
  if (privacyMode) throw noAddresses();
  const address = checkEmail("newEmail", newEmail);
  checkTypedPassword("currentPassword", currentPassword);
  const [account] = await callPrivateFunction<PasswordAccount>(
    request,
    "select $1::uuid as user_id, password_hash, token_version from private.find_password($1)",
    [userId],
  );
  const { matches } = await checkPassword(hasher, currentPassword, account);
  const { token, hash } = createSecretToken("plv_");
  const [row] = await callPrivateFunction<{ outcome: Outcome }>(
    request,
    "select private.request_email_change($1, $2, $3, $4, $5, $6, $7, $8, $9) as outcome",
    [
      userId,
      sessionId,
      matches,
      account?.token_version ?? null,
      account?.password_hash ?? null,
      address,
      hash,
      sealer.seal("mail token", token),
      await emailHasher.hash(address),
    ],
  );
  if (row?.outcome === "unchanged") throw badInput("newEmail", "is already your address");
  if (row?.outcome === "too_many") throw tooManyRequested("links");
  if (row?.outcome !== "accepted") throw invalidCredentials();
}
