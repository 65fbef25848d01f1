import type { PoolClient, QueryConfig } from "pg";
import { touchStatement } from "../request/prepared-statements.ts";
import {
  roleQualifiedName,
  type Statement,
  type StatementResult,
  type TransactionSettings,
} from "../request/transaction.ts";
import { type Connection, type Preparation, RawQuery, type RawRows, RepeatedQuery } from "./read-query.ts";

/** Reads of one transaction; then another begins, so that none is open for long. */
const MAX_READS_PER_TRANSACTION = 50;
/** What is told to statements behind a failed one: the transaction has failed, or their shared name was never prepared. */
const TAKEN_ALONG = new Set<unknown>(["25P02", "26000"]);

/**
 * The same few statements, over and over, each for a handful of rows by index: with policies in it, planning one takes five
 * times as long as running it, and left alone PostgreSQL plans each anew because of the number it starts from.
 */
const PLANNED_ONCE = { plan_cache_mode: "force_generic_plan" };

const BEGIN: Preparation = { name: "plinth_begin_reading", text: "begin read only", values: [] };

export interface ReadResult<TRow> extends StatementResult<TRow> {
  readonly raw: RawRows;
}

/** A statement that somebody waits for. */
export interface Read {
  readonly settings: TransactionSettings;
  readonly statement: Statement;
  readonly resolve: (result: ReadResult<never>) => void;
  readonly reject: (error: unknown) => void;
  /** It has failed before, and only because of another one. */
  readonly isAgain?: boolean;
}

/** A statement of one, as others would have it answered. */
export interface Trial {
  readonly settings: readonly TransactionSettings[];
  readonly statement: Statement;
  /** Given the answers in the order of `settings`; those behind the first that failed are missing. */
  readonly resolve: (answers: readonly RawRows[]) => void;
}

interface OpenTransaction {
  hasBegun: boolean;
  reads: number;
  hasFailed: boolean;
  /** Read anew when it has ended: until then nobody knows which of the statements prepared in it are there. */
  readonly takenAlong: Read[];
  /** What is set now, by name. */
  readonly settings: Map<string, string>;
}

/**
 * One connection on which reads are sent as they come, without waiting for the answers of those before. What is asked for in
 * one go is a read-only transaction, or several when it is much. Each statement is preceded by the settings of whoever asked.
 */
export class ReadLane {
  readonly client: PoolClient;
  readonly #takenAlong: (read: Read) => void;
  readonly #onIdle: () => void;
  #transaction: OpenTransaction | undefined;
  #unanswered = 0;
  #isCorked = false;

  /**
   * @param takenAlong given the reads that failed only because another one before them did
   * @param onIdle called when everything is answered and no transaction is open
   */
  constructor(client: PoolClient, takenAlong: (read: Read) => void, onIdle: () => void) {
    this.client = client;
    this.#takenAlong = takenAlong;
    this.#onIdle = onIdle;
  }

  /** Reads and ends of transactions without an answer yet. */
  get unanswered(): number {
    return this.#unanswered;
  }

  send(read: Read): void {
    const transaction = this.#admit(1);
    const { statement } = read;
    const settings = { ...read.settings, ...PLANNED_ONCE };
    const query = new RawQuery(
      this.#queryOf(settings, statement),
      this.#before(transaction, changedNames([settings], transaction.settings), settings),
      (error, result) => {
        // Answers come in order, so the first failure is the cause of the others; what an earlier transaction prepared may
        // be missing too.
        if (error === null) {
          const { rows, rowCount } = result as StatementResult<never>;
          read.resolve({ rows, rowCount, notices: [], raw: query.raw });
        } else if (
          TAKEN_ALONG.has((error as { code?: unknown }).code) &&
          (transaction.hasFailed || !read.isAgain)
        )
          transaction.takenAlong.push({ ...read, isAgain: true });
        else read.reject(error);
        transaction.hasFailed ||= error !== null;
        this.#answered(1);
      },
    );
    this.#submit(query, transaction);
  }

  try({ statement, resolve, ...trial }: Trial): void {
    const settings = trial.settings.map((one) => ({ ...one, ...PLANNED_ONCE }));
    const transaction = this.#admit(settings.length);
    const [first, ...others] = settings;
    const names = changedNames(settings, transaction.settings);
    const query = new RepeatedQuery(
      this.#queryOf(first!, statement),
      [
        this.#before(transaction, names, first!),
        ...others.map((one) => (names.length > 0 ? [setting(transaction, names, one)] : [])),
      ],
      (error) => {
        transaction.hasFailed ||= error !== null;
        resolve(query.answers);
        this.#answered(settings.length);
      },
    );
    this.#submit(query, transaction);
  }

