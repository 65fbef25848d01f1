import { inBatches } from "./job.ts";

/** Deletes counters of past windows and buckets that are full again. */
export const deleteExpiredRateLimits = inBatches(
  "select private.delete_expired_rate_limits($1) as handled",
  1_000,
);
