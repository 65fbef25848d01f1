import { createHash, randomBytes, randomInt } from "node:crypto";

/** What the token does: set a password, prove an address. */
export type MailTokenPrefix = "plp_" | "plv_";

const TOKEN_BYTES = 32;
const CODE_DIGITS = 8;

export interface MailToken {
  /** The prefix and 256 random bits in base64url. */
  readonly token: string;
  readonly hash: Buffer;
}

/** A token that travels by mail. A recognisable prefix lets secret scanners find one that leaked. */
export function createMailToken(prefix: MailTokenPrefix): MailToken {
  const token = prefix + randomBytes(TOKEN_BYTES).toString("base64url");
  return { token, hash: hashMailToken(token) };
}

/** SHA-256 of the token: 256 random bits need no salt. */
export function hashMailToken(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

/** Whether a text could be such a token at all. */
export function isMailToken(prefix: MailTokenPrefix, text: string): boolean {
  return text.startsWith(prefix) && /^[A-Za-z0-9_-]{43}$/.test(text.slice(prefix.length));
}

/** Eight random digits; NIST SP 800-63B-4 §3.1.3 asks for six at least. */
export function createCode(): string {
  return String(randomInt(10 ** CODE_DIGITS)).padStart(CODE_DIGITS, "0");
}
