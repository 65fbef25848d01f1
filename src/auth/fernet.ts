import { createCipheriv, createDecipheriv, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { PlinthError } from "../support/errors.ts";
import { decodeKey } from "./key-text.ts";

// Fernet as specified in https://github.com/fernet/spec/blob/master/Spec.md, so that any other implementation (Python's
// cryptography, Go's fernet-go, …) can read the tokens. Written with node:crypto only: it is one cipher, one MAC and 41 bytes
// of framing. The package `fernet` would add the unmaintained crypto-js, compares MACs as text and accepts no other clock.

const VERSION = 0x80;
const TIME_END = 9; // version (1), seconds since 1970 (8, big-endian)
const IV_BYTES = 16;
const IV_END = TIME_END + IV_BYTES;
const MAC_BYTES = 32;
const KEY_BYTES = 32; // 16 to sign, 16 to encrypt
const BLOCK_BYTES = 16;
const CIPHER = "aes-128-cbc";
/** Maximum clock skew of another machine, as in the implementations that the specification names. */
const MAX_CLOCK_SKEW_SECONDS = 60n;

/** Returns 256 random bits in padded base64url, which every implementation reads. */
export function generateFernetKey(): string {
  return padded(randomBytes(KEY_BYTES));
}

/**
 * @param options.now the token's time of creation
 * @param options.iv 16 bytes, only to check published vectors: a reused one reveals what messages share
 * @returns a token in base64url with padding, about 4/3 of the plaintext and 100 characters
 * @throws PlinthError FERNET_KEY_INVALID
 */
export function encryptFernet(
  key: string,
  plaintext: string | Uint8Array,
  options: { now?: Date; iv?: Uint8Array } = {},
): string {
  const { signingKey, encryptionKey } = splitKey(key);
  const { now = new Date(), iv = randomBytes(IV_BYTES) } = options;
  const head = Buffer.alloc(TIME_END);
  head.writeUInt8(VERSION);
  head.writeBigUInt64BE(seconds(now), 1);
  const cipher = createCipheriv(CIPHER, encryptionKey, iv);
  const signed = Buffer.concat([head, iv, cipher.update(plaintext), cipher.final()]);
  return padded(Buffer.concat([signed, mac(signingKey, signed)]));
}

/**
 * The specification's "Verifying", in its order.
 * @param options.ttlSeconds rejects older tokens and those more than 60 s in the future; if omitted, the time is ignored,
 *   as is right for stored data
 * @throws PlinthError FERNET_KEY_INVALID, FERNET_EXPIRED (older than the ttl), FERNET_INVALID (any other failure, without
 *   naming the step)
 */
export function decryptFernet(
  key: string,
  token: string,
  options: { ttlSeconds?: number; now?: Date } = {},
): Buffer {
  const { signingKey, encryptionKey } = splitKey(key);
  const { ttlSeconds, now = new Date() } = options;
  const bytes = decodeToken(token);
  if (bytes[0] !== VERSION) throw invalidToken();
  if (ttlSeconds !== undefined) {
    const madeAt = bytes.readBigUInt64BE(1);
    if (madeAt + BigInt(ttlSeconds) < seconds(now))
      throw new PlinthError("FERNET_EXPIRED", "The token is too old.");
    if (madeAt > seconds(now) + MAX_CLOCK_SKEW_SECONDS) throw invalidToken();
  }
  const signed = bytes.subarray(0, -MAC_BYTES);
  if (!timingSafeEqual(mac(signingKey, signed), bytes.subarray(-MAC_BYTES))) throw invalidToken();
  try {
    const decipher = createDecipheriv(CIPHER, encryptionKey, bytes.subarray(TIME_END, IV_END));
    return Buffer.concat([decipher.update(signed.subarray(IV_END)), decipher.final()]);
  } catch (cause) {
    throw invalidToken(cause);
  }
}

function splitKey(key: string): { signingKey: Buffer; encryptionKey: Buffer } {
  const bytes = decodeKey(key);
  if (bytes?.length !== KEY_BYTES)
    throw new PlinthError("FERNET_KEY_INVALID", "A Fernet key has 32 bytes in base64url.");
  return { signingKey: bytes.subarray(0, 16), encryptionKey: bytes.subarray(16) };
}

/** Strict, because Buffer skips undecodable characters, and one message would have many tokens. */
function decodeToken(token: string): Buffer {
  const bytes = Buffer.from(token, "base64url");
  const ciphertextBytes = bytes.length - IV_END - MAC_BYTES;
  if (padded(bytes) !== token || ciphertextBytes < BLOCK_BYTES || ciphertextBytes % BLOCK_BYTES !== 0)
    throw invalidToken();
  return bytes;
}

function mac(signingKey: Buffer, signed: Uint8Array): Buffer {
  return createHmac("sha256", signingKey).update(signed).digest();
}

function padded(bytes: Buffer): string {
  return bytes.toString("base64").replaceAll("+", "-").replaceAll("/", "_");
}

function seconds(time: Date): bigint {
  return BigInt(Math.floor(time.getTime() / 1000));
}

function invalidToken(cause?: unknown): PlinthError {
  return new PlinthError("FERNET_INVALID", "The token is not valid.", { cause });
}
