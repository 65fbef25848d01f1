import { stem } from "porter2";

// The same words as plinth.search_document('en', text): the server computes them, so that the database never sees the text.

const MAX_CHARACTERS = 100_000;
/** Unattached marks and invisible characters. */
const INVISIBLE = /\u00ad|[\u0300-\u036f]|[\u200b-\u200d\u2060\ufeff]/g;
const MARKS = /[\u0300-\u036f]+/g;
/** Letters that Unicode does not decompose. */
const LETTERS: Readonly<Record<string, string>> = {
  ß: "ss",
  æ: "ae",
  œ: "oe",
  þ: "th",
  ø: "o",
  ł: "l",
  đ: "d",
  ð: "d",
  ħ: "h",
  ŧ: "t",
  ı: "i",
  ς: "σ",
};
const SPECIAL_LETTER = new RegExp(`[${Object.keys(LETTERS).join("")}]`, "g");
/** Characters of scripts that are written without spaces, as in plinth.is_cjk. */
const CJK =
  "\\u2e80-\\u2fdf\\u3005-\\u3007\\u3021-\\u3029\\u3031-\\u3035\\u3041-\\u3096\\u309d-\\u309f\\u30a1-\\u30fa\\u30fc-\\u312f\\u3131-\\u318e\\u31a0-\\u31bf\\u31f0-\\u31ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\ua960-\\ua97c\\uac00-\\ud7fb\\uf900-\\ufaff\\u{20000}-\\u{3ffff}";
const CJK_CHARACTER = new RegExp(`[${CJK}]`, "u");
const WORD = new RegExp(`[${CJK}]+|(?:(?![${CJK}])[\\p{L}\\p{N}\\p{M}])+`, "gu");
const HAS_DIGIT = /\p{N}/u;
const HAS_LETTER_OR_DIGIT = /[\p{L}\p{N}]/u;
const SCIENTIFIC = /^(\d+e\d+)(\D.*)$/u;

/** A word of a text. */
export interface TextWord {
  /** In lower case, without accents. */
  readonly text: string;
  /** The form that search compares: stemmed, a number, or a pair of neighbours. */
  readonly form: string;
}

/** Returns the words of a text in their order. */
export function readWords(text: string): TextWord[] {
  return (normalize(text).match(WORD) ?? []).flatMap((word) => {
    if (isCjk(word)) return pairsOf(word).map((pair) => ({ text: pair, form: pair }));
    if (!HAS_LETTER_OR_DIGIT.test(word)) return [];
    return partsOf(word).map((part) => ({ text: part, form: HAS_DIGIT.test(part) ? part : stem(part) }));
  });
}

export function wordsOf(text: string): string[] {
  return readWords(text).map(({ form }) => form);
}

/** The words in their order, for phrases: a character of a script without spaces is one word. */
export function sequenceOf(text: string): string[] {
  return wordsOf(text).filter((word) => !isPair(word));
}

/** Whether a word is a pair of neighbours of a script without spaces, and not a single character. */
export function isPair(word: string): boolean {
  return isCjk(word) && [...word].length === 2;
}

/** Returns a text in lower case without accents, as search reads it. */
function normalize(text: string): string {
  const lower = text.slice(0, MAX_CHARACTERS).normalize("NFKC").toLowerCase().replace(INVISIBLE, "");
  // й keeps its mark, because it distinguishes Russian endings.
  const plain = lower.normalize("NFKD").replaceAll("\u0438\u0306", "\u0439").replace(MARKS, "");
  return plain.normalize("NFKC").replace(SPECIAL_LETTER, (letter) => LETTERS[letter]!);
}

function isCjk(word: string): boolean {
  return CJK_CHARACTER.test(word);
}

/** Every pair of neighbours is a word, and so is every character: 模型 becomes 模型, 模, 型. */
function pairsOf(run: string): string[] {
  const characters = [...run];
  return characters.flatMap((one, index) => {
    const next = characters[index + 1];
    return next === undefined ? [one] : [one + next, one];
  });
}

/** PostgreSQL's parser ends a number in scientific notation before a letter: 1e5b is 1e5 and b. */
function partsOf(word: string): string[] {
  const [, number, rest] = SCIENTIFIC.exec(word) ?? [];
  return number && rest ? [number, ...partsOf(rest)] : [word];
}
