import type { JobDefinition } from "../../jobs/job.ts";
import type { ListedJob } from "../../jobs/list-jobs.ts";
import type { ListedRun } from "../../jobs/list-runs.ts";
import { queueOf } from "../../jobs/queues.ts";
import type { RunCounts } from "../../jobs/run-columns.ts";
import { scheduleInWords } from "../../jobs/schedule-in-words.ts";
import { print, printable } from "../output.ts";

export function printJobs(jobs: readonly ListedJob[]): void {
  printTable(
    ["job", "schedule", "last run", "took", "changed", "next run", "waiting", "failures"],
    jobs.map((job) => [
      job.name,
      job.schedule ?? "on demand",
      job.lastRun === null ? "never" : `${minute(job.lastRun)}${outcome(job.lastState)}`,
      took(job.lastDurationMs),
      countsInWords(job.lastCounts),
      job.nextRun === null ? "" : minute(job.nextRun),
      String(job.waiting),
      String(job.failures),
    ]),
  );
  printList(
    "Overdue:",
    jobs.flatMap(({ name, overdueSince }) => (overdueSince ? [`${name} since ${minute(overdueSince)}`] : [])),
  );
  printList(
    "Last errors:",
    jobs.flatMap(({ name, lastError }) => (lastError === null ? [] : [`${name}: ${printable(lastError)}`])),
  );
}

export function printJob(definition: JobDefinition, job: ListedJob, runs: readonly ListedRun[]): void {
  const { does, reason } = definition;
  print(definition.name);
  if (does !== undefined) print(`  Does: ${withoutMarkdown(does)}`);
  if (reason !== undefined) print(`  Reason: ${reason}`);
  const schedule = withoutMarkdown(scheduleInWords(definition.cron));
  print(`  Runs: ${schedule}${definition.cron === undefined ? "" : " (UTC)"}`);
  print(`  Retries: ${queueOf(definition).retryLimit}`);
  if (job.nextRun) print(`  Next run: ${minute(job.nextRun)}`);
  if (job.overdueSince) print(`  Overdue since ${minute(job.overdueSince)}`);
  print("");
  if (runs.length === 0) {
    print("No run is known.");
    return;
  }
  printTable(
    ["run", "started", "state", "attempts", "took", "changed", "error"],
    runs.map((run) => [
      run.id,
      run.startedOn === null ? "" : second(run.startedOn),
      run.state === "created" ? "waiting" : run.state,
      String(run.attempts),
      took(run.durationMs),
      countsInWords(run.counts),
      run.error === null ? "" : printable(run.error),
    ]),
  );
}

/** For example "12 rows", or "sent 2, retried 1"; "0" if nothing changed. */
export function countsInWords(counts: RunCounts | null): string {
  if (counts === null) return "";
  const changed = Object.entries(counts).filter(([, count]) => count !== 0);
  if (changed.length === 0) return "0";
  return changed
    .map(([name, count]) => (name === "rows" ? `${count} rows` : `${printable(name)} ${count}`))
    .join(", ");
}

function printTable(header: readonly string[], rows: readonly (readonly string[])[]): void {
  const lines = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  for (const line of lines) {
    const cells = line.map((cell, column) => cell.padEnd(widths[column]!));
    print(cells.join("  ").trimEnd());
  }
}

function printList(title: string, lines: readonly string[]): void {
  if (lines.length === 0) return;
  print(`\n${title}`);
  for (const line of lines) print(`  ${line}`);
}

const outcome = (state: ListedJob["lastState"]): string =>
  state === null || state === "completed" ? "" : ` (${state})`;

const took = (durationMs: number | null): string => (durationMs === null ? "" : `${durationMs} ms`);

const withoutMarkdown = (text: string): string =>
  text.replaceAll(/\[(.+?)\]\(.+?\)/g, "$1").replaceAll("`", "");

const second = (time: Date): string => time.toISOString().slice(0, 19).replace("T", " ");
const minute = (time: Date): string => time.toISOString().slice(0, 16).replace("T", " ");
