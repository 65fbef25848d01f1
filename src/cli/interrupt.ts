import { constants } from "node:os";
import { PlinthError } from "../support/errors.ts";

/**
 * npm passes a terminal's Ctrl-C on to a process that has already had it from the terminal, and the launcher does the
 * same: what follows this closely is the same key press.
 */
const SAME_SIGNAL_MS = 500;

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
type Signal = (typeof SIGNALS)[number];

/**
 * Calls `first` at the first request to stop and `again` at the next one. Returns the function that gives the signals
 * their usual meaning back.
 */
export function onInterrupt(first: (signal: Signal) => void, again: (signal: Signal) => void): () => void {
  let asked: number | undefined;
  const handle = (signal: Signal): void => {
    const now = performance.now();
    if (asked === undefined) {
      asked = now;
      first(signal);
    } else if (now - asked > SAME_SIGNAL_MS) again(signal);
  };
  for (const signal of SIGNALS) process.on(signal, handle);
  return () => {
    for (const signal of SIGNALS) process.off(signal, handle);
  };
}

/** How a process that a signal ended reports it: 130 for Ctrl-C. */
export function exitCodeOf(signal: Signal): number {
  return 128 + constants.signals[signal];
}

/** How long work that was asked to stop may take for it. */
const GRACE_MS = 2_000;

/**
 * Runs work that Ctrl-C stops: it sees `signal` and comes to an end by itself (rolls back, say). What it passes through
 * `orGiveUp` is abandoned after two seconds or a second Ctrl-C, so that the work goes on to clean up.
 * @throws PlinthError INTERRUPTED, with the exit code that the signal asks for
 */
export async function interruptible<T>(
  work: (signal: AbortSignal, orGiveUp: <R>(step: Promise<R>) => Promise<R>) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const overdue = Promise.withResolvers<never>();
  // Rejected with nobody waiting, it would count as unhandled.
  overdue.promise.catch(() => {});
  const giveUp = (signal: Signal): void =>
    overdue.reject(new PlinthError("INTERRUPTED", "Stopped.", { exitCode: exitCodeOf(signal) }));
  let timer: NodeJS.Timeout | undefined;
  const restore = onInterrupt((signal) => {
    controller.abort();
    timer = setTimeout(giveUp, GRACE_MS, signal);
  }, giveUp);
  try {
    return await work(controller.signal, (step) => Promise.race([step, overdue.promise]));
  } finally {
    clearTimeout(timer);
    restore();
  }
}
