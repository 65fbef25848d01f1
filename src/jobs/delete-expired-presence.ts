import { inBatches } from "./job.ts";

/** Removes who is not there or writing any more. */
export const deleteExpiredPresence = inBatches(
  "select private.delete_expired_presence($1) as handled",
  1_000,
);
