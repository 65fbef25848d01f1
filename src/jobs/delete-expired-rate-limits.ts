import { inBatches } from "./job.ts";

/** Removes counters of windows that are over and buckets that are full again. */
export const deleteExpiredRateLimits = inBatches(
  "select private.delete_expired_rate_limits($1) as handled",
  1_000,
);
