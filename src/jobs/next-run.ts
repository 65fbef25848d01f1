import { PgBoss } from "pg-boss";

/** Reads schedules without a database. */
const boss = new PgBoss({
  db: { executeSql: () => Promise.reject(new Error("A schedule is read without a database.")) },
  supervise: false,
  schedule: false,
});

/**
 * Returns the first time of a schedule after another one, as the worker reads it; undefined if there is none.
 * @throws Error for an invalid schedule
 */
export function nextRun(cron: string, after = new Date()): Date | undefined {
  return boss.previewSchedule(cron, { count: 1, tz: "UTC", from: after })[0];
}
