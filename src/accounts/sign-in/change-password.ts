import { createRefreshToken } from "../../auth/refresh-token.ts";
import { type RequestContext, requireClaims } from "../../request/context.ts";
import { checkPassword, type PasswordAccount } from "./check-password.ts";
import { checkChosenPassword, isKnownPassword, knownPassword } from "./chosen-password.ts";
import type { Credentials, OpenedSession } from "./credentials.ts";
import type { Owner, SignInDependencies } from "./dependencies.ts";
import { checkTypedPassword, invalidCredentials } from "./input.ts";

export interface ChangePasswordInput {
  readonly currentPassword: string;
  readonly newPassword: string;
  /** Defaults to true. */
  readonly endOtherSessions?: boolean | null;
}

/**
 * Sets a new password if the current one is right. The work is the same whether it is right: problems of the new password
 * are reported only if it is, and never for a locked account.
 */
export async function changePassword(
  dependencies: SignInDependencies,
  { currentPassword, newPassword, endOtherSessions }: ChangePasswordInput,
  request: RequestContext,
): Promise<Credentials> {
  const { callPrivateFunction, attemptLimits, hasher, make, passwordHistory } = dependencies;
  const claims = requireClaims(request);
  checkTypedPassword("currentPassword", currentPassword);
  await attemptLimits.perAccount("password_change_per_account", claims.userId, request);
  const [owner] = await callPrivateFunction<Owner>(request, "select * from private.find_password_owner($1)", [
    claims.userId,
  ]);
  const { sufficesAlone } = checkChosenPassword("newPassword", newPassword, owner, dependencies);
  const [account] = await callPrivateFunction<PasswordAccount>(
    request,
    "select $1::uuid as user_id, password_hash, token_version from private.find_password($1)",
    [claims.userId],
  );
  const { matches } = await checkPassword(hasher, currentPassword, account);
  const isKnown = await isKnownPassword(dependencies, newPassword, claims.userId, request);
  const { hash, algorithm } = await hasher.hash(newPassword);
  const refresh = createRefreshToken();
  const [changed] = await callPrivateFunction<OpenedSession & { readonly is_refused_as_known: boolean }>(
    request,
    `select $1::uuid as user_id, $2::uuid as session_id, token_version, refresh_expires_at, is_refused_as_known
     from private.change_password($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
    [
      claims.userId,
      claims.sessionId,
      matches,
      account?.token_version ?? null,
      hash,
      algorithm,
      refresh.hash,
      sufficesAlone,
      endOtherSessions ?? true,
      account?.password_hash ?? null,
      isKnown,
      passwordHistory,
    ],
  );
  if (!changed) throw invalidCredentials();
  if (changed.is_refused_as_known) throw knownPassword("newPassword");
  return make.credentials(changed, refresh.token);
}
