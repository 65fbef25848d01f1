import type { Pool } from "pg";
import type { Metrics } from "./metrics.ts";

/** Called with the seconds that a request waited for a connection. */
type ObserveWait = (seconds: number) => void;

const waits = new WeakMap<Pool, ObserveWait>();

/** The observer of a pool's waits, if it is watched. */
export const waitObserverOf = (pool: Pool): ObserveWait | undefined => waits.get(pool);

/**
 * Shows a pool's connections under a name.
 * @returns a function that stops it
 */
export function watchPool(metrics: Metrics, name: string, pool: Pool): () => void {
  const { poolConnections, poolLimit, poolWaiting, poolWaitSeconds } = metrics;
  waits.set(pool, (seconds) => poolWaitSeconds.observe({ pool: name }, seconds));
  return metrics.sample(() => {
    poolConnections.set({ pool: name, state: "idle" }, pool.idleCount);
    poolConnections.set({ pool: name, state: "busy" }, pool.totalCount - pool.idleCount);
    poolLimit.set({ pool: name }, pool.options.max);
    poolWaiting.set({ pool: name }, pool.waitingCount);
  });
}
