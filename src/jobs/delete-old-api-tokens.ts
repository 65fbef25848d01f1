import { inBatches } from "./job.ts";

/** Deletes API tokens that were revoked or expired long ago. */
export const deleteOldApiTokens = inBatches("select private.delete_old_api_tokens($1) as handled", 1_000);
