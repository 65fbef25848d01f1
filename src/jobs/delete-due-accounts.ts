import type { JobFunction } from "./job.ts";

/** Deletes accounts whose grace period is over, each in its own transaction. */
export const deleteDueAccounts: JobFunction = async ({ query, signal }) => {
  const done = { deleted: 0, postponed: 0, canceled: 0 };
  for (;;) {
    const [result] = await query("select private.delete_due_account() as outcome", []);
    const outcome = result?.outcome as keyof typeof done | null | undefined;
    if (outcome) done[outcome] += 1;
    if (!outcome || signal.aborted) return done;
  }
};
