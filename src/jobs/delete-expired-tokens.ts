import { inBatches } from "./job.ts";

/** Removes refresh tokens and blacklist rows that have expired: nothing reads them any more. */
export const deleteExpiredTokens = inBatches("select private.delete_expired_tokens($1) as handled", 1_000);
