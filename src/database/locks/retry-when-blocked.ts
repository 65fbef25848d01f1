import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { PlinthError } from "../../support/errors.ts";
import { describeWait, endHolders, type LockWait } from "./lock-wait.ts";
import { watchLocks } from "./watch-locks.ts";

/** How long schema changes wait for locks that other sessions hold. */
export interface LockPatience {
  /**
   * Longest wait for one lock. While a lock is waited for, all later statements on that table queue behind it, so it is short. Above
   * deadlock_timeout (1 s by default), because PostgreSQL interrupts an autovacuum in the way only then.
   */
  readonly lockTimeoutMs: number;
  /** Longest time for all attempts and pauses together; 0 for one attempt. */
  readonly waitSeconds: number;
}

export const DEFAULT_PATIENCE: LockPatience = { lockTimeoutMs: 2_000, waitSeconds: 60 };

export interface PatientSession {
  readonly client: pg.Client;
  readonly ownerUrl: string;
  readonly patience: LockPatience;
  readonly log: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;

/** lock_not_available and deadlock_detected. */
const BLOCKED_STATES = ["55P03", "40P01"];

/**
 * Runs an attempt with a lock timeout, and again after a growing pause if it could not get a lock. A failed attempt must change
 * nothing and hold nothing, so that the queries that queued behind it run during the pause.
 * @param name the file or step, as the subject of a sentence
 * @param attempt a transaction, or statements that can run again
 * @throws PlinthError MIGRATION_BLOCKED naming the session that holds the lock, INTERRUPTED
 */
export async function retryWhenBlocked<T>(
  session: PatientSession,
  name: string,
  attempt: () => Promise<T>,
): Promise<T> {
  const { lockTimeoutMs, waitSeconds } = session.patience;
  const started = performance.now();
  for (let attempts = 1; ; attempts++) {
    const { result, wait } = await watched(session, name, lockTimeoutMs, attempt);
    if (result) return result.value;
    const why = wait ? describeWait(wait) : "it could not get a lock, and the holder could not be seen";
    const left = waitSeconds * 1_000 - (performance.now() - started);
    if (left <= 0) throw blocked({ name, why, wait, attempts, lockTimeoutMs });
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** (attempts - 1), LONGEST_PAUSE_MS, left);
    session.log(`${name} is blocked: ${why}. Retrying in ${(pause / 1_000).toFixed(1)} s.`);
    await sleep(pause, undefined, { signal: session.signal }).catch(() => {
      throw interrupted(name);
    });
  }
}

/** Makes a single attempt without a lock timeout, for statements whose waiting blocks no reads and writes. Reports the first wait. */
export async function waitForLocks<T>(
  session: PatientSession,
  name: string,
  attempt: () => Promise<T>,
): Promise<T> {
  for (;;) {
    // Only a deadlock ends the wait.
    const { result } = await watched(session, name, 0, attempt);
    if (result) return result.value;
  }
}

/** Returns the attempt's result, or the last wait that was seen if it could not get a lock. */
async function watched<T>(
  session: PatientSession,
  name: string,
  lockTimeoutMs: number,
  attempt: () => Promise<T>,
): Promise<{ result?: { value: T }; wait: LockWait | undefined }> {
  const { client, ownerUrl, signal, log, patience } = session;
  if (signal?.aborted) throw interrupted(name);
  const { rows } = await client.query<{ pid: number }>(
    "select pg_backend_pid() as pid, set_config('lock_timeout', $1, false)",
    [`${lockTimeoutMs}ms`],
  );
  let isReported = lockTimeoutMs > 0;
  const watch = watchLocks({
    connectionString: ownerUrl,
    pid: rows[0]!.pid,
    pauseMs: Math.max(10, Math.min(250, patience.lockTimeoutMs / 8)),
    signal,
    onWait: (wait) => {
      if (!isReported) log(`${name} waits: ${describeWait(wait)}.`);
      isReported = true;
    },
  });
  try {
    return { result: { value: await attempt() }, wait: undefined };
  } catch (error) {
    if (signal?.aborted) throw interrupted(name);
    if (!BLOCKED_STATES.includes(stateOf(error) ?? "")) throw error;
  } finally {
    await watch.stop();
    // A broken connection has reported itself by the attempt's error.
    await client.query("select set_config('lock_timeout', '0', false)").catch(() => {});
  }
  return { wait: watch.last };
}

/** The SQLSTATE of an error or of its cause, which names the file. */
function stateOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return error instanceof PlinthError ? stateOf(error.cause) : (error as { code?: string }).code;
}

function blocked(failure: {
  name: string;
  why: string;
  wait: LockWait | undefined;
  attempts: number;
  lockTimeoutMs: number;
}): PlinthError {
  const { name, why, wait, attempts, lockTimeoutMs } = failure;
  const end = wait ? endHolders(wait.holders) : "";
  return new PlinthError(
    "MIGRATION_BLOCKED",
    `${name} changed nothing: ${why}. ` +
      `${attempts === 1 ? "An attempt" : `${attempts} attempts`} of ${lockTimeoutMs} ms failed.`,
    {
      hint:
        "Run the command again later, or let it wait longer with --wait SECONDS." +
        (end ? ` To end the other transaction, run this as its role or as an administrator: ${end}` : ""),
    },
  );
}

function interrupted(name: string): PlinthError {
  return new PlinthError("INTERRUPTED", `Stopped. ${name} changed nothing.`, { exitCode: 130 });
}
