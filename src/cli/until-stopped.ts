import { isRunByNpm } from "../config/run-by-npm.ts";
import { PlinthError } from "../support/errors.ts";
import { exitCodeOf, onInterrupt } from "./interrupt.ts";
import { note } from "./output.ts";
import { stopProgress } from "./progress/progress.ts";

/** A service that runs until it is stopped. */
export interface Service {
  close(): Promise<void>;
  /** Resolves with a sentence when the service fails. */
  readonly died?: Promise<string>;
}

/**
 * Starts a service and keeps it running. The first SIGINT, SIGTERM or SIGHUP shuts it down, even while it is starting. The
 * second ends the process at once (the exit handler then stops the embedded database).
 * @throws PlinthError DATABASE_DIED when the service fails
 */
export async function untilStopped<S extends Service>(options: {
  /** @param signal aborted when the service is to stop; ends a wait for the database */
  start: (signal: AbortSignal) => Promise<S>;
  started: (service: S) => void;
}): Promise<void> {
  const asked = Promise.withResolvers<void>();
  const starting = new AbortController();
  let stopping = false;
  const stop = (): void => {
    if (!stopping) note("Stopping … (press Ctrl-C again to stop at once)");
    stopping = true;
    starting.abort();
    asked.resolve();
  };
  const restore = onInterrupt(stop, (signal) => {
    note("Stopped at once.");
    process.exit(exitCodeOf(signal));
  });
  const unwatch = isRunByNpm() ? watchParent(stop) : () => {};
  try {
    const service = await options.start(starting.signal).catch((error: unknown) => {
      if (stopping && error instanceof PlinthError && error.code === "INTERRUPTED") return undefined;
      throw error;
    });
    if (!service) return;
    try {
      stopProgress();
      if (!stopping) options.started(service);
      const sentence = await Promise.race([asked.promise, service.died ?? asked.promise]);
      if (sentence && !stopping)
        throw new PlinthError("DATABASE_DIED", sentence, {
          hint: "Start Plinth again; the database recovers automatically.",
        });
    } finally {
      await service.close();
    }
  } finally {
    unwatch();
    restore();
  }
}

/**
 * npm sends SIGTERM to the shell in which it started this process, and the shell ends without forwarding it. So the end of the
 * parent counts as the signal. Only under npm, because elsewhere a service may outlive its parent.
 */
function watchParent(orphaned: () => void): () => void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid !== parent) orphaned();
  }, 500);
  timer.unref();
  return () => clearInterval(timer);
}
