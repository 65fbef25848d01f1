import type { Logger } from "pino";
import { withTimeout } from "../support/with-timeout.ts";

/** The database's response: how many of the wanted requests were counted, and how many remain. */
export interface Lease {
  readonly granted: number;
  readonly remaining: number;
  /** Time until another lease may be granted, when fewer were granted than wanted. */
  readonly retryAfterMs: number;
}

/** A client's count in its window. Above the limit, the request is rejected. */
export interface Count {
  readonly totalHits: number;
  readonly resetTime: Date;
}

export type TakeLease = (client: string, wanted: number) => Promise<Lease>;

/** Share of its limit that a client may use per window without a query. */
const FREE_SHARE = 0.1;
/** Requests counted ahead with one query, as a share of the limit. */
const BLOCK_SHARE = 0.05;
/** Maximum time a request waits for the database; then the count in memory decides. */
const LEASE_TIMEOUT_MS = 1_000;
/** Time during which only the count in memory decides after the database did not respond. */
const OUTAGE_MS = 5_000;
const SHORTEST_REFUSAL_MS = 100;

/** A client's counts in the window that started with its first request. */
interface Account {
  readonly resetAt: number;
  /** Requests, except those that only the database rejected. */
  hits: number;
  admitted: number;
  /** Requests that the database has counted; more than `admitted` when a block was counted ahead. */
  reported: number;
  /** Requests that remained for this client in the database, across all servers. */
  remaining: number;
  /** Time before which the database is not asked again. */
  refusedUntil: number;
  asking: Promise<void> | undefined;
}

/**
 * Counts requests per client and window in memory and shares the count with other servers when needed: beyond a tenth of the
 * limit, a client's requests are covered by blocks that the database counts ahead. So a client of `n` servers gets at most
 * `1 + n / 10` times the limit, and clients below a tenth cost no query. Without a database, each server enforces the limit
 * on its own.
 */
export class RequestLeases {
  readonly #accounts = new Map<string, Account>();
  readonly #limit: number;
  readonly #windowMs: number;
  readonly #takeLease: TakeLease;
  readonly #logger: Logger;
  readonly #sweeping: NodeJS.Timeout;
  #outageUntil = 0;

  constructor(options: { limit: number; windowMs: number; takeLease: TakeLease; logger: Logger }) {
    this.#limit = options.limit;
    this.#windowMs = options.windowMs;
    this.#takeLease = options.takeLease;
    this.#logger = options.logger;
    this.#sweeping = setInterval(() => this.#sweep(), Math.min(options.windowMs, 60_000)).unref();
  }

  /**
   * Never rejects. `totalHits` above the limit means that the request is rejected.
   * @param weight number of requests to count
   */
  async increment(key: string, weight = 1): Promise<Count> {
    const account = this.#accountOf(key);
    account.hits += weight;
    // Read now, because other requests are counted while this one waits.
    const { hits } = account;
    const resetTime = new Date(account.resetAt);
    if (hits > this.#limit) {
      // A smaller request may still fit.
      if (weight > 1) account.hits -= weight;
      return { totalHits: hits, resetTime };
    }
    if (hits <= this.#limit * FREE_SHARE) {
      account.admitted += weight;
      return { totalHits: hits, resetTime };
    }

    const isCovered = () => account.admitted + weight <= account.reported;
    while (!isCovered() && this.#mayAsk(account)) await this.#ask(key, account, weight);
    if (!isCovered() && Date.now() >= this.#outageUntil) {
      account.hits -= weight;
      return { totalHits: this.#limit + 1, resetTime: new Date(account.refusedUntil) };
    }
    account.admitted += weight;
    // Asks early, so that requests rarely wait.
    const ahead = account.reported - account.admitted;
    if (ahead < this.#block / 2 && this.#mayAsk(account)) void this.#ask(key, account, 1);
    const usedEverywhere = this.#limit - account.remaining - Math.max(0, ahead);
    return { totalHits: Math.min(this.#limit, Math.max(hits, usedEverywhere)), resetTime };
  }

  /** Uncounts a request that was counted and admitted by mistake. */
  decrement(key: string): void {
    const account = this.#accounts.get(key);
    // The window may have ended.
    if (!account || account.hits === 0) return;
    account.hits -= 1;
    account.admitted = Math.max(0, account.admitted - 1);
  }

  shutdown(): void {
    clearInterval(this.#sweeping);
  }

  get #block(): number {
    return Math.max(1, Math.floor(this.#limit * BLOCK_SHARE));
  }

  #accountOf(key: string): Account {
    const now = Date.now();
    const known = this.#accounts.get(key);
    if (known && known.resetAt > now) return known;
    const account: Account = {
      resetAt: now + this.#windowMs,
      hits: 0,
      admitted: 0,
      reported: 0,
      remaining: this.#limit,
      refusedUntil: 0,
      asking: undefined,
    };
    this.#accounts.set(key, account);
    return account;
  }

  #mayAsk({ refusedUntil, reported }: Account): boolean {
    const now = Date.now();
    return now >= refusedUntil && now >= this.#outageUntil && reported < this.#limit;
  }

  /** Asks the database once at a time per client; concurrent callers share the pending request. */
  #ask(key: string, account: Account, weight: number): Promise<void> {
    account.asking ??= this.#takeBlock(key, account, weight).finally(() => {
      account.asking = undefined;
    });
    return account.asking;
  }

  async #takeBlock(key: string, account: Account, weight: number): Promise<void> {
    const unreported = Math.max(0, account.admitted - account.reported);
    const wanted = Math.min(unreported + Math.max(this.#block, weight), this.#limit - account.reported);
    try {
      const lease = await withTimeout(
        this.#takeLease(key, wanted),
        LEASE_TIMEOUT_MS,
        () => new Error("The database did not answer in time."),
      );
      account.reported += lease.granted;
      account.remaining = lease.remaining;
      if (lease.granted < wanted)
        account.refusedUntil = Date.now() + Math.max(SHORTEST_REFUSAL_MS, lease.retryAfterMs);
    } catch (err) {
      this.#outageUntil = Date.now() + OUTAGE_MS;
      this.#logger.warn({ err }, "request counts cannot be shared; each server counts on its own");
    }
  }

  #sweep(): void {
    const now = Date.now();
    for (const [key, { resetAt }] of this.#accounts) if (resetAt <= now) this.#accounts.delete(key);
  }
}
