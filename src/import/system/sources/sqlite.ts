import { existsSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { PlinthError } from "../../../support/errors.ts";
import { createBatches } from "./large-rows.ts";
import { quoted, type RawRow, type Source, sourceFailed } from "./source.ts";

/** Opens a SQLite file for reading. @throws PlinthError FILE_NOT_FOUND, SOURCE_NOT_READABLE */
export async function openSqlite(path: string): Promise<Source> {
  if (!existsSync(path)) throw new PlinthError("FILE_NOT_FOUND", `The file ${path} does not exist.`);
  // The module is loaded here, so that other commands do not.
  const { DatabaseSync } = await import("node:sqlite");
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { readOnly: true });
    // The same state of the database for both readings, even if the product is still running.
    database.exec("begin");
    database.prepare("select count(*) from sqlite_schema").get();
  } catch (cause) {
    database?.close();
    throw new PlinthError("SOURCE_NOT_READABLE", `${path} is not a SQLite database that can be read.`, {
      cause,
      hint: "Check that it is the right file, and that this user may read it.",
    });
  }
  return readingFrom(database, path);
}

/** Reads an open SQLite database, which it closes at the end. */
export function readingFrom(database: DatabaseSync, title: string): Source {
  function* rowsOf(sql: string): Generator<RawRow> {
    try {
      const statement = database.prepare(sql);
      // Numbers beyond 2^53 would be rounded.
      statement.setReadBigInts(true);
      yield* statement.iterate();
    } catch (error) {
      throw sourceFailed(title, (error as Error).message);
    }
  }

  return {
    title,
    expression: (_relation, quotedColumn) => quotedColumn,

    async relations() {
      const tables = database
        .prepare(
          "select name from sqlite_schema where type = 'table' and name not like 'sqlite#_%' escape '#' order by name",
        )
        .all();
      return tables.map(({ name }) => String(name));
    },

    async columnsOf(relation) {
      const columns = database.prepare(`pragma table_xinfo(${quoted(relation)})`).all();
      return columns.length === 0 ? undefined : new Set(columns.map(({ name }) => String(name)));
    },

    async *read(sql, batchSize) {
      const batches = createBatches(batchSize);
      for (const row of rowsOf(sql)) {
        const batch = batches.add(row);
        if (batch) yield batch;
      }
      const rest = batches.rest();
      if (rest.length > 0) yield rest;
    },

    async close() {
      database.close();
    },
  };
}
