import type { Duplex } from "node:stream";
import pg, { type ClientBase, type QueryConfig, type QueryResult } from "pg";

// Everything that Plinth uses of node-pg beyond its types and documentation. No other file may name these members;
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

interface DataRow {
  readonly fields: (string | null)[];
}

type Callback = PgQuery["callback"];

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

/** A statement that runs before another one and whose result is discarded. */
export interface Preparation {
  /** The connection must have prepared it under this name; an empty one is parsed each time. */
  readonly name: string;
  readonly text: string;
  readonly values: readonly string[];
}

/** Delays everything sent on a connection until `releaseWrites`, which sends it in one write. Calls can be nested. */
export function holdWrites(client: ClientBase): void {
  connectionOf(client).stream.cork();
}

export function releaseWrites(client: ClientBase): void {
  connectionOf(client).stream.uncork();
}

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

/** Runs a statement that may take longer than the connection's own limit. */
export function queryWithin(client: ClientBase, text: string, timeoutMs: number): Promise<QueryResult> {
  return client.query({ text, query_timeout: timeoutMs } as QueryConfig);
}

/** Runs exactly one statement: the extended protocol rejects a text with several. */
export function queryOne(client: ClientBase, text: string, values: readonly unknown[]): Promise<QueryResult> {
  return client.query({ text, values: [...values], queryMode: "extended" } as QueryConfig);
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

/**
 * Runs a command that answers with COPY data, such as BASE_BACKUP on a replication connection.
 * @param consume takes a message, whose bytes are valid during the call only; while its promise is pending, no more is read from
 *   the network
 * @returns the rows of all its ordinary results, in order
 */
export async function copyOut(
  client: ClientBase,
  text: string,
  consume: Consume,
  signal: AbortSignal,
): Promise<RawRows> {
  signal.throwIfAborted();
  const abort = () => connectionOf(client).stream.destroy();
  signal.addEventListener("abort", abort);
  try {
    return await new Promise<RawRows>((resolve, reject) => {
      const query = new CopyOutQuery(text, consume, (error) =>
        error ? reject(error) : resolve(query.results),
      );
      client.query(query as never);
    });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

type Consume = (message: Buffer) => Promise<void> | undefined;

class CopyOutQuery extends Query {
  readonly results: (string | null)[][] = [];
  readonly #consume: Consume;
  #failure: unknown;

  constructor(text: string, consume: Consume, callback: Callback) {
    super({ text }, undefined, (error) => callback(this.#failure ?? error));
    this.#consume = consume;
  }

  override handleDataRow({ fields }: DataRow): void {
    this.results.push(fields);
  }

  override handleCopyData({ chunk }: { readonly chunk: Buffer }, { stream }: PgConnection): void {
    const fail = (error: unknown) => {
      this.#failure ??= error;
      stream.destroy();
    };
    try {
      const busy = this.#failure === undefined ? this.#consume(chunk) : undefined;
      if (!busy) return;
      stream.pause();
      void busy.then(() => stream.resume(), fail);
    } catch (error) {
      fail(error);
    }
  }
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

/** A connection that collects messages, and a function that sends them as one buffer in one write. */
function record(connection: PgConnection): { recorder: PgConnection; send: () => void } {
  const messages: Buffer[] = [];
  const recorder: PgConnection = Object.assign(Object.create(connection), {
    _send: (message: Buffer) => messages.push(message),
  });
  return { recorder, send: () => connection._send(Buffer.concat(messages)) };
}

function prepare(connection: PgConnection, { name, text, values }: Preparation): void {
  if (name === "") connection.parse({ name, text });
  run(connection, name, values);
}

function run(connection: PgConnection, statement: string, values: readonly unknown[]): void {
  connection.bind({ statement, values });
  connection.execute({});
}
