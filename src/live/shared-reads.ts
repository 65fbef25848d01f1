import type { Pool } from "pg";
import type { RawRows } from "../request/pg-internals/node-pg.ts";
import { release, type Statement, type TransactionSettings } from "../request/transaction.ts";
import { type Read, ReadConnection, type ReadResult, type Trial } from "./read-connection.ts";

/** Maximum connections that all subscriptions use together. */
const MAX_CONNECTIONS = 2;
/** Idle time after which a connection returns to the pool. */
const LINGER_MS = 250;
/** Time after which a busy connection is exchanged, because the pool maintains only returned connections. */
const MAX_LEASE_MS = 5_000;

interface Lease {
  readonly connection: ReadConnection;
  endsAt: number;
  lingering: NodeJS.Timeout | undefined;
  readonly onLost: () => void;
}

/**
 * Reads of many subscribers, each under its own claims, over few connections (see ReadConnection). A thousand subscriptions
 * need two connections, and none while there is no news.
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

  /** @throws the server's error, or the pool's when no connection is available */
  read<TRow>(settings: TransactionSettings, statement: Statement): Promise<ReadResult<TRow>> {
    return new Promise<ReadResult<never>>((resolve, reject) => {
      this.#send({ settings, statement, resolve, reject });
    }) as Promise<ReadResult<TRow>>;
  }

  /** Runs a statement under each of these settings, in order. The first failure and everything behind it are missing. */
  try(settings: readonly TransactionSettings[], statement: Statement): Promise<readonly RawRows[]> {
    return new Promise((resolve) => {
      this.#send({ settings, statement, resolve });
    });
  }

  /** Sends pending reads now instead of at the end of the tick, so that the database works while this process does. */
  flush(): void {
    for (const { connection } of this.#leases) connection.flush();
  }

  /** Releases idle connections now and the others when their reads are answered. */
  close(): void {
    this.#isClosed = true;
    for (const lease of this.#leases) this.#endIfIdle(lease);
  }

  #send(work: Read | Trial): void {
    const now = Date.now();
    let best: Lease | undefined;
    for (const lease of this.#leases)
      if (now < lease.endsAt && (!best || lease.connection.unanswered < best.connection.unanswered))
        best = lease;
    const isIdle = best?.connection.unanswered === 0;
    if (!isIdle && this.#leases.size + this.#connecting < MAX_CONNECTIONS) void this.#lease();
    if (best) {
      clearTimeout(best.lingering);
      sendOn(best.connection, work);
    } else this.#waiting.push(work);
  }

  /** Never rejects: reads that wait for a connection receive its error. */
  async #lease(): Promise<void> {
    this.#connecting += 1;
    try {
      const client = await this.#pool.connect();
      const connection = new ReadConnection(
        client,
        (read) => this.#send(read),
        () => this.#onIdle(lease),
      );
      const onLost = () => {
        lease.endsAt = 0;
        this.#endIfIdle(lease);
      };
      const lease: Lease = { connection, endsAt: Date.now() + MAX_LEASE_MS, lingering: undefined, onLost };
      client.once("error", onLost);
      this.#leases.add(lease);
      this.#connecting -= 1;
      for (const work of this.#waiting.splice(0)) sendOn(connection, work);
      if (connection.unanswered === 0) this.#onIdle(lease);
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
    // A broken connection must not get another read.
    if (isDone || lease.connection.client.getTransactionStatus() !== "I") {
      this.#endIfIdle(lease);
      return;
    }
    clearTimeout(lease.lingering);
    lease.lingering = setTimeout(() => this.#endIfIdle(lease), LINGER_MS).unref();
  }

  #endIfIdle(lease: Lease): void {
    if (lease.connection.unanswered > 0 || !this.#leases.delete(lease)) return;
    clearTimeout(lease.lingering);
    lease.connection.client.off("error", lease.onLost);
    void release(lease.connection.client);
    if (this.#waiting.length > 0 && this.#leases.size + this.#connecting < MAX_CONNECTIONS)
      void this.#lease();
  }
}

function sendOn(connection: ReadConnection, work: Read | Trial): void {
  if ("reject" in work) connection.send(work);
  else connection.try(work);
}
