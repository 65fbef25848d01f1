import type { PoolClient } from "pg";
import { holdWrites, releaseWrites } from "../request/pg-internals/client.ts";
import type { RawRows } from "../request/pg-internals/node-pg.ts";
import { type Preparation, queryRaw, queryRepeatedly } from "../request/pg-internals/preparations.ts";
import { arePrepared, inFront, preparationQuery, statementQuery } from "../request/prepared-statements.ts";
import { settingsStatement } from "../request/settings-statement.ts";
import type { Statement, StatementResult, TransactionSettings } from "../request/transaction.ts";

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
    const settings: TransactionSettings = { ...read.settings, ...PLANNED_ONCE };
    const query = statementQuery(this.client, settings.role, statement);
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
    const settings = trial.settings.map((one): TransactionSettings => ({ ...one, ...PLANNED_ONCE }));
    const transaction = this.#admit(settings.length);
    const [first, ...others] = settings;
    const names = changedNames(settings, transaction.settings);
    const query = statementQuery(this.client, first!.role, statement);
    const before = [
      this.#before(transaction, names, first!),
      ...others.map((one) =>
        inFront(this.client, names.length > 0 ? [setting(transaction, names, one)] : []),
      ),
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
  ): readonly Preparation[] {
    const before: Preparation[] = [];
    if (!transaction.hasBegun) before.push(BEGIN);
    transaction.hasBegun = true;
    if (names.length > 0) before.push(setting(transaction, names, settings));
    if (arePrepared(this.client, before)) return inFront(this.client, before);
    for (const preparation of before)
      this.client.query(preparationQuery(this.client, preparation)).catch(() => {});
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
  // In one order, so that few statements are prepared.
  return [...names]
    .filter((name) => all.some((one) => (one[name] ?? "") !== (current.get(name) ?? "")))
    .sort();
}

/** A single statement that sets all of them for the transaction. */
function setting(
  transaction: OpenTransaction,
  names: readonly string[],
  settings: TransactionSettings,
): Preparation {
  const values = names.map((name) => [name, settings[name] ?? ""] as const);
  for (const [name, value] of values) transaction.settings.set(name, value);
  return settingsStatement(Object.fromEntries(values));
}
