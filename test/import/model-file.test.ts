import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { type Model, readModelFile } from "../../src/import/models/model-file.ts";
import { makeFolder } from "./files.ts";

let folder: Awaited<ReturnType<typeof makeFolder>>;
beforeAll(async () => {
  folder = await makeFolder();
});
afterAll(() => folder.remove());

async function read(text: string): Promise<{ models: Model[]; problems: object[] }> {
  const models: Model[] = [];
  const problems: object[] = [];
  for await (const reading of readModelFile(await folder.write("models.json", text)))
    if ("model" in reading) models.push(reading.model);
    else problems.push(reading);
  return { models, problems };
}

const PRICE = { input: 1, output: 2, input_cached: null, from_date: null, to_date: null };
const MODEL = { id: "m-1", name: "M 1", price_history: [PRICE] };
const file = (model: unknown): string => JSON.stringify({ vendor: "v", models: [model, MODEL] });

test("reads prices oldest first, with exact numbers", async () => {
  const { models, problems } = await read(
    file({
      id: " m-0 ",
      name: "M 0",
      price_history: [
        {
          input: 0.075,
          output: 0.3,
          input_cached: 0.01875,
          reasoning: 1.5,
          from_date: "2026-02-01",
          to_date: null,
        },
        { input: 1, output: 2, from_date: null, to_date: "2026-02-01", something_else: true },
      ],
    }),
  );
  expect(problems).toEqual([]);
  expect(models[0]).toEqual({
    vendor: "v",
    id: "m-0",
    name: "M 0",
    priceHistory: [
      { input: 1, output: 2, inputCached: null, reasoning: null, from: null, to: "2026-02-01" },
      { input: 0.075, output: 0.3, inputCached: 0.01875, reasoning: 1.5, from: "2026-02-01", to: null },
    ],
  });
});

describe("an invalid model is named, and the others are kept", () => {
  const withPrice = (change: object) => ({ ...MODEL, price_history: [{ ...PRICE, ...change }] });
  test.each<[string, unknown, RegExp]>([
    ["text in place of an object", "m-1", /^must be an object/],
    ["no id", { ...MODEL, id: undefined }, /^id /],
    ["an empty name", { ...MODEL, name: " " }, /^name /],
    ["NUL in the name", { ...MODEL, name: "a\0b" }, /^name .*NUL/],
    ["half a surrogate pair", { ...MODEL, name: "a\ud800b" }, /^name .*surrogate/],
    ["no price list", { ...MODEL, price_history: {} }, /^price_history /],
    ["an invalid price", { ...MODEL, price_history: [null] }, /^price_history\[0\] /],
    ["a price as text", withPrice({ input: "1" }), /^price_history\[0\] input /],
    ["a missing price", withPrice({ output: null }), /^price_history\[0\] output /],
    ["a negative price", withPrice({ input_cached: -1 }), /^price_history\[0\] input_cached /],
    ["an invalid date", withPrice({ from_date: "2026-02-30" }), /^price_history\[0\] from_date /],
    ["a time", withPrice({ to_date: "2026-02-01T00:00:00Z" }), /^price_history\[0\] to_date /],
    [
      "an end before the beginning",
      withPrice({ from_date: "2026-02-01", to_date: "2026-02-01" }),
      /must end after/,
    ],
  ])("rejects %s", async (_name, model, message) => {
    const { models, problems } = await read(file(model));
    expect(models.map(({ id }) => id)).toEqual(["m-1"]);
    expect(problems).toEqual([
      { name: expect.stringMatching(/^models\[0\]/), problem: expect.stringMatching(message) },
    ]);
  });
});

describe("an invalid file is one problem", () => {
  test.each([
    ["invalid JSON", "{nonsense"],
    ["empty", ""],
    ["cut off", '{"vendor": "v", "models": ['],
    ["a list", "[]"],
    ["null", "null"],
    ["no vendor", '{"models": []}'],
    ["no models", '{"vendor": "v"}'],
  ])("rejects %s", async (_name, text) => {
    const { models, problems } = await read(text);
    expect(models).toEqual([]);
    expect(problems).toHaveLength(1);
  });

  test("reports the line of the fault", async () => {
    expect((await read('{\n  "vendor": "v",\n  oops\n}')).problems).toEqual([
      { line: 3, problem: "is not JSON" },
    ]);
  });
});

test("accepts the vendor after the models, and rejects only a broken model", async () => {
  const { models, problems } = await read(
    `{"models": [\n{"id": oops},\n${JSON.stringify(MODEL)}], "vendor": "late"}`,
  );
  expect(models).toMatchObject([{ vendor: "late", id: "m-1" }]);
  expect(problems).toEqual([{ name: "models[0]", line: 2, problem: "is not JSON" }]);
});
