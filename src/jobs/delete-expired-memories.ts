import { inBatches } from "./job.ts";

/** Deletes memories whose time of expiry has passed. */
export const deleteExpiredMemories = inBatches(
  "select private.delete_expired_memories($1) as handled",
  1_000,
);
