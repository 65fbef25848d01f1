import pg, { type Pool } from "pg";
import type { Config } from "../config/config.ts";

/** Longer than any transaction of ours stays idle between two statements; ends one whose process hangs. */
const IDLE_IN_TRANSACTION_TIMEOUT = "30s";
/** How long past the statement timeout an answer may take before the connection counts as dead. */
const ANSWER_GRACE_MS = 5_000;

/**
 * A pool of pipelined connections.
 * @param onError told of connections that broke; without a listener such an event would end the process.
 */
export function createPool(options: {
  url: string;
  applicationName: string;
  max: number;
  settings: Config["pool"];
  onError: (error: Error) => void;
  answerGraceMs?: number;
}): Pool {
  const { url, applicationName, max, settings, onError, answerGraceMs = ANSWER_GRACE_MS } = options;
  const pool = new pg.Pool({
    connectionString: url,
    application_name: applicationName,
    max,
    connectionTimeoutMillis: settings.connectionTimeoutMs,
    idleTimeoutMillis: settings.idleTimeoutMs,
    maxLifetimeSeconds: settings.maxLifetimeSeconds,
    query_timeout: settings.statementTimeoutMs + answerGraceMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    pipeline: true,
    // The pool waits for this before it hands a new connection out.
    onConnect: (client) =>
      client.query(
        // JIT's optimiser costs short queries more than it saves; times leave the API in UTC whatever the server's zone.
        `set jit_optimize_above_cost = -1; set timezone = 'UTC';
         set idle_in_transaction_session_timeout = '${IDLE_IN_TRANSACTION_TIMEOUT}'`,
      ) as unknown as undefined,
  });
  pool.on("error", onError);
  // The pool itself listens only while a connection is idle.
  pool.on("connect", (client) => client.on("error", () => {}));
  return pool;
}
