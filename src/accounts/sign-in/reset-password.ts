import { hashSecret, isSecretToken } from "../../auth/secret-token.ts";
import type { RequestContext } from "../../request/context.ts";
import { PlinthError } from "../../support/errors.ts";
import { checkChosenPassword, isKnownPassword, knownPassword } from "./chosen-password.ts";
import type { Owner, SignInDependencies } from "./dependencies.ts";

export interface ResetPasswordInput {
  /** From the email: `plp_…`. */
  readonly token: string;
  readonly newPassword: string;
}

/**
 * Sets a password with a token from an email. Opens no session. A rejected password leaves the token valid, so that the
 * user can choose another one.
 */
export async function resetPassword(
  dependencies: SignInDependencies,
  { token, newPassword }: ResetPasswordInput,
  request: RequestContext,
): Promise<void> {
  const { callPrivateFunction, hasher, passwordHistory } = dependencies;
  const tokenHash = hashSecret(token);
  const [found] = isSecretToken("plp_", token)
    ? await callPrivateFunction<Owner & { readonly user_id: string }>(
        request,
        "select * from private.find_password_reset($1)",
        [tokenHash],
      )
    : [];
  // Checked before hashing, so that a wrong token costs little.
  if (!found) throw invalidLink();
  const { sufficesAlone } = checkChosenPassword("newPassword", newPassword, found, dependencies);
  if (await isKnownPassword(dependencies, newPassword, found.user_id, request))
    throw knownPassword("newPassword");
  const { hash, algorithm } = await hasher.hash(newPassword);
  const [{ is_reset } = { is_reset: false }] = await callPrivateFunction<{ is_reset: boolean }>(
    request,
    "select private.reset_password($1, $2, $3, $4, $5) as is_reset",
    [tokenHash, hash, algorithm, sufficesAlone, passwordHistory],
  );
  if (!is_reset) throw invalidLink();
}

/** The same error for unknown, used and expired tokens, and for tokens of disabled accounts. */
export function invalidLink(): PlinthError {
  return new PlinthError("BAD_USER_INPUT", "This link is invalid or has expired.", {
    field: "token",
    hint: "Request a new one.",
  });
}
