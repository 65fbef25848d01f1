import pg, { type QueryConfig } from "pg";

/** Rows as the server sent them: each value is its text, or null. */
export type RawRows = readonly (readonly (string | null)[])[];

/** What is run before a statement and whose answer is nobody's. */
export interface Preparation {
  readonly name: string;
  readonly text: string;
  readonly values: readonly string[];
}

/** What node-pg's connections and queries have and its types leave out. */
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

// With pipelining node-pg takes only queries of its own kind, since others would leave portals open.
const Query = pg.Query as unknown as new (
  config: QueryConfig,
  values: undefined,
  callback: Callback,
) => NodePgQuery;
const { prepareValue } = (pg as unknown as { utils: { prepareValue(value: unknown): unknown } }).utils;

/**
 * A statement, and what is run before it, with one Sync behind all: the server answers in one piece, and when something fails
 * it skips the rest. Also keeps the rows as they came.
 */
export class RawQuery extends Query {
  readonly raw: (string | null)[][] = [];
  readonly #before: readonly Preparation[];
  #answered = 0;

  /** @param before known to the connection */
  constructor(config: QueryConfig, before: readonly Preparation[], callback: Callback) {
    // A simple query would be skipped like the rest, and with it the end of the flight.
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

/** One statement several times, each time after something else; otherwise as above. It costs both sides half of what as many queries do. */
export class RepeatedQuery extends Query {
  /** The rows of each run that succeeded; what is missing failed, or was not tried. */
  readonly answers: RawRows[] = [];
  readonly #values: readonly unknown[];
  readonly #before: readonly (readonly Preparation[])[];
  #answered = 0;
  #rows: (string | null)[][] = [];

  /** @param before of each run; known to the connection */
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
    // One buffer is one write, where each message would be one.
    const recorder: Connection = Object.assign(Object.create(connection), {
      _send: (message: Buffer) => messages.push(message),
    });
    const isKnown = this.hasBeenParsed(connection);
    for (const [i, preparations] of this.#before.entries()) {
      for (const preparation of preparations) run(recorder, preparation.name, preparation.values);
      // Not before: the role that it belongs to may only be set by now.
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
