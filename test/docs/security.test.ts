import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

// docs/security.md names the test of each promise. A renamed or deleted test must not stay named there.

const rows = readFileSync(join(PACKAGE_ROOT, "docs/security.md"), "utf8")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !/^\| (Promise|-)/.test(line))
  .map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );

/** `test/file.test.ts`: title */
const REFERENCE = /`(test\/[^`]+\.ts)`: ([^<]+)/g;

test("every promise has a source and a test", () => {
  expect(rows.length).toBeGreaterThan(15);
  for (const row of rows) {
    expect(row).toHaveLength(3);
    expect([...row[2]!.matchAll(REFERENCE)].length).toBeGreaterThan(0);
  }
});

test.each(rows)("%s (%s)", (_promise, _source, heldBy) => {
  for (const [, file, title] of heldBy.matchAll(REFERENCE))
    expect(readFileSync(join(PACKAGE_ROOT, file!), "utf8").includes(title!.trim())).toBe(true);
});
