import { createHash, randomBytes } from "node:crypto";

/** 120 bits, exactly 24 letters of base32. */
const CODE_BYTES = 15;
const CODES = 10;
/** Crockford's base32: no letter resembles another or a digit. */
const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
const GROUPS = /.{4}/g;
const CODE = new RegExp(`^[${ALPHABET}]{24}$`);

/**
 * Creates a set of recovery codes in six groups of four: `k3m9-…`. Show them once, store the hashes. At 120 random bits a
 * plain SHA-256 is enough: OWASP ASVS 5, 6.5.2 requires a salted, slow hash only below 112 bits.
 */
export function createRecoveryCodes(): { codes: string[]; hashes: Buffer[] } {
  const plain = Array.from({ length: CODES }, () => encode(randomBytes(CODE_BYTES)));
  return { codes: plain.map((code) => code.match(GROUPS)!.join("-")), hashes: plain.map(hash) };
}

/**
 * Returns the SHA-256 of a typed code, after normalizing capitals, blanks, hyphens and letters that look like digits.
 * @returns undefined for a malformed code
 */
export function hashRecoveryCode(typed: string): Buffer | undefined {
  const code = typed.toLowerCase().replace(/[\s-]/g, "").replaceAll("o", "0").replace(/[il]/g, "1");
  return CODE.test(code) ? hash(code) : undefined;
}

function hash(code: string): Buffer {
  return createHash("sha256").update(code).digest();
}

function encode(bytes: Buffer): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  return bits
    .match(/.{5}/g)!
    .map((five) => ALPHABET[Number.parseInt(five, 2)])
    .join("");
}
