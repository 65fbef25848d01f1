import type { ExecutionResult } from "graphql";

/** The data that a subscription delivers. */
export interface LiveSource {
  /** The topics to listen to; a batch may change them. */
  readonly topics: readonly string[];
  /**
   * A log is read from a cursor and each of its entries is sent once. A state (false) is read whole and sent when it has
   * changed.
   */
  readonly isLog: boolean;
  /** The last sequence the subscriber has seen; null to start with the next one. */
  readonly after: bigint | null;
  /**
   * Whether the operation's answer depends only on its document and variables, the batch's `after` and the rows the database
   * returns. If so, subscribers for whom the database returns the same rows may share an answer.
   */
  readonly isShareable?: boolean;
  /** Returns the current last sequence (0 for a state), read under the subscriber's claims; null if the subscriber may not see it. */
  open(): Promise<bigint | null>;
  /** Minimum time between the starts of two batches; the next batch covers the changes in between. */
  readonly minIntervalMs: number;
}

/** The subscription as its plans see it, see LiveSubscription. */
export interface ReadingSubscription {
  /** The topics it listens to now; the first topic of its source stays the first. */
  readonly topics: readonly string[];
  /** Reports what the batch under way found. */
  report(reading: Reading): void;
  /** Stops listening. Idempotent. */
  end(): void;
}

/** A batch: the plan reads the rows that `item` names and calls `subscription.report`. */
export interface LiveItem {
  /** Read entries with a higher sequence. */
  readonly after: string;
  /** The topics that have news; null when any of them may. */
  readonly topics: readonly string[] | null;
  readonly subscription: ReadingSubscription;
}

/** The outcome of a batch. */
export interface Reading {
  /** Where the next batch starts. */
  readonly cursor?: bigint | undefined;
  readonly isEmpty: boolean;
  /** More rows exist than one answer may hold, or than were read. */
  readonly hasMore?: boolean | undefined;
  /** No further answer can follow. */
  readonly isOver?: boolean | undefined;
  /** The end will be announced with the last sequence again, so a hint with a known sequence may be news. */
  readonly mayEnd?: boolean | undefined;
  /** When the state changes without a notification, in ms since 1970. */
  readonly changesAt?: number | undefined;
  readonly topics?: readonly string[] | undefined;
}

/** The result of a batch, as several subscriptions may share it. */
export interface SharedAnswer {
  readonly result: ExecutionResult;
  readonly reading: Reading;
}
