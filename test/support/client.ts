import type pg from "pg";
import type { LoginRole } from "../../src/config/roles.ts";
import { withConnection } from "../../src/database/connection.ts";
import { connectionOf } from "../../src/request/pg-internals/node-pg.ts";
import { isKept, withKeptClient } from "./kept-connections.ts";

/** Runs `use` on a connection in the state of a new one. */
export function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  return isKept(url) ? withKeptClient(url, use) : withNewClient(url, use);
}

/** Connects, runs, disconnects: for tests of the connection, and for settings of a role or database, which begin with one. */
export function withNewClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  return withConnection({ connectionString: url, application_name: "plinth tests" }, use);
}

/**
 * Returns a function that runs one statement as a login role, as on a new connection, and returns its rows.
 * @param db of the file, which exists only while the tests run
 */
export function rowsAs(role: LoginRole, db: () => { url(role: LoginRole): string }) {
  // biome-ignore lint/suspicious/noExplicitAny: what a test asks for is what it gets.
  return <Row extends object = any>(sql: string, params: unknown[] = []): Promise<Row[]> =>
    withKeptClient(
      db().url(role),
      async (client) => (await client.query<Row & pg.QueryResultRow>(sql, params)).rows,
    );
}

/** Ends a connection as if its process had been killed. */
export function cutOff(client: pg.ClientBase): void {
  connectionOf(client).stream.destroy();
}
