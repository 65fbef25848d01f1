import { inBatches } from "./job.ts";

/** Deletes the deduplication keys of heartbeats older than 35 days. */
export const deleteOldHeartbeats = inBatches("select private.delete_old_heartbeats($1) as handled", 10_000);
