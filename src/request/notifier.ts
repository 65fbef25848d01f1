import pg from "pg";
import { DatabaseClient } from "../connection/client.ts";

/** A slower notification is as good as lost. */
const QUERY_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** A connection for probes and another for queries, so that a long query does not look like a lost notification. */
const MAX_CONNECTIONS = 2;

/** Connections that run everything for the listening connections except LISTEN. */
export interface Notifier {
  /** Sends a notification. */
  notify(channel: string, payload: string): Promise<void>;
  query<TRow extends pg.QueryResultRow>(text: string, values: readonly unknown[]): Promise<readonly TRow[]>;
  close(): Promise<void>;
}

/**
 * Creates a small separate pool: the service pool may be busy under load, and a late probe would then send every request to
 * the database as well.
 */
export function createNotifier(options: { url: string; onError: (error: Error) => void }): Notifier {
  const pool = new pg.Pool({
    Client: DatabaseClient,
    connectionString: options.url,
    application_name: "plinth-notifier",
    max: MAX_CONNECTIONS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  });
  pool.on("error", options.onError);
  return {
    async notify(channel, payload) {
      await pool.query("select pg_notify($1, $2)", [channel, payload]);
    },
    async query(text, values) {
      return (await pool.query({ text, values: [...values] })).rows;
    },
    close: () => pool.end(),
  };
}
