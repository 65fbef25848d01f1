import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { JOB_SCHEMA } from "../database/schemas.ts";
import { RUN_COLUMNS, type RunCounts, type RunState } from "./run-columns.ts";

const INTERVAL_MS = 500;

/** A run as it is now. */
export interface FollowedRun {
  readonly state: RunState;
  readonly attempts: number;
  readonly startAfter: Date;
  readonly durationMs: number | null;
  readonly counts: RunCounts | null;
  readonly error: string | null;
}

/**
 * Reads a run until it ends.
 * @param options.onChange called with each new state or attempt
 * @throws the signal's reason when it is aborted; the run continues
 * @returns undefined if the run was deleted
 */
export async function followRun(
  client: pg.ClientBase,
  run: { readonly job: string; readonly id: string },
  options: { readonly signal: AbortSignal; readonly onChange: (run: FollowedRun) => Promise<void> | void },
): Promise<FollowedRun | undefined> {
  const { signal, onChange } = options;
  let last = "";
  for (;;) {
    signal.throwIfAborted();
    const { rows } = await client.query<FollowedRun>(
      `select j.retry_count as attempts, j.start_after as "startAfter", ${RUN_COLUMNS}
       from ${JOB_SCHEMA}.job j
       where j.name = $1 and j.id = $2`,
      [run.job, run.id],
    );
    const [now] = rows;
    if (!now || ["completed", "cancelled", "failed"].includes(now.state)) return now;
    if (last !== `${now.state} ${now.attempts}`) await onChange(now);
    last = `${now.state} ${now.attempts}`;
    await sleep(INTERVAL_MS, undefined, { signal }).catch(() => {});
  }
}
