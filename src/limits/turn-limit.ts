import type { Logger } from "pino";
import { RequestLeases, type TakeLease } from "./request-leases.ts";
import type { TurnCalls } from "./turn-calls.ts";

/** Bytes of streamed answers that an account may send a second, on average over a window. */
const TURN_BYTES_PER_SECOND = 35_000;
/** Each append is a transaction and a notification, however short its text is. */
const LEAST_BYTES_PER_APPEND = 250;
/** Answers that an account may end in a window beyond what it was charged with; far more than it can begin. */
const ENDS_PER_WINDOW = 1_000;

export interface TurnLimit {
  /** @returns milliseconds to wait when it is too much, else 0 */
  charge(userId: string, calls: TurnCalls): Promise<number>;
  close(): void;
}

/**
 * Streamed answers are charged to the account that writes them, by their bytes, and not to the address they come from: one
 * backend streams for all its users. What ends an answer has a count of its own, so that an account that has sent too
 * much can still end what it began.
 */
export function createTurnLimit(options: {
  windowSeconds: number;
  takeLease: TakeLease;
  logger: Logger;
}): TurnLimit {
  const { windowSeconds, takeLease, logger } = options;
  const limit = turnBytesPerWindow(windowSeconds);
  const store = new RequestLeases({ limit, windowMs: windowSeconds * 1000, takeLease, logger });

  async function chargeBytes(key: string, bytes: number): Promise<number> {
    const { totalHits, resetTime } = await store.increment(key, Math.min(bytes, limit));
    return totalHits <= limit ? 0 : Math.max(1, (resetTime?.getTime() ?? 0) - Date.now());
  }

  return {
    async charge(userId, { appends, ends, bytes }) {
      if (appends > 0) {
        const waitMs = await chargeBytes(
          `turns of ${userId}`,
          Math.max(bytes, appends * LEAST_BYTES_PER_APPEND),
        );
        if (waitMs > 0) return waitMs;
      }
      return ends > 0 ? chargeBytes(`ends of ${userId}`, Math.ceil((ends * limit) / ENDS_PER_WINDOW)) : 0;
    },
    close: () => store.shutdown(),
  };
}

/** The most that a limit in the database may be. */
const MAX_LIMIT = 1_000_000_000;

export const turnBytesPerWindow = (windowSeconds: number): number =>
  Math.min(windowSeconds * TURN_BYTES_PER_SECOND, MAX_LIMIT);
