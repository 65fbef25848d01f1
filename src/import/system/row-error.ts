import type pg from "pg";

/** Classes of SQLSTATEs that are about the row and not about the connection or the server. */
const ABOUT_THE_ROW = /^(22|23|54|PL|P0)/;

/** Beyond the limits of PostgreSQL (54), or of JavaScript: a text of 512 MB, or JSON of thousands of levels. */
const TOO_LARGE = "is too large, or nested too deeply";

/** A row of which a part was written, and another part could not be. */
export class RowRejected extends Error {}

type AboutRow = pg.DatabaseError | RowRejected | RangeError;

/** Whether the database rejected the values of a row. */
export function isAboutRow(error: unknown): error is AboutRow {
  if (error instanceof RowRejected || error instanceof RangeError) return true;
  const { code } = (error ?? {}) as pg.DatabaseError;
  return typeof code === "string" && ABOUT_THE_ROW.test(code) && "severity" in (error as object);
}

/** The reason in words, without values of the row: those of other errors than Plinth's own may contain them. */
export function reasonOf(error: AboutRow): string {
  if (error instanceof RowRejected) return error.message;
  if (error instanceof RangeError) return TOO_LARGE;
  const { code = "", constraint, schema, table, column, message } = error;
  if (code.startsWith("PL")) return message;
  if (code.startsWith("54")) return TOO_LARGE;
  const place = table === undefined ? "the database" : `${schema}.${table}`;
  if (code === "23505") return `${place} already has such a row (${constraint})`;
  if (constraint !== undefined) return `${place} does not allow it (${constraint})`;
  if (column !== undefined) return `${place} needs the column ${column}`;
  return `a value has a form that the database cannot store (SQLSTATE ${code})`;
}
