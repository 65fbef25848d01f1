import type pg from "pg";
import { JOB_SCHEMA } from "../database/schemas.ts";
import { RUN_COLUMNS, type RunCounts, type RunState } from "./run-columns.ts";

export interface ListedRun {
  readonly id: string;
  readonly state: RunState;
  readonly queuedOn: Date;
  /** Start of the latest attempt. */
  readonly startedOn: Date | null;
  readonly durationMs: number | null;
  readonly attempts: number;
  readonly counts: RunCounts | null;
  readonly error: string | null;
}

/** Returns the latest runs of a job, the newest first. */
export async function listRuns(client: pg.ClientBase, job: string, limit: number): Promise<ListedRun[]> {
  const { rows } = await client.query<ListedRun>(
    `select j.id, j.created_on as "queuedOn", (j.retry_count + (j.started_on is not null)::integer) as attempts, ${RUN_COLUMNS}
     from ${JOB_SCHEMA}.job j
     where j.name = $1
     order by coalesce(j.started_on, j.created_on) desc, j.id
     limit $2`,
    [job, limit],
  );
  return rows;
}
