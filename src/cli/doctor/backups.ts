import { newestUsableBackup } from "../../backup/newest-usable.ts";
import { completeBackups, listBackups } from "../../backup/records.ts";
import { nextRun } from "../../jobs/next-run.ts";
import { type CheckGroup, type DoctorContext, type Finding, fail, ok, skipped, warn } from "./check.ts";

/** Time that a scheduled backup may take. */
const GRACE_MS = 3_600_000;

/** Checks whether the embedded server is backed up, and whether its WAL reaches the archive. */
export const checkBackups: CheckGroup = async (context) => {
  const { config, database } = context;
  if (database.kind === "external")
    return [skipped("backups", "An external server is backed up with its own tools.")];
  if (!config.backups)
    return [
      warn(
        "backups",
        "The embedded server is not backed up.",
        "Set PLINTH_BACKUPS to a folder, best on another disk.",
      ),
    ];
  return [await checkArchiving(context), await checkAge(context), ...checkResults(context)];
};

async function checkArchiving({ client }: DoctorContext): Promise<Finding> {
  const { rows } = await client.query<{ mode: string; failing: string | null; since: string | null }>(
    `select
       current_setting('archive_mode') as mode,
       case when last_failed_time > coalesce(last_archived_time, '-infinity') then last_failed_wal end as failing,
       to_char(last_failed_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as since
     from pg_stat_archiver`,
  );
  const { mode, failing, since } = rows[0]!;
  if (mode === "off")
    return fail(
      "wal-archive",
      "The running server does not archive its WAL.",
      "Start Plinth again with PLINTH_BACKUPS set.",
    );
  return failing
    ? fail(
        "wal-archive",
        `Archiving the WAL fails: ${failing} at ${since}.`,
        "See postgres.log in the data folder for the reason; often the disk is full.",
      )
    : ok("wal-archive", "The WAL is archived.");
}

async function checkAge({ config }: DoctorContext): Promise<Finding> {
  const backups = config.backups!;
  const newest = await newestUsableBackup(backups);
  if (!newest)
    return fail(
      "backups",
      completeBackups(backups.folder).length === 0
        ? "There is no backup."
        : "No backup leads to the latest state: the WAL has a gap.",
      "Create a backup: plinth backup.",
    );
  const due = nextRun(backups.schedule, new Date(newest.startedAt));
  return due && due.getTime() + GRACE_MS < Date.now()
    ? fail(
        "backups",
        `The last backup is of ${newest.startedAt}; the next one was due at ${due.toISOString()}.`,
        "Keep plinth start running, or create a backup: plinth backup. See the log for failures.",
      )
    : ok("backups", `The last backup is of ${newest.startedAt}.`);
}

function checkResults({ config }: DoctorContext): Finding[] {
  const { folder, key, keyFile } = config.backups!;
  const damaged = listBackups(folder).filter(({ verification }) => verification?.isSound === false);
  return [
    ...(damaged.length > 0
      ? [
          fail(
            "damaged-backups",
            `Damaged backups: ${damaged.map(({ id }) => id).join(", ")}.`,
            "Delete them and create a new one: plinth backup delete, plinth backup.",
          ),
        ]
      : []),
    ...(key || keyFile
      ? []
      : [
          warn(
            "backup-key",
            "Backups are not encrypted.",
            "Set PLINTH_BACKUP_KEY (plinth keys generate --kind backup), and keep it elsewhere.",
          ),
        ]),
  ];
}
