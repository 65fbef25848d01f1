import { createSecretKey, type KeyObject } from "node:crypto";

/** The settings that `startServer` passes to the servers that Plinth is compared with. */
export function serverEnvironment(): { port: number; databaseUrl: string; key: KeyObject; poolSize: number } {
  const { BENCH_PORT, BENCH_DATABASE_URL, BENCH_KEY, BENCH_POOL } = process.env;
  if (!BENCH_PORT || !BENCH_DATABASE_URL || !BENCH_KEY || !BENCH_POOL)
    throw new Error("Started by bench/compare/run.ts only.");
  return {
    port: Number(BENCH_PORT),
    databaseUrl: BENCH_DATABASE_URL,
    key: createSecretKey(Buffer.from(BENCH_KEY, "base64url")),
    poolSize: Number(BENCH_POOL),
  };
}
