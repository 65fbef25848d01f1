import type { RequestHandler } from "express";
import type { Pool } from "pg";
import { type DatabaseState, databaseState } from "../../request/database-state.ts";
import type { ReplicaState } from "../../request/replicas/replica.ts";
import { withTimeout } from "../../support/with-timeout.ts";

export const HEALTH_PATH = "/healthz";
export const READINESS_PATH = "/readyz";

const DATABASE_TIMEOUT_MS = 2_000;

/** Liveness: the process runs and responds. Does not check the database, because a restart would not repair it. */
export function healthStep(): RequestHandler {
  return (_request, response) => {
    response.set("Cache-Control", "no-store").json({ status: "ok" });
  };
}

export interface ReadinessChecks {
  /** All pools that serve requests; each may connect to a different server. */
  readonly pools: readonly Pool[];
  readonly hearsRevocations: () => boolean;
  readonly hearsNews: () => boolean;
  /** If omitted, there are none. */
  readonly replicas?: (() => readonly ReplicaState[]) | undefined;
  readonly isClosing: () => boolean;
}

/**
 * Readiness: 200 or 503. A standby is not ready, because users cannot sign in there. A listener that is down does not make
 * the server unready: it then checks every token in the database and polls for news of subscriptions. Neither does a replica that is left out:
 * the primary answers instead.
 */
export function readinessStep(checks: ReadinessChecks): RequestHandler {
  /** A single check at a time, shared by concurrent probes. */
  let asking: Promise<DatabaseState> | undefined;
  return async (_request, response) => {
    asking ??= worstState(checks.pools).finally(() => {
      asking = undefined;
    });
    const database = await asking;
    const isReady = database === "ok" && !checks.isClosing();
    response
      .status(isReady ? 200 : 503)
      .set("Cache-Control", "no-store")
      .json({
        status: isReady ? "ready" : "unavailable",
        checks: {
          database,
          revocations: checks.hearsRevocations() ? "listening" : "asking the database",
          live: checks.hearsNews() ? "listening" : "polling",
          replicas: checks.replicas?.(),
        },
        ...(checks.isClosing() && { closing: true }),
      });
  };
}

async function worstState(pools: readonly Pool[]): Promise<DatabaseState> {
  const states = await Promise.all(pools.map(stateInTime));
  return states.find((state) => state !== "ok") ?? "ok";
}

function stateInTime(pool: Pool): Promise<DatabaseState> {
  return withTimeout(databaseState(pool), DATABASE_TIMEOUT_MS, () => new Error("No answer in time.")).catch(
    () => "unreachable",
  );
}
