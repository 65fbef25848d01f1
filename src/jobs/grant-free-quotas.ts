import { inBatches } from "./job.ts";

/** Grants the free plan's monthly tokens to users who signed in recently. */
export const grantFreeQuotas = inBatches("select private.grant_free_quotas($1) as handled", 500);
