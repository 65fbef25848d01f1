import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

// The table in docs/development.md names what else a change needs and what fails without it.

const rows = readFileSync(join(PACKAGE_ROOT, "docs/development.md"), "utf8")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !/^\| (To change|-)/.test(line))
  .map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );

test("the table has rows", () => {
  expect(rows.length).toBeGreaterThan(15);
});

test.each(rows)("the row for %s names what holds it and only paths that exist", (...cells) => {
  expect(cells).toHaveLength(4);
  expect(cells[3]).toMatch(/`(test|plinth)\b/);
  const paths = [...cells.join(" ").matchAll(/`((?:src|test|plugins|migrations)\/[^`<]*)`/g)];
  const missing = paths.filter(([, path]) => !existsSync(join(PACKAGE_ROOT, path!)));
  expect(missing.map(([, path]) => path)).toEqual([]);
});
