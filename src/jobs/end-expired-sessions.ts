import { inBatches } from "./job.ts";

/** Ends sessions that were idle or open for too long, and deletes those that ended long ago. */
export const endExpiredSessions = inBatches("select private.end_expired_sessions($1) as handled", 1_000);
