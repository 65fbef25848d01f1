import { setTimeout as sleep } from "node:timers/promises";

interface Clock {
  now(): Date;
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export interface ScheduleOptions {
  /** Returns the first time of the schedule after another one. */
  readonly next: (after: Date) => Date | undefined;
  /** Start of the newest backup from which the latest state can be restored. */
  readonly last: () => Promise<Date | undefined>;
  readonly take: (signal: AbortSignal) => Promise<void>;
  readonly onFailure: (error: unknown) => void;
  readonly clock?: Clock;
}

/** The computer may sleep and its clock may be set, so the time is looked at again now and then. */
const LONGEST_SLEEP_MS = 60_000;
const RETRY_MS = 600_000;
/** A backup from later than this was made while the clock was wrong, so it does not tell when the next one is due. */
const CLOCK_TOLERANCE_MS = 3_600_000;

const systemClock: Clock = {
  now: () => new Date(),
  sleep: (ms, signal) => sleep(ms, undefined, { signal, ref: false }),
};

/** Takes a backup whenever one is due; at once if there is none, or if one was missed while Plinth was stopped. */
export function startSchedule(options: ScheduleOptions): { close(): Promise<void> } {
  const stop = new AbortController();
  const running = run(options, stop.signal).catch((error) => {
    if (!stop.signal.aborted) options.onFailure(error);
  });
  return {
    async close() {
      stop.abort();
      await running;
    },
  };
}

async function run(options: ScheduleOptions, signal: AbortSignal): Promise<void> {
  const { next, last, take, onFailure, clock = systemClock } = options;
  while (!signal.aborted) {
    const before = await last();
    const isKnown = before && before.getTime() <= clock.now().getTime() + CLOCK_TOLERANCE_MS;
    const due = isKnown ? next(before) : clock.now();
    if (!due) return;
    const left = due.getTime() - clock.now().getTime();
    if (left > 0) {
      await clock.sleep(Math.min(left, LONGEST_SLEEP_MS), signal);
      continue;
    }
    try {
      await take(signal);
    } catch (error) {
      if (signal.aborted) return;
      onFailure(error);
      await clock.sleep(RETRY_MS, signal);
    }
  }
}
