import { createRequire } from "node:module";

type Language = typeof import("@zxcvbn-ts/language-common");

/** A password made of three choices, however long, is guessed as fast as three characters. */
const MAX_TRIVIAL_CHOICES = 3;

/** Rows in which the next character needs no choice; each wraps around at its end. */
const ROWS = ["0123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "asdfghjkl", "zxcvbnm"];

let known: Set<string> | undefined;

/** Loaded on first use: 49,000 entries, about 70 ms once. */
function commonPasswords(): Set<string> {
  if (!known) {
    const { dictionary } = createRequire(import.meta.url)("@zxcvbn-ts/language-common") as Language;
    known = new Set((dictionary as Record<string, string[]>)["passwords-common"]);
  }
  return known;
}

/**
 * Whether a password is among the first guesses of an attacker (NIST SP 800-63B-4 §3.1.1.2, OWASP ASVS 5 §6.2.4 and
 * §6.2.12): on the list of common passwords, or a trivially lengthened one. Checks repetitions ("dragondragondragon"),
 * non-letters before or behind ("password123456789", "!!monkey!!"), combinations of both, and runs: one repeated character,
 * or a walk through the alphabet, the digits or a keyboard row, at most three such runs. Several common words in a row are
 * allowed, because good passphrases consist of them.
 * @param folded NFKC and lowercase
 */
export function isCommonPassword(folded: string): boolean {
  const bare = stripped(folded);
  const unit = repeatedUnit(folded);
  const candidates = [folded, bare, unit, stripped(unit), repeatedUnit(bare)];
  if (candidates.some((candidate) => commonPasswords().has(candidate))) return true;
  // Not `bare` alone: "1947 x 2026 + 88 %" is not the letter x.
  return [folded, unit, stripped(unit), repeatedUnit(bare)].some(
    (candidate) => (candidate === folded || candidate !== bare) && choices(candidate) <= MAX_TRIVIAL_CHOICES,
  );
}

/** Strips non-letters at both ends; returns a text without letters unchanged. */
function stripped(text: string): string {
  return /\p{L}(?:.*\p{L})?/su.exec(text)?.[0] ?? text;
}

/** Returns the shortest text whose repetition starts with `text`: "abcabcab" is "abc" three times, truncated. */
function repeatedUnit(text: string): string {
  const characters = [...text];
  // The failure function of Knuth, Morris and Pratt: the longest border of each prefix, in linear time.
  const border = [0];
  for (let index = 1, length = 0; index < characters.length; index++) {
    while (length > 0 && characters[index] !== characters[length]) length = border[length - 1]!;
    if (characters[index] === characters[length]) length++;
    border[index] = length;
  }
  return characters.slice(0, characters.length - (border.at(-1) ?? 0)).join("");
}

/**
 * Counts the chosen characters: all except those that continue a run. "aaaaaaab" has two, "567890123" one.
 */
function choices(text: string): number {
  const characters = [...text];
  let chosen = 0;
  /** The possible steps of the current run; several where rows overlap ("er"). */
  let steps: readonly string[] = [];
  characters.forEach((character, index) => {
    const possible = index === 0 ? [] : stepsBetween(characters[index - 1]!, character);
    const carriedOn = steps.length > 0 ? possible.filter((step) => steps.includes(step)) : possible;
    if (carriedOn.length === 0) chosen++;
    steps = carriedOn;
  });
  return chosen;
}

/** Returns the steps by which one character follows another without a choice, such as "+abcd…" for "b" after "a". */
function stepsBetween(from: string, to: string): string[] {
  if (from === to) return ["="];
  // Neighbours in Unicode cover the alphabets that are not in ROWS.
  const distance = to.codePointAt(0)! - from.codePointAt(0)!;
  const neighbours = distance === 1 ? ["+"] : distance === -1 ? ["-"] : [];
  const inRows = ROWS.flatMap((row) => {
    const [start, end] = [row.indexOf(from), row.indexOf(to)];
    if (start < 0 || end < 0) return [];
    if ((start + 1) % row.length === end) return [`+${row}`];
    return (end + 1) % row.length === start ? [`-${row}`] : [];
  });
  return [...neighbours, ...inRows];
}
