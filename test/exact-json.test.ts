import { describe, expect, test } from "@jest/globals";
import { isBeyondDoubles, isRawNumber, parseExactJson, type RawNumber } from "../src/support/exact-json.ts";

describe("a number is written exactly as it was read", () => {
  test.each([
    "1288834974657000123",
    "-1288834974657000123",
    "9007199254740993",
    "0.1234567890123456789",
    "1e400",
    "-1E+400",
    "1e-400",
    "123456789012345678901234567890.5e-3",
    "1.23456789e-320",
  ])("keeps %s, which no double can represent", (text) => {
    for (const json of [
      text,
      ` ${text} `,
      `[${text}]`,
      `[1,${text}]`,
      `{"a":${text}}`,
      `{"a": [-1, ${text}]}`,
    ])
      expect(JSON.stringify(parseExactJson(json))).toBe(json.trim().replace(/ /g, ""));
  });

  test.each([
    ["0", 0],
    ["-0", -0],
    ["0e9", 0],
    ["0.10", 0.1],
    ["1e3", 1000],
    ["1E308", 1e308],
    ["5e-324", 5e-324],
    ["9007199254740992", 9007199254740992],
    ["1288834974657000200", 1288834974657000200],
    ["1234567890123456e5", 1234567890123456e5],
    ["100000000000000000000000", 1e23],
    ["0.30000000000000004", 0.30000000000000004],
  ])("reads %s, which a double can represent, as a number", (text, number) => {
    expect(parseExactJson(text)).toBe(number);
  });
});

test("leaves texts and keys with such digits unchanged", () => {
  const value = { "1288834974657000123": ": 1288834974657000123", a: "1e400", __proto__: null };
  expect(parseExactJson(JSON.stringify(value))).toEqual({ ...value });
});

test("finds every number that would change with the quick check", () => {
  const parts = ["0", "1", "12345678", "1234567890123456", "99999999999999999999"];
  for (const sign of ["", "-"])
    for (const whole of parts)
      for (const fraction of ["", ".0", ".1234567890123456", ".000000000000000000001"])
        for (const exponent of ["", "e5", "E-5", "e+400", "e-400"])
          for (const [before, after] of [
            ["", ""],
            ["[", "]"],
            ["[0,", "]"],
            ['{"a":', "}"],
            ["[\n", "\n]"],
          ]) {
            const text = `${sign}${whole.replace(/^0(?=\d)/, "")}${fraction}${exponent}`;
            const json = JSON.stringify(parseExactJson(before + text + after));
            const written = json.replace(/^[^-\d]*(?:0,)?/, "").replace(/[\]}]$/, "");
            expect([text, same(text, written)]).toEqual([text, true]);
          }
});

/** Compares decimals by whole numbers. */
function same(a: string, b: string): boolean {
  const [x, y] = [a, b].map((text) => {
    const [mantissa = "", exponent = "0"] = text.toLowerCase().split("e");
    const [whole = "", fraction = ""] = mantissa.split(".");
    return { digits: BigInt(whole.replace("-", "") + fraction), shift: Number(exponent) - fraction.length };
  });
  const least = Math.min(x!.shift, y!.shift);
  return (
    x!.digits * 10n ** BigInt(x!.shift - least) === y!.digits * 10n ** BigInt(y!.shift - least) &&
    (a.startsWith("-") === b.startsWith("-") || x!.digits === 0n)
  );
}

test.each([
  ["1e309", true],
  ["-1e99999999999", true],
  ["1e-400", true],
  ["1288834974657000123", false],
  ["0.1234567890123456789", false],
])("reports whether %s is beyond doubles: %s", (text, expected) => {
  const value = parseExactJson(text);
  expect(isRawNumber(value)).toBe(true);
  expect(isBeyondDoubles(value as RawNumber)).toBe(expected);
});

test("reads a long number in linear time", () => {
  const text = `1${"0".repeat(200_000)}1`;
  expect(isRawNumber(parseExactJson(text))).toBe(true);
});

test("rejects invalid JSON as JSON.parse does", () => {
  for (const text of ["", "1e", "[1e400", "01e5", "NaN", "{'a': 1e400}"])
    expect(() => parseExactJson(text)).toThrow(SyntaxError);
});
