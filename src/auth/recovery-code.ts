import { createHash, randomBytes } from "node:crypto";

/** 120 bits, 24 letters of base32 without a rest. */
const CODE_BYTES = 15;
const CODES = 10;
/** Crockford's base32: no letter looks like another or like a digit. */
const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
const GROUPS = /.{4}/g;
const CODE = new RegExp(`^[${ALPHABET}]{24}$`);

/**
 * A set of recovery codes, as six groups of four: `k3m9-…`. Show them once, store the hashes. At 120 random bits a
 * plain SHA-256 is enough: OWASP ASVS 5, 6.5.2 asks for a salted, slow hash below 112 bits only.
 */
export function createRecoveryCodes(): { codes: string[]; hashes: Buffer[] } {
  const plain = Array.from({ length: CODES }, () => encode(randomBytes(CODE_BYTES)));
  return { codes: plain.map((code) => code.match(GROUPS)!.join("-")), hashes: plain.map(hash) };
}

/**
 * SHA-256 of a code as it was typed: capitals, blanks, hyphens and the letters that look like digits are put right.
 * @returns undefined for what cannot be a recovery code
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
