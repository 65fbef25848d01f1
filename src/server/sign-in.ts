import { setTimeout as sleep } from "node:timers/promises";
import type { AccessTokens } from "../auth/access-token.ts";
import { needsRehash, type PasswordHasher } from "../auth/password-hash.ts";
import { checkNewPassword, isPasswordTooLongToRead } from "../auth/password-policy.ts";
import {
  createRefreshToken,
  hashRefreshToken,
  sealSuccessor,
  unsealSuccessor,
} from "../auth/refresh-token.ts";
import { PlinthError } from "../errors.ts";
import type { AttemptLimits } from "./attempt-limits.ts";
import type { RequestContext } from "./request-context.ts";
import type { CallService } from "./service.ts";

/** What a signed-in client holds. */
export interface Credentials {
  readonly userId: string;
  readonly sessionId: string;
  readonly accessToken: string;
  readonly accessTokenExpiresAt: string;
  readonly refreshToken: string;
  readonly refreshTokenExpiresAt: string;
}

export interface RegisterInput {
  readonly username: string;
  readonly email?: string | null;
  readonly displayName?: string | null;
  readonly password: string;
  readonly deviceName?: string | null;
}

export interface LoginInput {
  /** Username or e-mail address. */
  readonly identifier: string;
  readonly password: string;
  readonly deviceName?: string | null;
}

export interface ChangePasswordInput {
  readonly currentPassword: string;
  readonly newPassword: string;
}

/**
 * The operations that take or make credentials. All reject with PlinthError: BAD_USER_INPUT with `field`,
 * INVALID_CREDENTIALS, UNAUTHENTICATED, RATE_LIMITED, UNAVAILABLE when too many wait; or with the database's error.
 */
export interface SignIn {
  register(input: RegisterInput, request: RequestContext): Promise<Credentials>;
  login(input: LoginInput, request: RequestContext): Promise<Credentials>;
  refresh(refreshToken: string, request: RequestContext): Promise<Credentials>;
  changePassword(input: ChangePasswordInput, request: RequestContext): Promise<Credentials>;
}

interface Owner {
  readonly username: string;
  readonly email: string | null;
}

interface Account {
  readonly user_id: string;
  readonly password_hash: string;
  readonly token_version: number;
}

/** An Account, or nulls where there is none. */
type FoundAccount = (Account | { readonly [key in keyof Account]: null }) & {
  readonly bcrypt_is_in_use: boolean;
};

interface OpenedSession {
  readonly user_id: string;
  readonly session_id: string;
  readonly token_version: number;
  readonly refresh_expires_at: Date;
}

interface Rotation extends OpenedSession {
  readonly outcome: "rotated" | "replayed" | "refused";
  readonly sealed: Buffer | null;
}

/** The longest address RFC 5321 allows, with room for what people type around it. */
const MAX_IDENTIFIER_LENGTH = 320;
const MAX_DEVICE_NAME_LENGTH = 100;

/**
 * When a refusal is answered while some accounts still have bcrypt hashes: later than checking one takes, so that the
 * time does not tell an account brought along (some 0.3 s at cost 12) from one that does not exist.
 */
const SLOW_REFUSAL_MS = 1_000;

