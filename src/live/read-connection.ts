import type { PoolClient, QueryConfig } from "pg";
import {
  holdWrites,
  isPrepared,
  type Preparation,
  queryRaw,
  queryRepeatedly,
  type RawRows,
  releaseWrites,
} from "../request/pg-internals.ts";
import { touchStatement } from "../request/prepared-statements.ts";
import {
  roleQualifiedName,
  type Statement,
  type StatementResult,
  type TransactionSettings,
} from "../request/transaction.ts";

/** Maximum reads per transaction, so that no transaction is open for long. */
const MAX_READS_PER_TRANSACTION = 50;
/** SQLSTATEs of statements behind a failed one: the transaction has failed, or their shared name was never prepared. */
const COLLATERAL_STATES = new Set<unknown>(["25P02", "26000"]);

/**
 * The same few statements run repeatedly, each for a few rows by index. With policies, planning takes five times as long
 * as execution, and by default PostgreSQL plans each execution because the estimate of the first ones is lower.
 */
const PLANNED_ONCE = { plan_cache_mode: "force_generic_plan" };

const BEGIN: Preparation = { name: "plinth_begin_reading", text: "begin read only", values: [] };

export interface ReadResult<TRow> extends StatementResult<TRow> {
  readonly raw: RawRows;
}

/** A statement with a caller waiting for its result. */
export interface Read {
  readonly settings: TransactionSettings;
  readonly statement: Statement;
  readonly resolve: (result: ReadResult<never>) => void;
  readonly reject: (error: unknown) => void;
  /** Whether it is a retry after another statement's failure. */
  readonly isRetry?: boolean;
}

/** A subscriber's statement, run under the settings of others. */
export interface Trial {
  readonly settings: readonly TransactionSettings[];
  readonly statement: Statement;
  /** Called with the rows in the order of `settings`; the first failure and everything behind it are missing. */
  readonly resolve: (answers: readonly RawRows[]) => void;
}

interface OpenTransaction {
  hasBegun: boolean;
  reads: number;
  hasFailed: boolean;
  /** Reads to retry after the transaction ends: until then it is unknown which of its prepared statements exist. */
  readonly toRetry: Read[];
  /** Current settings by name. */
  readonly settings: Map<string, string>;
}

/**
 * A connection that pipelines reads: each is sent without waiting for earlier results. The reads of one tick share a
 * read-only transaction, or several if there are many. Each statement is preceded by its caller's settings.
 */
export class ReadConnection {
  readonly client: PoolClient;
  readonly #onCollateralFailure: (read: Read) => void;
  readonly #onIdle: () => void;
  #transaction: OpenTransaction | undefined;
  #unanswered = 0;
  #isHoldingWrites = false;

  /**
   * @param onCollateralFailure called with each read that failed only because an earlier one did
   * @param onIdle called when every read is answered and no transaction is open
   */
  constructor(client: PoolClient, onCollateralFailure: (read: Read) => void, onIdle: () => void) {
    this.client = client;
    this.#onCollateralFailure = onCollateralFailure;
    this.#onIdle = onIdle;
  }

  /** Number of reads and commits without a result yet. */
  get unanswered(): number {
    return this.#unanswered;
  }

  send(read: Read): void {
    const transaction = this.#admit(1);
    const { statement } = read;
    const settings = { ...read.settings, ...PLANNED_ONCE };
    const query = this.#queryOf(settings, statement);
    const before = this.#before(transaction, changedNames([settings], transaction.settings), settings);
    queryRaw(this.client, query, before, (error, result, raw) => {
      if (error === null) {
        const { rows, rowCount } = result!;
        read.resolve({ rows, rowCount, notices: [], raw: raw! });
      } else if (isCollateral(error, read, transaction)) transaction.toRetry.push({ ...read, isRetry: true });
      else read.reject(error);
      transaction.hasFailed ||= error !== null;
      this.#answered(1);
    });
    this.#endIfFull(transaction);
  }

  try({ statement, resolve, ...trial }: Trial): void {
    const settings = trial.settings.map((one) => ({ ...one, ...PLANNED_ONCE }));
    const transaction = this.#admit(settings.length);
    const [first, ...others] = settings;
    const names = changedNames(settings, transaction.settings);
    const query = this.#queryOf(first!, statement);
    const before = [
      this.#before(transaction, names, first!),
      ...others.map((one) => (names.length > 0 ? [setting(transaction, names, one)] : [])),
    ];
    queryRepeatedly(this.client, query, before, (error, answers) => {
      transaction.hasFailed ||= error !== null;
      resolve(answers);
      this.#answered(settings.length);
    });
    this.#endIfFull(transaction);
  }

  /** Sends the pending reads now, including the end of their transaction. */
  flush(): void {
    if (!this.#isHoldingWrites) return;
    if (this.#transaction) this.#end(this.#transaction);
    releaseWrites(this.client);
    holdWrites(this.client);
  }

  #admit(reads: number): OpenTransaction {
    this.#holdWrites();
    this.#transaction ??= {
      hasBegun: false,
      reads: 0,
      hasFailed: false,
      toRetry: [],
      settings: new Map(),
    };
    this.#transaction.reads += reads;
    this.#unanswered += reads;
    return this.#transaction;
  }

  #endIfFull(transaction: OpenTransaction): void {
    if (transaction.reads >= MAX_READS_PER_TRANSACTION) this.#end(transaction);
  }

  /**
   * Returns the statements that must run in one round trip with a statement. Statements the connection has not prepared yet
   * are sent separately before it; if one fails, the server skips the statement too.
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
    if (before.every(({ name }) => isPrepared(this.client, name))) return before;
    for (const { name, text, values } of before)
      this.client.query({ name, text, values: [...values] }).catch(() => {});
    return [];
  }

  /** Sends the reads of one tick in one write, including the end of their transaction, because system calls dominate the cost. */
  #holdWrites(): void {
    if (this.#isHoldingWrites) return;
    this.#isHoldingWrites = true;
    holdWrites(this.client);
    process.nextTick(() => {
      if (this.#transaction) this.#end(this.#transaction);
      this.#isHoldingWrites = false;
      releaseWrites(this.client);
    });
  }

  #end(transaction: OpenTransaction): void {
    this.#transaction = undefined;
    this.#unanswered += 1;
    const answered = () => {
      for (const read of transaction.toRetry) this.#onCollateralFailure(read);
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
 * Whether a read failed only because another statement did. Results arrive in order, so the first failure causes the others;
 * statements that an earlier transaction prepared may be missing too.
 */
function isCollateral(error: unknown, { isRetry }: Read, { hasFailed }: OpenTransaction): boolean {
  return COLLATERAL_STATES.has((error as { code?: unknown }).code) && (hasFailed || !isRetry);
}

/**
 * Returns the names of the settings to change so that exactly the settings of each of these apply, one after the other. A
 * setting of an earlier read that they do not have becomes empty. (The transaction itself is declared read-only, once.)
 */
function changedNames(all: readonly TransactionSettings[], current: ReadonlyMap<string, string>): string[] {
  const names = new Set(current.keys());
  for (const settings of all) for (const name of Object.keys(settings)) names.add(name);
  names.delete("transaction_read_only");
  return [...names].filter((name) => all.some((one) => (one[name] ?? "") !== (current.get(name) ?? "")));
}

/** A single statement that sets all of them for the transaction. */
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
