import pg, { type QueryConfig } from "pg";

/** Rows as the server sent them: each value is text or null. */
export type RawRows = readonly (readonly (string | null)[])[];

/** A statement that runs before another one and whose result is discarded. */
export interface Preparation {
  readonly name: string;
  readonly text: string;
  readonly values: readonly string[];
}

/** Members of node-pg's connections and queries that its types omit. */
export interface Connection {
  readonly stream: { cork(): void; uncork(): void };
  readonly parsedStatements: Readonly<Record<string, string>>;
  readonly submittedNamedStatements: Record<string, string>;
  parse(statement: { name: string; text: string }): void;
  bind(portal: { statement: string; values: readonly unknown[] }): void;
  execute(portal: object): void;
  sync(): void;
  _send(message: Buffer): void;
}

interface NodePgQuery {
  readonly name: string | undefined;
  readonly text: string;
  callback(error: unknown, result?: unknown): void;
  submit(connection: Connection): unknown;
  hasBeenParsed(connection: Connection): boolean;
  handleDataRow(message: DataRow): void;
  handleCommandComplete(message: unknown, connection: Connection): void;
}

interface DataRow {
  readonly fields: (string | null)[];
}

type Callback = (error: unknown, result?: unknown) => void;

// With pipelining, node-pg accepts only its own queries, because others would leave portals open.
const Query = pg.Query as unknown as new (
  config: QueryConfig,
  values: undefined,
  callback: Callback,
) => NodePgQuery;
const { prepareValue } = (pg as unknown as { utils: { prepareValue(value: unknown): unknown } }).utils;

/**
 * A statement and its preparations with a single Sync at the end: the server answers in one piece and skips the rest after
 * a failure. Also keeps the raw rows.
 */
export class RawQuery extends Query {
  readonly raw: (string | null)[][] = [];
  readonly #before: readonly Preparation[];
  #answered = 0;

  /** @param before statements that the connection has prepared */
  constructor(config: QueryConfig, before: readonly Preparation[], callback: Callback) {
    // After a failure the server would skip a simple query like the rest, and with it the end of the pipeline.
    super({ ...config, queryMode: "extended" } as QueryConfig, undefined, callback);
    this.#before = before;
  }

  override submit(connection: Connection): unknown {
    for (const { name, values } of this.#before) run(connection, name, values);
    return super.submit(connection);
  }

  override handleDataRow(message: DataRow): void {
    if (this.#answered < this.#before.length) return;
    this.raw.push(message.fields);
    super.handleDataRow(message);
  }

  override handleCommandComplete(message: unknown, connection: Connection): void {
    if (this.#answered === this.#before.length) super.handleCommandComplete(message, connection);
    else this.#answered += 1;
  }
}

/** Runs one statement several times, each with its own preparations; otherwise as above. Costs both sides half as much as separate queries. */
export class RepeatedQuery extends Query {
  /** The rows of each successful run; missing runs failed or were not tried. */
  readonly answers: RawRows[] = [];
  readonly #values: readonly unknown[];
  readonly #before: readonly (readonly Preparation[])[];
  #answered = 0;
  #rows: (string | null)[][] = [];

  /** @param before preparations of each run, which the connection has prepared */
  constructor(
    { name, text, values = [] }: QueryConfig,
    before: readonly (readonly Preparation[])[],
    callback: Callback,
  ) {
    super({ ...(name && { name }), text }, undefined, callback);
    this.#values = values.map(prepareValue);
    this.#before = before;
  }

  override submit(connection: Connection): null {
    const { name = "", text } = this;
    const messages: Buffer[] = [];
    // One buffer for one write instead of one write per message.
    const recorder: Connection = Object.assign(Object.create(connection), {
      _send: (message: Buffer) => messages.push(message),
    });
    const isKnown = this.hasBeenParsed(connection);
    for (const [i, preparations] of this.#before.entries()) {
      for (const preparation of preparations) run(recorder, preparation.name, preparation.values);
      // Not earlier: its role may only be set at this point.
      if (i === 0 && !isKnown) {
        recorder.parse({ name, text });
        if (name) connection.submittedNamedStatements[name] = text;
      }
      run(recorder, name, this.#values);
    }
    recorder.sync();
    connection._send(Buffer.concat(messages));
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

  handleReadyForQuery(): void {
    this.callback(null);
  }
}

function run(connection: Connection, statement: string, values: readonly unknown[]): void {
  connection.bind({ statement, values });
  connection.execute({});
}
