import { expect, test } from "@jest/globals";
import { regexSample } from "../../src/access-contract/rows/regex-sample.ts";

// Texts for the columns of an application, which the access contract fills.

test.each([
  "^[A-Z]{3}-[0-9]{4}$",
  "^[a-z][a-z0-9_-]{0,49}$",
  "^(EUR|USD)$",
  "^\\+[1-9]\\d{7,14}$",
  "^[^@ ]+@[^@ ]+\\.[a-z]{2,}$",
  "^https?://.+$",
  "^#[0-9a-fA-F]{6}$",
  "^(?:v\\d+\\.){2}\\d+$",
  "^[^]a-c]+x?$",
])("makes texts that %s accepts, others for each variation", (pattern) => {
  const samples = Array.from({ length: 12 }, (_, variation) => regexSample(pattern, variation)!);
  for (const sample of samples) expect(sample).toMatch(new RegExp(pattern.replace("[^]", "[^\\]")));
  if (!pattern.includes("|")) expect(new Set(samples).size).toBeGreaterThan(3);
});

test("accepts the named classes of PostgreSQL", () => {
  expect(regexSample("^[[:upper:]][[:alpha:][:digit:]]+$")).toMatch(/^[A-Z][a-z0-9]+$/);
});

test.each(["(?=x)y", "\\1", "[", "*a", "(a"])("makes no text of %s", (pattern) => {
  expect(regexSample(pattern)).toBeUndefined();
});
