import { describe, expect, test } from "@jest/globals";
import { type JsonPart, JsonScanner } from "../../src/import/files/json-scanner.ts";

function scan(chunks: readonly string[], listKey?: string): JsonPart[] {
  const scanner = new JsonScanner(listKey);
  return [...chunks.flatMap((chunk) => [...scanner.feed(chunk)]), ...scanner.end()];
}

const LIST =
  '[ {"a": "]},\\"\\\\", "b": [1, {"c": null}]},\n  "text, with ] and \\u00e9",\n -1.5e3, true,null , [], "" ]\n';
const OBJECT = '{"vendor" : "v\\n", "models":[\n{"id": 1},\n2 ], "n": 7}';

test("finds the elements of a list that JSON.parse finds, wherever the text is cut", () => {
  const wanted = (JSON.parse(LIST) as unknown[]).map((value, at) => expect.objectContaining({ at, value }));
  expect(scan([LIST])).toEqual(wanted);
  expect(scan([...LIST])).toEqual(wanted);
  for (let cut = 1; cut < LIST.length; cut++)
    expect(scan([LIST.slice(0, cut), LIST.slice(cut)])).toEqual(wanted);
});

test("returns the members of an object one by one, and the elements of the requested list", () => {
  for (let cut = 1; cut < OBJECT.length; cut++)
    expect(scan([OBJECT.slice(0, cut), OBJECT.slice(cut)], "models")).toEqual([
      { at: "vendor", line: 1, value: "v\n" },
      { at: 0, line: 2, value: { id: 1 } },
      { at: 1, line: 3, value: 2 },
      { at: "models", line: 3 },
      { at: "n", line: 3, value: 7 },
    ]);
  expect(scan([OBJECT])[1]).toEqual({ at: "models", line: 1, value: [{ id: 1 }, 2] });
});

test("returns a part before the rest has arrived", () => {
  const scanner = new JsonScanner();
  expect([...scanner.feed('[{"first": 1}, {"second"')]).toEqual([{ at: 0, line: 1, value: { first: 1 } }]);
});

test("rejects only a broken part, and names its line", () => {
  expect(scan(["[1,\n{\n oops\n},\n2]"])).toEqual([
    { at: 0, line: 1, value: 1 },
    { at: 1, line: 3, problem: "is not JSON" },
    { at: 2, line: 5, value: 2 },
  ]);
});

describe("invalid JSON ends the reading with a sentence", () => {
  test.each([
    ["nothing", "", "is empty"],
    ["a word", "oops", "must contain a list or an object"],
    ["a list that is cut off", "[1", "ends in the middle of its JSON"],
    ["a string that is cut off", '["a', "ends in the middle of its JSON"],
    ["an object that is cut off", '{"a": 1', "ends in the middle of its JSON"],
    ["a missing comma", '["a" "b"]', "is not JSON"],
    ["two commas", "[1,,2]", "is not JSON"],
    ["a trailing comma", "[1,]", "is not JSON"],
    ["a wrong bracket", '["a"}', "is not JSON"],
    ["a missing colon", '{"a" 1}', "is not JSON"],
    ["a key that is not a string", "{a: 1}", "is not JSON"],
    ["a broken key", '{"\\x": 1}', "is not JSON"],
    ["text after the end", "[] []", "is not JSON"],
  ])("rejects %s", (_, text, problem) => {
    const parts = scan([...text]);
    expect(parts.at(-1)).toEqual({ line: 1, problem });
    expect(parts.filter(({ at }) => at === undefined)).toHaveLength(1);
  });
});

test("accepts and rejects the same texts as JSON.parse", () => {
  const alphabet = ["[", "]", "{", "}", ",", ":", '"', "\\", "1", "a", " ", "true", '"k":'];
  let seed = 7;
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed % below;
  };
  let accepted = 0;
  for (let round = 0; round < 30_000; round++) {
    const inner = Array.from({ length: random(7) }, () => alphabet[random(alphabet.length)]).join("");
    const text = random(2) ? `[${inner}]` : `{${inner}}`;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      value = undefined;
    }
    const parts = scan([text]);
    const isRefused = parts.some(({ problem }) => problem);
    expect([text, isRefused]).toEqual([text, value === undefined]);
    if (value === undefined) continue;
    accepted++;
    const entries = Array.isArray(value) ? value : Object.values(value as object);
    if (new Set(parts.map(({ at }) => at)).size === parts.length)
      expect(parts.map((part) => part.value)).toEqual(entries);
  }
  expect(accepted).toBeGreaterThan(100);
});
