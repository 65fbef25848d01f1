import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import {
  checkSchemaFiles,
  dumpFiles,
  shortDiff,
  writeSchemaFiles,
} from "../../src/schema-dump/schema-files.ts";
import {
  firstSentence,
  literal,
  lowerCaseKeywords,
  splitStatements,
} from "../../src/schema-dump/sql-text.ts";

describe("files", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "plinth-test-schema-"));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  const FILES = dumpFiles(
    new Map([
      ["one", "create schema one;\n"],
      ["two", "create schema two;\n"],
    ]),
  );

  test("are fresh after writing, and writing again changes nothing", async () => {
    expect(await writeSchemaFiles(folder, FILES)).toEqual(["one.sql", "two.sql"]);
    expect(await checkSchemaFiles(folder, FILES)).toEqual([]);
    expect(await writeSchemaFiles(folder, FILES)).toEqual([]);
    expect(await readFile(join(folder, "two.sql"), "utf8")).toBe("create schema two;\n");
  });

  test("are stale when edited, missing or left over, but ignored when of another kind", async () => {
    await writeSchemaFiles(folder, FILES);
    await writeFile(join(folder, "one.sql"), "create schema one; \n");
    await rm(join(folder, "two.sql"));
    await writeFile(join(folder, "old.sql"), "create schema old;\n");
    await writeFile(join(folder, "schema.graphql"), "type Query\n");
    const stale = await checkSchemaFiles(folder, FILES);
    expect(stale.map((file) => file.name)).toEqual(["old.sql", "one.sql", "two.sql"]);
    expect(stale[1]?.diff).toBe("@@ line 1 @@\n-create schema one; \n+create schema one;");
    await writeSchemaFiles(folder, FILES);
    expect((await readdir(folder)).sort()).toEqual(["one.sql", "schema.graphql", "two.sql"]);
  });

  test("are stale when left over and empty", async () => {
    await writeSchemaFiles(folder, FILES);
    await writeFile(join(folder, "old.sql"), "");
    expect((await checkSchemaFiles(folder, FILES)).map((file) => file.name)).toEqual(["old.sql"]);
  });

  test("are none in a missing folder", async () => {
    expect(await checkSchemaFiles(join(folder, "missing"), FILES)).toHaveLength(2);
  });

  test("have a short diff", () => {
    expect(shortDiff("a\nb\nc\nd\n", "a\nx\nc\nd\n")).toBe("@@ line 2 @@\n-b\n+x");
    expect(shortDiff("a\na\n", "a\n")).toBe("@@ line 2 @@\n-a");
    const long = shortDiff("", Array.from({ length: 50 }, (_, i) => `line ${i}`).join("\n"));
    expect(long.split("\n")).toHaveLength(22);
  });
});

describe("SQL text", () => {
  test.each([
    ["SELECT 'It''S' AS \"Name\"", "select 'It''S' as \"Name\""],
    ["E'A\\'B' AND E'\\\\' OR X", "E'A\\'B' and E'\\\\' or x"],
    ["AS $Body$ SELECT $$A$$ $Body$ STABLE", "as $Body$ SELECT $$A$$ $Body$ stable"],
    ["A -- Keep This\nB /* And This */ C", "a -- Keep This\nb /* And This */ c"],
    ["A - B / C", "a - b / c"],
    ["$1 > 'X'", "$1 > 'X'"],
    ["ENABLE'X'", "enable'X'"],
  ])("%j in lower case", (sql, expected) => {
    expect(lowerCaseKeywords(sql)).toBe(expected);
  });

  test("statements end at their own semicolons", () => {
    const block = "do $a$ begin; perform $b$;$b$; end $a$;";
    const body = "create function f() begin atomic select case when ';' = e'\\';' then 1 end; select 2; end;";
    const view = "create view v as -- a; b\nselect 1;";
    expect(splitStatements(`-- head;\n${block}\n\n/* ; */ ${body} ${view}\nselect 3`)).toEqual([
      block,
      body,
      view,
      "select 3",
    ]);
  });

  test.each([
    ["it's", "'it''s'"],
    ["a\nb", "E'a\\nb'"],
    ["a\\b", "E'a\\\\b'"],
    ["", "''"],
  ])("%j as a constant", (text, expected) => {
    expect(literal(text)).toBe(expected);
  });

  test("starts with the first sentence that is written for people", () => {
    expect(firstSentence("@name x\n@behavior -*\nWhy it is.\nMore.")).toEqual(["-- Why it is."]);
    expect(firstSentence("@omit")).toEqual([]);
    expect(firstSentence(null)).toEqual([]);
  });
});
