import type { Pool } from "pg";
import { contextSettings, type RequestContext } from "./context.ts";
import { claimSettings } from "./settings.ts";
import { runInTransaction } from "./transaction.ts";

/** Runs one statement, a call of a private function, as the service role and returns its rows. */
export type CallPrivateFunction = <TRow>(
  request: RequestContext,
  text: string,
  values: readonly unknown[],
) => Promise<readonly TRow[]>;

/**
 * Calls functions in `private` that only the service role may execute, each in its own transaction, which passes the
 * request's context to the audit rows.
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
