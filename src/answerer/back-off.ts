import { setTimeout as sleep } from "node:timers/promises";
import { type Failure, failureOf } from "./failure.ts";

export interface BackOff {
  readonly attempts: number;
  readonly firstMs: number;
  readonly longestMs: number;
}

const BACK_OFF: BackOff = { attempts: 5, firstMs: 500, longestMs: 30_000 };

/**
 * Runs `attempt` until it succeeds or fails in a way that repetition does not help.
 * @param mayRepeat false once a part of the answer is stored
 */
export async function withBackOff<T>(
  attempt: () => Promise<T>,
  mayRepeat: () => boolean,
  signal: AbortSignal,
  backOff: BackOff = BACK_OFF,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (signal.aborted || !mayRepeat() || tries >= backOff.attempts) throw error;
      const failure = failureOf(error);
      if (!failure.isTemporary) throw error;
      const waitMs = waitingTime(tries, failure, backOff);
      if (waitMs === undefined) throw error;
      await sleep(waitMs, undefined, { signal });
    }
  }
}

/**
 * Half of the time is random, so that many answers that failed together are not repeated together.
 * @returns undefined if the provider wants more time than a reader would wait
 */
function waitingTime(tries: number, { retryAfterMs = 0 }: Failure, backOff: BackOff): number | undefined {
  if (retryAfterMs > backOff.longestMs) return undefined;
  const growing = Math.min(backOff.firstMs * 2 ** (tries - 1), backOff.longestMs);
  return Math.max(retryAfterMs, growing / 2) + (Math.random() * growing) / 2;
}
