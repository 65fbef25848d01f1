import { leftOutModules } from "../../application/modules.ts";
import { timetableOf } from "../../application/timetable.ts";
import { roleName } from "../../config/roles.ts";
import { BOSS_SCHEMA_VERSION } from "../../database/job-schema.ts";
import { JOB_SCHEMA } from "../../database/schemas.ts";
import { listJobs } from "../../jobs/list-jobs.ts";
import { BOSS_CRON_QUEUE, DEAD_LETTER_QUEUE } from "../../jobs/queues.ts";
import { errorIn } from "../../jobs/run-columns.ts";
import { isWorkerConnected } from "../../jobs/worker-session.ts";
import { printable } from "../output.ts";
import { type CheckGroup, type DoctorContext, type Finding, fail, ok, skipped, warn } from "./check.ts";

/** Checks whether the job queue is installed, whether a worker runs, and whether jobs are overdue or failed. */
export const checkJobs: CheckGroup = async (context) => {
  if (context.role !== "owner" && context.role !== "worker")
    return [skipped("jobs", "Only the owner or the worker can read the job queue (PLINTH_WORKER_URL).")];
  const { rows } = await context.client.query<{ installed: boolean }>(
    "select exists (select from pg_catalog.pg_tables where schemaname = $1 and tablename = 'job') as installed",
    [JOB_SCHEMA],
  );
  if (!rows[0]!.installed)
    return [fail("job-queue", "The job queue is not installed.", "Run plinth migrate.")];
  const { rows: versions } = await context.client.query<{ version: number }>(
    `select version from ${JOB_SCHEMA}.version`,
  );
  const version = versions[0]?.version;
  if (version !== BOSS_SCHEMA_VERSION)
    return [
      fail(
        "job-queue",
        `The job queue is at version ${version}, but this version of Plinth needs ${BOSS_SCHEMA_VERSION}.`,
        "Run plinth migrate; if the database is newer, use the newer version of Plinth.",
      ),
    ];
  return [
    await checkWorker(context),
    await checkOverdue(context),
    await checkRetries(context),
    await checkDeadLetters(context),
  ];
};

async function checkWorker({ client, config }: DoctorContext): Promise<Finding> {
  const { rows } = await client.query<{ version: number; queues: number }>(
    `select
       (select version from ${JOB_SCHEMA}.version) as version,
       (select count(*)::integer from ${JOB_SCHEMA}.queue where name <> all ($1)) as queues`,
    [[BOSS_CRON_QUEUE, DEAD_LETTER_QUEUE]],
  );
  const { version, queues } = rows[0]!;
  const running = await isWorkerConnected(client, roleName(config.rolePrefix, "worker"));
  const installed = `The job queue is installed (version ${version}, ${queues} queues)`;
  return running
    ? ok("worker", `${installed} and a worker is connected.`)
    : warn(
        "worker",
        `${installed}, but no worker is connected.`,
        "Keep plinth work (or plinth start) running.",
      );
}

/** Checks for jobs whose run was due and has not begun, as when no worker ran or another run hangs. */
async function checkOverdue({ client, config, application = {}, now }: DoctorContext): Promise<Finding> {
  const timetable = timetableOf(application, leftOutModules(application.modules ?? config.modules));
  const overdue = (await listJobs(client, timetable, now)).filter((job) => job.overdueSince);
  return overdue.length === 0
    ? ok("overdue-jobs", "No job is overdue.")
    : warn(
        "overdue-jobs",
        "Some jobs are overdue.",
        "Keep plinth work (or plinth start) running, and read its log; then plinth jobs run NAME.",
        overdue.map(
          ({ name, overdueSince, lastRun }) =>
            `${name}: since ${timeOf(overdueSince!)}, ${lastRun ? `last run ${timeOf(lastRun)}` : "no run is known"}`,
        ),
      );
}

const timeOf = (time: Date): string => `${time.toISOString().slice(0, 19)}Z`;

/** Checks for jobs that failed and will be retried. */
async function checkRetries({ client }: DoctorContext): Promise<Finding> {
  const { rows } = await client.query<{ name: string; tries: number; message: string | null }>(
    `select name, retry_count + 1 as tries, ${errorIn("output")} as message
     from ${JOB_SCHEMA}.job
     where state = 'retry'
     order by name
     limit 50`,
  );
  return rows.length === 0
    ? ok("failing-jobs", "No job is failing.")
    : warn(
        "failing-jobs",
        "Some jobs failed and will be retried.",
        "Read the worker's log and fix the cause.",
        rows.map(
          ({ name, tries, message }) => `${name}: ${tries} attempts, ${printable(message ?? "no message")}`,
        ),
      );
}

interface DeadLetters {
  name: string;
  jobs: number;
  last: string;
  message: string | null;
  /** Whether a later run of the same job succeeded. */
  recovered: boolean;
}

/** Checks for jobs that failed permanently. If later runs of the job succeeded, the finding is only a warning. */
async function checkDeadLetters({ client }: DoctorContext): Promise<Finding> {
  const { rows } = await client.query<DeadLetters>(
    `with dead as (
       select
         coalesce(source_name, 'unknown') as name,
         count(*)::integer as jobs,
         max(created_on) as last,
         (array_agg(${errorIn("source_output")} order by created_on desc))[1] as message
       from ${JOB_SCHEMA}.job
       where name = $1 and state < 'completed'
       group by 1
     )
     select
       d.name,
       d.jobs,
       to_char(d.last at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as last,
       d.message,
       exists (
         select from ${JOB_SCHEMA}.job j where j.name = d.name and j.state = 'completed' and j.completed_on > d.last
       ) as recovered
     from dead d
     order by d.name`,
    [DEAD_LETTER_QUEUE],
  );
  const check = "dead-letters";
  if (rows.length === 0) return ok(check, "No job has failed permanently.");
  const details = rows.map(
    ({ name, jobs, last, message, recovered }) =>
      `${name}: ${jobs} failed, last at ${last}${recovered ? " (later runs succeeded)" : ""}, ${printable(message ?? "no message")}`,
  );
  const hint = "Fix the cause; then plinth jobs retry NAME, or plinth jobs cancel NAME to discard them.";
  return rows.every((row) => row.recovered)
    ? warn(check, "Some jobs failed permanently, but later runs succeeded.", hint, details)
    : fail(check, "Some jobs failed permanently, after all retries.", hint, details);
}
