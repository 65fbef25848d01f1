import { randomUUID } from "node:crypto";
import pg, { type Client } from "pg";
import type { Logger } from "pino";
import { withTimeout } from "../with-timeout.ts";

const HEARTBEAT_INTERVAL_MS = 1_000;
/** A connection that answers later than this counts as dead: a broken network may never say so. */
const HEARTBEAT_TIMEOUT_MS = 2_000;
const CONNECT_TIMEOUT_MS = 5_000;
const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 5_000;

export interface ListenOptions {
  readonly url: string;
  readonly applicationName: string;
  readonly channel: string;
  /** What is listened for, in the log. */
  readonly purpose: string;
  readonly logger: Logger;
  /** Reads what may have been missed: called while notifications already arrive, before `isListening` says true. */
  onListening(client: Client): Promise<void> | void;
  /** Never called with the connection's own probes. */
  onNotification(payload: string, client: Client): void;
  /** Called about every second. @param beats since the connection was made */
  onHeartbeat?(client: Client, beats: number): Promise<void>;
}

/**
 * A connection of its own that listens on one channel and is made anew, with growing pauses, whenever it is lost.
 * `isListening` says true only while notifications are known to arrive. Whoever uses it must read what it may have
 * missed in `onListening`: PostgreSQL keeps no notification for a listener that is away.
 */
export class ListenConnection {
  readonly #options: ListenOptions;
  #client: Client | undefined;
  #isListening = false;
  #isClosed = false;
  #retries = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ListenOptions) {
    this.#options = options;
  }

  get isListening(): boolean {
    return this.#isListening;
  }

  /** Whether this is the connection in use; one that was given up may still have something under way. */
  isCurrent(client: Client): boolean {
    return this.#client === client;
  }

  /** Resolves after the first attempt, whatever came of it; further ones follow by themselves. */
  async start(): Promise<void> {
    const { url, applicationName, purpose, logger } = this.#options;
    const client = new pg.Client({
      connectionString: url,
      application_name: applicationName,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
    });
    this.#client = client;
    client.on("error", (error) => this.lost(client, error));
    client.on("end", () => this.lost(client, new Error("The connection ended.")));
    try {
      await client.connect();
      await this.#listen(client);
      if (this.#client !== client) return;
      this.#isListening = true;
      if (this.#retries > 0) logger.info(`listening for ${purpose} again`);
      this.#retries = 0;
      this.#scheduleHeartbeat(client);
    } catch (error) {
      this.lost(client, error);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#isListening = false;
    clearTimeout(this.#timer);
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => {});
  }

  /** Gives a connection up and makes another. Only the first call for a connection counts. */
  lost(client: Client, error: unknown): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    this.#isListening = false;
    clearTimeout(this.#timer);
    // A connection that hangs would never end politely.
    void client.end().catch(() => {});
    if (this.#isClosed) return;
    const { purpose, logger } = this.#options;
    const delay =
      Math.min(FIRST_RETRY_MS * 2 ** this.#retries++, LONGEST_RETRY_MS) * (0.75 + Math.random() / 2);
    logger.warn({ err: error, retryInMs: Math.round(delay) }, `not listening for ${purpose}`);
    this.#timer = setTimeout(() => void this.start(), delay).unref();
  }

  async #listen(client: Client): Promise<void> {
    const { channel, onListening, onNotification } = this.#options;
    const probe = `probe ${randomUUID()}`;
    const probeArrived = Promise.withResolvers<void>();
    client.on("notification", ({ payload = "" }) => {
      if (payload === probe) probeArrived.resolve();
      // Those of other servers are no news.
      else if (!payload.startsWith("probe ")) onNotification(payload, client);
    });
    await client.query(`listen ${channel}`);
    // A pooler between us and the server may take the LISTEN and never deliver: only an arrived message proves it.
    await client.query("select pg_notify($1, $2)", [channel, probe]);
    await withTimeout(
      probeArrived.promise,
      HEARTBEAT_TIMEOUT_MS,
      () => new Error("Notifications do not arrive on this connection."),
    );
    await onListening(client);
  }

  #scheduleHeartbeat(client: Client, beats = 1): void {
    this.#timer = setTimeout(async () => {
      try {
        await withTimeout(
          client.query("select 1"),
          HEARTBEAT_TIMEOUT_MS,
          () => new Error("The heartbeat was not answered."),
        );
        await this.#options.onHeartbeat?.(client, beats);
        if (this.#client === client) this.#scheduleHeartbeat(client, beats + 1);
      } catch (error) {
        this.lost(client, error);
      }
    }, HEARTBEAT_INTERVAL_MS).unref();
  }
}
