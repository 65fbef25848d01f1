import type { LiveSubscription } from "./live-subscription.ts";

/** What a subscriber asked for. */
export interface LiveSource {
  /** What to listen to; a reading may change it. */
  readonly topics: readonly string[];
  /**
   * A log is read from a cursor and each of its entries is sent once. Otherwise there is a state, which is read whole and
   * sent when it has changed.
   */
  readonly isLog: boolean;
  /** The last sequence the subscriber has seen; null to start with what comes from now on. */
  readonly after: bigint | null;
  /**
   * Whether the operation's answer follows from its document and variables, from `after` of the turn and from what the database
   * answers, and from nothing else in this process: then those who are answered alike may share one.
   */
  readonly isShareable?: boolean;
  /** The last sequence there is (0 without a log), read under the subscriber's claims; null for who may not see it. */
  open(): Promise<bigint | null>;
  /** Readings begin at least so far apart: what happens in between is told by the next one. */
  readonly minIntervalMs: number;
}

/** One turn: the plan reads what `item` says and reports with {@link LiveSubscription.report}. */
export interface LiveItem {
  /** Read what has a higher sequence. */
  readonly after: string;
  /** The topics that have news; null when all of them may have. */
  readonly topics: readonly string[] | null;
  readonly subscription: LiveSubscription;
}

/** What a turn found. */
export interface Reading {
  /** Where the next one goes on. */
  readonly cursor?: bigint | undefined;
  readonly isEmpty: boolean;
  /** There was more than one answer may hold, or than was read. */
  readonly hasMore?: boolean | undefined;
  /** Nothing can follow. */
  readonly isOver?: boolean | undefined;
  /** The end will be announced with the last sequence once more, so that a hint of a known one may be news. */
  readonly mayEnd?: boolean | undefined;
  /** When the state changes by itself, in ms since 1970. */
  readonly changesAt?: number | undefined;
  readonly topics?: readonly string[] | undefined;
}
