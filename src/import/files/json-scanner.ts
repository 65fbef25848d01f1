/** A part of a JSON file: an element of its list, by index from 0, or a member of the object at its top, by key. */
export interface JsonPart {
  /** Absent for a problem of the whole file. */
  readonly at?: number | string;
  /** Line where the part begins, from 1. */
  readonly line: number;
  /** Absent at the end of the list whose elements were read one by one. */
  readonly value?: unknown;
  /** The reason that the value is absent. */
  readonly problem?: string;
}

/** Far above what people write, but small enough that one part does not need the memory of a whole file. */
const MAX_PART_CHARACTERS = 100_000_000;

const QUOTE_OR_ESCAPE = /["\\]/g;

type Expected =
  | "top"
  | "value"
  | "value or end"
  | "key"
  | "key or end"
  | "colon"
  | "comma or end"
  | "nothing";

/** A value that is being collected. `shape` determines its end: at its bracket, at its quote or before a delimiter. */
interface Capture {
  readonly line: number;
  readonly shape: "nested" | "string" | "bare";
  pieces: string[];
  length: number;
  depth: number;
  inString: boolean;
  escaped: boolean;
}

/**
 * Splits the text of a JSON file (RFC 8259) into parts while it arrives, so that the whole file is never in memory. It reads only
 * the outermost brackets, commas and keys; JSON.parse reads each part, so that an invalid part affects only itself. A general
 * streaming parser would build a part of any size before the import could reject it.
 */
export class JsonScanner {
  /** Whether reading cannot continue; the last part has the reason. */
  failed = false;
  readonly #listKey: string | undefined;
  readonly #containers: ("list" | "object")[] = [];
  #expected: Expected = "top";
  #capture: Capture | undefined;
  #key: string | undefined;
  #index = 0;
  #line = 1;

  /** @param listKey the member of a top-level object whose elements are read one by one, like those of a top-level list */
  constructor(listKey?: string) {
    this.#listKey = listKey;
  }

  *feed(text: string): Generator<JsonPart> {
    let position = 0;
    while (position < text.length && !this.failed) {
      if (this.#capture) {
        const end = this.#endOfCapture(this.#capture, text, position);
        this.#collect(this.#capture, text.slice(position, end ?? text.length));
        if (end === undefined) return;
        position = end;
        yield* this.#finish();
        continue;
      }
      const character = text[position]!;
      if (character === "\n") this.#line += 1;
      if (/\s/.test(character)) position += 1;
      else if (this.#startsValue(character)) this.#begin(character);
      else if (this.#structure(character)) {
        position += 1;
        if (character === "]" && this.#containers.length === 1)
          yield { at: this.#listKey!, line: this.#line };
      } else yield this.#fail(this.#expected === "top" ? "must contain a list or an object" : "is not JSON");
    }
  }

  *end(): Generator<JsonPart> {
    if (this.failed) return;
    if (this.#expected !== "nothing")
      yield this.#fail(this.#expected === "top" ? "is empty" : "ends in the middle of its JSON");
  }

  /** Whether a value or a key begins here, so that its text must be collected. */
  #startsValue(character: string): boolean {
    const expected = this.#expected;
    if (expected === "key" || expected === "key or end") return character === '"';
    if (expected !== "value" && expected !== "value or end") return false;
    if (/[,:\]}]/.test(character)) return false;
    return !(character === "[" && this.#isAtList());
  }

  #isAtList(): boolean {
    return (
      this.#listKey !== undefined &&
      this.#containers.length === 1 &&
      this.#containers[0] === "object" &&
      this.#key === this.#listKey
    );
  }

  #begin(character: string): void {
    this.#capture = {
      line: this.#line,
      shape: /[[{]/.test(character) ? "nested" : character === '"' ? "string" : "bare",
      pieces: [],
      length: 0,
      depth: 0,
      inString: false,
      escaped: false,
    };
  }

  /** Handles brackets, commas and colons around the parts. @returns whether this one is allowed here */
  #structure(character: string): boolean {
    const expected = this.#expected;
    const container = this.#containers.at(-1);
    if (character === "[" && (expected === "top" || (expected === "value" && this.#isAtList())))
      return this.#open("list", "value or end");
    if (character === "{" && expected === "top") return this.#open("object", "key or end");
    if (character === ":" && expected === "colon") return this.#expect("value");
    if (character === "," && expected === "comma or end")
      return this.#expect(container === "list" ? "value" : "key");
    const isEnd = character === (container === "list" ? "]" : "}") && expected.endsWith("or end");
    if (!container || !isEnd) return false;
    this.#containers.pop();
    return this.#expect(this.#containers.length === 0 ? "nothing" : "comma or end");
  }

  #open(container: "list" | "object", expected: Expected): true {
    this.#containers.push(container);
    return this.#expect(expected);
  }

  #expect(expected: Expected): true {
    this.#expected = expected;
    return true;
  }

  /** Returns the position after the captured value, or undefined if it continues beyond this text. */
  #endOfCapture(capture: Capture, text: string, from: number): number | undefined {
    for (let position = from; position < text.length; position++) {
      if (capture.inString) {
        if (capture.escaped) {
          capture.escaped = false;
          continue;
        }
        // Most of a file is text in quotes, which the regular expression skips faster than a loop.
        QUOTE_OR_ESCAPE.lastIndex = position;
        const found = QUOTE_OR_ESCAPE.exec(text);
        if (!found) return undefined;
        position = found.index;
        if (found[0] === "\\") capture.escaped = true;
        else {
          capture.inString = false;
          if (capture.shape === "string") return position + 1;
        }
        continue;
      }
      const character = text[position]!;
      if (character === '"') capture.inString = true;
      else if (capture.shape === "bare") {
        if (/[\s,\]}]/.test(character)) return position;
      } else if (character === "[" || character === "{") capture.depth += 1;
      else if ((character === "]" || character === "}") && --capture.depth === 0) return position + 1;
    }
    return undefined;
  }

  #collect(capture: Capture, text: string): void {
    capture.length += text.length;
    if (capture.length > MAX_PART_CHARACTERS) capture.pieces = [];
    else capture.pieces.push(text);
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) this.#line += 1;
  }

  *#finish(): Generator<JsonPart> {
    const { line, pieces, length } = this.#capture!;
    this.#capture = undefined;
    const isKey = this.#expected === "key" || this.#expected === "key or end";
    const read: Omit<JsonPart, "at"> =
      length > MAX_PART_CHARACTERS
        ? { line, problem: `has more than ${MAX_PART_CHARACTERS / 1_000_000} million characters` }
        : parsed(pieces.join(""), line);
    if (isKey) {
      if (read.problem) yield this.#fail("is not JSON");
      this.#key = read.value as string;
      this.#expected = "colon";
      return;
    }
    this.#expected = "comma or end";
    yield { at: this.#containers.at(-1) === "list" ? this.#index++ : this.#key!, ...read };
  }

  #fail(problem: string): JsonPart {
    this.failed = true;
    return { line: this.#line, problem };
  }
}

/** V8's message contains "(line 5 column 3)" for JSON on several lines. */
function parsed(text: string, line: number): Omit<JsonPart, "at"> {
  try {
    return { line, value: JSON.parse(text) };
  } catch (error) {
    const within = /\(line (\d+) column \d+\)/.exec((error as SyntaxError).message)?.[1];
    return { line: line + Number(within ?? 1) - 1, problem: "is not JSON" };
  }
}
