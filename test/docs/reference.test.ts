import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { commandsPage } from "../../tools/reference/commands-page.ts";
import { sqlPage } from "../../tools/reference/sql-page.ts";

const read = (path: string) => readFileSync(join(PACKAGE_ROOT, path), "utf8");

/** Names that the text of a source file exports, without those of packages. */
function exportsOf(path: string): string[] {
  const text = read(path);
  const lists = [...text.matchAll(/^export (?:type )?\{([^}]*)\}(?: from "(\.[^"]+)")?/gm)]
    .filter(([statement, , from]) => from !== undefined || !statement.includes(" from "))
    .filter(([, , from]) => from !== undefined)
    .flatMap(([, names]) => names!.split(",").map((name) => name.replace(/\btype /, "").trim()));
  const own = [...text.matchAll(/^export (?:async )?(?:interface|type|function|class|const) (\w+)/gm)];
  return [...new Set([...lists, ...own.map(([, name]) => name!)])].filter(Boolean).sort();
}

test.each([
  ["src/index.ts", "library.md"],
  ["src/testing/index.ts", "testing.md"],
  ["client/index.ts", "client.md"],
  ["client/graphql.ts", "client-graphql.md"],
])("each export of %s has a section in docs/reference/%s", (source, page) => {
  const [exported = ""] = read(`docs/reference/${page}`).split("\n## Types that these use\n");
  const sections = [...exported.matchAll(/^## (\w+)\n/gm)].map(([, name]) => name!);
  expect(sections.length).toBeGreaterThan(3);
  expect(sections.sort()).toEqual(exportsOf(source));
});

test.each(["library.md", "testing.md", "client.md", "client-graphql.md"])(
  "each section of docs/reference/%s says what the export is",
  (page) => {
    const [exported = ""] = read(`docs/reference/${page}`).split("\n## Types that these use\n");
    const without = [...exported.matchAll(/^## (\w+)\n\n```ts$/gm)].map(([, name]) => name);
    expect(without).toEqual([]);
  },
);

test("the pages of commands and SQL functions are those of the source", () => {
  expect(commandsPage()).toBe(read("docs/reference/commands.md"));
  expect(sqlPage()).toBe(read("docs/reference/sql.md"));
});
