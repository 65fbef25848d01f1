import { inBatches } from "./job.ts";

/** Deletes expired presence rows. */
export const deleteExpiredPresence = inBatches(
  "select private.delete_expired_presence($1) as handled",
  1_000,
);
