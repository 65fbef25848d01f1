import { randomUUID } from "node:crypto";
import jwt, { type JwtPayload } from "jsonwebtoken";
import { PlinthError } from "../support/errors.ts";
import type { SigningKey } from "./signing-keys.ts";
import { VerifiedTokens } from "./verified-tokens.ts";

/** RFC 9068 §2.1: prevents other tokens of the same issuer from passing as access tokens. */
const TYPE = "at+jwt";
/** Our tokens have about 500 characters; much longer ones are rejected before they are parsed. */
const MAX_TOKEN_LENGTH = 4096;
/** Tolerates an issuing server whose clock is ahead. Expiry is exact, see `verify`. */
const CLOCK_TOLERANCE_SECONDS = 5;

/** Three parts of base64url; nothing else reaches the parser. */
const FORM = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/** Lowercase only, as PostgreSQL prints it: another spelling of an id would bypass the list of revoked ids. */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

interface TokenSubject {
  readonly userId: string;
  readonly sessionId: string;
  /** Incremented when all of a user's tokens are revoked. */
  readonly tokenVersion: number;
}

export interface AccessTokenClaims extends TokenSubject {
  readonly tokenId: string;
  readonly expiresAt: Date;
}

export interface AccessTokens {
  /** @returns a signed token that lives for `ttlSeconds`. */
  sign(subject: TokenSubject): { token: string; tokenId: string; expiresAt: Date };
  /**
   * Returns a token's claims after every check except revocation, which needs the database.
   * @throws PlinthError UNAUTHENTICATED, the same for every fault; `cause` names the fault for the log.
   */
  verify(token: string): AccessTokenClaims;
}

/**
 * Issues and verifies access tokens: JWTs in the style of RFC 9068, following RFC 8725. The first key signs; a token is
 * verified with the key its `kid` names, by that key's single algorithm whatever the token's `alg` says.
 */
export function createAccessTokens(options: {
  keys: readonly SigningKey[];
  issuer: string;
  audience: string;
  ttlSeconds: number;
}): AccessTokens {
  const { keys, issuer, audience, ttlSeconds } = options;
  const [signingKey] = keys;
  // jsonwebtoken skips the check of an empty issuer or audience.
  if (!signingKey || !issuer || !audience)
    throw new PlinthError("INVALID_SETTING", "Access tokens need a signing key, an issuer and an audience.");
  // A Map, because in an object the kid "__proto__" would match.
  const keysByName = new Map(keys.map((key) => [key.kid, key]));
  const verified = new VerifiedTokens<AccessTokenClaims>();

  function readClaims(token: string): AccessTokenClaims {
    if (typeof token !== "string" || token.length > MAX_TOKEN_LENGTH) throw new Error("not a token");
    const claims = verified.get(token, verifySignature);
    // No tolerance here: revocations are dropped when the token expires, and it must not become valid again.
    if (claims.expiresAt.getTime() <= currentSeconds() * 1000) throw new Error("expired");
    return claims;
  }

  function verifySignature(token: string): AccessTokenClaims {
    if (!FORM.test(token)) throw new Error("not a token");
    // Stray bits at the end of a part would give one token several spellings, and a list of revoked ones only knows one.
    if (token.split(".").some((part) => Buffer.from(part, "base64url").toString("base64url") !== part))
      throw new Error("not canonical base64url");
    const header = jwt.decode(token, { complete: true })?.header;
    if (header?.typ !== TYPE) throw new Error("wrong type");
    // RFC 7515 §4.1.11: a token with an unknown critical extension must be rejected.
    if ("crit" in header) throw new Error("unknown critical header");
    const key = keysByName.get(header.kid ?? "");
    if (!key) throw new Error("unknown key");
    // A KeyObject, because jsonwebtoken tries to parse text or bytes as a public key each time.
    const payload = jwt.verify(token, key.verifier, {
      algorithms: [key.algorithm],
      issuer,
      audience,
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
    });
    return shapeClaims(payload);
  }

  return {
    sign({ userId, sessionId, tokenVersion }) {
      const tokenId = randomUUID();
      const now = currentSeconds();
      const exp = now + ttlSeconds;
      const claims = {
        iss: issuer,
        aud: audience,
        sub: userId,
        sid: sessionId,
        jti: tokenId,
        tv: tokenVersion,
        iat: now,
        nbf: now,
        exp,
      };
      const { kid, algorithm, secret } = signingKey;
      const token = jwt.sign(claims, secret, { algorithm, header: { alg: algorithm, typ: TYPE, kid } });
      return { token, tokenId, expiresAt: new Date(exp * 1000) };
    },

    verify(token) {
      try {
        return readClaims(token);
      } catch (cause) {
        throw new PlinthError("UNAUTHENTICATED", "The access token is not valid.", {
          hint: "Sign in again or use the refresh token.",
          cause,
        });
      }
    },
  };
}

function shapeClaims(payload: JwtPayload | string): AccessTokenClaims {
  if (typeof payload === "string") throw new Error("payload is not an object");
  const { sub, sid, jti, tv, iat, nbf, exp } = payload;
  const now = currentSeconds();
  const isSound =
    [sub, sid, jti].every((id) => typeof id === "string" && UUID.test(id)) &&
    [tv, iat, nbf, exp].every((number) => Number.isSafeInteger(number) && number >= 0) &&
    iat! <= now + CLOCK_TOLERANCE_SECONDS;
  if (!isSound) throw new Error("claims missing or of the wrong shape");
  return { userId: sub!, sessionId: sid, tokenId: jti!, tokenVersion: tv, expiresAt: new Date(exp! * 1000) };
}

function currentSeconds(): number {
  return Math.floor(Date.now() / 1000);
}
