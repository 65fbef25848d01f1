import type { JobFunction } from "./job.ts";

/** Writes the exports that users requested, about a megabyte a transaction, until none is pending. */
export const writeDataExports: JobFunction = async ({ query, signal }) => {
  const done = { steps: 0, finished: 0, failed: 0 };
  for (;;) {
    const [result] = await query("select private.write_data_export() as outcome", []);
    const outcome = result?.outcome as string | null | undefined;
    if (!outcome) return done;
    if (outcome === "continued") done.steps += 1;
    else if (outcome === "finished") done.finished += 1;
    else done.failed += 1;
    if (signal.aborted) return done;
  }
};
