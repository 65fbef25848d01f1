import { inBatches } from "./job.ts";

/** Deletes errors older than 90 days. */
export const deleteOldErrorLogs = inBatches("select private.delete_old_error_logs($1) as handled", 1_000);
