import { createHmac, type KeyObject } from "node:crypto";

const MAX_LENGTH = 254;
/** Constraint users_email_check, which cannot look at what is not stored. */
const ADDRESS = /^[^@\s\p{Cc}]+@[^@\s\p{Cc}]+$/u;

/** Whether a text, blanks around it aside, is an address as the table of accounts takes it. */
export function isEmailAddress(text: string): boolean {
  const address = withoutBlanks(text);
  return ADDRESS.test(address) && address.length <= MAX_LENGTH;
}

function withoutBlanks(text: string): string {
  return text.replace(/^ +| +$/g, "");
}

/**
 * The form in which two spellings of one address are the same text: as the database keeps addresses (no blanks around them,
 * lower case), and composed (RFC 6532 §3.1 asks for NFC), because a hash cannot be compared with tolerance.
 */
export function normalizeEmail(address: string): string {
  return withoutBlanks(address).toLowerCase().normalize("NFC");
}

/**
 * HMAC-SHA256 of a normalised address, 32 bytes. A plain hash would be found out by trying all known addresses; with a key
 * that is not in the database in clear, who has a dump cannot even try.
 */
export function hashEmail(key: KeyObject, address: string): Buffer {
  return createHmac("sha256", key).update(normalizeEmail(address)).digest();
}
