import type { Pool, PoolClient, QueryConfig } from "pg";
import { touchStatement } from "../prepared-statements.ts";
import {
  giveBack,
  roleQualifiedName,
  SET_ALL,
  type Statement,
  type StatementResult,
  type TransactionSettings,
} from "../transaction.ts";

/** Flights under way at once: each is a connection, leased for some milliseconds. */
const MAX_FLIGHTS = 2;
/** Reads that leave together; what comes meanwhile takes the next flight. */
const MAX_READS_PER_FLIGHT = 50;
/** What is told to statements behind a failed one: the transaction has failed, or their shared name was never prepared. */
const TAKEN_ALONG = new Set<unknown>(["25P02", "26000"]);

interface Read {
  readonly settings: TransactionSettings;
  readonly statement: Statement;
  readonly resolve: (result: StatementResult<never>) => void;
  readonly reject: (error: unknown) => void;
}

/** What a reader gets in place of a client. */
export interface ReadClient {
  query<TRow>(statement: Statement): Promise<StatementResult<TRow>>;
}

/**
 * Reads of many subscribers, each under its own claims, over few connections. Reads that are asked for at the same time
 * leave in one flight: one read-only transaction in which each statement is preceded by the settings of whoever asked,
 * all sent at once. The answers come in that order and are handed on as they come. So a thousand subscriptions need two
 * connections, and none of them while nothing happens.
 *
 * A statement that fails takes the rest of its flight with it: those are sent again, in another one.
 */
export class SharedReads {
  readonly #pool: Pool;
  #waiting: Read[] = [];
  #flights = 0;
  #isScheduled = false;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** For PostGraphile, in place of a client with a transaction of its own. */
  readonly withClient = async <T>(
    settings: TransactionSettings | null,
    callback: (client: ReadClient) => T | Promise<T>,
  ): Promise<T> => {
    if (!settings?.role) throw new Error("A shared read needs the settings of whoever asks.");
    return callback({ query: (statement) => this.read(settings, statement) });
  };

  /** @throws the server's error; what the pool throws when it has no connection */
  read<TRow>(settings: TransactionSettings, statement: Statement): Promise<StatementResult<TRow>> {
    return new Promise<StatementResult<never>>((resolve, reject) => {
      this.#waiting.push({ settings, statement, resolve, reject });
      this.#schedule();
    }) as Promise<StatementResult<TRow>>;
  }

  #schedule(): void {
    if (this.#isScheduled || this.#flights >= MAX_FLIGHTS || this.#waiting.length === 0) return;
    this.#isScheduled = true;
    // Whoever was woken by the same notification asks within the same turn of the event loop.
    setImmediate(() => {
      this.#isScheduled = false;
      while (this.#flights < MAX_FLIGHTS && this.#waiting.length > 0)
        void this.#fly(this.#waiting.splice(0, MAX_READS_PER_FLIGHT));
    });
  }

  /** Never rejects. */
  async #fly(reads: readonly Read[]): Promise<void> {
    this.#flights += 1;
    try {
      const client = await this.#pool.connect();
      try {
        await this.#send(client, reads);
      } finally {
        await giveBack(client);
      }
    } catch (error) {
      for (const read of reads) read.reject(error);
    } finally {
      this.#flights -= 1;
      this.#schedule();
    }
  }

  async #send(client: PoolClient, reads: readonly Read[]): Promise<void> {
    const names = new Set(reads.flatMap(({ settings }) => Object.keys(settings)));
    // The transaction says it once; it cannot be taken back for a single statement.
    names.delete("transaction_read_only");
    const opened = client.query("begin read only");
    opened.catch(() => {});
    let current: string | undefined;
    let hasFailed = false;
    const answers = reads.map(async (read) => {
      const entries = entriesOf(read.settings, names);
      if (entries !== current) client.query({ ...SET_ALL, values: [entries] }).catch(() => {});
      current = entries;
      try {
        const { rows, rowCount } = await client.query<never>(queryOf(client, read));
        read.resolve({ rows, rowCount, notices: [] });
      } catch (error) {
        // Answers come in order, so the first failure is the cause of the others.
        if (hasFailed && TAKEN_ALONG.has((error as { code?: unknown }).code)) this.#waiting.push(read);
        else read.reject(error);
        hasFailed = true;
      }
    });
    const ended = client.query("commit");
    ended.catch(() => {});
    await Promise.all(answers);
    await ended.catch(() => {});
  }
}

/** Every setting that anybody in the flight has is set for everybody, so that none is inherited from another. */
function entriesOf(settings: TransactionSettings, names: ReadonlySet<string>): string {
  return JSON.stringify([...names].map((name) => [name, settings[name] ?? ""]));
}

function queryOf(client: PoolClient, { settings, statement }: Read): QueryConfig & { rowMode?: "array" } {
  const { text, values, name, arrayMode } = statement;
  const statementName = name && roleQualifiedName(settings.role ?? undefined, name);
  if (statementName) touchStatement(client, statementName);
  return {
    text,
    ...(values && { values: [...values] }),
    ...(statementName && { name: statementName }),
    ...(arrayMode && { rowMode: "array" as const }),
  };
}
