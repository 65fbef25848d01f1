import type { JobFunction } from "./job.ts";

/** Number of months ahead for which partitions exist; `plinth doctor` warns when there are fewer. */
export const PARTITION_MONTHS_AHEAD = 3;

/** Creates the missing monthly partitions of the append-only logs. */
export const ensurePartitions: JobFunction = async ({ query }) => {
  const made = await query("select partition_name from private.ensure_partitions($1)", [
    PARTITION_MONTHS_AHEAD,
  ]);
  return { made: made.length };
};
