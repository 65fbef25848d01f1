import { isRunByNpm } from "../config/config.ts";
import { PlinthError } from "../support/errors.ts";
import { exitCodeOf, onInterrupt } from "./interrupt.ts";
import { note } from "./output.ts";

/** Something that runs until it is told to stop. */
export interface Service {
  close(): Promise<void>;
  /** Resolves with a sentence when it cannot go on. */
  readonly died?: Promise<string>;
}

/**
 * Starts a service and keeps it running: the first SIGINT, SIGTERM or SIGHUP stops it in order, also while it is still
 * starting, and the second ends the process at once (the embedded database is told to stop by the exit itself).
 * @throws PlinthError DATABASE_DIED when the service cannot go on
 */
export async function untilStopped<S extends Service>(options: {
  start: () => Promise<S>;
  started: (service: S) => void;
}): Promise<void> {
  const asked = Promise.withResolvers<void>();
  let stopping = false;
  const stop = (): void => {
    if (!stopping) note("Stopping … (again to stop at once)");
    stopping = true;
    asked.resolve();
  };
  const restore = onInterrupt(stop, (signal) => {
    note("Stopped at once.");
    process.exit(exitCodeOf(signal));
  });
  const unwatch = isRunByNpm() ? watchParent(stop) : () => {};
  try {
    const service = await options.start();
    try {
      if (!stopping) options.started(service);
      const sentence = await Promise.race([asked.promise, service.died ?? asked.promise]);
      if (sentence && !stopping)
        throw new PlinthError("DATABASE_DIED", sentence, { hint: "Start again: it recovers." });
    } finally {
      await service.close();
    }
  } finally {
    unwatch();
    restore();
  }
}

/**
 * npm hands a SIGTERM to the shell it started this process with, and the shell ends without passing it on. So the end of
 * the parent is taken for the signal; only under npm, because elsewhere a service may well outlive who started it.
 */
function watchParent(orphaned: () => void): () => void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid !== parent) orphaned();
  }, 500);
  timer.unref();
  return () => clearInterval(timer);
}
