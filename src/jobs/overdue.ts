import type { JobDefinition } from "./job.ts";
import { nextRun } from "./next-run.ts";
import { queueOf } from "./queues.ts";

/** How late a run may begin: a restart of the worker or a slow run before it is no fault. */
const OVERDUE_AFTER_MINUTES = 15;

/** The worker, which decides that a run is due, and the database, which records its start, may differ in their clocks. */
const CLOCKS_DIFFER_MS = 60_000;

/** The known facts about a job's runs. */
export interface KnownRuns {
  /** Start of the latest run. */
  readonly lastRun: Date | null;
  readonly isRunning: boolean;
  /** When a worker first scheduled the job. */
  readonly scheduledOn: Date | null;
}

/** Returns when the run was due that has not begun, or null if the job is not overdue. */
export function overdueSince(job: JobDefinition, known: KnownRuns, now = new Date()): Date | null {
  if (job.cron === undefined || known.isRunning) return null;
  const since = countsFrom(job, known, now);
  const due = since && nextRun(job.cron, since);
  return due && due.getTime() < now.getTime() - OVERDUE_AFTER_MINUTES * 60_000 ? due : null;
}

/** Runs are deleted a while after they ended, so without a known run, only that time says that there was none. */
function countsFrom(job: JobDefinition, { lastRun, scheduledOn }: KnownRuns, now: Date): Date | null {
  if (lastRun) return new Date(lastRun.getTime() + CLOCKS_DIFFER_MS);
  if (!scheduledOn) return null;
  const keptMs = queueOf(job).deleteAfterSeconds! * 1_000;
  return new Date(Math.max(scheduledOn.getTime(), now.getTime() - keptMs));
}
