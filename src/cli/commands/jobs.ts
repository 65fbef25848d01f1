import type { Command } from "commander";
import type { FollowedRun } from "../../jobs/follow-run.ts";
import { PlinthError } from "../../support/errors.ts";
import { note, print, printable, printJson } from "../output.ts";
import { UsageError } from "../usage-error.ts";
import { wholeNumber } from "../whole-number.ts";

interface Flags {
  readonly json?: boolean;
}

const ROLES = "Needs PLINTH_WORKER_URL or PLINTH_OWNER_URL.";

export function addJobs(program: Command): void {
  const command = program
    .command("jobs")
    .description("list the jobs, Plinth's and the application's, and run, retry or cancel them")
    .addHelpText("after", "\nExample:\n  $ plinth jobs\n  $ plinth jobs run refresh-content-popularity");
  addList(command);
  addShow(command);
  addRun(command);
  addRetry(command);
  addCancel(command);
}

function addList(command: Command): void {
  command
    .command("list", { isDefault: true })
    .description("list the jobs with their last and next runs, failures, and those that are overdue")
    .option("--json", "print them as JSON")
    .addHelpText(
      "after",
      `
${ROLES} Times are in UTC. Finished runs are kept for a week. "changed" has the numbers
that the last run returned, and "failures" counts runs that failed after all retries. A job is overdue if a run was due more
than 15 minutes ago and has not started.

Example:
  $ plinth jobs
  $ plinth jobs --json | jq '.jobs[] | select(.failures > 0 or .overdueSince)'`,
    )
    .action(async ({ json }: Flags) => {
      const { listJobs } = await import("../../jobs/list-jobs.ts");
      const { printJobs } = await import("../jobs/print-jobs.ts");
      const { withJobs } = await import("../jobs/with-jobs.ts");
      const jobs = await withJobs(({ client, jobs: { timetable } }) => listJobs(client, timetable));
      if (json) printJson({ jobs });
      else printJobs(jobs);
    });
}

function addShow(command: Command): void {
  command
    .command("show <name>")
    .description("show a job with its latest runs: outcome, attempts, duration, changes, error")
    .option("--limit <runs>", "number of runs", wholeNumber, 20)
    .option("--json", "print them as JSON")
    .addHelpText("after", `\n${ROLES}\n\nExample:\n  $ plinth jobs show deliver-mail --limit 5`)
    .action(async (name: string, { limit, json }: Flags & { limit: number }) => {
      const { listJobs } = await import("../../jobs/list-jobs.ts");
      const { listRuns } = await import("../../jobs/list-runs.ts");
      const { printJob } = await import("../jobs/print-jobs.ts");
      const { withJobs } = await import("../jobs/with-jobs.ts");
      await withJobs(async ({ client, jobs }) => {
        const definition = jobs.find(name);
        const [job] = await listJobs(client, [definition]);
        const runs = await listRuns(client, name, limit);
        if (json) printJson({ job, runs });
        else printJob(definition, job!, runs);
      });
    });
}

function addRun(command: Command): void {
  command
    .command("run <name>")
    .description("queue a run of a job now, and wait until a worker has finished it")
    .option("--data <json>", "a JSON object for a job of the application, without secrets")
    .option("--no-wait", "queue the run and do not wait")
    .option("--json", "print the run as JSON")
    .addHelpText(
      "after",
      `
A scheduled job has at most one run at a time. If a run is waiting or active, the command waits for that run. Ctrl-C ends
only the wait. The exit code is 1 if the run fails after all retries. ${ROLES}

Example:
  $ plinth jobs run refresh-content-popularity
  $ plinth jobs run thank-customer --data '{"orderId": "0198…"}' --no-wait`,
    )
    .action(runJob);
}

interface RunFlags extends Flags {
  readonly data?: string;
  readonly wait: boolean;
}

async function runJob(name: string, { data, wait, json }: RunFlags): Promise<void> {
  const { followRun } = await import("../../jobs/follow-run.ts");
  const { queueRun } = await import("../../jobs/queue-run.ts");
  const { countsInWords } = await import("../jobs/print-jobs.ts");
  const { NO_WORKER, withJobs } = await import("../jobs/with-jobs.ts");
  const payload = data === undefined ? undefined : objectOf(data);
  await withJobs(async ({ client, jobs, signal, hasWorker }) => {
    jobs.find(name);
    if (payload && !jobs.ofApplication.has(name))
      throw new UsageError(`The job ${name} takes no data. Only jobs of an application take data.`);
    const { id, isNew } = await queueRun(client, name, payload);
    note(
      isNew ? `Queued the run ${id} of ${name}.` : `The run ${id} of ${name} is already waiting or active.`,
    );
    if (!wait) {
      if (!(await hasWorker())) note(NO_WORKER);
      if (json) printJson({ id, isNew });
      return;
    }
    const run = await followRun(
      client,
      { job: name, id },
      {
        signal,
        async onChange(now) {
          if (now.state === "active") note(`Running (attempt ${now.attempts + 1}).`);
          if (now.state === "retry") note(retryNote(now));
          if (now.state !== "active" && !(await hasWorker())) note(NO_WORKER);
        },
      },
    ).catch((error: unknown) => {
      if (!signal.aborted) throw error;
      throw new PlinthError("INTERRUPTED", "Stopped waiting; the run continues.", {
        hint: `plinth jobs show ${name}`,
        exitCode: (error as Partial<PlinthError>).exitCode ?? 130,
      });
    });
    if (json) printJson({ id, isNew, ...run });
    if (run?.state !== "completed") throw notCompleted(name, id, run);
    if (!json) print(`Done in ${run.durationMs} ms. Changed: ${countsInWords(run.counts) || "unknown"}.`);
  });
}

