import type pg from "pg";
import { JOB_SCHEMA } from "../database/schemas.ts";
import type { JobDefinition } from "./job.ts";
import { nextRun } from "./next-run.ts";
import { overdueSince } from "./overdue.ts";
import { RUN_COLUMNS, type RunCounts, type RunState } from "./run-columns.ts";

/** A job as `plinth jobs` lists it. Times are in UTC. */
export interface ListedJob {
  readonly name: string;
  /** Five cron fields; null for a job that only `plinth.enqueue_job` starts. */
  readonly schedule: string | null;
  /** Start of the latest run that is still known; finished runs are deleted after a week. */
  readonly lastRun: Date | null;
  readonly lastState: RunState | null;
  readonly lastDurationMs: number | null;
  /** The numbers that the latest run returned if it succeeded. */
  readonly lastCounts: RunCounts | null;
  /** The error of the latest run that failed or will be retried. */
  readonly lastError: string | null;
  readonly nextRun: Date | null;
  /** When the run was due that has not begun; null if the job is not overdue. */
  readonly overdueSince: Date | null;
  readonly waiting: number;
  /** Runs of the last week that failed after all retries. */
  readonly failures: number;
}

type Row = Omit<ListedJob, "schedule" | "nextRun" | "overdueSince"> & {
  readonly scheduledOn: Date | null;
  readonly running: number;
};

/**
 * @param client connected as a role that may read the job queue: the owner or the worker
 * @param now the time at which next and overdue runs are computed
 */
export async function listJobs(
  client: pg.ClientBase,
  timetable: readonly JobDefinition[],
  now = new Date(),
): Promise<ListedJob[]> {
  const { rows } = await client.query<Row>(
    `select
       n.name,
       last."startedOn" as "lastRun",
       last.state as "lastState",
       last."durationMs" as "lastDurationMs",
       last.counts as "lastCounts",
       failed.error as "lastError",
       s.created_on as "scheduledOn",
       counts.*
     from unnest($1::text[]) n (name)
     left join ${JOB_SCHEMA}.schedule s on s.name = n.name and s.key = ''
     left join lateral (
       select ${RUN_COLUMNS}
       from ${JOB_SCHEMA}.job j
       where j.name = n.name and j.started_on is not null
       order by j.started_on desc
       limit 1
     ) last on true
     left join lateral (
       select ${RUN_COLUMNS}
       from ${JOB_SCHEMA}.job j
       where j.name = n.name and j.state in ('retry', 'failed')
       order by j.started_on desc
       limit 1
     ) failed on true
     cross join lateral (
       select
         count(*) filter (where j.state in ('created', 'retry'))::integer as waiting,
         count(*) filter (where j.state = 'active')::integer as running,
         count(*) filter (where j.state = 'failed')::integer as failures
       from ${JOB_SCHEMA}.job j
       where j.name = n.name
     ) counts`,
    [timetable.map(({ name }) => name)],
  );
  const found = new Map(rows.map((row) => [row.name, row]));
  return timetable.map((job) => {
    const { scheduledOn, running, ...listed } = found.get(job.name)!;
    const known = { scheduledOn, isRunning: running > 0, lastRun: listed.lastRun };
    return {
      ...listed,
      schedule: job.cron ?? null,
      nextRun: job.cron === undefined ? null : (nextRun(job.cron, now) ?? null),
      overdueSince: overdueSince(job, known, now),
    };
  });
}
