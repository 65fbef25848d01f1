import { inBatches } from "./job.ts";

/** Deletes the contents of expired exports. */
export const deleteExpiredExports = inBatches("select private.delete_expired_exports($1) as handled", 10);
