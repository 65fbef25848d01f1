import type { JobFunction } from "./job.ts";

/** Brings analytics.content_popularity up to date while people read it. */
export const refreshContentPopularity: JobFunction = async ({ query }) => {
  const [result] = await query("select private.refresh_content_popularity() as items", []);
  return { items: Number(result?.items ?? 0) };
};
