/**
 * JSON whose numbers keep their value. A double cannot represent 1288834974657000123, and 1e400 would become infinity. Such a
 * number stays text, as `JSON.rawJSON`, which `JSON.stringify` writes unchanged.
 */

// Part of the language but not yet of TypeScript's library (ECMA-262, "JSON.parse source text access").
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
 * Matches numbers that may be inexact: with an exponent, or with more digits than a double always represents. It also matches
 * such digits in texts, which costs time but changes nothing.
 */
const NEEDS_A_LOOK = /(?:^|[[:,\s-])\d(?:[\d.]{15}|[\d.]*[eE])/;

/**
 * Like JSON.parse, but keeps numbers that a double cannot represent as text.
 * @throws SyntaxError as JSON.parse does; RangeError for JSON that is nested too deeply
 */
export function parseExactJson(text: string): unknown {
  if (!NEEDS_A_LOOK.test(text)) return JSON.parse(text);
  return parse(text, (_key, value, { source }) =>
    typeof value === "number" && source !== undefined ? exactNumber(source) : value,
  );
}

/** Returns a JSON number as a double if one has the same value, otherwise as text. */
function exactNumber(text: string): number | RawNumber {
  const number = Number(text);
  return isExact(text, number) ? number : rawJSON(text);
}

/** Whether a number is outside the range of doubles. PostgreSQL's numeric would print it with up to 131,072 digits. */
export function isBeyondDoubles({ rawJSON: text }: RawNumber): boolean {
  const number = Number(text);
  return !Number.isFinite(number) || (number === 0 && decimalOf(text) !== "0");
}

/** Whether the text, parsed as a double and printed again, is the same number. */
export function isExact(text: string, number = Number(text)): boolean {
  if (!Number.isFinite(number)) return false;
  return /^-?[\d.]{1,15}$/.test(text) || decimalOf(text) === decimalOf(String(number));
}

/** Returns the normal form of a number: sign, digits without leading and trailing zeros, and exponent. */
function decimalOf(text: string): string {
  const sign = text.startsWith("-") ? "-" : "";
  const [mantissa = "", exponent = "0"] = text.slice(sign.length).split(/[eE]/);
  const [whole = "", fraction = ""] = mantissa.split(".");
  const digits = whole + fraction;
  // Loops, because /0+$/ takes quadratic time.
  let start = 0;
  while (digits[start] === "0") start++;
  let end = digits.length;
  while (end > start && digits[end - 1] === "0") end--;
  if (start === end) return "0";
  return `${sign}${digits.slice(start, end)}e${Number(exponent) - fraction.length + digits.length - end}`;
}
