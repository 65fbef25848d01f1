import { inBatches } from "./job.ts";

/** Releases the tokens of holds that were not settled. */
export const expireTokenHolds = inBatches("select private.expire_token_holds($1) as handled", 500);
