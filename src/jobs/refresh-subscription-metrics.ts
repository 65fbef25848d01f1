import type { JobFunction } from "./job.ts";

/** Recomputes analytics.subscription_metrics; its readers do not wait. */
export const refreshSubscriptionMetrics: JobFunction = async ({ query }) => {
  await query("select private.refresh_subscription_metrics()", []);
  return { rows: 0 };
};
