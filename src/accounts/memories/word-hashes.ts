import { createHmac, hkdfSync } from "node:crypto";

const KEY_BYTES = 32;
/** 96 bits: two words of a user never get the same hash by accident. */
const HASH_BYTES = 12;

/** Hashes words for search under a user's key. */
export type HashWords = (words: Iterable<string>) => string[];

/**
 * A blind index: equal words of a user have equal hashes, and without the key nothing relates a hash to its word. The key is derived
 * from the user's key, so it is shredded with it, and rotating the master key changes no hash.
 * @returns a function that returns the distinct hashes in their own order, which does not show the order of the words
 */
export function createHashWords(userKey: string): HashWords {
  const key = new Uint8Array(
    hkdfSync("sha256", Buffer.from(userKey, "base64url"), "", "plinth memory words v1", KEY_BYTES),
  );
  const hash = (word: string) =>
    createHmac("sha256", key).update(word).digest().subarray(0, HASH_BYTES).toString("base64url");
  return (words) => [...new Set(Array.from(words, hash))].sort();
}
