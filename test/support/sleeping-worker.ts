import { pino } from "pino";
import { startWorker } from "../../src/jobs/index.ts";

/*
 * A worker in its own process, for tests that kill it: works the queues named by the other arguments with jobs that
 * never end, and prints the name of each job that it starts.
 */
const [workerUrl, ...names] = process.argv.slice(2);
await startWorker({
  workerUrl: workerUrl!,
  logger: pino({ level: "silent" }),
  timetable: names.map((name) => ({
    name,
    // Not during a test.
    cron: "0 0 29 2 *",
    reason: "A test.",
    run() {
      process.stdout.write(`${name}\n`);
      return new Promise(() => setInterval(() => {}, 60_000));
    },
  })),
  pollingIntervalSeconds: 0.5,
});
