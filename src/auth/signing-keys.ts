import { createSecretKey, type KeyObject, randomBytes } from "node:crypto";
import { PlinthError } from "../errors.ts";
import { decodeKey, looksRandom } from "./key-text.ts";

/** A key that signs or verifies access tokens; a KeyObject prints none of its bytes in a log. */
export interface SigningKey {
  readonly kid: string;
  readonly secret: KeyObject;
}

/** HS256 with less than its digest's 256 bits would be the weak part (RFC 7518 §3.2). */
const MIN_KEY_BYTES = 32;
const KID = /^[A-Za-z0-9._-]{1,64}$/;

const HINT =
  `Make one with: node -p "'key1:' + crypto.randomBytes(32).toString('base64url')" ` +
  `(or put a name and a colon before what openssl rand -base64 32 prints).`;

/**
 * Reads `kid:base64url[,kid:base64url…]`; plain base64 is taken too, since that is what openssl prints. The first
 * key signs, all verify: to rotate, put a new one in front and drop the old one when its last token has expired.
 * @returns at least one key, in the given order.
 * @throws PlinthError INVALID_SETTING naming the entry by its position only, since a `kid` may be a misplaced key.
 */
export function parseSigningKeys(text: string): SigningKey[] {
  const keys: SigningKey[] = [];
  for (const [index, entry] of text.split(",").entries()) {
    const key = parseEntry(entry.trim(), index + 1);
    if (keys.some(({ kid }) => kid === key.kid)) throw invalid(index + 1, "repeats the name of another key");
    if (keys.some(({ secret }) => secret.equals(key.secret)))
      throw invalid(index + 1, "repeats the bytes of another key, so that nothing would be rotated");
    keys.push(key);
  }
  return keys;
}

/** A new `kid:base64url` entry with 256 random bits, as parseSigningKeys reads it. */
export function generateSigningKey(): string {
  return `k${randomBytes(4).toString("hex")}:${randomBytes(MIN_KEY_BYTES).toString("base64url")}`;
}

function parseEntry(entry: string, position: number): SigningKey {
  const [kid = "", encoded = "", ...rest] = entry.split(":");
  if (!KID.test(kid) || !encoded || rest.length > 0) throw invalid(position, "is not of the form name:key");

  const bytes = decodeKey(encoded);
  if (!bytes) throw invalid(position, "is not valid base64url");
  if (bytes.length < MIN_KEY_BYTES)
    throw invalid(position, `has ${bytes.length * 8} bits, but needs at least ${MIN_KEY_BYTES * 8}`);
  if (!looksRandom(bytes, encoded)) throw invalid(position, "is not random");
  return { kid, secret: createSecretKey(bytes) };
}

function invalid(position: number, fault: string): PlinthError {
  return new PlinthError("INVALID_SETTING", `PLINTH_JWT_KEYS: key number ${position} ${fault}.`, {
    hint: HINT,
  });
}
