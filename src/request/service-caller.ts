import type { Pool } from "pg";
import { contextSettings, type RequestContext } from "./context.ts";
import { claimSettings } from "./settings.ts";
import { runInTransaction } from "./transaction.ts";

/** Runs one statement as the service role; resolves with its rows. */
export type CallPrivateFunction = <TRow>(
  request: RequestContext,
  text: string,
  values: readonly unknown[],
) => Promise<readonly TRow[]>;

/**
 * The functions in `private` that only the service role may execute, each called in a transaction of its own that
 * carries the request's context into the audit rows.
 */
export function createPrivateFunctionCaller(
  pool: Pool,
  options: { statementTimeoutMs: number },
): CallPrivateFunction {
  return (request, text, values) =>
    runInTransaction(
      pool,
      {
        ...contextSettings(request),
        ...claimSettings(request.claims),
        statement_timeout: String(options.statementTimeoutMs),
      },
      async (client) => (await client.query<never>({ text, values })).rows,
    );
}
