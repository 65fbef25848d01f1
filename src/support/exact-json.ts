/**
 * JSON whose numbers keep their value. A double cannot hold 1288834974657000123, and 1e400 would become infinity: such a
 * number stays the text that it was, as `JSON.rawJSON`, which `JSON.stringify` writes out again.
 */

// In the language and not yet in TypeScript's library (ECMA-262, "JSON.parse source text access").
interface JsonWithSource {
  rawJSON(text: string): RawNumber;
  isRawJSON(value: unknown): value is RawNumber;
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { source?: string }) => unknown,
  ): unknown;
}

/** A number as text. */
export interface RawNumber {
  readonly rawJSON: string;
}

const { rawJSON, isRawJSON, parse } = JSON as unknown as JsonWithSource;

export { isRawJSON as isRawNumber };

/**
 * Where a number may stand that needs a closer look: with an exponent, or with more digits than every double has. It also
 * finds such digits in texts, which costs time and changes nothing.
 */
const NEEDS_A_LOOK = /(?:^|[[:,\s-])\d(?:[\d.]{15}|[\d.]*[eE])/;

/**
 * As JSON.parse, with numbers that a double cannot hold kept as text.
 * @throws SyntaxError as JSON.parse does; RangeError for what nests too deep
 */
export function parseExactJson(text: string): unknown {
  if (!NEEDS_A_LOOK.test(text)) return JSON.parse(text);
  return parse(text, (_key, value, { source }) =>
    typeof value === "number" && source !== undefined ? exactNumber(source) : value,
  );
}

/** What a JSON number means: a double if one has that value, otherwise its text. */
export function exactNumber(text: string): number | RawNumber {
  const number = Number(text);
  return isExact(text, number) ? number : rawJSON(text);
}

/** Whether no double comes near it: PostgreSQL's numeric would write such a number out in up to 131,072 digits. */
export function isBeyondDoubles({ rawJSON: text }: RawNumber): boolean {
  const number = Number(text);
  return !Number.isFinite(number) || (number === 0 && decimalOf(text) !== "0");
}

/** Whether the double that the text is read as is written out as the same number. */
export function isExact(text: string, number = Number(text)): boolean {
  if (!Number.isFinite(number)) return false;
  return /^-?[\d.]{1,15}$/.test(text) || decimalOf(text) === decimalOf(String(number));
}

/** Sign, digits without zeros around them, and exponent: the same for the same number. */
function decimalOf(text: string): string {
  const sign = text.startsWith("-") ? "-" : "";
  const [mantissa = "", exponent = "0"] = text.slice(sign.length).split(/[eE]/);
  const [whole = "", fraction = ""] = mantissa.split(".");
  const digits = whole + fraction;
  // Loops, since /0+$/ takes time quadratic in the length.
  let start = 0;
  while (digits[start] === "0") start++;
  let end = digits.length;
  while (end > start && digits[end - 1] === "0") end--;
  if (start === end) return "0";
  return `${sign}${digits.slice(start, end)}e${Number(exponent) - fraction.length + digits.length - end}`;
}
