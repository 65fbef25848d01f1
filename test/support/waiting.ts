import { setTimeout as sleep } from "node:timers/promises";
import { type TestDatabase, withClient } from "./database.ts";

/** Resolves when this many connections of the database wait for a lock, so that a test can decide a race. */
export async function untilWaiting(db: Pick<TestDatabase, "url">, connections = 1): Promise<void> {
  await withClient(db.url("owner"), async (client) => {
    for (;;) {
      const { rows } = await client.query<{ waiting: number }>(
        `select count(distinct l.pid)::integer as waiting
         from pg_locks l join pg_stat_activity a on a.pid = l.pid
         where not l.granted and a.datname = current_database()`,
      );
      if (rows[0]!.waiting >= connections) return;
      await sleep(10);
    }
  });
}

/**
 * Ends a session as the death of its machine does. Resolves when its locks are gone, which is after its client has heard of the end.
 */
export async function endSession(db: Pick<TestDatabase, "adminUrl">, pid: number): Promise<void> {
  await withClient(db.adminUrl, (client) => client.query("select pg_terminate_backend($1, 300000)", [pid]));
}

/**
 * Runs steps that must end before a time limit of the tested code, first with a short limit and then with longer ones, because a busy
 * machine may stand still for longer than a short one. Steps that fail with every limit have found a fault.
 */
export async function withGrowingLimit<T>(firstMs: number, run: (ms: number) => Promise<T>): Promise<T> {
  let ms = firstMs;
  for (; ms < LONG_MS; ms *= 5)
    try {
      return await run(ms);
    } catch {
      // The next limit decides.
    }
  return run(ms);
}

/** No machine stands still for so long. */
const LONG_MS = 60_000;

/**
 * Waits over the end of a month (UTC) if it is near, so that what follows happens within one month: quotas and figures begin anew with it.
 */
export async function untilMonthGoesOn(minutes = 5): Promise<void> {
  const month = (at: number) => new Date(at).getUTCMonth();
  while (month(Date.now()) !== month(Date.now() + minutes * 60_000)) await sleep(1_000);
}

/** Holds a lock while the test sets up the callers that wait for it. */
export async function whileLocked<T>(
  db: Pick<TestDatabase, "url">,
  statements: readonly (readonly [sql: string, params?: unknown[]])[],
  setUp: () => Promise<T>,
): Promise<T> {
  return withClient(db.url("owner"), async (client) => {
    await client.query("begin");
    for (const [sql, params] of statements) await client.query(sql, params);
    const result = await setUp();
    await client.query("commit");
    return result;
  });
}
