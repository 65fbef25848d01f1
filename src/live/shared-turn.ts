import { isDeepStrictEqual } from "node:util";
import type { ExecutionResult } from "postgraphile/graphql";
import type { Statement, TransactionSettings } from "../request/transaction.ts";
import type { Reading } from "./live-source.ts";
import type { ReadResult } from "./read-lane.ts";
import type { RawRows } from "./read-query.ts";
import type { SharedReads } from "./shared-reads.ts";

/** Others tried together, in one flight: their answers go out while the next ones are looked at. */
const TRIED_TOGETHER = 5;

/** What a turn came to. */
export interface SharedAnswer {
  readonly result: ExecutionResult;
  readonly reading: Reading;
}

interface Other {
  readonly settings: TransactionSettings;
  readonly answer: PromiseWithResolvers<SharedAnswer | undefined>;
  /** One for each statement: whether it is answered for the other as for the leader. */
  readonly isSame: Promise<boolean>[];
}

interface Sent {
  readonly statement: Statement;
  readonly result: Promise<ReadResult<unknown>>;
}

/**
 * One execution of an operation for all who ask the same at the same place. Only the leader's is executed, and each statement it
 * issues is also run under the claims of each of the others. To whom the database answers every one of them with the same rows, byte
 * for byte, the leader's answer is the own: an execution follows from the operation and from what its statements are answered.
 */
export class SharedTurn {
  readonly after: string;
  readonly #reads: SharedReads;
  readonly #settings: TransactionSettings;
  readonly #others: Other[] = [];
  #ahead: Sent | undefined;
  #first: Statement | undefined;
  #isOver = false;

  /**
   * @param settings the leader's
   * @param after where it reads from
   */
  constructor(reads: SharedReads, settings: TransactionSettings, after: string) {
    this.#reads = reads;
    this.#settings = settings;
    this.after = after;
  }

  get othersCount(): number {
    return this.#others.length;
  }

  /** Before the turn departs. @returns the answer, or undefined for who has to be executed after all */
  async join(settings: TransactionSettings): Promise<SharedAnswer | undefined> {
    if (this.#isOver) return undefined;
    const answer = Promise.withResolvers<SharedAnswer | undefined>();
    this.#others.push({ settings, answer, isSame: [] });
    return answer.promise;
  }

  /** Nobody joins any more, and the leader is executed next; what its first statement will be leaves before it is. */
  depart(foreseen: Statement | undefined): void {
    if (!foreseen || this.#isOver) return;
    this.#ahead = this.#send(foreseen);
    this.#reads.flush();
  }

  /** A statement of the leader's execution. */
  read<TRow>(statement: Statement): Promise<ReadResult<TRow>> {
    this.#first ??= statement;
    const ahead = this.#ahead;
    this.#ahead = undefined;
    const sent = ahead && isDeepStrictEqual(ahead.statement, statement) ? ahead : this.#send(statement);
    return sent.result as Promise<ReadResult<TRow>>;
  }

  /** What the first statement of a turn is likely to be that reads from elsewhere: only used if it is. */
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
   * The leader's execution is over.
   * @param answer undefined when it is nobody else's: it failed, or it ended before there was one
   * @returns how many it was the same for
   */
  async settle(answer: SharedAnswer | undefined): Promise<number> {
    if (this.#isOver) return 0;
    this.#isOver = true;
    const shared = await Promise.all(
      this.#others.map(async (other) => {
        // Who asked the database nothing has not been shown that it would answer others alike.
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
