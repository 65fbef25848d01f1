import type { Queue } from "pg-boss";
import { queuesOf } from "./queues.ts";
import { TIMETABLE } from "./timetable.ts";
import { startWorkerOn, type Worker, type WorkerOptions } from "./worker.ts";

export type { JobContext, JobDefinition, JobFunction, TimetableEntry } from "./job.ts";
export { queuesOf } from "./queues.ts";
export { TIMETABLE } from "./timetable.ts";
export type { Worker, WorkerOptions } from "./worker.ts";

/** Created by the owner during a migration; the worker role may not create queues. */
export const QUEUES: readonly Queue[] = queuesOf(TIMETABLE);

/**
 * Schedules the timetable and works its queues until `close()`.
 * @throws PlinthError WORKER_CANNOT_START when the database or pg-boss's schema cannot be used.
 */
export function startWorker(
  options: Omit<WorkerOptions, "timetable"> & Partial<Pick<WorkerOptions, "timetable">>,
): Promise<Worker> {
  return startWorkerOn({ timetable: TIMETABLE, ...options });
}
