import type { Pool } from "pg";
import { giveBack, type Statement, type TransactionSettings } from "../request/transaction.ts";
import { type Read, ReadLane, type ReadResult, type Trial } from "./read-lane.ts";
import type { RawRows } from "./read-query.ts";

/** Connections that all subscriptions together use at once. */
const MAX_LANES = 2;
/** A connection nobody has read on for so long goes back to the pool. */
const LINGER_MS = 250;
/** A connection in steady use is exchanged after so long, since a pool cares for those that come back. */
const MAX_LEASE_MS = 5_000;

interface Lease {
  readonly lane: ReadLane;
  endsAt: number;
  lingering: NodeJS.Timeout | undefined;
  readonly onLost: () => void;
}

/**
 * Reads of many subscribers, each under its own claims, over few connections: see ReadLane. So a thousand subscriptions
 * need two connections, and none of them while nothing happens.
 */
export class SharedReads {
  readonly #pool: Pool;
  readonly #leases = new Set<Lease>();
  #connecting = 0;
  #waiting: (Read | Trial)[] = [];
  #isClosed = false;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** @throws the server's error; what the pool throws when it has no connection */
  read<TRow>(settings: TransactionSettings, statement: Statement): Promise<ReadResult<TRow>> {
    return new Promise<ReadResult<never>>((resolve, reject) => {
      this.#send({ settings, statement, resolve, reject });
    }) as Promise<ReadResult<TRow>>;
  }

  /** How a statement is answered under each of these settings, in order. What failed, and what is behind it, is missing. */
  try(settings: readonly TransactionSettings[], statement: Statement): Promise<readonly RawRows[]> {
    return new Promise((resolve) => {
      this.#send({ settings, statement, resolve });
    });
  }

  /** What was asked for leaves now and not at the end of the tick: the database works while this process does. */
  flush(): void {
    for (const { lane } of this.#leases) lane.flush();
  }

  /** Gives back what nobody uses, and the rest when it is answered. */
  close(): void {
    this.#isClosed = true;
    for (const lease of this.#leases) this.#endIfIdle(lease);
  }

  #send(work: Read | Trial): void {
    const now = Date.now();
    let best: Lease | undefined;
    for (const lease of this.#leases)
      if (now < lease.endsAt && (!best || lease.lane.unanswered < best.lane.unanswered)) best = lease;
    const isIdle = best?.lane.unanswered === 0;
    if (!isIdle && this.#leases.size + this.#connecting < MAX_LANES) void this.#lease();
    if (best) {
      clearTimeout(best.lingering);
      sendOn(best.lane, work);
    } else this.#waiting.push(work);
  }

  /** Never rejects: whoever waits for a connection that cannot be had learns of it. */
  async #lease(): Promise<void> {
    this.#connecting += 1;
    try {
      const client = await this.#pool.connect();
      const lane = new ReadLane(
        client,
        (read) => this.#send(read),
        () => this.#onIdle(lease),
      );
      const onLost = () => {
        lease.endsAt = 0;
        this.#endIfIdle(lease);
      };
      const lease: Lease = { lane, endsAt: Date.now() + MAX_LEASE_MS, lingering: undefined, onLost };
      client.once("error", onLost);
      this.#leases.add(lease);
      this.#connecting -= 1;
      for (const work of this.#waiting.splice(0)) sendOn(lane, work);
      if (lane.unanswered === 0) this.#onIdle(lease);
    } catch (error) {
      this.#connecting -= 1;
      if (this.#leases.size + this.#connecting === 0)
        for (const work of this.#waiting.splice(0))
          if ("reject" in work) work.reject(error);
          else work.resolve([]);
    }
  }

  #onIdle(lease: Lease): void {
    const isDone = this.#isClosed || Date.now() >= lease.endsAt;
    // One that is broken must not be lent another read.
    if (isDone || lease.lane.client.getTransactionStatus() !== "I") {
      this.#endIfIdle(lease);
      return;
    }
    clearTimeout(lease.lingering);
    lease.lingering = setTimeout(() => this.#endIfIdle(lease), LINGER_MS).unref();
  }

  #endIfIdle(lease: Lease): void {
    if (lease.lane.unanswered > 0 || !this.#leases.delete(lease)) return;
    clearTimeout(lease.lingering);
    lease.lane.client.off("error", lease.onLost);
    void giveBack(lease.lane.client);
    if (this.#waiting.length > 0 && this.#leases.size + this.#connecting < MAX_LANES) void this.#lease();
  }
}

function sendOn(lane: ReadLane, work: Read | Trial): void {
  if ("reject" in work) lane.send(work);
  else lane.try(work);
}
