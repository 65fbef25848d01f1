import { pino } from "pino";
import { startWorker, TIMETABLE } from "../../src/jobs/index.ts";

/*
 * A worker in its own process, for tests that kill it: works the queues named by the other arguments with jobs that
 * never end, and prints the name of each job that it starts. A name with the prefix "real:" runs Plinth's own job.
 */
const [workerUrl, ...args] = process.argv.slice(2);
const jobs = args.map((arg) => {
  const name = arg.replace(/^real:/, "");
  return { name, real: arg === name ? undefined : TIMETABLE.find((job) => job.name === name)! };
});
await startWorker({
  workerUrl: workerUrl!,
  logger: pino({ level: "silent" }),
  timetable: jobs.map(({ name, real }) => ({
    name,
    // Not during a test.
    cron: "0 0 29 2 *",
    does: "sleeps",
    reason: "A test.",
    run(context) {
      process.stdout.write(`${name}\n`);
      if (real) return real.run(context);
      return new Promise(() => setInterval(() => {}, 60_000));
    },
  })),
  pollingIntervalSeconds: 0.5,
});
