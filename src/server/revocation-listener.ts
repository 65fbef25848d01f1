import type { Client } from "pg";
import type { Logger } from "pino";
import { withTimeout } from "../with-timeout.ts";
import { ListenConnection } from "./listen-connection.ts";
import type { Revocation } from "./revocation-list.ts";

const LOAD_TIMEOUT_MS = 30_000;
const READ_TIMEOUT_MS = 2_000;

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
  readonly #connection: ListenConnection;
  readonly #onRevocation: (revocation: Revocation) => void;
  #isAsked = false;
  #reading: Client | undefined;

  constructor(options: { url: string; logger: Logger; onRevocation: (revocation: Revocation) => void }) {
    this.#onRevocation = options.onRevocation;
    this.#connection = new ListenConnection({
      url: options.url,
      logger: options.logger,
      applicationName: "plinth-revocations",
      channel: "plinth_revocation",
      purpose: "revocations",
      onListening: (client) => this.#readAll(client),
      onNotification: (payload, client) => {
        if (payload === "") this.#readSoon(client);
      },
      onHeartbeat: async (client, beats) => {
        if (beats % HEARTBEATS_PER_FULL_READING === 0) await this.#readAll(client);
      },
    });
  }

  get isListening(): boolean {
    return this.#connection.isListening;
  }

  /** Resolves after the first attempt, whatever came of it; further ones follow by themselves. */
  start(): Promise<void> {
    return this.#connection.start();
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  #readAll(client: Client): Promise<void> {
    return withTimeout(
      this.#read(client, ALL),
      LOAD_TIMEOUT_MS,
      () => new Error("Loading the revocations took too long."),
    );
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

  /** Reads now; calls that come while a reading is under way are answered by one more. */
  #readSoon(client: Client): void {
    this.#isAsked = true;
    if (this.#reading !== client) void this.#readWhileAsked(client);
  }

  async #readWhileAsked(client: Client): Promise<void> {
    this.#reading = client;
    try {
      while (this.#isAsked && this.#connection.isCurrent(client)) {
        this.#isAsked = false;
        await withTimeout(
          this.#read(client, RECENT),
          READ_TIMEOUT_MS,
          () => new Error("Reading the revocations took too long."),
        );
      }
    } catch (error) {
      this.#connection.lost(client, error);
    } finally {
      if (this.#reading === client) this.#reading = undefined;
    }
  }
}
