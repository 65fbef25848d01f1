import pg, { type Pool } from "pg";
import type { Config } from "../config/config.ts";
import { DatabaseClient } from "../connection/client.ts";
import { SET_SESSION_DEFAULTS } from "../connection/session-defaults.ts";
import { forgoNames } from "./prepared-statements.ts";

/**
 * Longer than any of our transactions is idle between two statements, also on a machine that stands still for half a minute; ends the
 * transaction of a hanging process.
 */
const IDLE_IN_TRANSACTION_TIMEOUT = "60s";
/** Sent once on each new connection, behind the defaults of any. JIT costs short queries more than it saves. */
export const SESSION_SETTINGS = `set jit_optimize_above_cost = -1;
         set idle_in_transaction_session_timeout = '${IDLE_IN_TRANSACTION_TIMEOUT}'`;
/**
 * Undoes all that foreign SQL can leave on a connection. DISCARD ALL would also deallocate the statements that node-pg believes
 * prepared, and cannot run inside a transaction.
 */
export const RESET_SESSION = `close all; unlisten *; reset all; reset role; reset session authorization;
         select pg_advisory_unlock_all(); ${SET_SESSION_DEFAULTS}; ${SESSION_SETTINGS}`;
/** Time past the statement timeout after which the connection counts as dead. */
const ANSWER_GRACE_MS = 5_000;

/**
 * Creates a pool of pipelined connections.
 * @param onError called for broken connections; without a listener the event would end the process.
 */
export function createPool(options: {
  url: string;
  applicationName: string;
  /** Without the overflow. */
  max: number;
  /** Further connections under load. */
  overflow?: number;
  settings: Config["pool"];
  onError: (error: Error) => void;
  answerGraceMs?: number;
}): Pool {
  const {
    url,
    applicationName,
    max,
    settings,
    onError,
    answerGraceMs = ANSWER_GRACE_MS,
    overflow = 0,
  } = options;
  const openedAt = new WeakMap<object, number>();
  const pool = new pg.Pool({
    Client: DatabaseClient,
    connectionString: url,
    application_name: applicationName,
    max: max + overflow,
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
  pool.on("connect", (client) => openedAt.set(client, performance.now()));
  // An ended client leaves the pool instead of becoming idle.
  pool.on("release", (error, client) => {
    const isOld = (openedAt.get(client) ?? 0) <= (renewals.get(pool) ?? Number.NEGATIVE_INFINITY);
    const isSuperfluous = overflow > 0 && pool.idleCount >= max;
    if (!error && (isOld || isSuperfluous)) void client.end().catch(() => {});
  });
  if (!settings.preparedStatements) pool.on("connect", forgoNames);
  return pool;
}

/** When a pool's connections were last declared outdated. */
const renewals = new WeakMap<Pool, number>();
/** A database that stays read-only would otherwise cost a new connection for each statement that it rejects. */
const RENEWAL_PAUSE_MS = 1_000;

/**
 * Replaces all connections of a pool, because one has found its server read-only: after a failover, new connections lead to the new
 * primary. Those in use are closed when they are released.
 */
export function renewConnections(pool: Pool): void {
  const now = performance.now();
  if (now - (renewals.get(pool) ?? Number.NEGATIVE_INFINITY) < RENEWAL_PAUSE_MS) return;
  renewals.set(pool, now);
  for (let count = pool.idleCount; count > 0; count--)
    pool.connect().then(
      (client) => client.release(),
      () => {},
    );
}

/** Whether a write failed because the server is read-only: a standby, or a database that was made so. */
export function isReadOnlyServer(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === "25006";
}
