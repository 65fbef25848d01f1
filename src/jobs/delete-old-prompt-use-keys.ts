import { inBatches } from "./job.ts";

/** Deletes the deduplication keys of prompt uses after a week. */
export const deleteOldPromptUseKeys = inBatches(
  "select private.delete_old_prompt_use_keys($1) as handled",
  1_000,
);
