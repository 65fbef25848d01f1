import type { Logger } from "pino";
import { ListenConnection } from "../../request/listen-connection.ts";
import type { Notifier } from "../../request/notifier.ts";
import { withTimeout } from "../../support/with-timeout.ts";
import type { Revocation } from "./revocation-list.ts";

const LOAD_TIMEOUT_MS = 30_000;
const READ_TIMEOUT_MS = 2_000;
/** Polling interval while notifications do not arrive. */
const POLL_INTERVAL_MS = 2_000;

interface Row {
  readonly kind: Revocation["kind"];
  readonly subject_id: string;
  readonly token_version: number | null;
  readonly expires_at: Date;
}

/** Overlap of readings: a revocation becomes visible only when its transaction commits. */
const RECENT = "10 minutes";
const ALL = "1 day 5 minutes";
/** Number of probes or polls after which everything is read again, for transactions open longer than RECENT. */
const ROUNDS_PER_FULL_READING = 300;

/**
 * Listens for revocations on its own connection. It first listens and then loads the existing revocations, so none is
 * missed; only then, and only while notifications are known to arrive, `isListening` is true. Otherwise it polls every few
 * seconds, which closes open sockets; requests must then query the database.
 *
 * Any database role may notify, so a notification is not trusted and only triggers a read.
 */
export class RevocationListener {
  readonly #connection: ListenConnection;
  readonly #notifier: Notifier;
  readonly #onRevocation: (revocation: Revocation) => void;
  #isAsked = false;
  #isReading = false;
  #polling: NodeJS.Timeout | undefined;

  constructor(options: {
    url: string;
    notifier: Notifier;
    logger: Logger;
    onRevocation: (revocation: Revocation) => void;
  }) {
    this.#notifier = options.notifier;
    this.#onRevocation = options.onRevocation;
    this.#connection = new ListenConnection({
      url: options.url,
      notifier: options.notifier,
      logger: options.logger,
      applicationName: "plinth-revocations",
      channel: "plinth_revocation",
      purpose: "revocations",
      onListening: () => this.#readAll(),
      onNotification: (payload) => {
        if (payload === "") this.#readSoon();
      },
      onProbed: async (probes) => {
        if (probes % ROUNDS_PER_FULL_READING === 0) await this.#readAll();
      },
    });
  }

  get isListening(): boolean {
    return this.#connection.isListening;
  }

  /** Resolves after the first attempt, successful or not; retries follow automatically. */
  async start(): Promise<void> {
    await this.#connection.start();
    this.#poll(1);
  }

  close(): Promise<void> {
    clearTimeout(this.#polling);
    this.#polling = undefined;
    return this.#connection.close();
  }

  #poll(round: number): void {
    const timer = setTimeout(async () => {
      // An unavailable database is already in the log; the next poll catches up.
      if (!this.isListening)
        await (round % ROUNDS_PER_FULL_READING === 0 ? this.#readAll() : this.#readRecent()).catch(() => {});
      if (this.#polling === timer) this.#poll(round + 1);
    }, POLL_INTERVAL_MS).unref();
    this.#polling = timer;
  }

  #readAll(): Promise<void> {
    return withTimeout(
      this.#read(ALL),
      LOAD_TIMEOUT_MS,
      () => new Error("Loading the revocations took too long."),
    );
  }

  #readRecent(): Promise<void> {
    return withTimeout(
      this.#read(RECENT),
      READ_TIMEOUT_MS,
      () => new Error("Reading the revocations took too long."),
    );
  }

  async #read(maxAge: string): Promise<void> {
    const rows = await this.#notifier.query<Row>(
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

  /** Reads now; calls during a reading share one further reading. */
  #readSoon(): void {
    this.#isAsked = true;
    if (!this.#isReading) void this.#readWhileAsked();
  }

  async #readWhileAsked(): Promise<void> {
    this.#isReading = true;
    try {
      while (this.#isAsked) {
        this.#isAsked = false;
        await this.#readRecent();
      }
    } catch (error) {
      // The announced revocations are unknown, so requests query the database until everything has been read again.
      this.#connection.giveUp(error);
    } finally {
      this.#isReading = false;
    }
  }
}
