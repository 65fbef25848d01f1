import type { Pool, PoolClient } from "pg";
import { connect, measured } from "./measure.ts";
import { holdWrites, releaseWrites } from "./pg-internals/client.ts";
import type { Preparation } from "./pg-internals/preparations.ts";
import { preparationQuery, statementQuery } from "./prepared-statements.ts";
import { settingsStatement, type TransactionSettings } from "./settings-statement.ts";
import { release, rememberSettings, type Statement, type StatementResult } from "./transaction.ts";

const BEGIN = "begin isolation level repeatable read read only";
const SAVEPOINT = "savepoint before_statement";
const UNDO = "rollback to savepoint before_statement";
/** SQLSTATE of a statement whose name an earlier statement should have prepared, but failed to. */
const NOT_PREPARED = "26000";

interface OpenTransaction {
  readonly client: PoolClient;
  /** Fails if the transaction or its settings do; then every statement fails too. */
  readonly opened: Promise<unknown>;
  statements: number;
  unanswered: number;
  isHoldingWrites: boolean;
}

/**
 * The reads of one operation, which all see the database at the same moment: a read-only transaction on one connection,
 * opened by the first read. Reads are sent without waiting for earlier results, and those of one tick in one write with
 * the opening. Each read after the first returns to a savepoint, so a failed read leaves the others and the snapshot intact.
 */
export class Snapshot {
  readonly #pool: Pool;
  readonly #settings: TransactionSettings;
  readonly #guard: Preparation | undefined;
  readonly #onFailure: (error: unknown) => void;
  #transaction: Promise<OpenTransaction> | undefined;
  #hasEnded = false;

  /**
   * @param options.guard runs before the snapshot is taken: if it fails, the reads do not run
   * @param options.onFailure called with each error that a read throws
   */
  constructor(
    pool: Pool,
    settings: TransactionSettings,
    { guard, onFailure = () => {} }: { guard?: Preparation; onFailure?: (error: unknown) => void } = {},
  ) {
    this.#guard = guard;
    this.#pool = pool;
    this.#settings = settings;
    this.#onFailure = onFailure;
  }

  /** @throws the error of the server, or the pool's when no connection is available */
  async read<TRow>(statement: Statement): Promise<StatementResult<TRow>> {
    try {
      return await this.#read<TRow>(statement);
    } catch (error) {
      this.#onFailure(error);
      throw error;
    }
  }

  async #read<TRow>(statement: Statement): Promise<StatementResult<TRow>> {
    this.#transaction ??= this.#open();
    const transaction = await this.#transaction;
    try {
      return await this.#send<TRow>(transaction, statement);
    } catch (error) {
      const isCollateral = (error as { code?: unknown }).code === NOT_PREPARED && transaction.statements > 1;
      if (isCollateral) return this.#send(transaction, statement);
      throw error;
    }
  }

  /** Ends the transaction and returns its connection, also when reads are still running. Idempotent. */
  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#transaction?.then(
      ({ client }) =>
        client.query("commit").then(
          () => release(client),
          () => client.release(true),
        ),
      // Without a connection there is nothing to return.
      () => {},
    );
  }

  async #open(): Promise<OpenTransaction> {
    const client = await connect(this.#pool);
    const transaction = { client, statements: 0, unanswered: 0, isHoldingWrites: false };
    holdForTick(transaction);
    const opened = Promise.all([
      ...(this.#guard ? [client.query(preparationQuery(client, this.#guard))] : []),
      client.query(BEGIN),
      // Takes the snapshot. Before the savepoint, or the first return to it would undo the settings.
      client.query(preparationQuery(client, settingsStatement(this.#settings))),
      client.query(SAVEPOINT),
    ]);
    opened.catch(() => {});
    return Object.assign(transaction, { opened });
  }

  async #send<TRow>(transaction: OpenTransaction, statement: Statement): Promise<StatementResult<TRow>> {
    if (this.#hasEnded) throw new Error("The operation of this statement has ended.");
    const { client, opened } = transaction;
    holdForTick(transaction);
    if (transaction.statements > 0) client.query(UNDO).catch(() => {});
    transaction.statements += 1;
    transaction.unanswered += 1;
    // The answer may have to wait for those of all reads before it.
    const query_timeout = (this.#pool.options.query_timeout ?? 0) * transaction.unanswered;
    const query = { ...statementQuery(client, this.#settings.role, statement), query_timeout };
    try {
      const { rows, rowCount } = await measured(statement.name, () => client.query(query));
      // Answered before; a statement does not fail because the guard has.
      await opened;
      return { rows, rowCount, notices: [] };
    } catch (error) {
      // The failure of the opening explains the failures of the statements behind it.
      const cause = await opened.then(
        () => error,
        (openingError: unknown) => openingError,
      );
      rememberSettings(cause, this.#settings);
      throw cause;
    } finally {
      transaction.unanswered -= 1;
    }
  }
}

/** Sends what one tick adds in one write. */
function holdForTick(transaction: OpenTransaction | Omit<OpenTransaction, "opened">): void {
  if (transaction.isHoldingWrites) return;
  transaction.isHoldingWrites = true;
  holdWrites(transaction.client);
  process.nextTick(() => {
    transaction.isHoldingWrites = false;
    releaseWrites(transaction.client);
  });
}