function objectOf(json: string): object {
  try {
    const value: unknown = JSON.parse(json);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Reported below.
  }
  throw new UsageError(`--data needs a JSON object, such as '{"orderId": "…"}'.`);
}

function retryNote({ error, startAfter }: FollowedRun): string {
  return `Failed: ${printable(error ?? "no message")} It is retried at ${startAfter.toISOString().slice(0, 19)}Z.`;
}

function notCompleted(name: string, id: string, run: FollowedRun | undefined): PlinthError {
  if (run?.state === "failed")
    return new PlinthError("JOB_FAILED", `The job ${name} failed: ${printable(run.error ?? "no message")}`, {
      hint: `Read the worker's log and fix the cause; then plinth jobs retry ${id}.`,
    });
  return new PlinthError("JOB_CANCELED", `The run of ${name} was canceled.`, {
    hint: `plinth jobs show ${name}`,
  });
}

function addRetry(command: Command): void {
  command
    .command("retry [name-or-id]")
    .description("queue failed runs again, and start the next attempt of waiting ones")
    .option("--all", "retry the runs of all jobs")
    .option("--json", "print the numbers of runs by job as JSON")
    .addHelpText(
      "after",
      `
Takes a job's name or a run's id, as plinth jobs show prints it. Each failed run is queued once with its data; several runs
of a scheduled job become one. Fix the cause first. ${ROLES}

Example:
  $ plinth jobs retry thank-customer
  $ plinth jobs retry --all`,
    )
    .action(async (nameOrId: string | undefined, { all, json }: Flags & { all?: boolean }) => {
      assertChosen(nameOrId, all);
      const { retryRuns } = await import("../../jobs/failed-runs.ts");
      const { filterOf, NO_WORKER, withJobs } = await import("../jobs/with-jobs.ts");
      await withJobs(async ({ client, jobs, hasWorker }) => {
        const done = await retryRuns(client, filterOf(jobs, nameOrId));
        const lines = [
          ...sentences(done.queued, "queued again"),
          ...sentences(done.covered, "left to the run that waits or runs already"),
          ...sentences(done.hurried, "started before its next attempt was due"),
        ];
        if (json) printJson(done);
        else for (const line of lines) print(line);
        if (lines.length === 0) return reportNone(nameOrId, "retry", json);
        if (!(await hasWorker())) note(NO_WORKER);
      });
    });
}

function addCancel(command: Command): void {
  command
    .command("cancel <name-or-id>")
    .description("cancel waiting runs and discard failed ones")
    .option("--json", "print the numbers of runs as JSON")
    .addHelpText(
      "after",
      `
Takes a job's name or a run's id, as plinth jobs show prints it. An active run continues. Discarded runs cannot be
retried, and plinth doctor no longer reports them. The schedule stays. ${ROLES}

Example:
  $ plinth jobs cancel 0198a2f4-7c1e-7000-8000-000000000000`,
    )
    .action(async (nameOrId: string, { json }: Flags) => {
      const { cancelRuns } = await import("../../jobs/failed-runs.ts");
      const { filterOf, withJobs } = await import("../jobs/with-jobs.ts");
      await withJobs(async ({ client, jobs }) => {
        const { waiting, failed } = await cancelRuns(client, filterOf(jobs, nameOrId));
        if (json) printJson({ waiting, failed });
        else if (waiting + failed > 0)
          print(`Canceled ${waiting} waiting runs, discarded ${failed} failed runs.`);
        if (waiting + failed === 0) reportNone(nameOrId, "cancel", json);
      });
    });
}

function assertChosen(nameOrId: string | undefined, all: boolean | undefined): void {
  if (nameOrId === undefined && !all)
    throw new UsageError("Pass the name of a job or the id of a run, or use --all.");
  if (nameOrId !== undefined && all) throw new UsageError("Use either a name or --all.");
}

/** An id that was given must be that of a run; otherwise no run is a result too. */
function reportNone(nameOrId: string | undefined, verb: "retry" | "cancel", json: boolean | undefined): void {
  const message = `There is no run to ${verb}.`;
  if (nameOrId !== undefined && /^[0-9a-f-]{36}$/i.test(nameOrId))
    throw new PlinthError("RUN_NOT_FOUND", message, {
      hint: "It has ended, is running, or never existed; plinth jobs show NAME lists the runs of a job.",
    });
  if (!json) print(message);
}

function sentences(counts: Readonly<Record<string, number>>, what: string): string[] {
  return Object.entries(counts).map(
    ([job, count]) => `${job}: ${count} ${count === 1 ? "run" : "runs"} ${what}.`,
  );
}
