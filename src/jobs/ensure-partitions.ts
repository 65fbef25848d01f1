import type { JobFunction } from "./job.ts";

/** How far ahead the monthly partitions reach; `plinth doctor` warns when they reach less far. */
export const PARTITION_MONTHS_AHEAD = 3;

/** Makes the missing monthly partitions of the append-only logs. */
export const ensurePartitions: JobFunction = async ({ query }) => {
  const made = await query("select partition_name from private.ensure_partitions($1)", [
    PARTITION_MONTHS_AHEAD,
  ]);
  return { made: made.length };
};
