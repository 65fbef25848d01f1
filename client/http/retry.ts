import { PlinthClientError } from "../error.ts";
import { TRANSIENT_CODES } from "../error-codes.ts";
import { backOff, sleep } from "../support/sleep.ts";

/** A longer wait is left to the caller, who knows the user. */
const LONGEST_WAIT_SECONDS = 30;

/** Repeats an attempt after passing errors, up to `retries` times. */
export async function withRetries<T>(
  retries: number,
  signal: AbortSignal | undefined,
  attempt: () => Promise<T>,
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof PlinthClientError) || !TRANSIENT_CODES.has(error.code)) throw error;
      const { retryAfter = 0 } = error;
      if (failures > retries || retryAfter > LONGEST_WAIT_SECONDS) throw error;
      await sleep(Math.max(backOff(failures), retryAfter * 1_000), signal);
    }
  }
}
