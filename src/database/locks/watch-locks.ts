import type pg from "pg";
import { DatabaseClient } from "../../connection/client.ts";
import { type LockWait, readLockWait } from "./lock-wait.ts";

export interface LockWatch {
  /** The last wait that was seen. */
  readonly last: LockWait | undefined;
  stop(): Promise<void>;
}

/**
 * Looks from a second connection for the lock that a session waits for: when the wait ends, PostgreSQL no longer knows the holder.
 * Connects only if the work takes longer than the first pause, and stays silent if it cannot.
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

  const connected = () => (connecting ??= connect(connectionString, applicationName));
  async function look(): Promise<void> {
    try {
      const wait = await readLockWait(await connected(), pid);
      if (wait && !isStopped) {
        last = wait;
        options.onWait?.(wait);
      }
    } catch {
      // The work goes on without a watch; its error then names no holder.
      isStopped = true;
    }
    schedule();
  }
  let looking: Promise<void> = Promise.resolve();
  function schedule(): void {
    if (isStopped) return;
    timer = setTimeout(() => {
      looking = look();
    }, pauseMs);
  }
  const cancel = async () => {
    const client = await connected();
    await client.query("select pg_cancel_backend($1)", [pid]);
  };
  const interrupt = () => void cancel().catch(() => {});
  signal?.addEventListener("abort", interrupt);
  schedule();
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
