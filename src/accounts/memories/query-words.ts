import { STOP_WORDS } from "./stop-words.ts";
import { isPair, readWords, sequenceOf, type TextWord } from "./text-words.ts";

/** A search input, read as plinth.search_query reads it, except that words are alternatives. */
export interface QueryWords {
  /** A memory has at least one of them. */
  readonly words: readonly string[];
  /** A memory has each of these sequences. */
  readonly phrases: readonly (readonly string[])[];
  /** A memory has none of them. */
  readonly excludedWords: readonly string[];
  readonly excludedPhrases: readonly (readonly string[])[];
}

const MAX_CHARACTERS = 1_000;
const PART = /-*"[^"]*"|[^\s"]+/g;

/** Reads words, "phrases", -words and -"phrases"; stop words count only when there are no other words. */
export function readQuery(query: string): QueryWords {
  const words: TextWord[] = [];
  const phrases: string[][] = [];
  const excluded: string[][] = [];
  for (const part of query.slice(0, MAX_CHARACTERS).match(PART) ?? []) {
    const sequence = sequenceOf(part);
    if (sequence.length === 0 || part.toLowerCase() === "or") continue;
    if (part.startsWith("-")) {
      excluded.push(sequence);
      continue;
    }
    if (part.startsWith('"')) phrases.push(sequence);
    words.push(...withoutSingles(readWords(part)));
  }
  const telling = words.filter(({ text }) => !STOP_WORDS.has(text));
  return {
    words: [...new Set((telling.length > 0 ? telling : words).map(({ form }) => form))],
    phrases,
    excludedWords: excluded.filter(({ length }) => length === 1).flat(),
    excludedPhrases: excluded.filter(({ length }) => length > 1),
  };
}

/** Single characters of a script without spaces say little, so they count only alone. */
function withoutSingles(words: readonly TextWord[]): TextWord[] {
  const pairs = new Set(words.filter(({ form }) => isPair(form)).flatMap(({ form }) => [...form]));
  return words.filter(({ form }) => !pairs.has(form));
}

/** Whether a text satisfies what hashes without positions cannot decide. */
export function hasPhrases(text: string, { phrases, excludedPhrases }: QueryWords): boolean {
  if (phrases.length === 0 && excludedPhrases.length === 0) return true;
  const sequence = ` ${sequenceOf(text).join(" ")} `;
  const has = (phrase: readonly string[]) => sequence.includes(` ${phrase.join(" ")} `);
  return phrases.every(has) && !excludedPhrases.some(has);
}
