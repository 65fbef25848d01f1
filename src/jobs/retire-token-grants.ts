import { inBatches } from "./job.ts";

/** Takes ended grants out of what reserve looks through. */
export const retireTokenGrants = inBatches("select private.retire_token_grants($1) as handled", 500);
