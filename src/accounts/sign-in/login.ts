import { FIND_SCHEME } from "../../auth/imported-email-hash.ts";
import { isUnsupportedHash } from "../../auth/password-hash-format.ts";
import { ATTEMPT, type Attempt, assertAllowed } from "../../limits/attempt-limits.ts";
import { clientKey } from "../../request/client-key.ts";
import type { RequestContext } from "../../request/context.ts";
import { endOfPeriod } from "../../support/answer-time.ts";
import { checkPassword, type PasswordAccount } from "./check-password.ts";
import { type CompletedSignIn, createSignInTokens, type SignInResult } from "./credentials.ts";
import type { SignInDependencies } from "./dependencies.ts";
import { lookUp } from "./email.ts";
import { adoptImportedEmail } from "./imported-email.ts";
import {
  checkDeviceName,
  checkText,
  checkTypedPassword,
  invalidCredentials,
  MAX_IDENTIFIER_LENGTH,
} from "./input.ts";

export interface LoginInput {
  /** Username or email address. */
  readonly identifier: string;
  readonly password: string;
  readonly deviceName?: string | null;
}

/** An account, or nulls if none was found. */
type FoundAccount = (PasswordAccount | { readonly [key in keyof PasswordAccount]: null }) & {
  readonly bcrypt_is_in_use: boolean;
};

const ACCOUNT = "f.user_id, f.password_hash, f.token_version, f.bcrypt_is_in_use";

/**
 * Counts the attempt and finds the account in one round trip. Per address only: a limit per account would duplicate the lockout
 * and reveal accounts. A rejected attempt looks for no account.
 */
const COUNT_AND_FIND = `select ${ATTEMPT}, ${ACCOUNT}, case when $3::bytea is not null then ${FIND_SCHEME} end as imported_scheme
  from private.consume_rate_limit_rule('login_per_address', $1) l
  left join lateral (select * from private.find_login($2, $3) where l.allowed) f on true`;

const FIND = `select ${ACCOUNT} from private.find_login($1, $2) f`;

/**
 * Time after which a failed sign-in is answered while some accounts still have bcrypt or wrapped hashes: longer than checking
 * one, so that timing does not distinguish an imported account (about 0.3 s at cost 12) from an unknown one. A slower answer takes
 * a multiple of it.
 */
const SLOW_REFUSAL_MS = 1_000;

/** Signs in by name and password; returns a challenge when the account has a second factor. */
export async function login(
  dependencies: SignInDependencies,
  { identifier: typed, password, deviceName = null }: LoginInput,
  request: RequestContext,
): Promise<SignInResult> {
  const { callPrivateFunction, hasher, make } = dependencies;
  checkText("identifier", typed, MAX_IDENTIFIER_LENGTH);
  checkTypedPassword("password", password);
  checkDeviceName(deviceName);
  const startedAt = performance.now();
  const { identifier, address, hash, formerHash, clearName } = await lookUp(dependencies, typed);
  const [first] = await callPrivateFunction<Attempt & FoundAccount & { imported_scheme: string | null }>(
    request,
    COUNT_AND_FIND,
    [clientKey(request.clientIp), identifier, hash],
  );
  assertAllowed(first);
  let found: FoundAccount | undefined = first;
  // For known addresses too, so that they cause the same statements.
  if (first!.imported_scheme && address !== null) {
    await adoptImportedEmail(dependencies, first!.imported_scheme, address, request);
    [found] = await callPrivateFunction<FoundAccount>(request, FIND, [identifier, hash]);
  }
  if (formerHash !== null && found?.user_id === null)
    [found] = await callPrivateFunction<FoundAccount>(request, FIND, [identifier, formerHash]);
  if (clearName !== null && found?.user_id === null)
    [found] = await callPrivateFunction<FoundAccount>(request, FIND, [clearName, null]);
  const account = found && found.user_id !== null ? found : undefined;
  const { matches, rehashed } = await checkPassword(hasher, password, account).catch((error: unknown) => {
    if (!account || !isUnsupportedHash(error)) throw error;
    // Reported to the operator; the caller gets the same error as for an unknown account.
    dependencies.reportError(error, request, account.user_id);
    return checkPassword(hasher, password, undefined);
  });
  const tokens = createSignInTokens();
  const [completed] = await callPrivateFunction<CompletedSignIn>(
    request,
    `select $1::uuid as user_id, *
     from private.finish_login($1, $2, $3, $4, $5, $6, $7)`,
    [
      account?.user_id ?? null,
      identifier,
      matches,
      account?.token_version ?? null,
      tokens.refresh.hash,
      deviceName,
      tokens.challenge.hash,
    ],
  );
  if (!completed) {
    if (found?.bcrypt_is_in_use) await endOfPeriod(startedAt, SLOW_REFUSAL_MS);
    throw invalidCredentials();
  }
  // Only if the hash is still the one that was checked.
  if (rehashed)
    await callPrivateFunction(request, "select private.replace_password_hash($1, $2, $3, $4)", [
      account!.user_id,
      account!.password_hash,
      rehashed.hash,
      rehashed.algorithm,
    ]);
  return make.result(completed, tokens);
}
