import { inBatches } from "./job.ts";

/** Deletes expired refresh tokens, revocations, challenges and provider flows, and factors that were never confirmed. */
export const deleteExpiredSignInData = inBatches(
  "select private.delete_expired_sign_in_data($1) as handled",
  1_000,
);
