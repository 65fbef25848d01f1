import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { PlinthError } from "../support/errors.ts";
import type { AccessTokenClaims } from "./access-token.ts";
import { hashSecret } from "./secret-token.ts";

/** A recognizable prefix lets secret scanners find tokens leaked into code or logs. */
const PREFIX = "pla_";
const SECRET_BYTES = 32;
const SECRET_LENGTH = 43;
/** The part of the secret that is shown: enough to tell tokens apart, while 208 bits remain secret. */
const SHOWN_LENGTH = 8;
const TOKEN = /^pla_[A-Za-z0-9_-]{49}$/;

/** The privileges of a token: `read` alone runs every transaction read-only. */
export type ApiTokenScope = "read" | "write";

/** The claims of an API token: like those of an access token, but without a session. */
export interface ApiTokenClaims extends Omit<AccessTokenClaims, "sessionId"> {
  readonly sessionId: null;
  readonly scopes: readonly ApiTokenScope[];
}

/** The caller: a signed-in person or a program. `sessionId` distinguishes them. */
export type Claims = AccessTokenClaims | ApiTokenClaims;

/** Whether the caller is a program. */
export function isApiToken(claims: Claims | null): claims is ApiTokenClaims {
  return claims?.sessionId === null;
}

/**
 * Guards writes outside the request's transaction, which is read-only for such a token.
 * @throws PlinthError FORBIDDEN for an API token without the scope `write`
 */
export function refuseReadOnlyToken(claims: Claims | null): void {
  if (isApiToken(claims) && !claims.scopes.includes("write"))
    throw new PlinthError("FORBIDDEN", "This token is read-only.");
}

/**
 * Creates an API token: `pla_`, 256 random bits and a checksum. Return the token, store the hash and the prefix.
 *
 * The checksum (CRC-32 of everything before it, 6 base64url characters) is not secret and protects nothing. It detects typos
 * and truncated copies without a query, and lets source code scanners distinguish tokens from similar texts.
 */
export function createApiToken(): { token: string; prefix: string; hash: Buffer } {
  const body = PREFIX + randomBytes(SECRET_BYTES).toString("base64url");
  const token = body + checksum(body);
  return { token, prefix: body.slice(0, PREFIX.length + SHOWN_LENGTH), hash: hashSecret(token) };
}

/** Whether a bearer token is an API token by its form; other kinds are verified elsewhere. */
export function looksLikeApiToken(token: string): boolean {
  return token.startsWith(PREFIX);
}

/**
 * Returns the SHA-256 of the whole token, 32 bytes, which the database stores. No salt and no slow hash, because 256 random
 * bits cannot be guessed.
 * @throws PlinthError UNAUTHENTICATED for a wrong format or checksum.
 */
export function hashApiToken(token: string): Buffer {
  if (typeof token !== "string" || !TOKEN.test(token)) throw invalidApiToken();
  const body = token.slice(0, PREFIX.length + SECRET_LENGTH);
  if (token !== body + checksum(body)) throw invalidApiToken();
  return hashSecret(token);
}

/** The same error for malformed, unknown, expired and revoked. */
export function invalidApiToken(): PlinthError {
  return new PlinthError("UNAUTHENTICATED", "The API token is not valid.", { hint: "Create a new one." });
}

function checksum(body: string): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(body));
  return bytes.toString("base64url");
}
