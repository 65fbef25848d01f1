import { isUnsupportedHash } from "../../auth/password-hash-format.ts";
import { checkNewPassword } from "../../auth/password-policy.ts";
import type { RequestContext } from "../../request/context.ts";
import { PlinthError } from "../../support/errors.ts";
import type { Owner, SignInDependencies } from "./dependencies.ts";

/**
 * checkNewPassword for an existing account, with the caller's field name.
 * @throws PlinthError BAD_USER_INPUT
 */
export function checkChosenPassword(
  field: string,
  password: string,
  owner: Owner | undefined,
  { appName }: Pick<SignInDependencies, "appName">,
): { sufficesAlone: boolean } {
  const { username = "", email = null, display_name: displayName = null, second_factor } = owner ?? {};
  try {
    return checkNewPassword(
      password,
      { username, email, displayName, serviceName: appName },
      { secondFactor: second_factor ?? false },
    );
  } catch (error) {
    if (!(error instanceof PlinthError)) throw error;
    const { code, message, hint } = error;
    throw new PlinthError(code, message, { field, ...(hint && { hint }) });
  }
}

/**
 * Whether the password is one of the account's recent ones. Checks all hashes in sequence, so that the work depends on
 * their number, not on which one matches.
 */
export async function isKnownPassword(
  { callPrivateFunction, hasher, passwordHistory }: SignInDependencies,
  password: string,
  userId: string,
  request: RequestContext,
): Promise<boolean> {
  const known = await callPrivateFunction<{ password_hash: string }>(
    request,
    "select password_hash from private.find_password_history($1, $2)",
    [userId, passwordHistory],
  );
  let isKnown = false;
  for (const { password_hash: hash } of known)
    if (await hasher.verify(password, hash).catch(ignoreUnsupported)) isKnown = true;
  return isKnown;
}

export function knownPassword(field: string): PlinthError {
  return new PlinthError("BAD_USER_INPUT", "This account has used the password recently.", {
    field,
    hint: "Choose a password that you have not used here.",
  });
}

/** An old hash that can no longer be checked must not prevent a new password. */
function ignoreUnsupported(error: unknown): false {
  if (isUnsupportedHash(error)) return false;
  throw error;
}
