import { readdirSync, statSync } from "node:fs";
import { basename, extname, join } from "node:path";
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { PlinthError } from "../../../support/errors.ts";
import { isObject } from "../../../support/is-object.ts";
import { readCsvRows } from "../../files/csv-rows.ts";
import { readNdjsonLines } from "../../files/ndjson-lines.ts";
import { notReadable } from "../../files/text-file.ts";
import { quoted, type Source } from "./source.ts";
import { readingFrom } from "./sqlite.ts";

/** Called for each line that is no row. */
export type OnBadLine = (relation: string, line: number, problem: string) => void;

interface Line {
  readonly line: number;
  readonly value?: unknown;
  readonly problem?: string;
}

/**
 * Opens a folder of <table>.ndjson and <table>.csv files, or one such file. A file is copied into a nameless SQLite database, which
 * the operating system deletes with the process: so files, too, are read in the order of a key, joined, and read twice, without
 * being held in memory.
 * @throws PlinthError FILE_*, FOLDER_*, SOURCE_EMPTY, CSV_HEADER
 */
export async function openFolder(path: string, onBadLine: OnBadLine, relation?: string): Promise<Source> {
  const files = relation === undefined ? filesIn(path) : new Map([[relation, path]]);
  const { DatabaseSync } = await import("node:sqlite");
  const database = new DatabaseSync("");
  // Nothing needs to survive: without the two, each row would wait for the disk.
  database.exec("pragma journal_mode = off; pragma synchronous = off");
  const source = readingFrom(database, basename(path));
  const loaded = new Set<string>();
  return {
    ...source,
    relations: async () => [...files.keys()],
    async columnsOf(name) {
      const file = files.get(name);
      if (file === undefined) return undefined;
      if (!loaded.has(name)) await load(database, name, file, onBadLine);
      loaded.add(name);
      return source.columnsOf(name);
    },
  };
}

function filesIn(folder: string): Map<string, string> {
  let names: string[];
  try {
    names = readdirSync(folder).sort();
  } catch (error) {
    throw notReadable(folder, error, "folder");
  }
  const files = new Map<string, string>();
  for (const name of names.filter((each) => /\.(ndjson|csv)$/.test(each))) {
    const relation = basename(name, extname(name));
    if (files.has(relation))
      throw new PlinthError(
        "SOURCE_AMBIGUOUS",
        `${folder} has both ${relation}.csv and ${relation}.ndjson.`,
        {
          hint: "Delete or rename one of them.",
        },
      );
    if (statSync(join(folder, name)).isDirectory()) continue;
    files.set(relation, join(folder, name));
  }
  if (files.size === 0)
    throw new PlinthError("SOURCE_EMPTY", `${folder} has no files <table>.ndjson or <table>.csv.`);
  return files;
}

async function load(
  database: DatabaseSync,
  relation: string,
  file: string,
  onBadLine: OnBadLine,
): Promise<void> {
  const table = quoted(relation);
  const columns = new Set<string>();
  const inserts = new Map<string, StatementSync>();
  // Columns without a type keep values as they are: 007 stays text. A table needs a column, and a file may have no rows.
  database.exec(`create table ${table} ("")`);
  for await (const { line, value, problem } of extname(file) === ".csv"
    ? csvLines(file)
    : readNdjsonLines(file)) {
    if (problem !== undefined || !isObject(value)) {
      // The parser's words quote the line, which may have a password.
      onBadLine(
        relation,
        line,
        problem?.replace(/^is not JSON: .*/s, "is not JSON") ?? "must be a JSON object",
      );
      continue;
    }
    try {
      insert(value);
    } catch (error) {
      const reason = reasonOf(error);
      if (reason === undefined) throw error;
      onBadLine(relation, line, reason);
    }
  }

  function insert(row: Readonly<Record<string, unknown>>): void {
    const names = Object.keys(row);
    const values = names.map((name) => stored(row[name]));
    for (const name of names) {
      if (columns.has(name)) continue;
      database.exec(`alter table ${table} add column ${quoted(name)}`);
      columns.add(name);
    }
    const list = ["", ...names].map(quoted).join(", ");
    const statement =
      inserts.get(list) ??
      database.prepare(`insert into ${table} (${list}) values (null${", ?".repeat(names.length)})`);
    inserts.set(list, statement);
    statement.run(...values);
  }
}

/** Returns the reason that a line is no row; undefined if the line is not to blame, such as for a full disk. */
function reasonOf(error: unknown): string | undefined {
  if (error instanceof HalfSurrogate) return error.message;
  if (error instanceof RangeError) return "is nested too deeply";
  // Names that differ only in case, an empty one, or more than 2,000.
  return (error as { errcode?: number }).errcode === 1 ? "has columns that a table cannot have" : undefined;
}

/** Without a value, CSV has an empty field. */
async function* csvLines(file: string): AsyncGenerator<Line> {
  for await (const { line, values, problem } of readCsvRows(file, []))
    yield problem === undefined
      ? {
          line,
          value: Object.fromEntries(
            Object.entries(values).map(([name, text]) => [name, text === "" ? null : text]),
          ),
        }
      : { line, problem };
}

/** SQLite would store another character, so that two ids could become one. */
class HalfSurrogate extends Error {}

function stored(value: unknown): SQLInputValue {
  if (typeof value === "string" && !value.isWellFormed())
    throw new HalfSurrogate("contains half of a surrogate pair");
  if (value === undefined || value === null) return null;
  if (typeof value === "boolean") return value ? 1 : 0;
  return typeof value === "string" || typeof value === "number" ? value : JSON.stringify(value);
}
