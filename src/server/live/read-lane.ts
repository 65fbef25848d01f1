import type { Writable } from "node:stream";
import type { PoolClient, QueryConfig } from "pg";
import { touchStatement } from "../prepared-statements.ts";
import {
  roleQualifiedName,
  SET_ALL,
  type Statement,
  type StatementResult,
  type TransactionSettings,
} from "../transaction.ts";

/** Reads of one transaction; then another begins, so that none is open for long. */
const MAX_READS_PER_TRANSACTION = 50;
/** What is told to statements behind a failed one: the transaction has failed, or their shared name was never prepared. */
const TAKEN_ALONG = new Set<unknown>(["25P02", "26000"]);

/**
 * The same few statements, over and over, each for a handful of rows by index: with policies in it, planning one takes five
 * times as long as running it, and left alone PostgreSQL plans each anew because of the number it starts from.
 */
const PLANNED_ONCE = { plan_cache_mode: "force_generic_plan" };

export interface Read {
  readonly settings: TransactionSettings;
  readonly statement: Statement;
  readonly resolve: (result: StatementResult<never>) => void;
  readonly reject: (error: unknown) => void;
}

interface OpenTransaction {
  reads: number;
  hasFailed: boolean;
  /** What is set now, by name. */
  readonly settings: Map<string, string>;
}

/**
 * One connection on which reads are sent as they come, without waiting for the answers of those before. Read-only
 * transactions follow each other on it; one ends when everything in it is answered, when it has become long, or when a
 * statement failed. Each statement is preceded by the settings of whoever asked.
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
    this.#cork();
    this.#transaction ??= this.#begin();
    const transaction = this.#transaction;
    const changed = changedSettings({ ...read.settings, ...PLANNED_ONCE }, transaction.settings);
    if (changed.length > 0)
      this.client.query({ ...SET_ALL, values: [JSON.stringify(changed)] }).catch(() => {
        // The server skips what follows until the transaction ends, so nothing is read under the settings before.
      });
    transaction.reads += 1;
    this.#unanswered += 1;
    this.client
      .query<never>(this.#queryOf(read))
      .then(
        ({ rows, rowCount }) => read.resolve({ rows, rowCount, notices: [] }),
        (error: unknown) => {
          // Answers come in order, so the first failure is the cause of the others.
          if (transaction.hasFailed && TAKEN_ALONG.has((error as { code?: unknown }).code))
            this.#takenAlong(read);
          else read.reject(error);
          transaction.hasFailed = true;
          this.#end(transaction);
        },
      )
      .finally(() => this.#answered());
    if (transaction.reads >= MAX_READS_PER_TRANSACTION) this.#end(transaction);
  }

  /** What is asked for in one go leaves in one write: system calls are what sending costs. */
  #cork(): void {
    if (this.#isCorked) return;
    this.#isCorked = true;
    const { stream } = (this.client as unknown as { connection: { stream: Writable } }).connection;
    stream.cork();
    process.nextTick(() => {
      this.#isCorked = false;
      stream.uncork();
    });
  }

  #begin(): OpenTransaction {
    this.client.query("begin read only").catch(() => {
      // Then the connection is lost, and every read on it learns of that.
    });
    return { reads: 0, hasFailed: false, settings: new Map() };
  }

  #end(transaction: OpenTransaction): void {
    if (this.#transaction !== transaction) return;
    this.#transaction = undefined;
    this.#unanswered += 1;
    this.client
      .query("commit")
      .catch(() => {})
      .finally(() => this.#answered());
  }

  #answered(): void {
    this.#unanswered -= 1;
    if (this.#unanswered > 0) return;
    if (this.#transaction) this.#end(this.#transaction);
    else this.#onIdle();
  }

  #queryOf({ settings, statement }: Read): QueryConfig & { rowMode?: "array" } {
    const { text, values, name, arrayMode } = statement;
    const statementName = name && roleQualifiedName(settings.role ?? undefined, name);
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
 * What has to be set so that exactly these settings hold, and notes it: what an earlier read of the transaction had set and
 * this one does not have becomes empty. (That the transaction is read-only it says itself, once.)
 */
function changedSettings(settings: TransactionSettings, current: Map<string, string>): [string, string][] {
  const changed: [string, string][] = [];
  for (const name of new Set([...current.keys(), ...Object.keys(settings)])) {
    if (name === "transaction_read_only") continue;
    const value = settings[name] ?? "";
    if ((current.get(name) ?? "") === value) continue;
    current.set(name, value);
    changed.push([name, value]);
  }
  return changed;
}
