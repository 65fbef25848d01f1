import { inBatches } from "./job.ts";

/** Removes links and codes that ended 30 days ago. */
export const deleteExpiredVerifications = inBatches(
  "select private.delete_expired_verifications($1) as handled",
  1_000,
);
