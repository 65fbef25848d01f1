import { inBatches } from "./job.ts";

/** Deletes the streaming data of turns a day after they ended. The text of the answer stays. */
export const deleteEndedTurns = inBatches("select private.delete_ended_turns($1) as handled", 1_000);
