import type { AccessTokens } from "../../auth/access-token.ts";
import { createRefreshToken } from "../../auth/refresh-token.ts";
import { createSecretToken, type SecretToken } from "../../auth/secret-token.ts";

/** The credentials of a signed-in client. */
export interface Credentials {
  readonly userId: string;
  readonly sessionId: string;
  readonly accessToken: string;
  readonly accessTokenExpiresAt: string;
  readonly refreshToken: string;
  readonly refreshTokenExpiresAt: string;
}

/** A sign-in that still requires a second factor. Its token only serves to complete the sign-in. */
interface SignInChallenge {
  readonly token: string;
  readonly expiresAt: string;
  /** The accepted factors: `totp`, `recovery_code`, `passkey`. */
  readonly methods: readonly string[];
}

/** Either credentials or a challenge. */
export type SignInResult =
  | { readonly credentials: Credentials; readonly challenge: null }
  | { readonly credentials: null; readonly challenge: SignInChallenge };

/** A row of a function that opens or continues a session. */
export interface OpenedSession {
  readonly user_id: string;
  readonly session_id: string;
  readonly token_version: number;
  readonly refresh_expires_at: Date;
}

/** A row of private.complete_sign_in: a session or a challenge. */
export type CompletedSignIn =
  | (OpenedSession & { readonly challenge_expires_at: null })
  | {
      readonly user_id: string;
      readonly session_id: null;
      readonly challenge_expires_at: Date;
      readonly challenge_methods: readonly string[];
    };

/** The secrets of one sign-in, created before it is known which of them will be returned. */
export interface SignInTokens {
  readonly refresh: SecretToken;
  readonly challenge: SecretToken;
}

export function createSignInTokens(): SignInTokens {
  return { refresh: createRefreshToken(), challenge: createSecretToken("plc_") };
}

/** Turns the rows of sign-in functions into the client's credentials. */
export function createCredentialMaker(accessTokens: AccessTokens) {
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

  function result(row: CompletedSignIn, tokens: SignInTokens): SignInResult {
    if (row.session_id !== null)
      return { credentials: credentials(row, tokens.refresh.token), challenge: null };
    const { token } = tokens.challenge;
    const { challenge_expires_at: expiresAt, challenge_methods: methods } = row;
    return { credentials: null, challenge: { token, expiresAt: expiresAt.toISOString(), methods } };
  }

  return { credentials, result };
}

export type CredentialMaker = ReturnType<typeof createCredentialMaker>;
