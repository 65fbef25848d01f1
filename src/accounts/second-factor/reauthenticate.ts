import { type RequestContext, requireClaims } from "../../request/context.ts";
import { checkPassword, type PasswordAccount } from "../sign-in/check-password.ts";
import type { SignInDependencies } from "../sign-in/dependencies.ts";
import { badInput, checkTypedPassword, invalidCredentials } from "../sign-in/input.ts";
import { invalidSecondFactor } from "./input.ts";
import { countGiven, proveSecondFactor, type SecondFactorInput } from "./proof.ts";

export interface ReauthenticateInput extends SecondFactorInput {
  readonly password?: string | null;
}

export interface Reauthentication {
  readonly authenticatedAt: string;
}

/** Confirms the owner of a session again: with the password, or with the second factor if the account has one. */
export async function reauthenticate(
  dependencies: SignInDependencies,
  { password, ...factor }: ReauthenticateInput,
  request: RequestContext,
): Promise<Reauthentication> {
  const { userId } = requireClaims(request);
  if (countGiven([password, factor.code, factor.recoveryCode, factor.passkeyResponse]) !== 1)
    throw badInput("password", "or a second factor must be given, and only one of them");
  const proof =
    password == null
      ? await proveSecondFactor(dependencies, request, userId, "reauthenticate", factor)
      : await provePassword(dependencies, request, userId, password);
  const [done] = await dependencies.callPrivateFunction<{ authenticated_at: Date | null }>(
    request,
    "select private.reauthenticate($1) as authenticated_at",
    [JSON.stringify(proof)],
  );
  if (!done?.authenticated_at) throw password == null ? invalidSecondFactor() : invalidCredentials();
  return { authenticatedAt: done.authenticated_at.toISOString() };
}

async function provePassword(
  { callPrivateFunction, hasher }: SignInDependencies,
  request: RequestContext,
  userId: string,
  password: string,
) {
  checkTypedPassword("password", password);
  const [account] = await callPrivateFunction<PasswordAccount>(
    request,
    "select $1::uuid as user_id, password_hash, token_version from private.find_password($1)",
    [userId],
  );
  const { matches } = await checkPassword(hasher, password, account);
  return { method: "password", matches, token_version: account?.token_version ?? null };
}
