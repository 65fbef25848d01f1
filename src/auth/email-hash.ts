import { createHmac, type KeyObject } from "node:crypto";

/**
 * The form in which two spellings of one address are the same text: as the database keeps addresses (no blanks around them,
 * lower case), and composed (RFC 6532 §3.1 asks for NFC), because a hash cannot be compared with tolerance.
 */
export function normalizeEmail(address: string): string {
  return address
    .replace(/^ +| +$/g, "")
    .toLowerCase()
    .normalize("NFC");
}

/**
 * HMAC-SHA256 of a normalised address, 32 bytes. A plain hash would be found out by trying all known addresses; with a key
 * that is not in the database in clear, who has a dump cannot even try.
 */
export function hashEmail(key: KeyObject, address: string): Buffer {
  return createHmac("sha256", key).update(normalizeEmail(address)).digest();
}
