import type { JobFunction } from "./job.ts";

/** Recomputes analytics.subscription_metrics; its readers do not wait. */
export const refreshSubscriptionMetrics: JobFunction = async ({ query }) => {
  const [result] = await query("select private.refresh_subscription_metrics() as rows", []);
  return { rows: Number(result?.rows ?? 0) };
};
