import type pg from "pg";
import type { JobDefinition } from "./job.ts";
import { nextRun } from "./next-run.ts";

/** A job as `plinth jobs` lists it. Times are in UTC. */
export interface ListedJob {
  readonly name: string;
  /** Five cron fields; null for a job that only `plinth.enqueue_job` starts. */
  readonly schedule: string | null;
  /** Start of the latest run that is still known; finished runs are deleted after a week. */
  readonly lastRun: Date | null;
  /** Its state: active, completed, retry, cancelled or failed. */
  readonly lastState: string | null;
  readonly lastDurationMs: number | null;
  readonly nextRun: Date | null;
  readonly waiting: number;
  /** Runs of the last week that failed after all retries. */
  readonly failures: number;
}

type Row = Pick<ListedJob, "name" | "lastRun" | "lastState" | "lastDurationMs" | "waiting" | "failures">;

/** @param client connected as a role that may read the job queue: the owner or the worker */
export async function listJobs(
  client: pg.ClientBase,
  timetable: readonly JobDefinition[],
): Promise<ListedJob[]> {
  const { rows } = await client.query<Row>(
    `select
       n.name,
       last.started_on as "lastRun",
       last.state as "lastState",
       (extract(epoch from last.completed_on - last.started_on) * 1000)::integer as "lastDurationMs",
       counts.waiting,
       counts.failures
     from unnest($1::text[]) n (name)
     left join lateral (
       select j.started_on, j.completed_on, j.state::text
       from pgboss.job j
       where j.name = n.name and j.started_on is not null
       order by j.started_on desc
       limit 1
     ) last on true
     cross join lateral (
       select
         count(*) filter (where j.state in ('created', 'retry'))::integer as waiting,
         count(*) filter (where j.state = 'failed')::integer as failures
       from pgboss.job j
       where j.name = n.name
     ) counts`,
    [timetable.map(({ name }) => name)],
  );
  const found = new Map(rows.map((row) => [row.name, row]));
  return timetable.map(({ name, cron }) => ({
    ...found.get(name)!,
    schedule: cron ?? null,
    nextRun: cron === undefined ? null : (nextRun(cron) ?? null),
  }));
}
