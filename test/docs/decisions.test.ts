import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

const folder = join(PACKAGE_ROOT, "docs/decisions");
const names = readdirSync(folder).filter((name) => /^\d/.test(name));
const read = (name: string) => readFileSync(join(folder, name), "utf8");

test("the list has each record with its number and title", () => {
  const listed = [...read("README.md").matchAll(/^\| \[(\d{4})\]\(([^)]+)\) \| (.+) \|$/gm)].map(
    ([, number, name, title]) => [name, `# ${Number(number)}. ${title}`],
  );
  expect(listed).toEqual(names.map((name) => [name, read(name).split("\n", 1)[0]]));
  expect(names.map((name) => Number.parseInt(name, 10))).toEqual(names.map((_, index) => index + 1));
});

test.each(names)("%s has a context, a decision and consequences, and names only files that exist", (name) => {
  const text = read(name);
  expect([...text.matchAll(/^## (.+)$/gm)].map(([, title]) => title)).toEqual([
    "Context",
    "Decision",
    "Consequences",
  ]);
  const paths = [...text.matchAll(/`((?:src|test|docs|plugins)\/[^`]*)`/g)].map(([, path]) => path!);
  expect(paths.filter((path) => !existsSync(join(PACKAGE_ROOT, path)))).toEqual([]);
});
