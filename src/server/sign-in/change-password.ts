import { checkNewPassword } from "../../auth/password-policy.ts";
import { createRefreshToken } from "../../auth/refresh-token.ts";
import { PlinthError } from "../../errors.ts";
import type { RequestContext } from "../request-context.ts";
import { checkPassword, type PasswordAccount } from "./check-password.ts";
import type { Credentials, OpenedSession } from "./credentials.ts";
import { checkTypedPassword, invalidCredentials } from "./input.ts";
import type { Owner, SignInTools } from "./tools.ts";

export interface ChangePasswordInput {
  readonly currentPassword: string;
  readonly newPassword: string;
}

/** Sets a new password for who knows the current one. */
export async function changePassword(
  { callService, attemptLimits, hasher, make, findOwner }: SignInTools,
  { currentPassword, newPassword }: ChangePasswordInput,
  request: RequestContext,
): Promise<Credentials> {
  const { claims } = request;
  if (!claims) throw new PlinthError("UNAUTHENTICATED", "Sign in to change your password.");
  checkTypedPassword("currentPassword", currentPassword);
  checkChosenPassword("newPassword", newPassword, await findOwner(request));
  await attemptLimits.perAccount("password_change_per_account", claims.userId, request);
  const [account] = await callService<PasswordAccount>(
    request,
    "select $1::uuid as user_id, password_hash, token_version from private.find_password($1)",
    [claims.userId],
  );
  const { matches } = await checkPassword(hasher, currentPassword, account);
  const { hash, algorithm } = await hasher.hash(newPassword);
  const refresh = createRefreshToken();
  const [session] = await callService<OpenedSession>(
    request,
    `select $1::uuid as user_id, $2::uuid as session_id, token_version, refresh_expires_at
     from private.change_password($1, $2, $3, $4, $5, $6, $7)`,
    [claims.userId, claims.sessionId, matches, account?.token_version ?? null, hash, algorithm, refresh.hash],
  );
  if (!session) throw invalidCredentials();
  return make.credentials(session, refresh.token);
}

function checkChosenPassword(field: string, password: string, owner: Owner | undefined): void {
  try {
    checkNewPassword(password, { username: owner?.username ?? "", email: owner?.email ?? "" });
  } catch (error) {
    if (!(error instanceof PlinthError)) throw error;
    const { code, message, hint } = error;
    throw new PlinthError(code, message, { field, ...(hint && { hint }) });
  }
}
