import { hashName, isHashedName, isUsername } from "../../auth/hashed-name.ts";
import { checkNewPassword } from "../../auth/password-policy.ts";
import { createRefreshToken } from "../../auth/refresh-token.ts";
import { createSecretToken } from "../../auth/secret-token.ts";
import { storedEmail } from "../../auth/stored-email.ts";
import type { RequestContext } from "../../request/context.ts";
import { PlinthError } from "../../support/errors.ts";
import type { Credentials, OpenedSession } from "./credentials.ts";
import type { SignInDependencies } from "./dependencies.ts";
import { adoptIfImported } from "./imported-email.ts";
import {
  badInput,
  checkDeviceName,
  checkEmail,
  checkText,
  invalidCredentials,
  MAX_IDENTIFIER_LENGTH,
} from "./input.ts";

export interface RegisterInput {
  readonly username: string;
  readonly email?: string | null;
  readonly displayName?: string | null;
  readonly password: string;
  readonly deviceName?: string | null;
}

/** Creates an account, signs it in, and sends a link that verifies its address. */
export async function register(
  dependencies: SignInDependencies,
  input: RegisterInput,
  request: RequestContext,
): Promise<Credentials> {
  const { callPrivateFunction, attemptLimits, hasher, sealer, make, appName } = dependencies;
  const { username: name, email = null, displayName = null, password, deviceName = null } = input;
  checkText("username", name, MAX_IDENTIFIER_LENGTH);
  const address = email === null ? null : checkEmail("email", email);
  checkText("displayName", displayName, MAX_IDENTIFIER_LENGTH);
  checkDeviceName(deviceName);
  checkNewPassword(password, { username: name, email, displayName, serviceName: appName });
  await attemptLimits.perAddress("register_per_address", request);
  const username = await storedName(dependencies, name, request);
  if (address !== null) await adoptIfImported(dependencies, address, request);
  const stored = await storedEmail(dependencies, address);
  const { hash, algorithm } = await hasher.hash(password);
  const refresh = createRefreshToken();
  const verification = createSecretToken("plv_");
  const [session] = await callPrivateFunction<OpenedSession>(
    request,
    `select registered.user_id, opened.session_id, opened.token_version, opened.refresh_expires_at
     from private.register_user($1, $2, $3, $4, $5, $8) as registered (user_id)
     cross join lateral private.request_email_verification(registered.user_id, $9, $10)
     cross join lateral private.finish_login(registered.user_id, $1, true, 1, $6, $7) as opened`,
    [
      username,
      stored.email,
      displayName,
      hash,
      algorithm,
      refresh.hash,
      deviceName,
      stored.hash,
      verification.hash,
      sealer.seal("mail token", verification.token),
    ],
  ).catch(explainTakenHash);
  if (!session) throw invalidCredentials();
  return make.credentials(session, refresh.token);
}

/**
 * In privacy mode, the hash of the name. A name of the form of a hash would be looked up as one. An older account with the clear
 * name would no longer be found by it.
 * @throws PlinthError BAD_USER_INPUT, CONFLICT
 */
async function storedName(
  { callPrivateFunction, emailHasher, privacyMode }: SignInDependencies,
  name: string,
  request: RequestContext,
): Promise<string> {
  if (!privacyMode) return name;
  if (!isUsername(name) || isHashedName(name)) throw badInput("username", "is not a valid username");
  const [older] = await callPrivateFunction<{ user_id: string | null }>(
    request,
    "select user_id from private.find_login($1)",
    [name],
  );
  if (older?.user_id)
    throw new PlinthError("CONFLICT", "`username` is already taken.", { field: "username" });
  return hashName(emailHasher, name);
}

/** The hash is not in the schema, so errors on it name the address field. */
function explainTakenHash(error: unknown): never {
  if ((error as { constraint?: unknown }).constraint === "users_hashed_email_key")
    throw new PlinthError("CONFLICT", "`email` is already taken.", { field: "email", cause: error });
  throw error;
}
