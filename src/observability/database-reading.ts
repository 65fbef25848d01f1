import pg from "pg";
import { DatabaseClient } from "../connection/client.ts";

/** The least time between two readings, whatever the number of scrapes. */
const INTERVAL_MS = 10_000;
/** How long a scrape waits for a reading before it shows the last one. */
const SCRAPE_WAIT_MS = 1_000;
const STATEMENT_TIMEOUT_MS = 5_000;
const CONNECT_TIMEOUT_MS = 5_000;

/** The result of `private.operational_state()`. */
export interface OperationalState {
  readonly queues: Readonly<
    Record<string, { waiting: number; active: number; oldest: number | null; succeeded: number | null }>
  >;
  readonly failed: Readonly<Record<string, number>>;
  readonly mail: { readonly waiting: number; readonly oldest: number };
  readonly payment_events: { readonly waiting: number; readonly oldest: number };
  readonly partitions: Readonly<Record<string, number>>;
  readonly default_partition_rows: number;
  readonly migrations: number;
  readonly database: { bytes: number; xid_age: number; deadlocks: number; temp_bytes: number };
  readonly sessions: {
    connections: number;
    oldest_transaction: number;
    idle_in_transaction: number;
    waiting_for_locks: number;
  };
  readonly connections_limit: number;
  readonly sees_all_sessions: boolean;
  readonly in_recovery: boolean;
  readonly replay_lag: number | null;
  readonly replicas: readonly { readonly bytes: number; readonly seconds: number }[];
  readonly slots: { readonly inactive?: number; readonly bytes?: number };
  readonly archive: { readonly failing: boolean | null };
}

/** The known state of the database at a scrape. */
interface Reading {
  readonly state: OperationalState | undefined;
  /** Age of the state; undefined without one. */
  readonly ageSeconds: number | undefined;
  /** Whether the last attempt succeeded. */
  readonly isUp: boolean;
}

export interface DatabaseReader {
  read(): Promise<Reading>;
  close(): Promise<void>;
}

/**
 * Reads the state of the database when asked, at most every ten seconds. Its connection is its own: the pools may be full when the
 * numbers matter most. A database that hangs delays a scrape by a second at most.
 * @param options.url of the service or the worker
 */
export function createDatabaseReader(options: {
  readonly url: string;
  readonly intervalMs?: number;
  readonly scrapeWaitMs?: number;
}): DatabaseReader {
  const { url, intervalMs = INTERVAL_MS, scrapeWaitMs = SCRAPE_WAIT_MS } = options;
  const pool = new pg.Pool({
    Client: DatabaseClient,
    connectionString: url,
    application_name: "plinth-metrics",
    max: 1,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: STATEMENT_TIMEOUT_MS + CONNECT_TIMEOUT_MS,
  });
  pool.on("error", () => {});
  let state: OperationalState | undefined;
  let readAt = 0;
  let askedAt = Number.NEGATIVE_INFINITY;
  let isUp = false;
  let asking: Promise<void> | undefined;

  async function ask(): Promise<void> {
    try {
      // In one round trip, and without a startup parameter, which some poolers reject.
      const results = (await pool.query(
        `begin; set local statement_timeout = ${STATEMENT_TIMEOUT_MS};
         select private.operational_state() as state; commit`,
      )) as unknown as pg.QueryResult<{ state: OperationalState }>[];
      state = results[2]!.rows[0]!.state;
      readAt = performance.now();
      isUp = true;
    } catch {
      isUp = false;
    }
  }

  return {
    async read() {
      if (!asking && performance.now() - askedAt >= intervalMs) {
        askedAt = performance.now();
        asking = ask().finally(() => {
          asking = undefined;
        });
      }
      const late = Promise.withResolvers<boolean>();
      const timer = setTimeout(late.resolve, scrapeWaitMs, true);
      const isLate = await Promise.race([Promise.resolve(asking).then(() => false), late.promise]);
      clearTimeout(timer);
      const ageSeconds = state && (performance.now() - readAt) / 1_000;
      return { state, ageSeconds, isUp: isUp && !isLate };
    },
    close: () => pool.end(),
  };
}
