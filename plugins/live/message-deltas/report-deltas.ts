import type { ReadingSubscription } from "../../../src/live/live-source.ts";
import type { Report } from "../reading-step.ts";

/** Maximum deltas per answer; subscribers further behind get the rest in the next answers. */
export const PAGE_SIZE = 100;

/** The sequences of the deltas read, and the state and last sequence of their message. */
export type Found = [sequences: number[], state: string, lastSequence: number];

/** Subscriptions that have already read the end of the answer. */
const endSeen = new WeakSet<ReadingSubscription>();

/** Detects the end: the message has ended, and all its deltas have been read or are gone. */
export const reportDeltas: Report<Found> = ({ after, subscription }, sequences, state, lastSequence) => {
  const lastRead = sequences.at(-1) ?? Number(after);
  const isEmpty = sequences.length === 0;
  const hasEnded = state !== "streaming";
  // Deltas may arrive between reading the deltas and the message, so only deltas missing twice are gone.
  const isGone = isEmpty && endSeen.has(subscription);
  if (hasEnded) endSeen.add(subscription);
  const isOver = hasEnded && (lastRead >= lastSequence || isGone);
  const sequence = isOver ? lastSequence : lastRead;
  const hasMore = sequences.length === PAGE_SIZE || (hasEnded && !isOver);
  return {
    reading: { cursor: BigInt(sequence), isEmpty, hasMore, isOver, mayEnd: true },
    answer: { sequence, isOver },
  };
};
