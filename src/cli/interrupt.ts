import { constants } from "node:os";
import { PlinthError } from "../support/errors.ts";

/**
 * npm and the launcher forward a terminal's Ctrl-C to a process that already received it from the terminal. A signal within
 * this time is the same key press.
 */
const SAME_SIGNAL_MS = 500;

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
type Signal = (typeof SIGNALS)[number];

/**
 * Calls `first` at the first request to stop and `again` at the next one. Returns a function that restores the default
 * handling of the signals.
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

/** The exit code of a process that a signal ended: 130 for Ctrl-C. */
export function exitCodeOf(signal: Signal): number {
  return 128 + constants.signals[signal];
}

/** Time in which work must stop after a request. */
const GRACE_MS = 2_000;

/**
 * Runs work that Ctrl-C stops: the work watches `signal` and ends, for example with a rollback. A step passed to `orGiveUp` is
 * abandoned after two seconds or a second Ctrl-C, so that the work can clean up.
 * @throws PlinthError INTERRUPTED, with the exit code of the signal
 */
export async function interruptible<T>(
  work: (signal: AbortSignal, orGiveUp: <R>(step: Promise<R>) => Promise<R>) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const overdue = Promise.withResolvers<never>();
  // Without a handler, the rejection would count as unhandled.
  overdue.promise.catch(() => {});
  const stopped = (signal: Signal): PlinthError =>
    new PlinthError("INTERRUPTED", "Stopped.", { exitCode: exitCodeOf(signal) });
  const giveUp = (signal: Signal): void => overdue.reject(stopped(signal));
  let timer: NodeJS.Timeout | undefined;
  const restore = onInterrupt((signal) => {
    // The reason is the error of work that ends with signal.throwIfAborted().
    controller.abort(stopped(signal));
    timer = setTimeout(giveUp, GRACE_MS, signal);
  }, giveUp);
  try {
    return await work(controller.signal, (step) => Promise.race([step, overdue.promise]));
  } finally {
    clearTimeout(timer);
    restore();
  }
}
