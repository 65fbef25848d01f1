import { PlinthError } from "../../../support/errors.ts";

/** A row as the driver returns it: text, numbers, bigints, booleans, bytes, parsed JSON, or null. */
export type RawRow = Readonly<Record<string, unknown>>;

/** The database or files that a system is moved in from. It is only read. */
export interface Source {
  /** Names the source in messages, without credentials. */
  readonly title: string;
  /** SQL of a column as it is read, such as an array as JSON. */
  expression(relation: string, quotedColumn: string, column: string): string;
  /** Names of all tables. */
  relations(): Promise<readonly string[]>;
  /** Names of the table's columns, or undefined if there is no such table. */
  columnsOf(relation: string): Promise<ReadonlySet<string> | undefined>;
  /** Runs a query and returns its rows in batches, smaller ones if the rows are large, so that memory stays flat. */
  read(sql: string, batchSize: number): AsyncGenerator<readonly RawRow[]>;
  close(): Promise<void>;
}

/** An error while the source is read, in words that contain no value of a row. */
export function sourceFailed(title: string, reason: string): PlinthError {
  return new PlinthError("SOURCE_NOT_READABLE", `${title} cannot be read: ${reason}.`, {
    hint: "The rows imported so far are kept; run the command again to continue.",
  });
}

/** PostgreSQL and SQLite quote names alike. */
export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
