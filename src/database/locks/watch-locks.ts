import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { DatabaseClient } from "../../connection/client.ts";
import { type LockWait, readLockWait } from "./lock-wait.ts";

/** Pause before a connection is replaced that failed, and before a statement is cancelled again. */
const RETRY_MS = 1_000;

export interface LockWatch {
  /** The last wait that was seen. */
  readonly last: LockWait | undefined;
  stop(): Promise<void>;
}

/**
 * Looks from a second connection for the lock that a session waits for: when the wait ends, PostgreSQL no longer knows the holder.
 * Connects only if the work takes longer than the first pause, and again if that fails; until then, an error names no holder.
 * @param options.applicationName name of the second connection
 * @param options.signal cancels the session's statement when it is aborted
 * @param options.onWait called for each wait that is seen
 */
export function watchLocks(options: {
  connectionString: string;
  applicationName?: string;
  pid: number;
  pauseMs: number;
  signal?: AbortSignal | undefined;
  onWait?: (wait: LockWait) => void;
}): LockWatch {
  const { connectionString, applicationName = "plinth migrate (watch)", pid, pauseMs, signal } = options;
  let last: LockWait | undefined;
  let connecting: Promise<pg.Client> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;

  /** Uses the second connection. @returns whether that succeeded */
  async function use(run: (client: pg.Client) => Promise<void>): Promise<boolean> {
    connecting ??= connect(connectionString, applicationName);
    const used = connecting;
    try {
      await run(await used);
      return true;
    } catch {
      if (connecting === used) connecting = undefined;
      void used.then((client) => client.end()).catch(() => {});
      return false;
    }
  }
  async function look(): Promise<void> {
    const hasLooked = await use(async (client) => {
      const wait = await readLockWait(client, pid);
      if (!wait || isStopped) return;
      last = wait;
      options.onWait?.(wait);
    });
    schedule(hasLooked ? pauseMs : RETRY_MS);
  }
  let looking: Promise<void> = Promise.resolve();
  function schedule(ms: number): void {
    if (isStopped) return;
    timer = setTimeout(() => {
      looking = look();
    }, ms);
  }
  /** Cancels until the work has ended, because the session may be between two statements. */
  async function cancel(): Promise<void> {
    while (!isStopped) {
      await use(async (client) => void (await client.query("select pg_cancel_backend($1)", [pid])));
      await sleep(RETRY_MS, undefined, { ref: false });
    }
  }
  const interrupt = () => void cancel();
  if (signal?.aborted) interrupt();
  signal?.addEventListener("abort", interrupt);
  schedule(pauseMs);
  return {
    get last() {
      return last;
    },
    async stop() {
      isStopped = true;
      clearTimeout(timer);
      signal?.removeEventListener("abort", interrupt);
      await looking;
      const client = await connecting?.catch(() => undefined);
      await client?.end().catch(() => {});
    },
  };
}

async function connect(connectionString: string, applicationName: string): Promise<pg.Client> {
  const client = new DatabaseClient({
    connectionString,
    application_name: applicationName,
    connectionTimeoutMillis: 5_000,
  });
  client.on("error", () => {});
  await client.connect();
  return client;
}
