import type { Logger } from "pino";
import { RequestLeases, type TakeLease } from "./request-leases.ts";
import type { TurnCalls } from "./turn-calls.ts";

/** Bytes of streamed answers that an account may send per second, on average over a window. */
const TURN_BYTES_PER_SECOND = 35_000;
/** Minimum charge per append, which costs a transaction and a notification however short its text is. */
const LEAST_BYTES_PER_APPEND = 250;
/** Maximum answers that an account may end per window on a separate count; far more than it can start. */
const ENDS_PER_WINDOW = 1_000;

export interface TurnLimit {
  /** @returns milliseconds to wait when over the limit, else 0 */
  charge(userId: string, calls: TurnCalls): Promise<number>;
  close(): void;
}

/**
 * Charges streamed answers by their bytes to the account that writes them, not to the client address, because one backend
 * streams for all its users. Calls that end an answer are counted separately, so that an account over its limit can still
 * end its answers.
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
    return totalHits <= limit ? 0 : Math.max(1, resetTime.getTime() - Date.now());
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

/** The largest limit that the database accepts. */
const MAX_LIMIT = 1_000_000_000;

export const turnBytesPerWindow = (windowSeconds: number): number =>
  Math.min(windowSeconds * TURN_BYTES_PER_SECOND, MAX_LIMIT);
