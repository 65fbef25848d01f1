import { DatabaseError, type Pool, type PoolClient } from "pg";
import { inChildSpan } from "../observability/tracing.ts";
import { connect, measured } from "./measure.ts";
import { holdWrites, releaseWrites } from "./pg-internals/client.ts";
import { type Preparation, queryPrepared } from "./pg-internals/preparations.ts";
import { isReadOnlyServer, renewConnections } from "./pool.ts";
import {
  arePrepared,
  hasTooManyStatements,
  inFront,
  preparationQuery,
  type Statement,
  statementQuery,
  trimStatements,
} from "./prepared-statements.ts";
import { settingsStatement, type TransactionSettings } from "./settings-statement.ts";

export type { Statement } from "./prepared-statements.ts";
export type { TransactionSettings } from "./settings-statement.ts";

export interface StatementResult<TRow> {
  readonly rows: readonly TRow[];
  readonly rowCount: number | null;
  readonly notices: readonly never[];
}

/** A connection inside a transaction; rejects statements once the transaction has ended. */
export interface TransactionClient {
  readonly rawClient: PoolClient;
  query<TRow>(statement: Statement): Promise<StatementResult<TRow>>;
  /** Runs `callback` in a savepoint; other statements of the outer client wait for it. */
  withTransaction<T>(callback: (client: TransactionClient) => Promise<T>): Promise<T>;
}

const errorSettings = new WeakMap<object, TransactionSettings>();

/** The database role under which a transaction failed, if it set one. */
export function roleOfError(error: unknown): string | undefined {
  return settingsOfError(error)?.role ?? undefined;
}

/** Whether the failed transaction's settings had made it read-only; otherwise the database itself rejects writes. */
export function wasMadeReadOnly(error: unknown): boolean {
  return settingsOfError(error)?.transaction_read_only === "on";
}

function settingsOfError(error: unknown): TransactionSettings | undefined {
  return typeof error === "object" && error ? errorSettings.get(error) : undefined;
}

/** Runs one statement of an operation under its settings. */
export type SendStatement = (
  settings: TransactionSettings,
  statement: Statement,
) => Promise<StatementResult<unknown>>;

/**
 * Runs one statement in a transaction of its own with these settings, in one round trip and one write: the settings and the
 * statement are followed by a single Sync, which commits them (PostgreSQL documentation, "Pipelining"). So the settings end
 * with the statement, whatever happens, and a result is returned only after its commit.
 * @param guard runs before them: if it fails, they do not run
 * @throws the error of the server
 */
export async function runStatement<TRow>(
  pool: Pool,
  settings: TransactionSettings,
  statement: Statement,
  guard?: Preparation,
): Promise<StatementResult<TRow>> {
  const before = [...(guard ? [guard] : []), settingsStatement(settings)];
  const client = await connect(pool);
  let error: unknown;
  try {
    // Alone, they have no effect except that the connection knows them from now on.
    if (!arePrepared(client, before))
      for (const each of before) client.query(preparationQuery(client, each)).catch(() => {});
    const query = statementQuery(client, settings.role, statement);
    const { rows, rowCount } = await measured(statement.name, () =>
      queryPrepared<TRow>(client, query, inFront(client, before)),
    );
    return { rows, rowCount, notices: [] };
  } catch (cause) {
    error = cause;
    rememberSettings(cause, settings);
    // With a guard, it is a standby on purpose.
    if (!guard) renewAfterFailover(pool, cause);
    throw cause;
  } finally {
    if (error !== undefined && endsConnection(error)) client.release(true);
    else if (hasTooManyStatements(client)) await release(client);
    else client.release();
  }
}

/**
 * Runs `callback` in a transaction with these settings. begin, the settings and the first statement are pipelined in one
 * write (each with its own Sync: if the settings fail, the rest fails too, with 25P02).
 *
 * A connection returns to the pool only when the server has reported that it is idle; otherwise it is destroyed.
 * @throws the error of `callback` or of the server.
 */
export function runInTransaction<T>(
  pool: Pool,
  settings: TransactionSettings,
  callback: (client: TransactionClient) => T | Promise<T>,
): Promise<T> {
  return inChildSpan("transaction", () => transact(pool, settings, callback));
}

