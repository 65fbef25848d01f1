import type pg from "pg";
import { queueOn } from "../database/job-queue.ts";
import { JOB_SCHEMA } from "../database/schemas.ts";
import { PlinthError } from "../support/errors.ts";

export interface QueuedRun {
  readonly id: string;
  /** False if a run was waiting or running already: a job with a schedule has at most one. */
  readonly isNew: boolean;
}

/**
 * Queues a run that begins as soon as a worker takes it. A run that waits already, perhaps for its next attempt, begins now.
 * @throws PlinthError QUEUE_MISSING, JOB_BUSY if the data would be lost because a run exists already
 */
export async function queueRun(client: pg.ClientBase, job: string, data?: object): Promise<QueuedRun> {
  await assertHasQueue(client, job);
  const queue = queueOn(client);
  for (;;) {
    const id = await queue.send(job, data ?? null);
    if (id !== null) return { id, isNew: true };
    if (data)
      throw new PlinthError(
        "JOB_BUSY",
        `A run of ${job} is already waiting or active, so the data was not queued.`,
        {
          hint: `Retry when it has ended: plinth jobs show ${job}.`,
        },
      );
    const existing = await startWaitingRun(client, job);
    // It may have ended just now.
    if (existing !== undefined) return { id: existing, isNew: false };
  }
}

async function assertHasQueue(client: pg.ClientBase, job: string): Promise<void> {
  const { rowCount } = await client.query(`select from ${JOB_SCHEMA}.queue where name = $1`, [job]);
  if (rowCount === 0)
    throw new PlinthError("QUEUE_MISSING", `The job ${job} has no queue.`, { hint: "Run plinth migrate." });
}

async function startWaitingRun(client: pg.ClientBase, job: string): Promise<string | undefined> {
  const { rows } = await client.query<{ id: string }>(
    `update ${JOB_SCHEMA}.job
     set start_after = least(start_after, now())
     where name = $1 and state <= 'active'
     returning id`,
    [job],
  );
  return rows[0]?.id;
}
