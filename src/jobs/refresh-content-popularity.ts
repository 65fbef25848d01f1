import type { JobFunction } from "./job.ts";

/** Recomputes analytics.content_popularity; its readers do not wait. */
export const refreshContentPopularity: JobFunction = async ({ query }) => {
  const [result] = await query("select private.refresh_content_popularity() as items", []);
  return { items: Number(result?.items ?? 0) };
};
