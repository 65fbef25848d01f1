import type { JobFunction } from "./job.ts";

/**
 * Writes the exports that users requested, about a megabyte a transaction, until none is pending.
 * @throws an error that names the tables that could not be read, after all others have been written
 */
export const writeDataExports: JobFunction = async ({ query, signal }) => {
  const done = { steps: 0, finished: 0, failed: 0 };
  const failures = new Set<string>();
  for (;;) {
    const [result] = await query("select private.write_data_export() as outcome", []);
    const outcome = result?.outcome as string | null | undefined;
    if (!outcome) break;
    if (outcome === "continued") done.steps += 1;
    else if (outcome === "finished") done.finished += 1;
    else failures.add(outcome.replace(/^failed_(\w+)/, (_, state: string) => state.toUpperCase()));
    if (signal.aborted) break;
  }
  if (failures.size > 0) throw new Error(`Exports could not be written: ${[...failures].join(", ")}.`);
  return done;
};
