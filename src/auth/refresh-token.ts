import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from "node:crypto";
import { PlinthError } from "../errors.ts";

/** A recognisable start lets secret scanners find tokens that leak into code or logs. */
const PREFIX = "plr_";
const TOKEN_BYTES = 32;
const TOKEN = /^plr_[A-Za-z0-9_-]{43}$/;

const CIPHER = "aes-256-gcm";
const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;
/** Names the purpose and the format, so that this key can serve no other (RFC 5869 §3.2). */
const KEY_PURPOSE = "plinth refresh token successor v1";

/** A new refresh token of 256 random bits. Hand out the token, store the hash. */
export function createRefreshToken(): { token: string; hash: Buffer } {
  const token = PREFIX + randomBytes(TOKEN_BYTES).toString("base64url");
  return { token, hash: hashRefreshToken(token) };
}

/**
 * SHA-256 of the whole token, 32 bytes: what the database keeps. No salt and no slow hash, because 256 random bits
 * cannot be guessed.
 * @throws PlinthError UNAUTHENTICATED for what cannot be a refresh token.
 */
export function hashRefreshToken(token: string): Buffer {
  return createHash("sha256").update(checkShape(token)).digest();
}

/**
 * Encrypts a token's successor so that only who holds the token can read it. When the answer to a refresh is lost,
 * the client sends the same token again and gets the same successor back, although the database, which stores this,
 * knows only hashes.
 * @returns IV, ciphertext and tag: AES-256-GCM under HKDF-SHA256 of the parent token.
 * @throws PlinthError UNAUTHENTICATED for what cannot be refresh tokens.
 */
export function sealSuccessor(parentToken: string, successorToken: string): Buffer {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv(CIPHER, sealingKey(parentToken), iv, { authTagLength: TAG_BYTES });
  const sealed = [cipher.update(checkShape(successorToken), "utf8"), cipher.final()];
  return Buffer.concat([iv, ...sealed, cipher.getAuthTag()]);
}

/**
 * The successor that sealSuccessor encrypted under the same parent token.
 * @throws PlinthError UNAUTHENTICATED for another parent token or altered bytes.
 */
export function unsealSuccessor(parentToken: string, sealed: Uint8Array): string {
  const key = sealingKey(parentToken);
  const bytes = Buffer.from(sealed);
  try {
    const iv = bytes.subarray(0, IV_BYTES);
    const decipher = createDecipheriv(CIPHER, key, iv, { authTagLength: TAG_BYTES });
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    const ciphertext = bytes.subarray(IV_BYTES, -TAG_BYTES);
    return checkShape(Buffer.concat([decipher.update(ciphertext), decipher.final()]).toString());
  } catch (cause) {
    throw invalidToken(cause);
  }
}

function sealingKey(parentToken: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", checkShape(parentToken), "", KEY_PURPOSE, KEY_BYTES));
}

function checkShape(token: string): string {
  if (typeof token !== "string" || !TOKEN.test(token)) throw invalidToken();
  return token;
}

function invalidToken(cause?: unknown): PlinthError {
  return new PlinthError("UNAUTHENTICATED", "The refresh token is not valid.", {
    hint: "Sign in again.",
    cause,
  });
}
