import { setTimeout as sleep } from "node:timers/promises";
import type { Pool } from "pg";
import type { Logger } from "pino";
import type { Config } from "../../config/config.ts";
import { hostNames, parseDatabaseUrl } from "../../connection/database-url.ts";
import { askTogether } from "../../support/ask-together.ts";
import { quietly } from "../../support/quiet-log.ts";
import { withTimeout } from "../../support/with-timeout.ts";
import { createPool } from "../pool.ts";
import { type Position, primaryIdentity, replicaIdentity, replicaProgress } from "./positions.ts";

export type ReplicaState =
  | "in use"
  /** Not compared with the primary yet, or not since the primary did not answer. */
  | "unchecked"
  | "behind"
  | "unreachable"
  /** Promoted, a copy of another database, or of another history of this one. */
  | "not a standby of the primary";

const CHECK_INTERVAL_MS = 1_000;
/** A check that takes longer counts as failed, because a broken network may report nothing. */
const CHECK_TIMEOUT_MS = 2_000;
const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 10_000;
/** A replica that is left out again and again is in the log once in this time. */
const QUIET_MS = 60_000;
/** The longest time that a check waits for the replay. */
const MAX_REPLAY_MS = 1_000;
/** Pause between two questions for the progress; replaying a commit usually takes less. */
const PROGRESS_PAUSE_MS = 1;

/** The reason that a read ends whose replica is left out meanwhile. */
export class ReplicaLost extends Error {}

/** A standby, and whether reads may use it. A timer checks it again and again. */
export class Replica {
  /** Host and port, for the log. */
  readonly name: string;
  readonly pool: Pool;
  /** For questions about its state, which must not wait for the reads. */
  readonly #watch: Pool;
  readonly #primary: Pool;
  readonly #maxLagMs: number;
  readonly #logger: Logger;
  readonly #warn: (error: Error) => void;
  readonly #progress: () => Promise<void>;
  /** Aborts of the reads in progress. */
  readonly #reading = new Set<(error: Error) => void>();
  #state: ReplicaState = "unchecked";
  #replayed: Position = 0n;
  #retries = 0;
  #timer: NodeJS.Timeout | undefined;
  #isChecking = false;
  #isClosed = false;

  constructor(options: {
    url: string;
    primary: Pool;
    settings: Config["pool"];
    maxLagMs: number;
    logger: Logger;
  }) {
    const { url, settings, primary, maxLagMs, logger } = options;
    this.name = hostNames(parseDatabaseUrl(url));
    this.#primary = primary;
    this.#maxLagMs = maxLagMs;
    this.#logger = logger;
    this.#warn = quietly(({ name: state, message: reason }, repeats) => {
      logger.warn({ replica: this.name, state, reason, repeats }, "replica left out");
    }, QUIET_MS);
    const onError = (error: Error) => this.leave("unreachable", error);
    this.pool = createPool({ url, applicationName: "plinth-replica", max: settings.max, settings, onError });
    this.#watch = createPool({
      url,
      applicationName: "plinth-replica-check",
      max: 1,
      settings: { ...settings, connectionTimeoutMs: CHECK_TIMEOUT_MS, statementTimeoutMs: CHECK_TIMEOUT_MS },
      answerGraceMs: 0,
      onError,
    });
    this.#progress = askTogether(async () => {
      const { isStandby, replayed } = await replicaProgress(this.#watch);
      if (isStandby) this.#replayed = replayed;
      else this.leave("not a standby of the primary");
    });
  }

  get state(): ReplicaState {
    return this.#state;
  }

  /** Number of reads in progress. */
  get load(): number {
    return this.#reading.size;
  }

  isReady(position: Position): boolean {
    return this.#state === "in use" && this.#replayed >= position;
  }

  /**
   * Resolves when a position is replayed.
   * @throws Error if that takes longer than the maximum lag; then the replica is left out
   */
  async reach(position: Position): Promise<this> {
    try {
      await withTimeout(this.#replay(position), this.#maxLagMs, () => {
        const error = new Error(`The replica is more than ${this.#maxLagMs} ms behind the primary.`);
        this.leave("behind", error);
        return error;
      });
    } catch (error) {
      if (this.#state === "in use") this.leave("unreachable", error);
      throw error;
    }
    return this;
  }

  async #replay(position: Position): Promise<void> {
    while (!this.isReady(position)) {
      if (this.#state !== "in use") throw new ReplicaLost(`The replica is ${this.#state}.`);
      await this.#progress();
      if (!this.isReady(position)) await sleep(PROGRESS_PAUSE_MS);
    }
  }

  /** Returns the result of a read. @throws its error, or at once when the replica is lost, even if the read would wait longer */
  async whileReachable<T>(read: Promise<T>): Promise<T> {
    const lost = Promise.withResolvers<never>();
    this.#reading.add(lost.reject);
    try {
      return await Promise.race([read, lost.promise]);
    } finally {
      this.#reading.delete(lost.reject);
    }
  }

  /** Leaves it out until a check succeeds. Unless it is lost, it still answers what it has begun. */
  leave(state: Exclude<ReplicaState, "in use">, error?: unknown): void {
    if (this.#isClosed) return;
    const { message = `It is ${state}.` } = (error ?? {}) as Partial<Error>;
    this.#warn(Object.assign(new Error(message), { name: state }));
    if (this.#state === state) return;
    this.#state = state;
    if (state === "unreachable" || state === "not a standby of the primary")
      for (const abort of this.#reading) abort(new ReplicaLost(message));
    this.#retries = 0;
    this.#schedule(FIRST_RETRY_MS);
  }

  /** Starts to check it. Resolves after the first check. */
  async check(): Promise<void> {
    if (this.#isChecking || this.#isClosed) return;
    this.#isChecking = true;
    clearTimeout(this.#timer);
    try {
      const state = await withTimeout(
        this.#examine(),
        CHECK_TIMEOUT_MS,
        () => new Error("No answer in time."),
      );
      if (state === "in use") this.#enter();
      else this.leave(state);
    } catch (error) {
      this.leave("unreachable", error);
    } finally {
      this.#isChecking = false;
    }
    const isIn = this.#state === "in use";
    this.#schedule(
      isIn ? CHECK_INTERVAL_MS : Math.min(FIRST_RETRY_MS * 2 ** this.#retries, LONGEST_RETRY_MS),
    );
    this.#retries += 1;
  }

  /** @throws the error of a connection to the replica */
  async #examine(): Promise<ReplicaState> {
    // Before the primary: a standby cannot be ahead of what its primary writes later.
    const own = await replicaIdentity(this.#watch);
    if (!own.isStandby) return "not a standby of the primary";
    const primary = await primaryIdentity(this.#primary).catch(() => undefined);
    if (!primary) return "unchecked";
    if (own.system !== primary.system || own.database !== primary.database || own.replayed > primary.end)
      return "not a standby of the primary";
    this.#replayed = own.replayed;
    const deadline = performance.now() + Math.min(this.#maxLagMs, MAX_REPLAY_MS);
    while (this.#replayed < primary.committed) {
      if (performance.now() >= deadline) return "behind";
      await sleep(PROGRESS_PAUSE_MS);
      await this.#progress();
    }
    return "in use";
  }

  #enter(): void {
    if (this.#state === "in use" || this.#isClosed) return;
    this.#state = "in use";
    this.#retries = 0;
    this.#logger.info({ replica: this.name }, "replica in use");
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    if (!this.#isClosed) this.#timer = setTimeout(() => void this.check(), delayMs).unref();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await Promise.all([this.pool.end(), this.#watch.end()]);
  }
}
