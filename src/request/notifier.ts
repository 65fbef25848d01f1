import pg from "pg";

/** A signal that takes longer tells no more than one that does not come. */
const QUERY_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** One for the probes, one for readings, so that a long reading does not look like a lost notification. */
const MAX_CONNECTIONS = 2;

/** Connections that do everything for the listening ones but listen. */
export interface Notifier {
  /** Sends a notification. */
  notify(channel: string, payload: string): Promise<void>;
  query<TRow extends pg.QueryResultRow>(text: string, values: readonly unknown[]): Promise<readonly TRow[]>;
  close(): Promise<void>;
}

/**
 * A small pool of its own: the service's may be busy just when many requests come, and then a late probe would send every
 * one of them to the database as well.
 */
export function createNotifier(options: { url: string; onError: (error: Error) => void }): Notifier {
  const pool = new pg.Pool({
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
