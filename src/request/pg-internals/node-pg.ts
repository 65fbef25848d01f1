import type { Duplex } from "node:stream";
import pg, { type ClientBase, type QueryConfig } from "pg";

// What Plinth uses of node-pg beyond its types and documentation. Only this folder may name these members;
// test/server/pg-internals.test.ts exercises each of them, so an upgrade that changes one fails there.

export interface PgConnection {
  readonly stream: Duplex;
  /** Texts of the statements that the server has prepared, by name. */
  readonly parsedStatements: Record<string, string>;
  /** Texts of the statements whose preparation is sent but not yet answered, by name. */
  readonly submittedNamedStatements: Record<string, string>;
  parse(statement: { name: string; text: string }): void;
  bind(portal: { statement: string; values: readonly unknown[] }): void;
  execute(portal: object): void;
  close(statement: { type: "S"; name: string }): void;
  sync(): void;
  _send(message: Buffer): void;
}

export interface PgQuery {
  readonly name: string | undefined;
  readonly text: string;
  callback(error: unknown, result?: unknown): void;
  submit(connection: PgConnection): unknown;
  hasBeenParsed(connection: PgConnection): unknown;
  handleDataRow(message: DataRow): void;
  handleCommandComplete(message: unknown, connection: PgConnection): void;
  handleReadyForQuery(connection: PgConnection): void;
  handleCopyData(message: { readonly chunk: Buffer }, connection: PgConnection): void;
}

export interface PgQueryOptions {
  /** Without it, a statement without values is sent as a simple query. */
  readonly queryMode: "extended";
  /** Replaces the connection's own limit, in ms. */
  readonly query_timeout: number;
}

export interface PgUtils {
  /** Returns a value as it is bound. */
  prepareValue(value: unknown): unknown;
}

export interface DataRow {
  readonly fields: (string | null)[];
}

export type Callback = PgQuery["callback"];

/** With pipelining, node-pg accepts only this class and its subclasses, because other queries would leave portals open. */
export const Query = pg.Query as unknown as new (
  config: QueryConfig & Partial<PgQueryOptions>,
  values: undefined,
  callback: Callback,
) => PgQuery;

export const { prepareValue } = (pg as unknown as { utils: PgUtils }).utils;

export function connectionOf(client: ClientBase): PgConnection {
  return (client as unknown as { connection: PgConnection }).connection;
}

/** Rows as the server sent them: each value is text or null. */
export type RawRows = readonly (readonly (string | null)[])[];
