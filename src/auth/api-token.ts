import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { PlinthError } from "../support/errors.ts";
import type { AccessTokenClaims } from "./access-token.ts";
import { hashSecret } from "./secret-token.ts";

/** A recognisable start lets secret scanners find tokens that leak into code or logs. */
const PREFIX = "pla_";
const SECRET_BYTES = 32;
const SECRET_LENGTH = 43;
/** What is shown of the secret: enough to tell one's tokens apart, and 208 bits remain. */
const SHOWN_LENGTH = 8;
const TOKEN = /^pla_[A-Za-z0-9_-]{49}$/;

/** What a token may do: `read` alone runs every transaction read-only. */
export type ApiTokenScope = "read" | "write";

/** Who asks with an API token: as the claims of an access token, but of no session. */
export interface ApiTokenClaims extends Omit<AccessTokenClaims, "sessionId"> {
  readonly sessionId: null;
  readonly scopes: readonly ApiTokenScope[];
}

/** Who asks: a signed-in person or a program. `sessionId` tells them apart. */
export type Claims = AccessTokenClaims | ApiTokenClaims;

/** Whether a program asks and not a person. */
export function isApiToken(claims: Claims | null): claims is ApiTokenClaims {
  return claims?.sessionId === null;
}

/**
 * For what is written outside the transaction of the request, which such a token has read-only.
 * @throws PlinthError FORBIDDEN for an API token without the scope `write`
 */
export function refuseReadOnlyToken(claims: Claims | null): void {
  if (isApiToken(claims) && !claims.scopes.includes("write"))
    throw new PlinthError("FORBIDDEN", "This token is read-only.");
}

/**
 * A new API token: `pla_`, 256 random bits and a checksum. Hand out the token, store the hash and the prefix.
 *
 * The checksum (CRC-32 of what stands before it, 6 base64url characters) is no secret and protects nothing. It tells
 * typos and cut-off copies without asking the database, and lets a scanner of source code know a token from a text that
 * merely looks like one.
 */
export function createApiToken(): { token: string; prefix: string; hash: Buffer } {
  const body = PREFIX + randomBytes(SECRET_BYTES).toString("base64url");
  const token = body + checksum(body);
  return { token, prefix: body.slice(0, PREFIX.length + SHOWN_LENGTH), hash: hashSecret(token) };
}

/** Whether a bearer token is meant to be an API token; other kinds are verified elsewhere. */
export function looksLikeApiToken(token: string): boolean {
  return token.startsWith(PREFIX);
}

/**
 * SHA-256 of the whole token, 32 bytes: what the database keeps. No salt and no slow hash, because 256 random bits
 * cannot be guessed.
 * @throws PlinthError UNAUTHENTICATED for what cannot be an API token: wrong shape or checksum.
 */
export function hashApiToken(token: string): Buffer {
  if (typeof token !== "string" || !TOKEN.test(token)) throw invalidApiToken();
  const body = token.slice(0, PREFIX.length + SECRET_LENGTH);
  if (token !== body + checksum(body)) throw invalidApiToken();
  return hashSecret(token);
}

/** One answer for malformed, unknown, expired and revoked. */
export function invalidApiToken(): PlinthError {
  return new PlinthError("UNAUTHENTICATED", "The API token is not valid.", { hint: "Create a new one." });
}

function checksum(body: string): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(body));
  return bytes.toString("base64url");
}
