import { inBatches } from "./job.ts";

/** Records the courses and trainings that became complete because the availability of an item began or ended. */
export const recordDueCompletions = inBatches("select private.record_due_completions($1) as handled", 1_000);
