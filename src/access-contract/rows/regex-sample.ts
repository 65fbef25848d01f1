/**
 * Returns a text that a simple regular expression accepts: literals, classes, groups, alternatives and quantifiers; undefined for
 * anything else.
 * @param variation the same number gives the same text, another number usually another
 */
export function regexSample(pattern: string, variation = 0): string | undefined {
  const reader = { pattern, at: 0, variation };
  try {
    const text = alternatives(reader);
    return reader.at === pattern.length ? text : undefined;
  } catch (error) {
    if (error instanceof Unsupported) return undefined;
    throw error;
  }
}

interface Reader {
  readonly pattern: string;
  at: number;
  variation: number;
}

class Unsupported extends Error {}

function alternatives(reader: Reader): string {
  const all = [sequence(reader)];
  while (reader.pattern[reader.at] === "|") {
    reader.at += 1;
    all.push(sequence(reader));
  }
  return all[0]!;
}

function sequence(reader: Reader): string {
  let text = "";
  while (reader.at < reader.pattern.length && !"|)".includes(reader.pattern[reader.at]!)) {
    const choices = atom(reader);
    for (let left = repetitions(reader); left > 0; left--) text += pick(reader, choices);
  }
  return text;
}

/** The texts of which an atom accepts each. */
function atom(reader: Reader): readonly string[] {
  const char = reader.pattern[reader.at++]!;
  if (char === "^" || char === "$") return [""];
  if (char === ".") return ALPHABET;
  if (char === "[") return classOf(reader);
  if (char === "\\") return escaped(reader.pattern[reader.at++] ?? "");
  if (char !== "(") {
    if ("*+?{".includes(char)) throw new Unsupported();
    return [char];
  }
  if (reader.pattern.startsWith("?:", reader.at)) reader.at += 2;
  else if (reader.pattern[reader.at] === "?") throw new Unsupported();
  const inside = alternatives(reader);
  if (reader.pattern[reader.at++] !== ")") throw new Unsupported();
  return [inside];
}

function repetitions(reader: Reader): number {
  const rest = reader.pattern.slice(reader.at);
  const [, quantifier, least] = /^(\{(\d+)(?:,\d*)?\}|[*+?])\??/.exec(rest) ?? [];
  if (quantifier === undefined) return 1;
  reader.at += quantifier.length + (rest[quantifier.length] === "?" ? 1 : 0);
  return least === undefined ? 1 : Number(least);
}

const range = (first: string, last: string): string[] => {
  const [from, to] = [first.codePointAt(0)!, last.codePointAt(0)!];
  return Array.from({ length: Math.max(0, Math.min(to - from + 1, 128)) }, (_, i) =>
    String.fromCodePoint(from + i),
  );
};
const LETTERS = range("a", "z");
const DIGITS = range("0", "9");
const ALPHABET = [...LETTERS, ...DIGITS];

function escaped(char: string): readonly string[] {
  if (char === "d") return DIGITS;
  if (char === "w") return ALPHABET;
  if (char === "s") return [" "];
  // Edges of a word.
  if ("mMyA".includes(char) && char !== "") return [""];
  if (/[A-Za-z0-9]/.test(char) || char === "") throw new Unsupported();
  return [char];
}

const NAMED: Readonly<Record<string, readonly string[]>> = {
  "[:alpha:]": LETTERS,
  "[:lower:]": LETTERS,
  "[:upper:]": range("A", "Z"),
  "[:digit:]": DIGITS,
  "[:alnum:]": ALPHABET,
  "[:space:]": [" "],
};

function classOf(reader: Reader): readonly string[] {
  const isExcluded = reader.pattern[reader.at] === "^";
  if (isExcluded) reader.at += 1;
  const chars: string[] = [];
  for (let isFirst = true; isFirst || reader.pattern[reader.at] !== "]"; isFirst = false) {
    const rest = reader.pattern.slice(reader.at);
    if (rest === "") throw new Unsupported();
    const name = /^\[:\w+:\]/.exec(rest)?.[0];
    if (name !== undefined) {
      chars.push(...(NAMED[name] ?? []));
      reader.at += name.length;
      continue;
    }
    const first = reader.pattern[reader.at++]!;
    if (first === "\\") {
      chars.push(...escaped(reader.pattern[reader.at++] ?? ""));
      continue;
    }
    const [, last] = /^-([^\]])/.exec(reader.pattern.slice(reader.at)) ?? [];
    chars.push(...(last === undefined ? [first] : range(first, last)));
    if (last !== undefined) reader.at += 2;
  }
  reader.at += 1;
  const accepted = isExcluded ? ALPHABET.filter((char) => !chars.includes(char)) : chars;
  if (accepted.length === 0) throw new Unsupported();
  return accepted;
}

/** Uses up the variation as the digits of a number. */
function pick(reader: Reader, choices: readonly string[]): string {
  const chosen = choices[reader.variation % choices.length]!;
  reader.variation = Math.floor(reader.variation / choices.length);
  return chosen;
}
