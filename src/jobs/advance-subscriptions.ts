import { inBatches } from "./job.ts";

/** Renews, expires and cancels subscriptions that are due, and grants the tokens of their new periods. */
export const advanceSubscriptions = inBatches("select private.advance_subscriptions($1) as handled", 100);
