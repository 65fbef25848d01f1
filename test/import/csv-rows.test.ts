import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { type CsvRow, readCsvRows } from "../../src/import/files/csv-rows.ts";
import { makeFolder } from "./files.ts";

let folder: Awaited<ReturnType<typeof makeFolder>>;
beforeAll(async () => {
  folder = await makeFolder();
});
afterAll(async () => {
  await folder.remove();
});

async function read(content: string | Buffer): Promise<CsvRow[]> {
  const path = await folder.write("rows.csv", content);
  const rows: CsvRow[] = [];
  for await (const row of readCsvRows(path, ["a", "b"])) rows.push(row);
  return rows;
}

/** Line and fields of each row; the fields of a bad row are left out. */
const outline = (rows: CsvRow[]): unknown[] =>
  rows.map(({ line, values, problem }) => (problem ? [line, "bad"] : [line, values.a, values.b]));

describe("lines are counted as in the file, with any line break", () => {
  const rows = ["a,b", '1,"x', 'y"', "2,z", "", '3,"p', "", 'q"', "4,w"];
  const expected = (eol: string) => [
    [2, "1", `x${eol}y`],
    [4, "2", "z"],
    [6, "3", `p${eol}${eol}q`],
    [9, "4", "w"],
  ];
  test.each([
    ["LF", "\n"],
    ["CRLF", "\r\n"],
    ["CR", "\r"],
  ])("counts lines that end with %s", async (_name, eol) => {
    expect(outline(await read(`${rows.join(eol)}${eol}`))).toEqual(expected(eol));
    expect(outline(await read(`\ufeff${rows.join(eol)}`))).toEqual(expected(eol));
  });

  test("counts across the chunks in which a file is read", async () => {
    const long = `1,"${"é\r\n".repeat(50_000)}"`;
    const rows = await read(`a,b\r\n${long}\r\n2,z\r\n`);
    expect(rows.map(({ line }) => line)).toEqual([2, 50_003]);
    expect(rows[0]!.values.b).toBe("é\r\n".repeat(50_000));
  });
});

test("accepts columns in any order and ignores additional ones", async () => {
  expect((await read("c,b,a\nx,2,1\n"))[0]!.values).toMatchObject({ a: "1", b: "2" });
});

describe("a bad row is the only row rejected", () => {
  test.each([
    ["too few fields", "3", 1],
    ["too many fields", "3,4,5", 1],
    ["text after a closing quote", '3,"4"5', 1],
    ["a quote inside an unquoted field", '3,4"5"', 1],
    ["a quote that includes the next line", '3,"4\n5,"6"', 2],
  ])("rejects %s", async (_name, bad, lines) => {
    expect(outline(await read(`a,b\n1,2\n${bad}\n7,"8 ""9"""\n`))).toEqual([
      [2, "1", "2"],
      [3, "bad"],
      [3 + lines, "7", '8 "9"'],
    ]);
  });
});

describe("a fault that ends the reading is reported where it begins, after the rows before it", () => {
  test("reports a quote that is never closed", async () => {
    expect(outline(await read('a,b\n1,2\n3,"4\n5,6\n'))).toEqual([
      [2, "1", "2"],
      [3, "bad"],
    ]);
  });

  test("reports a row without an end", async () => {
    expect(outline(await read(`a,b\n1,2\n3,"${"x".repeat(5_000_000)}\n5,6\n`))).toEqual([
      [2, "1", "2"],
      [3, "bad"],
    ]);
  });

  test("reports bytes that are not UTF-8", async () => {
    const good = "1,2\n".repeat(40_000);
    const rows = await read(Buffer.concat([Buffer.from(`a,b\n${good}3,`), Buffer.from([0xe9, 0x0a])]));
    // The bytes of an earlier chunk count.
    expect(rows.length).toBeGreaterThan(10_000);
    expect(rows.filter(({ problem }) => problem)).toEqual([rows.at(-1)]);
  });
});

describe("a file that is not such a table returns an error with a code", () => {
  test.each<[string, string | Buffer, string]>([
    ["empty", "", "FILE_EMPTY"],
    ["white space", "\n\r\n\n", "FILE_EMPTY"],
    ["another table", "x,y\n1,2\n", "CSV_HEADER"],
    ["a repeated column", "a,b,a\n1,2,3\n", "CSV_HEADER"],
    ["a header that never ends", 'a,"b\n1,2\n', "CSV_HEADER"],
    ["an image", Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), "FILE_NOT_TEXT"],
    ["UTF-16", Buffer.from("\ufeffa,b\n1,2\n", "utf16le"), "FILE_NOT_TEXT"],
    ["NUL bytes", Buffer.alloc(100), "CSV_HEADER"],
  ])("rejects %s", async (_name, content, code) => {
    await expect(read(content)).rejects.toMatchObject({ code });
  });

  test.each([
    ["a missing file", "missing.csv", "FILE_NOT_FOUND"],
    ["a folder", ".", "FILE_IS_FOLDER"],
    ["a path below a file", "rows.csv/x", "FOLDER_IS_FILE"],
  ])("rejects the path of %s", async (_name, path, code) => {
    await folder.write("rows.csv", "a,b\n");
    await expect(readCsvRows(`${folder.path}/${path}`, ["a"]).next()).rejects.toMatchObject({ code });
  });
});

test("reads a header without rows as a table without rows", async () => {
  expect(await read("a,b\n")).toEqual([]);
});
