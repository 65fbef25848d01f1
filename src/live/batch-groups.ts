import type { Statement, TransactionSettings } from "../request/transaction.ts";
import type { SharedAnswer } from "./live-source.ts";
import type { ReadResult } from "./read-connection.ts";
import { SharedExecution } from "./shared-execution.ts";
import type { SharedReads } from "./shared-reads.ts";

/** A group whose members see different rows executes ever more batches separately before it tries sharing again: 0, 1, 3 … 63. */
const MOST_DOUBLINGS = 6;

/** A subscriber and its operation. */
export interface Subscriber {
  /** Document, operation and variables: equal for subscribers whose executions differ only in their claims. */
  readonly operation: string;
  readonly settings: TransactionSettings;
}

interface Group {
  readonly key: string;
  size: number;
  /** Batches that have not departed yet, by cursor. */
  readonly gathering: Map<string, SharedExecution>;
  /** The last execution that was shared. */
  last: SharedExecution | undefined;
  /** Number of batches that members still execute separately. */
  batchesApart: number;
  /** Number of consecutive executions whose answer most members could not share. */
  misses: number;
}

/** Groups of subscriptions to the same operation. Members with news at the same moment share a batch, see SharedExecution. */
export class BatchGroups {
  readonly #reads: SharedReads;
  readonly #isSharing: boolean;
  readonly #groups = new Map<string, Group>();

  /** @param options.isSharing if false, every member executes the operation itself */
  constructor(reads: SharedReads, { isSharing }: { isSharing: boolean }) {
    this.#reads = reads;
    this.#isSharing = isSharing;
  }

  join({ operation, settings }: Subscriber): GroupMember {
    const key = `${settings.role} ${operation}`;
    const group = this.#groups.get(key) ?? {
      key,
      size: 0,
      gathering: new Map(),
      last: undefined,
      batchesApart: 0,
      misses: 0,
    };
    this.#groups.set(key, group);
    group.size += 1;
    const member = new GroupMember(this.#reads, group, settings, () => {
      group.size -= 1;
      if (group.size === 0) this.#groups.delete(key);
    });
    if (!this.#isSharing) member.optOutOfSharing();
    return member;
  }

  /** Number of groups with members. */
  get size(): number {
    return this.#groups.size;
  }
}

/** A subscription as a member of its group, with its own database access. */
export class GroupMember {
  readonly #reads: SharedReads;
  readonly #group: Group;
  readonly #settings: TransactionSettings;
  readonly #leave: () => void;
  #led: SharedExecution | undefined;
  #hasOptedOut = false;
  #hasLeft = false;

  constructor(reads: SharedReads, group: Group, settings: TransactionSettings, leave: () => void) {
    this.#reads = reads;
    this.#group = group;
    this.#settings = settings;
    this.#leave = leave;
  }

  /** Stops sharing, such as when the operation has read caller-specific context. */
  optOutOfSharing(): void {
    this.#hasOptedOut = true;
    void this.#led?.settle(undefined);
  }

  /** Takes part in a batch. @returns the leader's answer; undefined if the subscriber must execute the operation itself */
  async takeBatch(after: string): Promise<SharedAnswer | undefined> {
    const group = this.#group;
    if (this.#hasOptedOut || group.size === 1) return undefined;
    if (group.batchesApart > 0) {
      group.batchesApart -= 1;
      return undefined;
    }
    const gathering = group.gathering.get(after);
    if (gathering) return gathering.join(this.#settings);
    const execution = new SharedExecution(this.#reads, this.#settings, after);
    this.#led = execution;
    group.gathering.set(after, execution);
    // Members that hear the same news before the next tick join.
    await new Promise<void>((resolve) => {
      process.nextTick(() => {
        group.gathering.delete(after);
        execution.depart(group.last?.foresee(after));
        resolve();
      });
    });
    return undefined;
  }

  /** Runs a statement of the operation's execution. */
  read<TRow>(statement: Statement): Promise<ReadResult<TRow>> {
    return this.#led ? this.#led.read(statement) : this.readAlone(statement);
  }

  readAlone<TRow>(statement: Statement): Promise<ReadResult<TRow>> {
    return this.#reads.read(this.#settings, statement);
  }

  /** Ends the execution. @param answer undefined when it may not be shared */
  settle(answer: SharedAnswer | undefined): void {
    const execution = this.#led;
    if (!execution) return;
    this.#led = undefined;
    const { othersCount } = execution;
    void execution.settle(answer).then((sharedCount) => {
      if (!answer || othersCount === 0) return;
      const group = this.#group;
      if (sharedCount * 2 >= othersCount) {
        group.misses = 0;
        group.last = execution;
        return;
      }
      // Reading on behalf of others who then have to read again costs more than not sharing.
      group.batchesApart = (2 ** Math.min(group.misses, MOST_DOUBLINGS) - 1) * (othersCount + 1);
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
