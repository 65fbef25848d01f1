import { inBatches } from "./job.ts";

/** Forgets under which keys uses of prompts were counted, a week later. */
export const deleteOldPromptUseKeys = inBatches(
  "select private.delete_old_prompt_use_keys($1) as handled",
  1_000,
);
