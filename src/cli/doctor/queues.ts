import { leftOutModules } from "../../application/modules.ts";
import { timetableOf } from "../../application/timetable.ts";
import { JOB_SCHEMA } from "../../database/schemas.ts";
import { DEAD_LETTER_QUEUE, queuesOf } from "../../jobs/queues.ts";
import { type CheckGroup, type Finding, fail, ok, warn } from "./check.ts";

interface Queues {
  queues: string[];
  schedules: Record<string, string> | null;
  late: string[];
}

/** Checks whether each job has its queue and its schedule, and whether jobs wait that are due. */
export const checkQueues: CheckGroup = async ({ client, config, role, application }) => {
  if (role !== "owner" && role !== "worker") return [];
  // The check of the job queue reports that it is not installed.
  const { rowCount } = await client.query(
    "select from pg_catalog.pg_tables where schemaname = $1 and tablename = 'schedule'",
    [JOB_SCHEMA],
  );
  if (rowCount === 0) return [];
  const { rows } = await client.query<Queues>(
    `select
       array(select name from ${JOB_SCHEMA}.queue) as queues,
       (select json_object_agg(name, cron) from ${JOB_SCHEMA}.schedule) as schedules,
       array(
         select format('%s: %s jobs', name, count(*))
         from ${JOB_SCHEMA}.job
         where state = 'created' and start_after < now() - interval '15 minutes' and name <> $1
         group by name order by name
       ) as late`,
    [DEAD_LETTER_QUEUE],
  );
  const { queues, schedules, late } = rows[0]!;
  const timetable = timetableOf(application ?? {}, leftOutModules(application?.modules ?? config.modules));
  const missing = queuesOf(timetable)
    .map(({ name }) => name)
    .filter((name) => !queues.includes(name));
  return [
    missing.length === 0
      ? ok("job-queues", "Each job has its queue.")
      : fail("job-queues", "Some jobs have no queue and cannot run.", "Run plinth migrate.", missing),
    checkSchedules(timetable, schedules ?? {}),
    late.length === 0
      ? ok("due-jobs", "No job waits for a worker.")
      : warn(
          "due-jobs",
          "Some jobs have been due for more than 15 minutes.",
          "Keep plinth work (or plinth start) running, and read its log.",
          late,
        ),
  ];
};

/** A worker writes the schedules when it starts. */
function checkSchedules(
  timetable: readonly { readonly name: string; readonly cron?: string }[],
  found: Readonly<Record<string, string>>,
): Finding {
  const check = "schedules";
  if (Object.keys(found).length === 0)
    return warn(
      check,
      "No job is scheduled yet.",
      "Start plinth work (or plinth start), which schedules them.",
    );
  const faults = timetable.flatMap(({ name, cron }) => {
    if (cron === undefined || found[name] === cron) return [];
    return [
      found[name] === undefined ? `${name}: not scheduled` : `${name}: ${found[name]} instead of ${cron}`,
    ];
  });
  return faults.length === 0
    ? ok(check, "Each job is scheduled.")
    : warn(
        check,
        "Some jobs do not have the schedule that this version of Plinth needs.",
        "Start plinth work (or plinth start) of this version again, which schedules them.",
        faults,
      );
}
