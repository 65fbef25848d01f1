import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { importModels } from "../../src/import/models/import-models.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { MODEL_FIXTURES, MODEL_FOLDERS, makeFolder } from "./files.ts";

let db: TestDatabase;
let client: pg.Client;
let folder: Awaited<ReturnType<typeof makeFolder>>;
beforeAll(async () => {
  db = await createTestDatabase();
  client = new pg.Client(db.url("owner"));
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await db.drop();
});
beforeEach(async () => {
  await folder?.remove();
  folder = await makeFolder();
  await client.query("delete from llm.model_providers");
});
afterAll(async () => {
  await folder.remove();
});

const PRICES = `
  select
    p.name as vendor, m.name as id, m.display_name as name, m.is_public,
    pr.input_price_per_million_tokens::float8 as input,
    pr.output_price_per_million_tokens::float8 as output,
    pr.cached_input_price_per_million_tokens::float8 as input_cached,
    to_char(pr.effective_from at time zone 'UTC', 'YYYY-MM-DD') as from_date,
    to_char(pr.effective_to at time zone 'UTC', 'YYYY-MM-DD') as to_date
  from llm.models m
  join llm.model_providers p on p.id = m.provider_id
  left join billing.model_prices pr on pr.model_id = m.id
  order by 1, 2, pr.effective_from nulls first`;

interface PriceFile {
  vendor: string;
  models: { id: string; name: string; price_history: Record<string, unknown>[] }[];
}

async function readFolder(path: string): Promise<PriceFile[]> {
  const files = (await readdir(path)).filter((name) => name.endsWith(".json")).sort();
  return Promise.all(files.map(async (name) => JSON.parse(await readFile(join(path, name), "utf8"))));
}

const price = (change: object = {}) => ({
  input: 1,
  output: 2,
  input_cached: null,
  from_date: null,
  to_date: null,
  ...change,
});
const writeVendor = (vendor: string, ...models: [id: string, ...prices: object[]][]) =>
  folder.write(
    `${vendor}.json`,
    JSON.stringify({
      vendor,
      models: models.map(([id, ...prices]) => ({ id, name: id, price_history: prices })),
    }),
  );

describe.each(MODEL_FOLDERS)("%s", (path) => {
  test("is imported with every price of every period; a second import changes nothing", async () => {
    // The expected content of the database: the first of each vendor and id.
    const wanted = new Map<string, unknown[]>();
    for (const { vendor, models } of await readFolder(path))
      for (const { id, name, price_history } of models) {
        const key = `${vendor}/${id}`;
        if (!wanted.has(key))
          wanted.set(
            key,
            price_history.map((each) => ({ vendor, id, name, is_public: false, ...each })),
          );
      }
    expect(wanted.size).toBeGreaterThan(0);

    const first = await importModels(path, { client });
    expect(first).toMatchObject({ inserted: wanted.size, updated: 0, unchanged: 0, rejected: 0, kept: true });
    const { rows } = await client.query(PRICES);
    const priced = rows.filter((row) => row.input !== null);
    expect(priced).toHaveLength([...wanted.values()].flat().length);
    expect(priced).toEqual(expect.arrayContaining([...wanted.values()].flat()));

    const second = await importModels(path, { client });
    expect(second).toMatchObject({ inserted: 0, updated: 0, unchanged: wanted.size, rejected: 0 });
    expect((await client.query(PRICES)).rows).toEqual(rows);
  });
});

test("merges a repeated model with the same prices with a warning, under its first name", async () => {
  const summary = await importModels(MODEL_FIXTURES, { client });
  expect(summary.warnings).toEqual([
    { file: "beta.json", name: "beta-fast", message: expect.stringContaining("Beta Fast ≤128k") },
  ]);
  const { rows } = await client.query("select display_name from llm.models where name = 'beta-fast'");
  expect(rows).toEqual([{ display_name: "Beta Fast" }]);
});

