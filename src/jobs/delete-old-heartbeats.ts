import { inBatches } from "./job.ts";

/** Removes the marks of heartbeats that are too old to come again. */
export const deleteOldHeartbeats = inBatches("select private.delete_old_heartbeats($1) as handled", 10_000);
