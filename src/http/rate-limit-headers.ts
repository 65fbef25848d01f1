import { hash } from "node:crypto";
import type { Headers } from "./headers.ts";

const MAX_CLIENTS = 10_000;

export interface Quota {
  readonly limit: number;
  readonly windowSeconds: number;
}

/** Formats a client's count as draft-ietf-httpapi-ratelimit-headers-08 does. The policy is formatted once per client. */
export function createRateLimitHeaders({
  limit,
  windowSeconds,
}: Quota): (key: string, used: number, resetSeconds: number) => Headers {
  const policies = new Map<string, string>();

  function policyOf(key: string): string {
    const known = policies.get(key);
    if (known !== undefined) return known;
    // The partition key tells a client which requests share its quota, without its address.
    const partition = Buffer.from(hash("sha256", key).slice(0, 12)).toString("base64");
    const policy = `"requests"; q=${limit}; w=${windowSeconds}; pk=:${partition}:`;
    if (policies.size >= MAX_CLIENTS) policies.delete(policies.keys().next().value!);
    policies.set(key, policy);
    return policy;
  }

  return (key, used, resetSeconds) => ({
    RateLimit: `"requests"; r=${Math.max(limit - used, 0)}; t=${resetSeconds}`,
    "RateLimit-Policy": policyOf(key),
  });
}
