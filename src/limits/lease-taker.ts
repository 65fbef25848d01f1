import type { Config } from "../config/config.ts";
import { contextWithoutRequest } from "../request/context.ts";
import type { CallPrivateFunction } from "../request/service-caller.ts";
import type { TakeLease } from "./request-leases.ts";

interface Row {
  readonly granted: number;
  readonly remaining: number;
  readonly retry_after_ms: number;
}

/** Counts blocks of API requests in the database, shared by all servers; rejects with the database's error. */
export function createLeaseTaker(
  callPrivateFunction: CallPrivateFunction,
  { requests, windowSeconds }: Config["http"]["rateLimit"],
): TakeLease {
  const context = contextWithoutRequest("request-leases");
  return async (client, wanted) => {
    const [row] = await callPrivateFunction<Row>(
      context,
      `select granted, remaining, ceil(extract(epoch from retry_after) * 1000)::integer as retry_after_ms
       from private.lease_requests($1, $2, make_interval(secs => $3), $4)`,
      [client, requests, windowSeconds, wanted],
    );
    if (!row) throw new Error("private.lease_requests returned no row.");
    return { granted: row.granted, remaining: row.remaining, retryAfterMs: row.retry_after_ms };
  };
}
