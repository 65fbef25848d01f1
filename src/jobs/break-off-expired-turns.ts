import { inBatches } from "./job.ts";

/** Ends turns whose writer stopped responding. The text that had arrived stays, and the chat accepts a new turn. */
export const breakOffExpiredTurns = inBatches("select private.break_off_expired_turns($1) as handled", 100);
