import { createHmac, type KeyObject } from "node:crypto";
import { domainToASCII, domainToUnicode } from "node:url";

/** An address in the one form in which it is stored, compared, hashed and counted. */
export type NormalEmail = string & { readonly normalEmail: true };

const MAX_LENGTH = 254;
const AROUND = /^\p{White_Space}+|\p{White_Space}+$/gu;
const NOT_ASCII = /[^\0-\x7f]/;
/** Characters that compose to an ASCII one, and so to somebody else's address. */
const BECOMES_ASCII = /[\u037e\u1fef\u212a]/;
/** One address: nothing that mail software reads as a list, a name or the end of a header, and nothing invisible. */
const ADDRESS =
  /^[^@\p{White_Space}\p{C}\p{Default_Ignorable_Code_Point},;<>"()]+@[^@\p{White_Space}\p{C}\p{Default_Ignorable_Code_Point},;<>"()]+$/u;

/**
 * plinth.normalize_email of the database, for where the address may not be sent there (privacy mode) or is hashed. Only
 * ASCII letters change their case, with their accents, and a domain becomes ASCII: what else a locale would fold (İ to i, the
 * Kelvin sign to k) is another mailbox. A test compares the two for every character.
 * @returns undefined for a text that is not an address
 */
export function normalizeEmail(typed: string): NormalEmail | undefined {
  // Regular expressions for the end of a text take long for a long one.
  if (typed.length > 4 * MAX_LENGTH || BECOMES_ASCII.test(typed)) return undefined;
  const address = foldCase(typed.replace(AROUND, ""));
  if (!ADDRESS.test(address)) return undefined;
  const [local, domain] = address.split("@") as [string, string];
  const labels = domain.split(".").map(asciiLabel);
  if (!labels.every((label) => label !== undefined && label !== "")) return undefined;
  const normal = `${local}@${labels.join(".")}`;
  return [...normal].length <= MAX_LENGTH ? (normal as NormalEmail) : undefined;
}

/** Composed as RFC 6532 §3.1 asks, after ASCII letters became lower case under their accents. */
function foldCase(text: string): string {
  return text
    .normalize("NFD")
    .replace(/[A-Z]+/g, (capitals) => capitals.toLowerCase())
    .normalize("NFC");
}

/** Undefined for what is not a label, or would have to be mapped to another one first. */
function asciiLabel(label: string): string | undefined {
  if (!NOT_ASCII.test(label)) return label;
  const ascii = domainToASCII(label);
  return ascii !== "" && domainToUnicode(ascii) === label ? ascii : undefined;
}

/** The address as people write it: the domain's ASCII labels as the letters that they stand for. */
export function withDomainInItsLetters(address: NormalEmail): string {
  const [local, domain] = address.split("@") as [string, string];
  return `${local}@${domain
    .split(".")
    .map((label) => (label.startsWith("xn--") ? domainToUnicode(label) || label : label))
    .join(".")}`;
}

/**
 * The normal form of an address that somebody else vouches for. It must stand there as it is, but for ASCII capitals and a
 * domain in its own letters: an address that is folded into another one was not vouched for.
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
 * HMAC-SHA256, 32 bytes. A plain hash would be found out by trying all known addresses; with a key that is not in the
 * database in clear, who has a dump cannot even try.
 */
export function hashEmail(key: KeyObject, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}
