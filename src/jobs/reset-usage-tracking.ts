import { inBatches } from "./job.ts";

/** Starts the month for those who have not used anything in it. */
export const resetUsageTracking = inBatches("select private.reset_usage_tracking($1) as handled", 500);
