import { inBatches } from "./job.ts";

/** Grants the free plan's monthly tokens to those who signed in lately. */
export const grantFreeQuotas = inBatches("select private.grant_free_quotas($1) as handled", 500);
