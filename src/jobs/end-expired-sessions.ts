import { inBatches } from "./job.ts";

/** Marks sessions ended that were idle or open for too long, and forgets those that ended long ago. */
export const endExpiredSessions = inBatches("select private.end_expired_sessions($1) as handled", 1_000);
