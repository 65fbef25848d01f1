import type { Queue, QueueOptions } from "pg-boss";
import type { JobDefinition } from "./job.ts";

/** The queue of jobs that failed permanently; `plinth doctor` lists them. */
export const DEAD_LETTER_QUEUE = "dead-letter";

/** pg-boss's own queue, through which due schedules become jobs. */
export const BOSS_CRON_QUEUE = "__pgboss__send-it";

/** Interval between the heartbeats of a worker that works on a job. */
export const HEARTBEAT_REFRESH_SECONDS = 5;
/** Time without a heartbeat after which a worker counts as killed or disconnected from the database. */
export const HEARTBEAT_SECONDS = 20;

/** Six attempts over five to ten minutes: long enough to outlast a restart of the database. */
const QUEUE_DEFAULTS: QueueOptions = {
  retryLimit: 5,
  retryDelay: 10,
  retryBackoff: true,
  retryDelayMax: 300,
  expireInSeconds: 600,
  heartbeatSeconds: HEARTBEAT_SECONDS,
  retentionSeconds: 86_400,
  deleteAfterSeconds: 7 * 86_400,
};

/**
 * The queues of a timetable, and the two that all of them need. `exclusive` allows one waiting or running job, so a slow run
 * never overlaps the next. Jobs without a schedule wait in any number, because each has its own payload.
 */
export function queuesOf(timetable: readonly JobDefinition[]): Queue[] {
  return [
    { name: BOSS_CRON_QUEUE, heartbeatSeconds: HEARTBEAT_SECONDS },
    { name: DEAD_LETTER_QUEUE, retentionSeconds: 90 * 86_400 },
    ...timetable.map(queueOf),
  ];
}

export function queueOf({ name, cron, queue }: JobDefinition): Queue {
  return {
    ...QUEUE_DEFAULTS,
    ...queue,
    name,
    policy: cron === undefined ? "standard" : "exclusive",
    deadLetter: DEAD_LETTER_QUEUE,
  };
}
