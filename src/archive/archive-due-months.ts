import { rmSync } from "node:fs";
import { join } from "node:path";
import type pg from "pg";
import { describeWait, endHolders } from "../database/locks/lock-wait.ts";
import { watchLocks } from "../database/locks/watch-locks.ts";
import { PlinthError } from "../support/errors.ts";
import { namesIn } from "../support/files.ts";
import { PARTIAL } from "./archive-file.ts";
import { withArchiveLock } from "./archive-lock.ts";
import { type ArchiveWriter, writeOpenArchives } from "./write-open-archives.ts";

/** A month of a log that is older than its policy keeps. */
export interface DueMonth {
  readonly log: string;
  /** Such as 2024-02. */
  readonly month: string;
  readonly action: "archive" | "drop";
  readonly estimatedRows: number;
}

export interface ArchiveRun {
  readonly archived: number;
  readonly archivedRows: number;
  readonly dropped: number;
  readonly droppedRows: number;
  /** Months to be archived that have no folder to go to. */
  readonly waiting: number;
}

/** @param client a connection as the worker or the owner */
export async function listDueMonths(client: Pick<pg.Client, "query">): Promise<DueMonth[]> {
  const { rows } = await client.query<Omit<DueMonth, "estimatedRows"> & { estimated_rows: string }>(
    "select log, to_char(month, 'YYYY-MM') as month, action, estimated_rows from private.due_log_months()",
  );
  return rows.map(({ estimated_rows, ...due }) => ({ ...due, estimatedRows: Number(estimated_rows) }));
}

interface RunSettings extends Omit<ArchiveWriter, "directory"> {
  readonly directory: string | undefined;
  /** URL of the client's role, for a second connection that sees which session holds a log. */
  readonly url: string;
}

/**
 * Does what the retention policies ask for: drops months, or archives them if there is a folder. First finishes what a killed
 * run has begun.
 * @throws PlinthError ARCHIVES_IN_USE, LOG_IN_USE
 */
export async function archiveDueMonths({ directory, url, ...settings }: RunSettings): Promise<ArchiveRun> {
  const { client, signal, log } = settings;
  const run = { archived: 0, archivedRows: 0, dropped: 0, droppedRows: 0, waiting: 0 };
  const writeOpen = async (): Promise<void> => {
    if (directory === undefined) return;
    const { archived, rows } = await writeOpenArchives({ ...settings, directory });
    run.archived += archived;
    run.archivedRows += rows;
  };
  await withArchiveLock(client, async () => {
    if (directory !== undefined) deletePartialFiles(directory);
    await writeOpen();
    await leaveDefaultPartitions({ client, url, log });
    for (const { log: name, month, action } of await listDueMonths(client)) {
      if (signal.aborted) return;
      if (action === "drop") {
        const { rows } = await unlessInUse<{ rows: string }>(
          { client, url, log },
          name,
          "drop_log_month",
          month,
        );
        run.dropped += 1;
        run.droppedRows += Number(rows);
        log(`${name} ${month}: dropped ${rows} rows`);
      } else if (directory === undefined) run.waiting += 1;
      else {
        await unlessInUse({ client, url, log }, name, "begin_archive", month);
        log(`${name} ${month}: detached`);
        await writeOpen();
      }
    }
  });
  return run;
}

interface Watched {
  readonly client: pg.Client;
  readonly url: string;
  readonly log: (line: string) => void;
}

/** A month leaves its log as a partition, so rows in default partitions move to the partitions of their months first. */
async function leaveDefaultPartitions(session: Watched): Promise<void> {
  await unlessBlocked(
    session,
    { waits: "A default partition", stays: "The rows in a default partition stay there" },
    "select private.ensure_partitions(0)",
  );
}

/** The SQL function tries for some seconds to lock the log, between those that write to it. */
async function unlessInUse<T>(
  session: Watched,
  table: string,
  name: "begin_archive" | "drop_log_month",
  month: string,
): Promise<T> {
  const rows = await unlessBlocked(
    session,
    { waits: `${table} ${month}`, stays: `The month ${month} of ${table} stays in the log` },
    `select private.${name}($1, $2) as rows`,
    [table, `${month}-01`],
  );
  return rows[0] as T;
}

/**
 * Names the session that a statement waits for.
 * @param subject `waits` and `stays` begin the sentences about a wait and about its failure
 * @throws PlinthError LOG_IN_USE
 */
async function unlessBlocked(
  { client, url, log }: Watched,
  subject: { readonly waits: string; readonly stays: string },
  sql: string,
  values: readonly unknown[] = [],
): Promise<unknown[]> {
  const backend = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  let isReported = false;
  const watch = watchLocks({
    connectionString: url,
    applicationName: "plinth archive (watch)",
    pid: backend.rows[0]!.pid,
    pauseMs: 100,
    onWait: (wait) => {
      if (!isReported) log(`${subject.waits} waits: ${describeWait(wait)}`);
      isReported = true;
    },
  });
  try {
    return (await client.query(sql, [...values])).rows;
  } catch (error) {
    if (!BLOCKED_STATES.includes((error as { code?: string }).code ?? "")) throw error;
    await watch.stop();
    const why = watch.last ? describeWait(watch.last) : "the holder of its lock could not be seen";
    const end = watch.last ? endHolders(watch.last.holders) : "";
    throw new PlinthError("LOG_IN_USE", `${subject.stays}: ${why}.`, {
      hint:
        "The next run tries again." +
        (end ? ` To end the other transaction, run this as its role or as an administrator: ${end}` : ""),
      cause: error,
    });
  } finally {
    await watch.stop();
  }
}

/** lock_not_available and deadlock_detected. */
const BLOCKED_STATES = ["55P03", "40P01"];

/** Only one process works on archives, so no other is writing them. */
function deletePartialFiles(directory: string): void {
  for (const name of namesIn(directory) ?? [])
    if (name.endsWith(PARTIAL)) rmSync(join(directory, name), { force: true });
}
