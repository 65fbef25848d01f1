import { inBatches } from "./job.ts";

/**
 * Processes payment events that a server stored but did not finish, and retries waiting ones. Events are processed one by one: each locks
 * an account, and two workers that hold several locks could deadlock.
 */
export const processPaymentEvents = inBatches("select private.process_payment_events($1) as handled", 1);
