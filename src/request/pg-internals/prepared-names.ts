import type { ClientBase } from "pg";
import { type Callback, connectionOf, type PgConnection, Query } from "./node-pg.ts";
import { record } from "./one-write.ts";

/** Whether a named statement is prepared, or will be when the server has answered what was sent. */
export function isPrepared(client: ClientBase, name: string): boolean {
  const { parsedStatements, submittedNamedStatements } = connectionOf(client);
  return name in parsedStatements || name in submittedNamedStatements;
}

/** The number of statements that node-pg believes prepared. */
export function preparedCount(client: ClientBase): number {
  return Object.keys(connectionOf(client).parsedStatements).length;
}

/** Makes node-pg prepare the statement again at its next use. @returns false if the server has not prepared it */
export function forgetStatement(client: ClientBase, name: string): boolean {
  const { parsedStatements } = connectionOf(client);
  return name in parsedStatements && delete parsedStatements[name];
}

/** Frees a name, whether or not the server has prepared it. Unlike DEALLOCATE, never fails, and poolers understand it. */
export function closeStatement(client: ClientBase, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    client.query(new CloseQuery(name, (error) => (error ? reject(error) : resolve())) as never);
  });
}

/** Closes a prepared statement. */
class CloseQuery extends Query {
  readonly #name: string;

  constructor(name: string, callback: Callback) {
    super({ text: "" }, undefined, callback);
    this.#name = name;
  }

  override submit(connection: PgConnection): null {
    const { recorder, send } = record(connection);
    recorder.close({ type: "S", name: this.#name });
    recorder.sync();
    send();
    return null;
  }
}