async function transact<T>(
  pool: Pool,
  settings: TransactionSettings,
  callback: (client: TransactionClient) => T | Promise<T>,
): Promise<T> {
  const client = await connect(pool);
  const before = preparationQuery(client, settingsStatement(settings));
  holdWrites(client);
  const opened = Promise.all([client.query("begin"), client.query(before)]);
  // Awaited below; until then a failure must not count as unhandled.
  opened.catch(() => {});

  const scope = createScope(client, settings.role ?? undefined);
  let result: T;
  try {
    let pending: T | Promise<T>;
    try {
      pending = callback(scope.client);
    } finally {
      releaseWrites(client);
    }
    result = await pending;
    await opened;
    scope.close();
    await commit(client);
  } catch (error) {
    scope.close();
    // The failure of the opening explains the failures of the statements behind it.
    const cause = await opened.then(
      () => error,
      (openingError: unknown) => openingError,
    );
    rememberSettings(cause, settings);
    renewAfterFailover(pool, cause);
    await client.query("rollback").catch(() => {});
    await release(client);
    throw cause;
  }
  await release(client);
  return result;
}

/** Lets `roleOfError` and `wasMadeReadOnly` answer for an error. */
export function rememberSettings(error: unknown, settings: TransactionSettings): void {
  if (typeof error === "object" && error) errorSettings.set(error, settings);
}

/** A write that the server rejects, and not the transaction's own settings. */
function renewAfterFailover(pool: Pool, error: unknown): void {
  if (isReadOnlyServer(error) && !wasMadeReadOnly(error)) renewConnections(pool);
}

/**
 * Whether a connection is lost, or may be, after an error: the server has not answered (no SQLSTATE), or it closes the connection
 * (classes 08 and 57P).
 */
function endsConnection(error: unknown): boolean {
  return !(error instanceof DatabaseError) || !error.code || /^(08|57P)/.test(error.code);
}

async function commit(client: PoolClient): Promise<void> {
  const { command } = await client.query("commit");
  // The server responds to the commit of a failed transaction with a rollback and no error.
  if (command !== "COMMIT") throw new Error("The transaction failed and was rolled back.");
}

const spoiled = new WeakSet<PoolClient>();

/** Has a connection destroyed when its transaction ends, instead of returned to its pool. */
export function spoil(client: PoolClient): void {
  spoiled.add(client);
}

/** Returns a connection to its pool, or destroys it when the server has not reported that it is idle. */
export async function release(client: PoolClient): Promise<void> {
  let isReusable = client.getTransactionStatus() === "I" && !spoiled.has(client);
  if (isReusable)
    isReusable = await trimStatements(client).then(
      () => true,
      () => false,
    );
  client.release(!isReusable);
}

function createScope(client: PoolClient, role: string | undefined) {
  let isOpen = true;
  let savepoints = 0;

  function makeClient(): TransactionClient {
    /** The end of the last savepoint; statements queue behind it. */
    let tail: Promise<unknown> | undefined;

    function send<TRow>(statement: Statement): Promise<StatementResult<TRow>> {
      if (!isOpen) return Promise.reject(new Error("The transaction of this client has ended."));
      return measured(statement.name, () => client.query(statementQuery(client, role, statement))).then(
        ({ rows, rowCount }) => ({ rows, rowCount, notices: [] }),
      );
    }

    return {
      rawClient: client,
      query: (statement) => (tail ? tail.then(() => send(statement)) : send(statement)),
      withTransaction(callback) {
        const run = async () => {
          const name = `s${++savepoints}`;
          await send({ text: `savepoint ${name}` });
          try {
            const result = await callback(makeClient());
            await send({ text: `release savepoint ${name}` });
            return result;
          } catch (error) {
            await send({ text: `rollback to savepoint ${name}` });
            throw error;
          }
        };
        const outcome = tail ? tail.then(run) : run();
        tail = outcome.catch(() => {});
        return outcome;
      },
    };
  }

  return {
    client: makeClient(),
    close() {
      isOpen = false;
    },
  };
}
