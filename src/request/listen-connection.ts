import { randomUUID } from "node:crypto";
import type { Client } from "pg";
import type { Logger } from "pino";
import { DatabaseClient } from "../connection/client.ts";
import { quietly } from "../support/quiet-log.ts";
import { withTimeout } from "../support/with-timeout.ts";
import type { Notifier } from "./notifier.ts";

const PROBE_INTERVAL_MS = 1_000;
/** A probe that takes longer counts as lost, because a broken network may report nothing. */
const PROBE_TIMEOUT_MS = 2_000;
const CONNECT_TIMEOUT_MS = 5_000;
const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 5_000;
/** Behind a pooler every attempt fails the same way, so the log repeats it only occasionally. */
const QUIET_MS = 300_000;
/** Failures before the first success that are not logged: a busy machine may answer the first probe too late. */
const UNLOGGED_FAILURES = 2;

export interface ListenOptions {
  readonly url: string;
  readonly applicationName: string;
  readonly channel: string;
  /** The purpose of listening, for the log. */
  readonly purpose: string;
  readonly logger: Logger;
  /** Sends the probes on other connections than the listening one. */
  readonly notifier: Pick<Notifier, "notify">;
  /** Reads missed changes: called when notifications already arrive, before `isListening` becomes true. */
  onListening(): Promise<void> | void;
  /** Not called for the connection's own probes. */
  onNotification(payload: string): void;
  /** Called after each received probe, about every second. @param probes since the connection was opened */
  onProbed?(probes: number): Promise<void>;
  /** Time after which a connection, a LISTEN or a probe counts as lost, instead of a few seconds. */
  readonly patienceMs?: number;
}

/**
 * A separate connection that listens on one channel and reconnects, with growing pauses, whenever it is lost. `isListening`
 * is true only while notifications are known to arrive. `onListening` must read missed changes, because PostgreSQL keeps no
 * notifications for a disconnected listener.
 *
 * Every second, another connection sends a notification as proof that notifications arrive. A pooler in transaction mode
 * accepts the LISTEN and would deliver notifications that this connection sends itself, because it has a server at that
 * moment; so this connection sends only the LISTEN.
 */
export class ListenConnection {
  readonly #options: ListenOptions;
  readonly #warn: (error: Error) => void;
  #client: Client | undefined;
  #isListening = false;
  #hasListened = false;
  #isClosed = false;
  #retries = 0;
  #timer: NodeJS.Timeout | undefined;
  #probe: { readonly payload: string; readonly arrived: () => void } | undefined;

  constructor(options: ListenOptions) {
    this.#options = options;
    this.#warn = quietly((err: Error, repeats) => {
      options.logger.warn({ err, repeats }, `not listening for ${options.purpose}`);
    }, QUIET_MS);
  }

  get isListening(): boolean {
    return this.#isListening;
  }

  /** Resolves after the first attempt, successful or not; retries follow automatically. */
  async start(): Promise<void> {
    const { url, applicationName, channel, purpose, logger, onNotification } = this.#options;
    const { patienceMs: connectTimeoutMs = CONNECT_TIMEOUT_MS } = this.#options;
    const client = new DatabaseClient({
      connectionString: url,
      application_name: applicationName,
      connectionTimeoutMillis: connectTimeoutMs,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
    });
    this.#client = client;
    client.on("error", (error) => this.#lost(client, error));
    client.on("end", () => this.#lost(client, new Error("The connection ended.")));
    client.on("notification", ({ payload = "" }) => {
      if (payload === this.#probe?.payload) this.#probe.arrived();
      // Ignores the probes of other servers.
      else if (!payload.startsWith("probe ")) onNotification(payload);
    });
    try {
      await client.connect();
      await withTimeout(
        client.query(`listen ${channel}`),
        connectTimeoutMs,
        () => new Error("LISTEN was not answered."),
      );
      await this.#prove();
      await this.#options.onListening();
      if (this.#client !== client) return;
      this.#isListening = true;
      if (this.#hasListened ? this.#retries > 0 : this.#retries > UNLOGGED_FAILURES)
        logger.info(`listening for ${purpose} again`);
      this.#hasListened = true;
      this.#retries = 0;
      this.#scheduleProbe(client);
    } catch (error) {
      this.#lost(client, error);
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

  /** Replaces the connection, because its notifications cannot be relied on. */
  giveUp(error: unknown): void {
    if (this.#client) this.#lost(this.#client, error);
  }

  /** Only the first call for a connection counts. */
  #lost(client: Client, error: unknown): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    this.#isListening = false;
    clearTimeout(this.#timer);
    // A hanging connection would never close gracefully.
    void client.end().catch(() => {});
    if (this.#isClosed) return;
    const delay =
      Math.min(FIRST_RETRY_MS * 2 ** this.#retries++, LONGEST_RETRY_MS) * (0.75 + Math.random() / 2);
    if (this.#hasListened || this.#retries > UNLOGGED_FAILURES) this.#warn(error as Error);
    this.#timer = setTimeout(() => void this.start(), delay).unref();
  }

  /** @throws Error unless a notification from another connection arrives in time */
  async #prove(): Promise<void> {
    const { channel, notifier, patienceMs = PROBE_TIMEOUT_MS } = this.#options;
    const payload = `probe ${randomUUID()}`;
    const arrival = Promise.withResolvers<void>();
    this.#probe = { payload, arrived: arrival.resolve };
    await withTimeout(
      Promise.all([notifier.notify(channel, payload), arrival.promise]),
      patienceMs,
      () =>
        new Error(
          "Notifications do not arrive. A pooler in transaction mode loses them: set PLINTH_SERVICE_URL to a direct connection to the server or to a pooler in session mode.",
        ),
    );
  }

  #scheduleProbe(client: Client, probes = 1): void {
    this.#timer = setTimeout(async () => {
      try {
        await this.#prove();
        await this.#options.onProbed?.(probes);
        if (this.#client === client) this.#scheduleProbe(client, probes + 1);
      } catch (error) {
        this.#lost(client, error);
      }
    }, PROBE_INTERVAL_MS).unref();
  }
}
