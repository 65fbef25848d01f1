import type { Statement, TransactionSettings } from "../request/transaction.ts";
import type { ReadResult } from "./read-lane.ts";
import type { SharedReads } from "./shared-reads.ts";
import { type SharedAnswer, SharedTurn } from "./shared-turn.ts";

/** A group whose members see different things takes ever more turns apart before it tries again: 0, 1, 3 … 63. */
const MOST_DOUBLINGS = 6;

/** Who asks, and what. */
export interface Asker {
  /** The same for those whose executions differ in nothing but their claims: document, operation and variables. */
  readonly operation: string;
  readonly settings: TransactionSettings;
}

interface Group {
  readonly key: string;
  size: number;
  /** Turns that have not departed yet, by the place from which they read. */
  readonly gathering: Map<string, SharedTurn>;
  /** The last one that was shared. */
  last: SharedTurn | undefined;
  /** Turns of its members that are still to be taken apart. */
  turnsApart: number;
  /** How often in a row the answer was another for most. */
  misses: number;
}

/** Subscriptions that ask the same. Those that have news at the same moment take a turn together, see SharedTurn. */
export class TurnGroups {
  readonly #reads: SharedReads;
  readonly #groups = new Map<string, Group>();

  constructor(reads: SharedReads) {
    this.#reads = reads;
  }

  join({ operation, settings }: Asker): GroupMember {
    const key = `${settings.role} ${operation}`;
    const group = this.#groups.get(key) ?? {
      key,
      size: 0,
      gathering: new Map(),
      last: undefined,
      turnsApart: 0,
      misses: 0,
    };
    this.#groups.set(key, group);
    group.size += 1;
    return new GroupMember(this.#reads, group, settings, () => {
      group.size -= 1;
      if (group.size === 0) this.#groups.delete(key);
    });
  }

  /** Groups that have members. */
  get size(): number {
    return this.#groups.size;
  }
}

/** A subscription as a member of its group, with its own way to the database. */
export class GroupMember {
  readonly #reads: SharedReads;
  readonly #group: Group;
  readonly #settings: TransactionSettings;
  readonly #leave: () => void;
  #led: SharedTurn | undefined;
  #isPersonal = false;
  #hasLeft = false;

  constructor(reads: SharedReads, group: Group, settings: TransactionSettings, leave: () => void) {
    this.#reads = reads;
    this.#group = group;
    this.#settings = settings;
    this.#leave = leave;
  }

  /** The operation has looked at who asks: its answers are nobody else's from now on. */
  becomePersonal(): void {
    this.#isPersonal = true;
    void this.#led?.settle(undefined);
  }

  /** Takes a turn. @returns the answer of whoever leads it; undefined for who has to be executed */
  async takeTurn(after: string): Promise<SharedAnswer | undefined> {
    const group = this.#group;
    if (this.#isPersonal || group.size === 1) return undefined;
    if (group.turnsApart > 0) {
      group.turnsApart -= 1;
      return undefined;
    }
    const gathering = group.gathering.get(after);
    if (gathering) return gathering.join(this.#settings);
    const turn = new SharedTurn(this.#reads, this.#settings, after);
    this.#led = turn;
    group.gathering.set(after, turn);
    // Whoever has heard the same news by then is in it.
    await new Promise<void>((resolve) => {
      process.nextTick(() => {
        group.gathering.delete(after);
        turn.depart(group.last?.foresee(after));
        resolve();
      });
    });
    return undefined;
  }

  /** A statement of the operation's execution. */
  read<TRow>(statement: Statement): Promise<ReadResult<TRow>> {
    return this.#led ? this.#led.read(statement) : this.readAlone(statement);
  }

  readAlone<TRow>(statement: Statement): Promise<ReadResult<TRow>> {
    return this.#reads.read(this.#settings, statement);
  }

  /** The execution is over. @param answer undefined when it may not be shared */
  settle(answer: SharedAnswer | undefined): void {
    const turn = this.#led;
    if (!turn) return;
    this.#led = undefined;
    const { othersCount } = turn;
    void turn.settle(answer).then((sharedCount) => {
      if (!answer || othersCount === 0) return;
      const group = this.#group;
      if (sharedCount * 2 >= othersCount) {
        group.misses = 0;
        group.last = turn;
        return;
      }
      // Asking on behalf of others what they then have to ask again is more work than none.
      group.turnsApart = (2 ** Math.min(group.misses, MOST_DOUBLINGS) - 1) * (othersCount + 1);
      group.misses += 1;
    });
  }

  leave(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    this.settle(undefined);
    this.#leave();
  }
}
