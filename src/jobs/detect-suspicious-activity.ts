import type { JobFunction } from "./job.ts";

/** Reports suspected attacks. Covers the last few minutes, so that a late run misses nothing; reports nothing twice. */
export const detectSuspiciousActivity: JobFunction = async ({ query }) => {
  const [result] = await query("select private.detect_suspicious_activity() as rows", []);
  return { rows: Number(result?.rows ?? 0) };
};
