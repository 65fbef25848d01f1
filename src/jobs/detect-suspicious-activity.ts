import type { JobFunction } from "./job.ts";

/** Reports what looks like an attack. Looks back a few minutes, so that a late run misses nothing; nothing is told twice. */
export const detectSuspiciousActivity: JobFunction = async ({ query }) => {
  const [result] = await query("select private.detect_suspicious_activity() as rows", []);
  return { rows: Number(result?.rows ?? 0) };
};
