import { createHash, randomBytes } from "node:crypto";

/** What a token is for, as its beginning tells; also lets secret scanners find one that leaked into code or logs. */
export type TokenPrefix =
  /** Goes on with a sign-in that wants a second factor. */
  | "plc_"
  /** Goes on with a sign-in at another provider. */
  | "plo_"
  /** Sets a password. */
  | "plp_"
  /** Refreshes a session. */
  | "plr_"
  /** Proves an address. */
  | "plv_";

/** Hand out the token, store the hash. */
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

/** Whether something could be such a token at all. */
export function isSecretToken(prefix: TokenPrefix, value: unknown): value is string {
  return typeof value === "string" && value.startsWith(prefix) && SECRET.test(value.slice(prefix.length));
}

/**
 * SHA-256 of a secret, 32 bytes: what the database keeps. No salt and no slow hash, because 256 random bits cannot be
 * guessed.
 */
export function hashSecret(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}
