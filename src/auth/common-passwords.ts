import { createRequire } from "node:module";

type Language = typeof import("@zxcvbn-ts/language-common");

/** Whoever repeats three characters has chosen three characters. */
const MAX_TRIVIAL_UNIT = 3;

let known: Set<string> | undefined;

/** Loaded when first asked: 49,000 entries, some 70 ms once. */
function commonPasswords(): Set<string> {
  if (!known) {
    const { dictionary } = createRequire(import.meta.url)("@zxcvbn-ts/language-common") as Language;
    known = new Set((dictionary as Record<string, string[]>)["passwords-common"]);
  }
  return known;
}

/**
 * Whether a password is among those an attacker tries first (NIST SP 800-63B-4 §3.1.1.2, OWASP ASVS 5 §6.2.4 and
 * §6.2.12): on the list of common passwords, or one of them made long the cheap way. The ways looked through are a
 * repetition ("dragondragondragon"), what is not a letter before or behind ("password123456789", "!!monkey!!"), one
 * after the other, and a run through the alphabet or the digits. Several common words in a row are not looked for:
 * that is what a good passphrase is made of.
 * @param folded NFKC and lower case
 */
export function isCommonPassword(folded: string): boolean {
  const bare = stripped(folded);
  if (isRun(folded)) return true;
  return [folded, bare, repeatedUnit(folded), stripped(repeatedUnit(folded)), repeatedUnit(bare)].some(
    (candidate) =>
      commonPasswords().has(candidate) ||
      (candidate !== folded && candidate !== bare && [...candidate].length <= MAX_TRIVIAL_UNIT),
  );
}

/** Without what stands around the letters; the text itself where there are none. */
function stripped(text: string): string {
  return /\p{L}(?:.*\p{L})?/su.exec(text)?.[0] ?? text;
}

/** The shortest text whose repetition begins with `text`: "abcabcab" is three times "abc", cut short. */
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

/** "abcdefgh", "87654321": each character the neighbour of the last. */
function isRun(text: string): boolean {
  const points = [...text].map((character) => character.codePointAt(0)!);
  const step = points[1]! - points[0]!;
  return Math.abs(step) === 1 && points.every((point, index) => point === points[0]! + index * step);
}
