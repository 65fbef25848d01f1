import { inBatches } from "./job.ts";

/** Ends answers whose writer fell silent: what had arrived stays, and the chat is free. */
export const breakOffExpiredTurns = inBatches("select private.break_off_expired_turns($1) as handled", 100);
