import { inBatches } from "./job.ts";

/** Starts the new month for idle accounts. */
export const resetUsageTracking = inBatches("select private.reset_usage_tracking($1) as handled", 500);
