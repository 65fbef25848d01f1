import { inBatches } from "./job.ts";

/** Records courses and trainings that became complete because an item's availability began or ended. */
export const recordDueCompletions = inBatches("select private.record_due_completions($1) as handled", 1_000);
