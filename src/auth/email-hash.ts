import { createHmac, type KeyObject } from "node:crypto";
import { domainToASCII, domainToUnicode } from "node:url";

/** An address in its normal form, in which it is stored, compared, hashed and counted. */
export type NormalEmail = string & { readonly normalEmail: true };

const MAX_LENGTH = 254;
const AROUND = /^\p{White_Space}+|\p{White_Space}+$/gu;
const NOT_ASCII = /[^\0-\x7f]/;
/** Characters that compose to an ASCII character, and so to another user's address. */
const BECOMES_ASCII = /[\u037e\u1fef\u212a]/;
/** A single address: nothing that mail software reads as a list, a name or the end of a header, and nothing invisible. */
const ADDRESS =
  /^[^@\p{White_Space}\p{C}\p{Default_Ignorable_Code_Point},;<>"()]+@[^@\p{White_Space}\p{C}\p{Default_Ignorable_Code_Point},;<>"()]+$/u;

/**
 * The equivalent of plinth.normalize_email, for addresses that may not be sent to the database (privacy mode) or are hashed.
 * Only ASCII letters, with their accents, change case, and a domain becomes ASCII: other characters that a locale would fold
 * (İ to i, the Kelvin sign to k) belong to another mailbox. A test compares the two for every character.
 * @returns undefined for a text that is not an address
 */
export function normalizeEmail(typed: string): NormalEmail | undefined {
  // Regular expressions anchored at the end are slow on long texts.
  if (typed.length > 4 * MAX_LENGTH || BECOMES_ASCII.test(typed)) return undefined;
  const address = foldCase(typed.replace(AROUND, ""));
  if (!ADDRESS.test(address)) return undefined;
  const [local, domain] = address.split("@") as [string, string];
  const labels = domain.split(".").map(asciiLabel);
  if (!labels.every((label) => label !== undefined && label !== "")) return undefined;
  const normal = `${local}@${labels.join(".")}`;
  return [...normal].length <= MAX_LENGTH ? (normal as NormalEmail) : undefined;
}

/** Composes as RFC 6532 §3.1 requires, after lowercasing ASCII letters under their accents. */
function foldCase(text: string): string {
  return text
    .normalize("NFD")
    .replace(/[A-Z]+/g, (capitals) => capitals.toLowerCase())
    .normalize("NFC");
}

/** Returns undefined for an invalid label, or one that would have to be mapped to another label. */
function asciiLabel(label: string): string | undefined {
  if (!NOT_ASCII.test(label)) return label;
  const ascii = domainToASCII(label);
  return ascii !== "" && domainToUnicode(ascii) === label ? ascii : undefined;
}

/** Returns the address as people write it, with the domain's ASCII labels decoded to Unicode. */
export function withDomainInItsLetters(address: NormalEmail): string {
  const [local, domain] = address.split("@") as [string, string];
  return `${local}@${domain
    .split(".")
    .map((label) => (label.startsWith("xn--") ? domainToUnicode(label) || label : label))
    .join(".")}`;
}

/**
 * Returns the normal form of an address that another party has verified. Apart from ASCII capitals and a Unicode domain it
 * must already be in normal form: an address that folds into another one was not the verified one.
 */
export function readVouchedEmail(told: string): NormalEmail | undefined {
  const normal = normalizeEmail(told);
  if (normal === undefined) return undefined;
  const plain = told.replace(AROUND, "").replace(/[A-Z]+/g, (capitals) => capitals.toLowerCase());
  const [local, domain] = normal.split("@") as [string, string];
  const shown = domain
    .split(".")
    .map((label, place) =>
      plain.split("@")[1]!.split(".")[place] === label ? label : domainToUnicode(label),
    )
    .join(".");
  return plain === `${local}@${shown}` ? normal : undefined;
}

/**
 * HMAC-SHA256, 32 bytes. A plain hash could be reversed by trying all known addresses; with a key that the database holds
 * only sealed, a dump is not enough to try.
 */
export function hashEmail(key: KeyObject, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}
