import type { ClientBase, QueryConfig, QueryResult } from "pg";
import { connectionOf } from "./node-pg.ts";

/** Delays everything sent on a connection until `releaseWrites`, which sends it in one write. Calls can be nested. */
export function holdWrites(client: ClientBase): void {
  connectionOf(client).stream.cork();
}

export function releaseWrites(client: ClientBase): void {
  connectionOf(client).stream.uncork();
}

/** Runs a statement that may take longer than the connection's own limit. */
export function queryWithin(client: ClientBase, text: string, timeoutMs: number): Promise<QueryResult> {
  return client.query({ text, query_timeout: timeoutMs } as QueryConfig);
}

/** Runs exactly one statement: the extended protocol rejects a text with several. */
export function queryOne(client: ClientBase, text: string, values: readonly unknown[]): Promise<QueryResult> {
  return client.query({ text, values: [...values], queryMode: "extended" } as QueryConfig);
}
