import { inBatches } from "./job.ts";

/** Gives back the tokens of holds that nobody settled. */
export const expireTokenHolds = inBatches("select private.expire_token_holds($1) as handled", 500);
