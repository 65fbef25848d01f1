import type { ClientBase, QueryConfig, QueryResult } from "pg";
import {
  type Callback,
  type DataRow,
  type PgConnection,
  prepareValue,
  Query,
  type RawRows,
} from "./node-pg.ts";
import { record } from "./one-write.ts";

/** A statement that runs before another one and whose result is discarded. */
export interface Preparation {
  /** The connection must have prepared it under this name; an empty one is parsed each time. */
  readonly name: string;
  readonly text: string;
  readonly values: readonly string[];
}

/**
 * Sends a statement and its preparations with a single Sync at the end: the server answers in one piece and skips the rest
 * after a failure.
 * @param done called with null, the result and its raw rows, or with the error
 */
export function queryRaw(
  client: ClientBase,
  config: QueryConfig,
  before: readonly Preparation[],
  done: (error: unknown, result?: QueryResult<never>, raw?: RawRows) => void,
): void {
  const query = new RawQuery(config, before, (error, result) =>
    done(error, result as QueryResult<never>, query.raw),
  );
  client.query(query as never);
}

/**
 * Sends one statement several times, each with its own preparations; otherwise like `queryRaw`. Costs both sides half as much
 * as separate queries.
 * @param done called with the raw rows of each successful run; missing runs failed or were not tried
 */
export function queryRepeatedly(
  client: ClientBase,
  config: QueryConfig,
  before: readonly (readonly Preparation[])[],
  done: (error: unknown, answers: readonly RawRows[]) => void,
): void {
  const query = new RepeatedQuery(config, before, (error) => done(error, query.answers));
  client.query(query as never);
}

/**
 * Sends a statement and its preparations in one write with a single Sync at the end: outside a transaction, they are a
 * transaction of their own, which is committed when the result arrives.
 */
export function queryPrepared<TRow>(
  client: ClientBase,
  config: QueryConfig & { rowMode?: "array" },
  before: readonly Preparation[],
): Promise<{ rows: TRow[]; rowCount: number | null }> {
  return new Promise((resolve, reject) => {
    const query = new PreparedQuery(config, before, (error, result) => {
      if (error) reject(error);
      else resolve(result as { rows: TRow[]; rowCount: number | null });
    });
    client.query(query as never);
  });
}

/** A query behind its preparations, whose results it drops. */
class PreparedQuery extends Query {
  readonly #before: readonly Preparation[];
  #answered = 0;

  constructor(config: QueryConfig, before: readonly Preparation[], callback: Callback) {
    // After a failure the server would skip a simple query like the rest, and with it the end of the pipeline.
    super({ ...config, queryMode: "extended" }, undefined, callback);
    this.#before = before;
  }

  override submit(connection: PgConnection): unknown {
    const { recorder, send } = record(connection);
    for (const preparation of this.#before) prepare(recorder, preparation);
    const error = super.submit(recorder);
    if (!error) send();
    return error;
  }

  override handleDataRow(message: DataRow): void {
    if (this.arePreparationsDone()) super.handleDataRow(message);
  }

  override handleCommandComplete(message: unknown, connection: PgConnection): void {
    if (this.arePreparationsDone()) super.handleCommandComplete(message, connection);
    else this.#answered += 1;
  }

  protected arePreparationsDone(): boolean {
    return this.#answered === this.#before.length;
  }
}

class RawQuery extends PreparedQuery {
  readonly raw: (string | null)[][] = [];

  override handleDataRow(message: DataRow): void {
    if (this.arePreparationsDone()) this.raw.push(message.fields);
    super.handleDataRow(message);
  }
}

class RepeatedQuery extends Query {
  readonly answers: RawRows[] = [];
  readonly #values: readonly unknown[];
  readonly #before: readonly (readonly Preparation[])[];
  #answered = 0;
  #rows: (string | null)[][] = [];

  constructor(
    { name, text, values = [] }: QueryConfig,
    before: readonly (readonly Preparation[])[],
    callback: Callback,
  ) {
    super({ ...(name && { name }), text }, undefined, callback);
    this.#values = values.map(prepareValue);
    this.#before = before;
  }

  override submit(connection: PgConnection): null {
    const { name = "", text } = this;
    const { recorder, send } = record(connection);
    const isKnown = this.hasBeenParsed(connection);
    for (const [i, preparations] of this.#before.entries()) {
      for (const preparation of preparations) prepare(recorder, preparation);
      // Not earlier: its role may only be set at this point. Without a name, a preparation may have taken its place.
      if (name === "" || (i === 0 && !isKnown)) {
        recorder.parse({ name, text });
        if (name) connection.submittedNamedStatements[name] = text;
      }
      run(recorder, name, this.#values);
    }
    recorder.sync();
    send();
    return null;
  }

  override handleDataRow({ fields }: DataRow): void {
    if (this.#answered === this.#before[this.answers.length]?.length) this.#rows.push(fields);
  }

  override handleCommandComplete(): void {
    if (this.#answered < this.#before[this.answers.length]!.length) {
      this.#answered += 1;
      return;
    }
    this.answers.push(this.#rows);
    this.#rows = [];
    this.#answered = 0;
  }

  override handleReadyForQuery(): void {
    this.callback(null);
  }
}

function prepare(connection: PgConnection, { name, text, values }: Preparation): void {
  if (name === "") connection.parse({ name, text });
  run(connection, name, values);
}

function run(connection: PgConnection, statement: string, values: readonly unknown[]): void {
  connection.bind({ statement, values });
  connection.execute({});
}
