import type { JobFunction } from "./job.ts";

/**
 * Deletes accounts whose grace period is over, each in its own transaction.
 * @throws an error that names the tables whose foreign keys or tags block deletions, after all other accounts have been deleted
 */
export const deleteDueAccounts: JobFunction = async ({ query, signal }) => {
  const done = { deleted: 0, postponed: 0, canceled: 0 };
  const blockers = new Set<string>();
  for (;;) {
    const [result] = await query("select private.delete_due_account() as outcome", []);
    const outcome = result?.outcome as string | null | undefined;
    if (!outcome) break;
    const [, blocker] = /^blocked by (.+)$/.exec(outcome) ?? [];
    if (blocker) blockers.add(blocker);
    done[blocker ? "postponed" : (outcome as keyof typeof done)] += 1;
    if (signal.aborted) break;
  }
  if (blockers.size > 0)
    throw new Error(`Accounts cannot be deleted because of ${[...blockers].join(", ")}. Run plinth doctor.`);
  return done;
};
