import { inBatches } from "./job.ts";

/** Renews, expires and cancels subscriptions whose time has come, and grants the tokens of their new periods. */
export const advanceSubscriptions = inBatches("select private.advance_subscriptions($1) as handled", 100);
