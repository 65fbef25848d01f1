import type { Command } from "commander";
import type { ListedJob } from "../../jobs/list-jobs.ts";
import { print, printJson } from "../output.ts";
import { withClient, withSession } from "../session.ts";

export function addJobs(program: Command): void {
  program
    .command("jobs")
    .description("list the jobs, Plinth's and the application's, with their last and next runs")
    .option("--json", "print them as JSON")
    .addHelpText(
      "after",
      `
Needs PLINTH_WORKER_URL or PLINTH_OWNER_URL. Times are in UTC. Finished runs are known for a week. "failures" are runs
that failed after all retries.

Example:
  $ plinth jobs
  $ plinth jobs --json | jq '.jobs[] | select(.failures > 0)'`,
    )
    .action(async ({ json }: { json?: boolean }) => {
      const { loadApplication } = await import("../../application/load-application.ts");
      const { leftOutModules } = await import("../../application/modules.ts");
      const { timetableOf } = await import("../../application/timetable.ts");
      const { listJobs } = await import("../../jobs/list-jobs.ts");
      const jobs = await withSession(async ({ config, database }) => {
        const application = await loadApplication(config);
        const timetable = timetableOf(application, leftOutModules(application.modules ?? config.modules));
        const role = database.kind === "external" && !config.databaseUrls.worker ? "owner" : "worker";
        return withClient(database, role, (client) => listJobs(client, timetable));
      });
      if (json) printJson({ jobs });
      else printTable(jobs);
    });
}

const HEADER = ["job", "schedule", "last run", "took", "next run", "failures"];

function printTable(jobs: readonly ListedJob[]): void {
  const rows = [HEADER, ...jobs.map(cellsOf)];
  const widths = HEADER.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  for (const row of rows)
    print(
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("  ")
        .trimEnd(),
    );
}

function cellsOf({
  name,
  schedule,
  lastRun,
  lastState,
  lastDurationMs,
  nextRun,
  failures,
}: ListedJob): string[] {
  const outcome = lastState === null || lastState === "completed" ? "" : ` (${lastState})`;
  return [
    name,
    schedule ?? "on demand",
    lastRun === null ? "never" : `${minute(lastRun)}${outcome}`,
    lastDurationMs === null ? "" : `${lastDurationMs} ms`,
    nextRun === null ? "" : minute(nextRun),
    String(failures),
  ];
}

const minute = (time: Date): string => time.toISOString().slice(0, 16).replace("T", " ");
