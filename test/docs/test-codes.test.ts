import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

// test/README.md explains the codes of requirements in test titles and lists those that no test covers.

const TESTS = join(PACKAGE_ROOT, "test");
const readme = readFileSync(join(TESTS, "README.md"), "utf8");
const [tested = "", untested = ""] = readme.split("### Without a test");
const codesOf = (text: string) => [...text.matchAll(/^\| ([HSRCA]\d+) \|/gm)].map(([, code]) => code!);

/** A string that ends with codes in brackets. */
const CODES = /\[([HSRCA]\d+(?:, [HSRCA]\d+)*)\]["'`]/g;

const files = readdirSync(TESTS, { recursive: true, encoding: "utf8" }).filter((file) =>
  file.endsWith(".test.ts"),
);
const used = new Map<string, string>();
for (const file of files)
  for (const [, codes] of readFileSync(join(TESTS, file), "utf8").matchAll(CODES))
    for (const code of codes!.split(", ")) used.set(code, file);

test("test/README.md explains every code in a title", () => {
  expect([...used].filter(([code]) => !codesOf(tested).includes(code))).toEqual([]);
});

test("test/README.md lists each code once, as tested if and only if a title has it", () => {
  const all = codesOf(readme);
  expect(all.toSorted()).toEqual([...new Set(all)].sort());
  expect(all.length).toBeGreaterThan(50);
  expect(codesOf(tested).filter((code) => !used.has(code))).toEqual([]);
  expect(codesOf(untested).filter((code) => used.has(code))).toEqual([]);
});

test("test/README.md lists exactly the folders of test", () => {
  const listed = [...readme.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, folder]) => folder);
  const folders = readdirSync(TESTS, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(listed).toEqual(folders.map(({ name }) => name).sort());
});