  /** What was asked for so far leaves at once, to the end of its transaction. */
  flush(): void {
    if (!this.#isCorked) return;
    if (this.#transaction) this.#end(this.#transaction);
    const { stream } = this.#connection;
    stream.uncork();
    stream.cork();
  }

  #admit(reads: number): OpenTransaction {
    this.#cork();
    this.#transaction ??= {
      hasBegun: false,
      reads: 0,
      hasFailed: false,
      takenAlong: [],
      settings: new Map(),
    };
    this.#transaction.reads += reads;
    this.#unanswered += reads;
    return this.#transaction;
  }
  #submit(query: RawQuery | RepeatedQuery, transaction: OpenTransaction): void {
    this.client.query(query as never);
    if (transaction.reads >= MAX_READS_PER_TRANSACTION) this.#end(transaction);
  }

  /**
   * What has to run in one flight with a statement. What the connection has not prepared yet leaves on its own before it, and when
   * that fails the server skips the statement too.
   */
  #before(
    transaction: OpenTransaction,
    names: readonly string[],
    settings: TransactionSettings,
  ): Preparation[] {
    const before: Preparation[] = [];
    if (!transaction.hasBegun) before.push(BEGIN);
    transaction.hasBegun = true;
    if (names.length > 0) before.push(setting(transaction, names, settings));
    const { parsedStatements, submittedNamedStatements } = this.#connection;
    if (before.every(({ name }) => name in parsedStatements || name in submittedNamedStatements))
      return before;
    for (const { name, text, values } of before)
      this.client.query({ name, text, values: [...values] }).catch(() => {});
    return [];
  }

  /** What is asked for in one go leaves in one write, to the end of its transaction: system calls are what sending costs. */
  #cork(): void {
    if (this.#isCorked) return;
    this.#isCorked = true;
    const { stream } = this.#connection;
    stream.cork();
    process.nextTick(() => {
      if (this.#transaction) this.#end(this.#transaction);
      this.#isCorked = false;
      stream.uncork();
    });
  }

  get #connection(): Connection {
    return (this.client as unknown as { connection: Connection }).connection;
  }

  #end(transaction: OpenTransaction): void {
    this.#transaction = undefined;
    this.#unanswered += 1;
    const answered = () => {
      for (const read of transaction.takenAlong) this.#takenAlong(read);
      this.#answered(1);
    };
    this.client.query("commit").then(answered, answered);
  }

  #answered(count: number): void {
    this.#unanswered -= count;
    if (this.#unanswered === 0) this.#onIdle();
  }

  #queryOf({ role }: TransactionSettings, { text, values, name, arrayMode }: Statement): QueryConfig {
    const statementName = name && roleQualifiedName(role ?? undefined, name);
    if (statementName) touchStatement(this.client, statementName);
    return {
      text,
      ...(values && { values: [...values] }),
      ...(statementName && { name: statementName }),
      ...(arrayMode && { rowMode: "array" as const }),
    };
  }
}

/**
 * What has to be set so that exactly the settings of each of these hold in turn: what an earlier read of the transaction had set
 * and they do not have becomes empty. (That the transaction is read-only it says itself, once.)
 */
function changedNames(all: readonly TransactionSettings[], current: ReadonlyMap<string, string>): string[] {
  const names = new Set(current.keys());
  for (const settings of all) for (const name of Object.keys(settings)) names.add(name);
  names.delete("transaction_read_only");
  return [...names].filter((name) => all.some((one) => (one[name] ?? "") !== (current.get(name) ?? "")));
}

/** One statement sets all, for the transaction. */
function setting(
  transaction: OpenTransaction,
  names: readonly string[],
  settings: TransactionSettings,
): Preparation {
  for (const name of names) transaction.settings.set(name, settings[name] ?? "");
  const calls = names.map((_, i) => `set_config($${2 * i + 1}, $${2 * i + 2}, true)`);
  return {
    name: `plinth_settings_${names.length}`,
    text: `select ${calls.join(", ")}`,
    values: names.flatMap((name) => [name, settings[name] ?? ""]),
  };
}
