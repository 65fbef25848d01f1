import type { JobFunction } from "./job.ts";

/**
 * Sums the days with new rows for the views of analytics. Each day is a transaction: a stopped or killed run loses at most the day
 * it was summing, and the next run continues. The numbers fall to 0 in analytics.roll_ups.pending_days meanwhile.
 */
export const rollUpDays: JobFunction = async ({ query, signal }) => {
  const [found] = await query("select private.find_days_to_roll_up() as days", []);
  const pending = Number(found?.days ?? 0);
  let days = 0;
  while (!signal.aborted) {
    const [summed] = await query("select private.roll_up_day() as day", []);
    if (!summed?.day) break;
    days += 1;
  }
  return { pending, days };
};
