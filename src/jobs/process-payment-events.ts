import { inBatches } from "./job.ts";

/**
 * Works on payment events that a server kept and could not finish, and tries those that wait again. One at a time: each
 * locks an account, and two workers that hold several could wait for each other.
 */
export const processPaymentEvents = inBatches("select private.process_payment_events($1) as handled", 1);
