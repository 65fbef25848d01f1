import { createHash, randomBytes } from "node:crypto";

/** Prefixes that name a token's purpose and let secret scanners find tokens leaked into code or logs. */
export type TokenPrefix =
  /** Continues a sign-in that requires a second factor. */
  | "plc_"
  /** Continues a sign-in at another provider. */
  | "plo_"
  /** Sets a password. */
  | "plp_"
  /** Refreshes a session. */
  | "plr_"
  /** Verifies an address. */
  | "plv_";

/** Return the token, store the hash. */
export interface SecretToken {
  /** The prefix and 256 random bits in base64url. */
  readonly token: string;
  readonly hash: Buffer;
}

const SECRET_BYTES = 32;
const SECRET = /^[A-Za-z0-9_-]{43}$/;

export function createSecretToken(prefix: TokenPrefix): SecretToken {
  const token = prefix + randomBytes(SECRET_BYTES).toString("base64url");
  return { token, hash: hashSecret(token) };
}

/** Whether a text has the format of such a token. */
export function isSecretToken(prefix: TokenPrefix, value: unknown): value is string {
  return typeof value === "string" && value.startsWith(prefix) && SECRET.test(value.slice(prefix.length));
}

/**
 * Returns the SHA-256 of a secret, 32 bytes, which the database stores. No salt and no slow hash, because 256 random bits
 * cannot be guessed.
 */
export function hashSecret(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}
