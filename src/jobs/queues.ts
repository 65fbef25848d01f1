import type { Queue, QueueOptions } from "pg-boss";
import type { TimetableEntry } from "./job.ts";

/** Where a job goes that has failed for good; `plinth doctor` lists what lies there. */
export const DEAD_LETTER_QUEUE = "dead-letter";

/** pg-boss's own queue, through which due schedules become jobs. */
export const BOSS_CRON_QUEUE = "__pgboss__send-it";

/** A worker says this often that it still works at a job. */
export const HEARTBEAT_REFRESH_SECONDS = 5;
/** A job whose worker has said nothing for so long was left by it: killed, or cut off from the database. */
const HEARTBEAT_SECONDS = 20;

/** Six tries over some five to ten minutes: long enough to outlive a restart of the database. */
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
 * The queues of a timetable, and the two that they all need. `exclusive`: one job
 * waiting or running, so that a slow run is never joined by the next one.
 */
export function queuesOf(timetable: readonly TimetableEntry[]): Queue[] {
  return [
    { name: BOSS_CRON_QUEUE, heartbeatSeconds: HEARTBEAT_SECONDS },
    { name: DEAD_LETTER_QUEUE, retentionSeconds: 90 * 86_400 },
    ...timetable.map((entry) => ({
      ...QUEUE_DEFAULTS,
      ...entry.queue,
      name: entry.name,
      policy: "exclusive",
      deadLetter: DEAD_LETTER_QUEUE,
    })),
  ];
}
