import { inBatches } from "./job.ts";

/** Deletes refresh tokens and blacklist rows that have expired. */
export const deleteExpiredTokens = inBatches("select private.delete_expired_tokens($1) as handled", 1_000);
