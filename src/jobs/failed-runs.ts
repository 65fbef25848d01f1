import type pg from "pg";
import { queueOn } from "../database/job-queue.ts";
import { JOB_SCHEMA } from "../database/schemas.ts";
import { DEAD_LETTER_QUEUE } from "./queues.ts";

/** Runs of a job, one run by its id, or all. */
export interface RunFilter {
  readonly job?: string;
  readonly id?: string;
}

export interface RetriedRuns {
  /** Failed runs that were put back, by job. */
  readonly queued: Readonly<Record<string, number>>;
  /** Failed runs that needed no run of their own, because one of the same scheduled job waits or runs. */
  readonly covered: Readonly<Record<string, number>>;
  /** Runs that waited for their next attempt, which now begins. */
  readonly hurried: Readonly<Record<string, number>>;
}

interface Letter {
  readonly job: string;
  readonly data: object | null;
}

/** Conditions on the copies of failed runs; $1 is a job or null, $2 an id or null. */
const LETTERS = `
  j.name = '${DEAD_LETTER_QUEUE}' and j.state < 'active'
  and ($1::text is null or j.source_name = $1)
  and ($2::uuid is null or $2 in (j.id, j.source_id))`;

/**
 * A failed run stays in the history; its copy in the dead letter queue is what is left to do. Deletes that copy, so that another retry
 * does not repeat it, and queues its data again, in one transaction.
 */
export async function retryRuns(client: pg.ClientBase, { job, id }: RunFilter): Promise<RetriedRuns> {
  const queued = new Map<string, number>();
  const covered = new Map<string, number>();
  const hurried = new Map<string, number>();
  await client.query("begin");
  try {
    const { rows: letters } = await client.query<Letter>(
      `with taken as (
         delete from ${JOB_SCHEMA}.job j
         where ${LETTERS} and exists (select from ${JOB_SCHEMA}.queue q where q.name = j.source_name)
         returning j.source_name as job, j.data, j.created_on
       )
       select job, data from taken order by created_on`,
      [job, id],
    );
    const queue = queueOn(client);
    for (const letter of letters) {
      const isQueued = (await queue.send(letter.job, letter.data)) !== null;
      increase(isQueued ? queued : covered, letter.job);
    }
    const { rows } = await client.query<{ job: string }>(
      `update ${JOB_SCHEMA}.job
       set start_after = now()
       where state = 'retry' and start_after > now() and ($1::text is null or name = $1) and ($2::uuid is null or id = $2)
       returning name as job`,
      [job, id],
    );
    for (const row of rows) increase(hurried, row.job);
    await client.query("commit");
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw error;
  }
  return {
    queued: Object.fromEntries(queued),
    covered: Object.fromEntries(covered),
    hurried: Object.fromEntries(hurried),
  };
}

/** Gives up runs that wait and runs that failed. Does not stop a run that a worker is working on. */
export async function cancelRuns(
  client: pg.ClientBase,
  { job, id }: RunFilter,
): Promise<{ readonly waiting: number; readonly failed: number }> {
  const { rows } = await client.query<{ waiting: number; failed: number }>(
    `with canceled as (
       update ${JOB_SCHEMA}.job
       set state = 'cancelled', completed_on = now()
       where state < 'active' and name <> '${DEAD_LETTER_QUEUE}' and ($1::text is null or name = $1) and ($2::uuid is null or id = $2)
       returning 1
     ),
     discarded as (
       delete from ${JOB_SCHEMA}.job j where ${LETTERS} returning 1
     )
     select (select count(*) from canceled)::integer as waiting, (select count(*) from discarded)::integer as failed`,
    [job, id],
  );
  return rows[0]!;
}

function increase(counts: Map<string, number>, job: string): void {
  counts.set(job, (counts.get(job) ?? 0) + 1);
}
