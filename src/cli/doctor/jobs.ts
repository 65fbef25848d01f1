import { roleName } from "../../config/roles.ts";
import { BOSS_SCHEMA_VERSION } from "../../database/job-schema.ts";
import { BOSS_CRON_QUEUE, DEAD_LETTER_QUEUE } from "../../jobs/queues.ts";
import { printable } from "../output.ts";
import { type CheckGroup, type DoctorContext, type Finding, fail, ok, skipped, warn } from "./check.ts";

/** Checks whether the job queue is installed, whether a worker runs, and whether jobs failed. */
export const checkJobs: CheckGroup = async (context) => {
  if (context.role !== "owner" && context.role !== "worker")
    return [skipped("jobs", "Only the owner or the worker can read the job queue (PLINTH_WORKER_URL).")];
  const { rows } = await context.client.query<{ installed: boolean }>(
    "select exists (select from pg_catalog.pg_tables where schemaname = 'pgboss' and tablename = 'job') as installed",
  );
  if (!rows[0]!.installed)
    return [fail("job-queue", "The job queue is not installed.", "Run plinth migrate.")];
  const { rows: versions } = await context.client.query<{ version: number }>(
    "select version from pgboss.version",
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
  return [await checkWorker(context), await checkRetries(context), await checkDeadLetters(context)];
};

/** A running worker is a session of the worker's role, on any machine. */
async function checkWorker({ client, config }: DoctorContext): Promise<Finding> {
  const { rows } = await client.query<{ running: boolean; version: number; queues: number }>(
    `select
       (select version from pgboss.version) as version,
       (select count(*)::integer from pgboss.queue where name <> all ($1)) as queues,
       exists (
         select
         from pg_stat_activity
         where usename = $2 and datname = current_database() and pid <> pg_backend_pid()
       ) as running`,
    [[BOSS_CRON_QUEUE, DEAD_LETTER_QUEUE], roleName(config.rolePrefix, "worker")],
  );
  const { running, version, queues } = rows[0]!;
  const installed = `The job queue is installed (version ${version}, ${queues} queues)`;
  return running
    ? ok("worker", `${installed} and a worker is connected.`)
    : warn(
        "worker",
        `${installed}, but no worker is connected.`,
        "Keep plinth work (or plinth start) running.",
      );
}

/** Checks for jobs that failed and will be retried. */
async function checkRetries({ client }: DoctorContext): Promise<Finding> {
  const { rows } = await client.query<{ name: string; tries: number; message: string | null }>(
    `select name, retry_count + 1 as tries, ${messageOf("output")} as message
     from pgboss.job
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
         (array_agg(${messageOf("source_output")} order by created_on desc))[1] as message
       from pgboss.job
       where name = $1 and state < 'completed'
       group by 1
     )
     select
       d.name,
       d.jobs,
       to_char(d.last at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as last,
       d.message,
       exists (
         select from pgboss.job j where j.name = d.name and j.state = 'completed' and j.completed_on > d.last
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
  const hint = `Fix the cause; then delete from pgboss.job where name = '${DEAD_LETTER_QUEUE}' (as the owner).`;
  return rows.every((row) => row.recovered)
    ? warn(check, "Some jobs failed permanently, but later runs succeeded.", hint, details)
    : fail(check, "Some jobs failed permanently, after all retries.", hint, details);
}

/** pg-boss stores a job's error as an object, and its own errors under `value`. */
function messageOf(column: string): string {
  return `coalesce(${column} ->> 'message', ${column} -> 'value' ->> 'message')`;
}
