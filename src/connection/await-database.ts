import { setTimeout as sleep } from "node:timers/promises";
import { PlinthError } from "../support/errors.ts";
import { DatabaseClient } from "./client.ts";

export interface Waiting {
  /** 0 for no wait. */
  readonly connectTimeoutSeconds: number;
  readonly log?: ((line: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
const ATTEMPT_TIMEOUT_MS = 5_000;

/**
 * Errors that may end by waiting: the database or its name server starts, restarts or fails over. A wrong password, a missing
 * database and an untrusted certificate are not among them.
 */
const PASSING_CODES =
  /^(E(CONNREFUSED|CONNRESET|HOSTUNREACH|NETUNREACH|NOTFOUND|PIPE|TIMEDOUT|AI_AGAIN)|NO_SUITABLE_HOST|57P0[123]|53300|08\w{3})$/;
const PASSING_MESSAGES = /^(timeout expired|Connection terminated)/;

/** The pooler's own errors that look like lost connections but never end. */
const FINAL_MESSAGES = /unsupported startup parameter|no such (user|database)/;

/**
 * Waits, with growing pauses, until a database accepts connections. Resolves without a database if waiting does not help: whatever
 * connects next reports that error.
 * @throws PlinthError DATABASE_UNREACHABLE when the time is over, INTERRUPTED
 */
export async function awaitDatabase(url: string, waiting: Waiting): Promise<void> {
  const { connectTimeoutSeconds, log = () => {}, signal } = waiting;
  const started = performance.now();
  let nextLogMs = 0;
  for (let attempts = 1; ; attempts++) {
    const error = await attempt(url);
    if (error === undefined || !mayPass(error)) return;
    const reason = reasonOf(error);
    const leftMs = connectTimeoutSeconds * 1_000 - (performance.now() - started);
    if (leftMs <= 0) throw unreachable(reason, attempts, connectTimeoutSeconds, error);
    // Sparsely: the first time, and whenever the time has doubled since.
    const waitedMs = performance.now() - started;
    if (waitedMs >= nextLogMs) {
      log(`The database is not ready (${reason}). Waiting up to ${Math.ceil(leftMs / 1_000)} s.`);
      nextLogMs = 2 * Math.max(waitedMs, 1_000);
    }
    const pauseMs =
      Math.min(FIRST_PAUSE_MS * 2 ** (attempts - 1), LONGEST_PAUSE_MS) * (0.75 + Math.random() / 4);
    await sleep(Math.min(pauseMs, leftMs), undefined, signal ? { signal } : {}).catch(() => {
      throw new PlinthError("INTERRUPTED", "Stopped while waiting for the database.", { exitCode: 130 });
    });
  }
}

/** Returns the error, if the database does not accept the connection. */
async function attempt(url: string): Promise<unknown> {
  const client = new DatabaseClient({
    connectionString: url,
    application_name: "plinth",
    connectionTimeoutMillis: ATTEMPT_TIMEOUT_MS,
  });
  try {
    await client.connect();
  } catch (error) {
    void client.end().catch(() => {});
    return error;
  }
  // The work after it may count the sessions of this role: an uninstall refuses while there are any.
  await client.end().catch(() => {});
  return undefined;
}

function mayPass(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.every(mayPass);
  const { code, message = "" } = error as { code?: unknown; message?: string };
  if (FINAL_MESSAGES.test(message)) return false;
  return PASSING_CODES.test(String(code)) || PASSING_MESSAGES.test(message);
}

/** A host name with several addresses fails once for each, in an error without a message. */
function reasonOf(error: unknown): string {
  const first = error instanceof AggregateError ? error.errors[0] : error;
  return (first as Error).message || String((first as { code?: unknown }).code);
}

function unreachable(reason: string, attempts: number, seconds: number, cause: unknown): PlinthError {
  const tried =
    attempts === 1
      ? "one attempt"
      : `${attempts} attempts within ${seconds} s (PLINTH_CONNECT_TIMEOUT_SECONDS)`;
  return new PlinthError(
    "DATABASE_UNREACHABLE",
    `The database cannot be reached after ${tried}: ${reason}.`,
    {
      hint: "Check that it runs and that the URL, role and password are correct.",
      cause,
    },
  );
}