/** No database client is held while a password is hashed: sign-ins waiting for a core would hold the pool. */
export function createSignIn(options: {
  callService: CallService;
  attemptLimits: AttemptLimits;
  hasher: PasswordHasher;
  accessTokens: AccessTokens;
  /** The signed-in user's own names, which a password may not contain. */
  findOwner: (request: RequestContext) => Promise<Owner | undefined>;
}): SignIn {
  const { callService, attemptLimits, hasher, accessTokens, findOwner } = options;

  function credentials(session: OpenedSession, refreshToken: string): Credentials {
    const { user_id: userId, session_id: sessionId, token_version: tokenVersion } = session;
    const { token, expiresAt } = accessTokens.sign({ userId, sessionId, tokenVersion });
    return {
      userId,
      sessionId,
      accessToken: token,
      accessTokenExpiresAt: expiresAt.toISOString(),
      refreshToken,
      refreshTokenExpiresAt: session.refresh_expires_at.toISOString(),
    };
  }

  /**
   * Whether the password is the account's, and its replacement when the stored hash is out of date. The work depends
   * on the stored hash only, never on whether the password was right: the time must not tell, above all not of a
   * locked account, where it would let somebody go on guessing.
   */
  async function checkPassword(password: string, account: Account | undefined) {
    if (!account) return { matches: await hasher.verifyDummy(password), rehashed: undefined };
    const matches = await hasher.verify(password, account.password_hash);
    const rehashed = needsRehash(account.password_hash) ? await hasher.hash(password) : undefined;
    return { matches, rehashed: matches ? rehashed : undefined };
  }

  return {
    async register(input, request) {
      const { username, email = null, displayName = null, password, deviceName = null } = input;
      checkText("username", username, MAX_IDENTIFIER_LENGTH);
      checkText("email", email, MAX_IDENTIFIER_LENGTH);
      checkText("displayName", displayName, MAX_IDENTIFIER_LENGTH);
      checkDeviceName(deviceName);
      checkNewPassword(password, { username, email: email ?? "" });
      await attemptLimits.perAddress("register_per_address", request);
      const { hash, algorithm } = await hasher.hash(password);
      const refresh = createRefreshToken();
      const [session] = await callService<OpenedSession>(
        request,
        `select registered.user_id, opened.session_id, opened.token_version, opened.refresh_expires_at
         from private.register_user($1, $2, $3, $4, $5) as registered (user_id)
         cross join lateral private.finish_login(registered.user_id, $1, true, 1, $6, $7) as opened`,
        [username, email, displayName, hash, algorithm, refresh.hash, deviceName],
      );
      if (!session) throw invalidCredentials();
      return credentials(session, refresh.token);
    },

    async login({ identifier, password, deviceName = null }, request) {
      checkText("identifier", identifier, MAX_IDENTIFIER_LENGTH);
      checkTypedPassword("password", password);
      checkDeviceName(deviceName);
      // Per address only, whatever the account: a limit per account would be the lockout again, and would tell.
      await attemptLimits.perAddress("login_per_address", request);
      const startedAt = performance.now();
      const [found] = await callService<FoundAccount>(
        request,
        "select user_id, password_hash, token_version, bcrypt_is_in_use from private.find_login($1)",
        [identifier],
      );
      const account = found && found.user_id !== null ? found : undefined;
      const { matches, rehashed } = await checkPassword(password, account);
      const refresh = createRefreshToken();
      const [session] = await callService<OpenedSession>(
        request,
        `select $1::uuid as user_id, session_id, token_version, refresh_expires_at
         from private.finish_login($1, $2, $3, $4, $5, $6, $7, $8)`,
        [
          account?.user_id ?? null,
          identifier,
          matches,
          account?.token_version ?? null,
          refresh.hash,
          deviceName,
          rehashed?.hash ?? null,
          rehashed?.algorithm ?? null,
        ],
      );
      if (!session) {
        if (found?.bcrypt_is_in_use) await waitUntil(startedAt + SLOW_REFUSAL_MS);
        throw invalidCredentials();
      }
      return credentials(session, refresh.token);
    },

    async refresh(refreshToken, request) {
      const successor = createRefreshToken();
      const [rotation] = await callService<Rotation>(
        request,
        `select outcome, user_id, session_id, token_version, sealed, refresh_expires_at
         from private.rotate_refresh_token($1, $2, $3)`,
        [hashRefreshToken(refreshToken), successor.hash, sealSuccessor(refreshToken, successor.token)],
      );
      if (rotation?.outcome === "rotated") return credentials(rotation, successor.token);
      if (rotation?.outcome === "replayed" && rotation.sealed)
        return credentials(rotation, unsealSuccessor(refreshToken, rotation.sealed));
      throw new PlinthError("UNAUTHENTICATED", "The refresh token is not valid.", { hint: "Sign in again." });
    },

    async changePassword({ currentPassword, newPassword }, request) {
      const { claims } = request;
      if (!claims) throw new PlinthError("UNAUTHENTICATED", "Sign in to change your password.");
      checkTypedPassword("currentPassword", currentPassword);
      checkChosenPassword("newPassword", newPassword, await findOwner(request));
      await attemptLimits.perAccount("password_change_per_account", claims.userId, request);
      const [account] = await callService<Account>(
        request,
        "select $1::uuid as user_id, password_hash, token_version from private.find_password($1)",
        [claims.userId],
      );
      const { matches } = await checkPassword(currentPassword, account);
      const { hash, algorithm } = await hasher.hash(newPassword);
      const refresh = createRefreshToken();
      const [session] = await callService<OpenedSession>(
        request,
        `select $1::uuid as user_id, $2::uuid as session_id, token_version, refresh_expires_at
         from private.change_password($1, $2, $3, $4, $5, $6, $7)`,
        [
          claims.userId,
          claims.sessionId,
          matches,
          account?.token_version ?? null,
          hash,
          algorithm,
          refresh.hash,
        ],
      );
      if (!session) throw invalidCredentials();
      return credentials(session, refresh.token);
    },
  };
}

async function waitUntil(time: number): Promise<void> {
  await sleep(Math.max(0, time - performance.now()));
}

/** One answer for unknown, wrong, locked and disabled. */
function invalidCredentials(): PlinthError {
  return new PlinthError(
    "INVALID_CREDENTIALS",
    "The name or password is wrong, or signing in is not possible now.",
  );
}

/** Stops what PostgreSQL could not store before it is sent. */
function checkText(field: string, text: string | null, maxLength: number): void {
  if (text === null) return;
  if (text.length > maxLength) throw badInput(field, `may be at most ${maxLength} characters long`);
  if (text.includes("\0") || !text.isWellFormed())
    throw badInput(field, "holds a character that is not allowed");
}

/**
 * Checked here and not by the table's constraint alone: an error after the password was found right would undo the
 * count and the audit of the attempt, and tell it from a wrong one.
 */
function checkDeviceName(name: string | null): void {
  checkText("deviceName", name, MAX_DEVICE_NAME_LENGTH);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  if (name !== null && (name === "" || /[\u0000-\u001f\u007f-\u009f]/.test(name)))
    throw badInput("deviceName", "may not be empty or hold control characters");
}

function checkTypedPassword(field: string, password: string): void {
  if (isPasswordTooLongToRead(password)) throw badInput(field, "is too long");
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

function badInput(field: string, problem: string): PlinthError {
  return new PlinthError("BAD_USER_INPUT", `\`${field}\` ${problem}.`, { field });
}
