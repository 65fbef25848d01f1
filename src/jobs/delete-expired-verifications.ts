import { inBatches } from "./job.ts";

/** Deletes links and codes that expired 30 days ago. */
export const deleteExpiredVerifications = inBatches(
  "select private.delete_expired_verifications($1) as handled",
  1_000,
);
