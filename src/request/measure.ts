import type { Pool, PoolClient } from "pg";
import { waitObserverOf } from "../observability/pool-metrics.ts";
import { failSpan, inStatementSpan, startSpan } from "../observability/tracing.ts";
import { currentRequest } from "./context.ts";

/** Takes a connection from a pool; its wait counts for the current request. */
export async function connect(pool: Pool): Promise<PoolClient> {
  const costs = currentRequest.getStore()?.costs;
  const span = startSpan("pool wait");
  const startedAt = performance.now();
  try {
    return await pool.connect();
  } catch (error) {
    failSpan(span, error);
    throw error;
  } finally {
    const ms = performance.now() - startedAt;
    if (costs) costs.poolWaitMs += ms;
    waitObserverOf(pool)?.(ms / 1_000);
    span?.end();
  }
}

/**
 * Returns the result of a statement; its time counts for the current request.
 * @param name of the statement, for its span; never its values
 */
export async function measured<T extends { readonly rowCount: number | null }>(
  name: string | undefined,
  run: () => Promise<T>,
): Promise<T> {
  const costs = currentRequest.getStore()?.costs;
  if (!costs) return inStatementSpan(run, name);
  const startedAt = performance.now();
  try {
    const result = await inStatementSpan(run, name);
    costs.rows += result.rowCount ?? 0;
    return result;
  } finally {
    costs.databaseMs += performance.now() - startedAt;
    costs.statements += 1;
  }
}