test("rejects both of two equal models with different prices", async () => {
  await writeVendor("a", ["x", price()], ["y", price()]);
  await folder.write(
    "b.json",
    JSON.stringify({ vendor: "a", models: [{ id: "x", name: "X", price_history: [price({ input: 9 })] }] }),
  );
  const summary = await importModels(folder.path, { client, keepGoing: true });
  expect(summary).toMatchObject({ inserted: 1, rejected: 2 });
  expect(summary.rejections.map(({ file, name }) => [file, name])).toEqual([
    ["a.json", "x"],
    ["b.json", "x"],
  ]);
});

test("updates a new price and deletes a price that the file no longer contains", async () => {
  await writeVendor("a", ["x", price()], ["y", price()]);
  await importModels(folder.path, { client });
  await writeVendor(
    "a",
    ["x", price({ to_date: "2026-05-01" }), price({ input: 0.5, from_date: "2026-05-01" })],
    ["y", price()],
  );
  expect(await importModels(folder.path, { client })).toMatchObject({ updated: 1, unchanged: 1 });
  const { rows } = await client.query(PRICES);
  expect(
    rows.filter((row) => row.id === "x").map(({ input, from_date, to_date }) => [input, from_date, to_date]),
  ).toEqual([
    [1, null, "2026-05-01"],
    [0.5, "2026-05-01", null],
  ]);
});

test("makes models public with makePublic, and keeps them public in an import without it", async () => {
  await writeVendor("a", ["x", price()]);
  await importModels(folder.path, { client, makePublic: true });
  expect(await importModels(folder.path, { client })).toMatchObject({ unchanged: 1 });
  expect((await client.query(PRICES)).rows[0]).toMatchObject({ is_public: true });
});

describe("a fault is named with its file", () => {
  test.each<[string, string, object]>([
    ["invalid JSON", "oops", { file: "bad.json", line: 1 }],
    ["a broken line", '{\n"vendor": "v",\noops}', { file: "bad.json", line: 3 }],
    ["a list in place of an object", "[1, 2]", { file: "bad.json" }],
    [
      "overlapping prices",
      JSON.stringify({
        vendor: "v",
        models: [{ id: "x", name: "X", price_history: [price(), price({ from_date: "2026-01-01" })] }],
      }),
      { file: "bad.json", name: "x" },
    ],
    [
      "a price out of range",
      JSON.stringify({
        vendor: "v",
        models: [{ id: "x", name: "X", price_history: [price({ input: 1e300 })] }],
      }),
      { file: "bad.json", name: "x" },
    ],
  ])("%s: keeps nothing, or the rest with keepGoing", async (_what, text, place) => {
    await writeVendor("good", ["x", price()]);
    await folder.write("bad.json", text);
    const summary = await importModels(folder.path, { client });
    expect(summary).toMatchObject({ kept: false, rejected: 1 });
    expect(summary.rejections).toEqual([{ ...place, message: expect.any(String) }]);
    expect((await client.query(PRICES)).rows).toEqual([]);

    expect(await importModels(folder.path, { client, keepGoing: true })).toMatchObject({
      inserted: 1,
      rejected: 1,
    });
    expect((await client.query(PRICES)).rows).toMatchObject([{ vendor: "good", id: "x" }]);
  });

  test("returns codes for a binary file, a file in place of a folder, an empty folder and a missing one", async () => {
    await expect(importModels(folder.path, { client })).rejects.toMatchObject({ code: "FOLDER_EMPTY" });
    const file = await folder.write("x.json", Buffer.from([0x89, 0x50, 0xff]));
    await expect(importModels(folder.path, { client })).rejects.toMatchObject({ code: "FILE_NOT_TEXT" });
    await expect(importModels(file, { client })).rejects.toMatchObject({ code: "FOLDER_IS_FILE" });
    await expect(importModels(join(folder.path, "no"), { client })).rejects.toMatchObject({
      code: "FILE_NOT_FOUND",
    });
  });
});
