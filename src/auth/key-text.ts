/** 32 random bytes have about 30 distinct values; fewer than 16 does not happen by chance. */
const MIN_DISTINCT_BYTES = 16;

const BASE64URL = /^[A-Za-z0-9_-]+={0,2}$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/**
 * Decodes a key in base64url, or in plain base64, which openssl prints. Strict, because Buffer skips undecodable characters
 * and a mistyped key would become another key.
 * @returns undefined for anything else
 */
export function decodeKey(encoded: string): Buffer | undefined {
  const encoding = BASE64URL.test(encoded) ? "base64url" : BASE64.test(encoded) ? "base64" : undefined;
  if (!encoding) return undefined;
  const bytes = Buffer.from(encoded, encoding);
  const unpadded = (text: string) => text.replaceAll("=", "");
  return unpadded(bytes.toString(encoding)) === unpadded(encoded) ? bytes : undefined;
}

/**
 * Detects placeholders for a key: a repeated pattern, encoded text, words joined by dashes (which are valid base64url).
 * Random bytes fail by chance less than once in a billion.
 */
export function looksRandom(bytes: Buffer, encoded: string): boolean {
  const isRepetitive = new Set(bytes).size < MIN_DISTINCT_BYTES;
  const isText = bytes.every((byte) => byte >= 0x20 && byte <= 0x7e);
  const hasBothCases = /[a-z]/.test(encoded) && /[A-Z]/.test(encoded);
  return !isRepetitive && !isText && hasBothCases;
}
