import { expect, test } from "@jest/globals";
import { startSchedule } from "../../src/backup/schedule.ts";
import { nextRun } from "../../src/jobs/next-run.ts";

/** Runs a daily schedule on a clock that only sleeping moves, until the clock reaches `end`. */
async function runUntil(
  end: string,
  { now, last, failures = 0 }: { now: string; last?: string; failures?: number },
): Promise<string[]> {
  let time = new Date(now);
  let newest = last === undefined ? undefined : new Date(last);
  let left = failures;
  const events: string[] = [];
  const ended = Promise.withResolvers<void>();
  const schedule = startSchedule({
    next: (after) => nextRun("0 3 * * *", after),
    last: async () => newest,
    async take() {
      if (left-- > 0) throw new Error("disk full");
      newest = time;
      events.push(time.toISOString());
    },
    onFailure: () => events.push(`failed ${time.toISOString()}`),
    clock: {
      now: () => time,
      async sleep(ms, signal) {
        signal.throwIfAborted();
        time = new Date(time.getTime() + ms);
        if (time < new Date(end)) return;
        ended.resolve();
        await new Promise((_resolve, reject) =>
          signal.addEventListener("abort", () => reject(signal.reason)),
        );
      },
    },
  });
  await ended.promise;
  await schedule.close();
  return events;
}

test("makes a backup at each time of the schedule [C12]", async () => {
  const events = await runUntil("2028-03-01T12:00:00Z", {
    now: "2028-02-28T12:00:00Z",
    last: "2028-02-28T03:00:00Z",
  });
  // With a leap day.
  expect(events).toEqual(["2028-02-29T03:00:00.000Z", "2028-03-01T03:00:00.000Z"]);
});

test("makes a missed backup once, at the start, and the first one at once", async () => {
  const start = { now: "2026-11-30T12:00:00Z" };
  const day = "2026-11-30T12:00:00.000Z";
  expect(await runUntil("2026-11-30T13:00:00Z", { ...start, last: "2026-10-20T03:00:00Z" })).toEqual([day]);
  expect(await runUntil("2026-11-30T13:00:00Z", start)).toEqual([day]);
});

test("repeats a failed backup after ten minutes", async () => {
  const events = await runUntil("2026-11-30T13:00:00Z", { now: "2026-11-30T12:00:00Z", failures: 2 });
  expect(events).toEqual([
    "failed 2026-11-30T12:00:00.000Z",
    "failed 2026-11-30T12:10:00.000Z",
    "2026-11-30T12:20:00.000Z",
  ]);
});

test("does not wait for the time of a backup that was made while the clock was wrong", async () => {
  const events = await runUntil("2026-12-01T12:00:00Z", {
    now: "2026-11-30T12:00:00Z",
    last: "2027-01-09T03:00:00Z",
  });
  expect(events).toEqual(["2026-11-30T12:00:00.000Z", "2026-12-01T03:00:00.000Z"]);
});
