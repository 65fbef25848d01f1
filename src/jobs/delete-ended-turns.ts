import { inBatches } from "./job.ts";

/** Removes what is kept of answers besides their text, a day after they ended. */
export const deleteEndedTurns = inBatches("select private.delete_ended_turns($1) as handled", 1_000);
