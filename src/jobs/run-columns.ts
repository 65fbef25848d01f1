/** pg-boss stores a run's error as an object, and its own errors under `value`. */
export function errorIn(column: string): string {
  return `coalesce(${column} ->> 'message', ${column} -> 'value' ->> 'message')`;
}

/** The columns of a run of `plinth_jobs.job j`, as `plinth jobs` reports it. */
export const RUN_COLUMNS = `
  j.started_on as "startedOn",
  j.state::text as state,
  (extract(epoch from j.completed_on - j.started_on) * 1000)::integer as "durationMs",
  case when j.state = 'completed' and jsonb_typeof(j.output) = 'object' then j.output end as counts,
  case when j.state in ('retry', 'failed') then ${errorIn("j.output")} end as error`;

export type RunState = "created" | "retry" | "active" | "completed" | "cancelled" | "failed";

/** The numbers that a job returned, such as `{ rows: 12 }`. */
export type RunCounts = Readonly<Record<string, number>>;
