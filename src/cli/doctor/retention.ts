import { findAlteredFiles } from "../../archive/altered-files.ts";
import { listDueMonths } from "../../archive/archive-due-months.ts";
import { listArchives } from "../../archive/registered-archives.ts";
import { findTasks } from "../../maintenance/find-tasks.ts";
import { sqlOf } from "../../maintenance/run-tasks.ts";
import { type CheckGroup, type DoctorContext, type Finding, fail, ok, skipped, warn } from "./check.ts";

/** Checks whether old months of logs leave the database, and whether tables and indexes need maintenance. */
export const checkRetention: CheckGroup = async (context) => {
  const { rows } = await context.client.query<{ exists: boolean }>(
    "select exists (select from pg_tables where schemaname = 'security' and tablename = 'archives') as exists",
  );
  if (!rows[0]!.exists) return [];
  return [await checkArchives(context), ...(await checkFiles(context)), await checkMaintenance(context)];
};

/** Only the owner reads the whole register; the folder may be on another machine. */
async function checkFiles({ client, role, config }: DoctorContext): Promise<Finding[]> {
  const check = "archive-files";
  const { directory } = config.archives;
  if (role !== "owner")
    return [skipped(check, "Only the owner can read the register of archives (PLINTH_OWNER_URL).")];
  const archives = await listArchives(client);
  if (!archives.some(({ fileName }) => fileName !== null)) return [];
  if (directory === undefined) return [skipped(check, "PLINTH_ARCHIVES is not set here.")];
  const altered = findAlteredFiles(archives, directory);
  return [
    altered.length === 0
      ? ok(
          check,
          "Each archive has its file with the registered size; plinth archive verify also reads them.",
        )
      : fail(
          check,
          `Files of archives in ${directory} are missing or damaged.`,
          "Restore them from a copy, then run plinth archive verify. On another machine than the archives', unset PLINTH_ARCHIVES.",
          altered,
        ),
  ];
}

async function checkArchives({ client, role, config }: DoctorContext): Promise<Finding> {
  if (role !== "owner" && role !== "worker")
    return skipped(
      "archives",
      "Only the owner or the worker can read the retention policies (PLINTH_WORKER_URL).",
    );
  const { rows: open } = await client.query<{ title: string }>(
    "select log || ' ' || to_char(month, 'YYYY-MM') as title from private.open_archives()",
  );
  if (open.length > 0)
    return warn(
      "archives",
      "Some months were moved out of their log but not archived: the run was interrupted, or is running.",
      "Run plinth archive run, or wait for the job archive-old-partitions. Do not drop the tables private.archiving_….",
      open.map(({ title }) => title),
    );
  const due = await listDueMonths(client);
  if (due.length === 0) return ok("archives", "No month of a log is older than its retention policy allows.");
  const titles = due.map(({ log, month, action }) => `${action} ${log} ${month}`);
  return config.archives.directory === undefined && due.some(({ action }) => action === "archive")
    ? warn(
        "archives",
        "Some months of logs are older than their retention policy allows, but PLINTH_ARCHIVES is not set here.",
        "Set it where plinth work runs, or change security.retention_policies to keep or drop them.",
        titles,
      )
    : warn(
        "archives",
        "Some months of logs are older than their retention policy allows.",
        "Keep plinth work (or start) running, or run plinth archive run.",
        titles,
      );
}

async function checkMaintenance({ client }: DoctorContext): Promise<Finding> {
  const tasks = await findTasks(client);
  return tasks.length === 0
    ? ok("maintenance", "No table or index needs vacuum, analyze or reindex.")
    : warn(
        "maintenance",
        "Some tables or indexes need maintenance.",
        "Run plinth maintenance.",
        tasks.map((task) => `${sqlOf(task)} (${task.reason})`),
      );
}
