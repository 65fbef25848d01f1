import { randomUUID } from "node:crypto";
import pg, { type Client } from "pg";
import type { Logger } from "pino";
import type { Revocation } from "./revocation-list.ts";

const CHANNEL = "plinth_revocation";
const HEARTBEAT_INTERVAL_MS = 1_000;
/** A connection that answers later than this counts as dead: a broken network may never say so. */
const HEARTBEAT_TIMEOUT_MS = 2_000;
const CONNECT_TIMEOUT_MS = 5_000;
const LOAD_TIMEOUT_MS = 30_000;
const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 5_000;

interface Row {
  readonly kind: Revocation["kind"];
  readonly subject_id: string;
  readonly token_version: number | null;
  readonly expires_at: Date;
}

/** A revocation becomes visible when its transaction commits, so each reading goes back further than the last. */
const RECENT = "10 minutes";
const ALL = "1 day 5 minutes";
/** Everything is read again after this many heartbeats, for a transaction that was open longer than RECENT. */
const HEARTBEATS_PER_FULL_READING = 300;

/**
 * Hears of revocations on a connection of its own. It listens first and loads what is already revoked afterwards, so
 * nothing falls between; only then, and only while its heartbeat is answered, does `isListening` say true.
 *
 * Any database role may notify, so a notification is not believed, only taken as a reason to read.
 */
export class RevocationListener {
  readonly #url: string;
  readonly #logger: Logger;
  readonly #onRevocation: (revocation: Revocation) => void;
  #client: Client | undefined;
  #isListening = false;
  #isClosed = false;
  #retries = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: { url: string; logger: Logger; onRevocation: (revocation: Revocation) => void }) {
    this.#url = options.url;
    this.#logger = options.logger;
    this.#onRevocation = options.onRevocation;
  }

  get isListening(): boolean {
    return this.#isListening;
  }

  /** Resolves after the first attempt, whatever came of it; further ones follow by themselves. */
  async start(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#url,
      application_name: "plinth-revocations",
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
    });
    this.#client = client;
    client.on("error", (error) => this.#lost(client, error));
    client.on("end", () => this.#lost(client, new Error("The connection ended.")));
    try {
      await client.connect();
      await this.#listen(client);
      if (this.#client !== client) return;
      this.#isListening = true;
      if (this.#retries > 0) this.#logger.info("listening for revocations again");
      this.#retries = 0;
      this.#scheduleHeartbeat(client);
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

  async #listen(client: Client): Promise<void> {
    const probe = randomUUID();
    const probeArrived = Promise.withResolvers<void>();
    const read = this.#createReader(client);
    client.on("notification", ({ payload = "" }) => {
      if (payload === probe) probeArrived.resolve();
      // Probes of other servers are no reason to read.
      else if (payload === "") read();
    });
    await client.query(`listen ${CHANNEL}`);
    // A pooler between us and the server may take the LISTEN and never deliver: only an arrived message proves it.
    await client.query("select pg_notify($1, $2)", [CHANNEL, probe]);
    await withTimeout(
      probeArrived.promise,
      HEARTBEAT_TIMEOUT_MS,
      "Notifications do not arrive on this connection.",
    );
    await withTimeout(this.#read(client, ALL), LOAD_TIMEOUT_MS, "Loading the revocations took too long.");
  }

  async #read(client: Client, maxAge: string): Promise<void> {
    const { rows } = await client.query<Row>(
      "select kind, subject_id, token_version, expires_at from private.list_revocations($1)",
      [maxAge],
    );
    for (const row of rows)
      this.#onRevocation({
        kind: row.kind,
        subjectId: row.subject_id,
        tokenVersion: row.token_version,
        expiresAt: row.expires_at,
      });
  }

  /** Reads when called; calls that come while a reading is under way are answered by one more. */
  #createReader(client: Client): () => void {
    let isAsked = false;
    let isReading = false;
    const readWhileAsked = async () => {
      isReading = true;
      try {
        while (isAsked && this.#client === client) {
          isAsked = false;
          await withTimeout(
            this.#read(client, RECENT),
            HEARTBEAT_TIMEOUT_MS,
            "Reading the revocations took too long.",
          );
        }
      } catch (error) {
        this.#lost(client, error);
      } finally {
        isReading = false;
      }
    };
    return () => {
      isAsked = true;
      if (!isReading) void readWhileAsked();
    };
  }

  #scheduleHeartbeat(client: Client, beats = 1): void {
    this.#timer = setTimeout(async () => {
      try {
        await withTimeout(client.query("select 1"), HEARTBEAT_TIMEOUT_MS, "The heartbeat was not answered.");
        if (beats % HEARTBEATS_PER_FULL_READING === 0)
          await withTimeout(
            this.#read(client, ALL),
            LOAD_TIMEOUT_MS,
            "Loading the revocations took too long.",
          );
        if (this.#client === client) this.#scheduleHeartbeat(client, beats + 1);
      } catch (error) {
        this.#lost(client, error);
      }
    }, HEARTBEAT_INTERVAL_MS).unref();
  }

  /** Called once per connection, whichever sign of its end comes first. */
  #lost(client: Client, error: unknown): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    this.#isListening = false;
    clearTimeout(this.#timer);
    // A connection that hangs would never end politely.
    void client.end().catch(() => {});
    if (this.#isClosed) return;
    const delay =
      Math.min(FIRST_RETRY_MS * 2 ** this.#retries++, LONGEST_RETRY_MS) * (0.75 + Math.random() / 2);
    this.#logger.warn({ err: error, retryInMs: Math.round(delay) }, "not listening for revocations");
    this.#timer = setTimeout(() => void this.start(), delay).unref();
  }
}

async function withTimeout<T>(promise: Promise<T>, ms: number, message: string): Promise<T> {
  const expiry = Promise.withResolvers<never>();
  const timer = setTimeout(() => expiry.reject(new Error(message)), ms);
  try {
    return await Promise.race([promise, expiry.promise]);
  } finally {
    clearTimeout(timer);
    promise.catch(() => {});
  }
}
