import { inBatches } from "./job.ts";

/** Excludes ended grants from the grants that a reservation scans. */
export const retireTokenGrants = inBatches("select private.retire_token_grants($1) as handled", 500);
