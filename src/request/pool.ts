import pg, { type Pool } from "pg";
import type { Config } from "../config/config.ts";
import { forgoNames } from "./prepared-statements.ts";

/** Longer than any of our transactions is idle between two statements; ends the transaction of a hanging process. */
const IDLE_IN_TRANSACTION_TIMEOUT = "30s";
/** JIT costs short queries more than it saves; the API returns times in UTC whatever the server's time zone. */
const SESSION_SETTINGS = `set jit_optimize_above_cost = -1; set timezone = 'UTC';
         set idle_in_transaction_session_timeout = '${IDLE_IN_TRANSACTION_TIMEOUT}'`;
/**
 * Undoes all that foreign SQL can leave on a connection. DISCARD ALL would also deallocate the statements that node-pg believes
 * prepared, and cannot run inside a transaction.
 */
export const RESET_SESSION = `close all; unlisten *; reset all; reset role; reset session authorization;
         select pg_advisory_unlock_all(); ${SESSION_SETTINGS}`;
/** Time past the statement timeout after which the connection counts as dead. */
const ANSWER_GRACE_MS = 5_000;

/**
 * Creates a pool of pipelined connections.
 * @param onError called for broken connections; without a listener the event would end the process.
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
    // The pool waits for this before it returns a new connection.
    onConnect: (client) => client.query(SESSION_SETTINGS) as unknown as undefined,
  });
  pool.on("error", onError);
  // The pool itself listens for errors only while a connection is idle.
  pool.on("connect", (client) => client.on("error", () => {}));
  if (!settings.preparedStatements) pool.on("connect", forgoNames);
  return pool;
}
