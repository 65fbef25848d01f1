import { isDeepStrictEqual } from "node:util";
import type { RawRows } from "../request/pg-internals/node-pg.ts";
import type { Statement, TransactionSettings } from "../request/transaction.ts";
import type { SharedAnswer } from "./live-source.ts";
import type { ReadResult } from "./read-connection.ts";
import type { SharedReads } from "./shared-reads.ts";

/** Others tried in one round trip: their answers are sent while the next ones are compared. */
const TRIED_TOGETHER = 5;

interface Other {
  readonly settings: TransactionSettings;
  readonly answer: PromiseWithResolvers<SharedAnswer | undefined>;
  /** For each statement, whether the other gets the same rows as the leader. */
  readonly isSame: Promise<boolean>[];
}

interface Sent {
  readonly statement: Statement;
  readonly result: Promise<ReadResult<unknown>>;
}

/**
 * A single execution of an operation for all subscribers to the same operation at the same cursor. Only the leader's operation is
 * executed, and each of its statements also runs under the claims of each of the others. Others share the leader's answer
 * if the database returns the same rows, byte for byte, for every statement: an answer depends only on the operation and
 * the rows of its statements.
 */
export class SharedExecution {
  readonly after: string;
  readonly #reads: SharedReads;
  readonly #settings: TransactionSettings;
  readonly #others: Other[] = [];
  #ahead: Sent | undefined;
  #first: Statement | undefined;
  #isOver = false;

  /**
   * @param settings of the leader
   * @param after the cursor it reads from
   */
  constructor(reads: SharedReads, settings: TransactionSettings, after: string) {
    this.#reads = reads;
    this.#settings = settings;
    this.after = after;
  }

  get othersCount(): number {
    return this.#others.length;
  }

  /** Joins before the batch departs. @returns the answer, or undefined if the subscriber must execute the operation itself */
  async join(settings: TransactionSettings): Promise<SharedAnswer | undefined> {
    if (this.#isOver) return undefined;
    const answer = Promise.withResolvers<SharedAnswer | undefined>();
    this.#others.push({ settings, answer, isSame: [] });
    return answer.promise;
  }

  /** Ends joining; the leader executes next. Its expected first statement is sent ahead. */
  depart(foreseen: Statement | undefined): void {
    if (!foreseen || this.#isOver) return;
    this.#ahead = this.#send(foreseen);
    this.#reads.flush();
  }

  /** Runs a statement of the leader's execution. */
  read<TRow>(statement: Statement): Promise<ReadResult<TRow>> {
    this.#first ??= statement;
    const ahead = this.#ahead;
    this.#ahead = undefined;
    const sent = ahead && isDeepStrictEqual(ahead.statement, statement) ? ahead : this.#send(statement);
    return sent.result as Promise<ReadResult<TRow>>;
  }

  /** Predicts the first statement of a batch at another cursor; the result is used only if the prediction is right. */
  foresee(after: string): Statement | undefined {
    const first = this.#first;
    return (
      first && { ...first, values: first.values?.map((value) => (value === this.after ? after : value)) }
    );
  }

  #send(statement: Statement): Sent {
    const result = this.#reads.read(this.#settings, statement);
    const raw = result.then(
      (own) => own.raw,
      () => undefined,
    );
    for (let i = 0; i < this.#others.length && !this.#isOver; i += TRIED_TOGETHER) {
      const tried = this.#others.slice(i, i + TRIED_TOGETHER);
      const answers = this.#reads.try(
        tried.map(({ settings }) => settings),
        statement,
      );
      for (const [n, { isSame }] of tried.entries())
        isSame.push(Promise.all([raw, answers]).then(([rows, theirs]) => areSame(rows, theirs[n])));
    }
    return { statement, result };
  }

  /**
   * Ends the leader's execution.
   * @param answer undefined when it cannot be shared: the execution failed or ended early
   * @returns the number of others that share it
   */
  async settle(answer: SharedAnswer | undefined): Promise<number> {
    if (this.#isOver) return 0;
    this.#isOver = true;
    const shared = await Promise.all(
      this.#others.map(async (other) => {
        // Without any statement, nothing proves that the others would get the same answer.
        const isShared =
          answer !== undefined &&
          this.#first !== undefined &&
          other.isSame.length > 0 &&
          (await Promise.all(other.isSame)).every(Boolean);
        other.answer.resolve(isShared ? answer : undefined);
        return isShared;
      }),
    );
    return shared.filter(Boolean).length;
  }
}

function areSame(rows: RawRows | undefined, others: RawRows | undefined): boolean {
  return (
    rows !== undefined &&
    rows.length === others?.length &&
    rows.every((row, i) => {
      const other = others[i]!;
      return row.length === other.length && row.every((value, column) => value === other[column]);
    })
  );
}
