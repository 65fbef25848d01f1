import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { parse } from "csv-parse/sync";
import pg from "pg";
import { importPrompts } from "../../src/import/prompts/import-prompts.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { makeFolder, PROMPT_FILES, PROMPT_FIXTURE } from "./files.ts";

let db: TestDatabase;
let client: pg.Client;
let folder: Awaited<ReturnType<typeof makeFolder>>;
beforeAll(async () => {
  db = await createTestDatabase();
  client = new pg.Client(db.url("owner"));
  await client.connect();
  folder = await makeFolder();
});
afterAll(async () => {
  await client.end();
  await db.drop();
  await folder.remove();
});
beforeEach(async () => {
  await client.query("delete from llm.prompts");
});

const HEADER = "act,prompt,for_devs,type,contributor";
const write = (...rows: string[]) => folder.write("prompts.csv", [HEADER, ...rows, ""].join("\n"));
const names = async (): Promise<string[]> =>
  (await client.query('select name from llm.prompts order by name collate "C"')).rows.map((row) => row.name);

describe.each(PROMPT_FILES)("%s", (file) => {
  test("is imported completely and exactly; a second import changes nothing", async () => {
    const wanted: Record<string, string>[] = parse(await readFile(file, "utf8"), {
      columns: true,
      bom: true,
    });
    expect(wanted.length).toBeGreaterThan(0);

    const first = await importPrompts(file, { client });
    expect(first).toMatchObject({
      inserted: wanted.length,
      updated: 0,
      unchanged: 0,
      rejected: 0,
      kept: true,
    });

    const { rows } = await client.query("select * from llm.prompts");
    const byName = new Map(rows.map((row) => [row.name, row]));
    for (const row of wanted)
      expect(byName.get(row.act!.trim())).toMatchObject({
        content: row.prompt,
        prompt_type: row.type!.toLowerCase(),
        is_for_developers: row.for_devs!.toUpperCase() === "TRUE",
        contributors: row.contributor!.split(","),
        user_id: null,
      });

    const second = await importPrompts(file, { client });
    expect(second).toMatchObject({ inserted: 0, updated: 0, unchanged: wanted.length, rejected: 0 });
    expect((await client.query("select * from llm.prompts")).rows).toEqual(rows);
  });
});

test("stores the same with CRLF and a byte order mark, except for line breaks inside a field", async () => {
  const text = await readFile(PROMPT_FIXTURE, "utf8");
  const windows = await folder.write("windows.csv", `\ufeff${text.replaceAll("\n", "\r\n")}`);
  await importPrompts(PROMPT_FIXTURE, { client });
  const before = (await client.query("select name, content from llm.prompts order by name")).rows;
  await importPrompts(windows, { client });
  const after = (await client.query("select name, content from llm.prompts order by name")).rows;
  expect(after.map((row) => ({ ...row, content: row.content.replaceAll("\r\n", "\n") }))).toEqual(before);
});

test("updates a changed row and leaves the others alone", async () => {
  await importPrompts(await write("one,first,FALSE,TEXT,ada", "two,second,FALSE,TEXT,ada"), { client });
  const changed = await write("one,first,FALSE,TEXT,ada", "two,changed,TRUE,TEXT,ada");
  expect(await importPrompts(changed, { client })).toMatchObject({ inserted: 0, updated: 1, unchanged: 1 });
});

const GOOD = ["good 1,text,FALSE,TEXT,ada", "good 2,text,TRUE,IMAGE,ada"];
const BAD: [string, string, string][] = [
  ["no name", " ,text,FALSE,TEXT,ada", ""],
  ["no content", "bad,,FALSE,TEXT,ada", "bad"],
  ["an invalid for_devs", "bad,text,MAYBE,TEXT,ada", "bad"],
  ["an unknown type", "bad,text,FALSE,SONG,ada", "bad"],
  ["no type", "bad,text,FALSE,,ada", "bad"],
  ["a name that is too long", `${"n".repeat(201)},text,FALSE,TEXT,ada`, "n".repeat(201)],
  ["content that is too long", `bad,${"x".repeat(1_000_001)},FALSE,TEXT,ada`, "bad"],
  ["NUL", "bad,te\0xt,FALSE,TEXT,ada", "bad"],
  ["a missing field", "bad,text,FALSE,TEXT", "bad"],
  ["a misplaced quote", 'bad,"te"xt,FALSE,TEXT,ada', "bad"],
  ["an existing name with other content", "good 1,other,FALSE,TEXT,ada", "good 1"],
];

describe("a bad row", () => {
  test.each(BAD)("with %s is reported with its line, and nothing is kept", async (_what, row, name) => {
    const file = await write(GOOD[0]!, row, GOOD[1]!);
    const summary = await importPrompts(file, { client });
    expect(summary).toMatchObject({ kept: false, rejected: 1 });
    expect(summary.rejections).toEqual([
      { file: "prompts.csv", line: 3, ...(name ? { name } : {}), message: expect.any(String) },
    ]);
    expect(await names()).toEqual([]);
  });

  test("rejects only itself with keepGoing", async () => {
    const file = await write(GOOD[0]!, ...BAD.map(([, row]) => row), GOOD[1]!);
    const summary = await importPrompts(file, { client, keepGoing: true });
    expect(summary).toMatchObject({ kept: true, inserted: 2, rejected: BAD.length });
    expect(summary.rejections.map(({ line }) => line).sort((a, b) => a! - b!)).toEqual(
      BAD.map((_, index) => index + 3),
    );
    expect(await names()).toEqual(["good 1", "good 2"]);
  });

  test("rejects only itself at the end of the file if its quote is never closed", async () => {
    const file = await write(...GOOD, 'bad,"text');
    expect(await importPrompts(file, { client })).toMatchObject({ kept: false, rejected: 1 });
    expect(await importPrompts(file, { client, keepGoing: true })).toMatchObject({
      inserted: 2,
      rejected: 1,
    });
    expect(await names()).toEqual(["good 1", "good 2"]);
  });
});

test("accepts a repeated row once, with a warning", async () => {
  const summary = await importPrompts(await write(GOOD[0]!, GOOD[0]!), { client });
  expect(summary).toMatchObject({ inserted: 1, rejected: 0, kept: true });
  expect(summary.warnings).toEqual([
    { file: "prompts.csv", line: 3, name: "good 1", message: expect.any(String) },
  ]);
});

describe("cancelling", () => {
  const rows = Array.from({ length: 1_000 }, (_, index) => `prompt ${index},text,FALSE,TEXT,ada`);

  test("undoes the whole import", async () => {
    const controller = new AbortController();
    const run = importPrompts(await write(...rows), {
      client,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(run).rejects.toMatchObject({ code: "IMPORT_CANCELLED", exitCode: 130 });
    expect(await names()).toEqual([]);
    // The connection is no longer in a transaction.
    await client.query("vacuum llm.prompts");
  });

  test("keeps what was imported with keepGoing, and the next run continues", async () => {
    const file = await write(...rows);
    const controller = new AbortController();
    const run = importPrompts(file, {
      client,
      keepGoing: true,
      signal: controller.signal,
      onProgress: ({ done: read = 0 }) => {
        if (read >= 400) controller.abort();
      },
    });
    await expect(run).rejects.toMatchObject({ code: "IMPORT_CANCELLED" });
    expect(await names()).toHaveLength(400);
    expect(await importPrompts(file, { client, keepGoing: true })).toMatchObject({
      inserted: 600,
      unchanged: 400,
    });
  });
});
