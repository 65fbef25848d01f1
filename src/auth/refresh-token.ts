import { hkdfSync } from "node:crypto";
import { PlinthError } from "../support/errors.ts";
import { AES_KEY_BYTES, decryptAesGcm, encryptAesGcm } from "./aes-gcm.ts";
import { createSecretToken, hashSecret, isSecretToken, type SecretToken } from "./secret-token.ts";

const PREFIX = "plr_";
/** Names the purpose and the format, so that the key serves no other (RFC 5869 §3.2). */
const KEY_PURPOSE = "plinth refresh token successor v1";

export function createRefreshToken(): SecretToken {
  return createSecretToken(PREFIX);
}

/** @throws PlinthError UNAUTHENTICATED for a malformed refresh token */
export function hashRefreshToken(token: string): Buffer {
  return hashSecret(checkShape(token));
}

/**
 * Encrypts a token's successor so that only the holder of the token can read it. When the response to a refresh is lost, the
 * client sends the same token again and gets the same successor, although the database stores only this and hashes.
 * @returns IV, ciphertext and tag: AES-256-GCM under HKDF-SHA256 of the parent token.
 * @throws PlinthError UNAUTHENTICATED for malformed refresh tokens.
 */
export function sealSuccessor(parentToken: string, successorToken: string): Buffer {
  return encryptAesGcm(sealingKey(parentToken), checkShape(successorToken));
}

/**
 * Decrypts the successor that sealSuccessor encrypted under the same parent token.
 * @throws PlinthError UNAUTHENTICATED for another parent token or altered bytes.
 */
export function unsealSuccessor(parentToken: string, sealed: Uint8Array): string {
  const key = sealingKey(parentToken);
  try {
    return checkShape(decryptAesGcm(key, sealed).toString());
  } catch (cause) {
    throw invalidToken(cause);
  }
}

function sealingKey(parentToken: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", checkShape(parentToken), "", KEY_PURPOSE, AES_KEY_BYTES));
}

function checkShape(token: string): string {
  if (!isSecretToken(PREFIX, token)) throw invalidToken();
  return token;
}

function invalidToken(cause?: unknown): PlinthError {
  return new PlinthError("UNAUTHENTICATED", "The refresh token is not valid.", {
    hint: "Sign in again.",
    cause,
  });
}
