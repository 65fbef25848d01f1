import type pg from "pg";
import { readArchive } from "../archive/archive-file.ts";
import { listArchives, type RegisteredArchive } from "../archive/registered-archives.ts";
import { requireKeys } from "../archive/require-keys.ts";
import { PlinthError } from "../support/errors.ts";
import { type AuditLog, LOADED_ROWS } from "./verify-rows.ts";

/** The archives' folder and its keys; undefined if the settings name none. */
export type ArchiveFolder = { readonly directory: string; readonly keys: readonly Buffer[] } | undefined;

/** The rows of a month that are in no partition of the log. */
export interface MonthOfArchives {
  readonly tables: readonly string[];
  readonly isComplete: boolean;
  readonly archives: readonly VerifiedArchive[];
}

export interface VerifiedArchive {
  readonly log: string;
  readonly month: string;
  readonly fileName: string | null;
  readonly isVerified: boolean;
  /** Null if it is verified. */
  readonly reason: string | null;
}

const ROWS_PER_STATEMENT = 1_000;

/** @param client inside a transaction, as the owner */
export async function createLoadedRows(client: pg.ClientBase): Promise<void> {
  await client.query(
    "create temp table loaded_audit_rows (id uuid, created_at timestamptz, content jsonb) on commit drop",
  );
}

/** Loads the archived rows of a month for the comparison, in place of those of the month before. */
export async function loadArchives(
  client: pg.Client,
  {
    log,
    month,
    folder,
    signal,
  }: {
    readonly log: AuditLog;
    /** Such as 2024-02. */
    readonly month: string;
    readonly folder: ArchiveFolder;
    readonly signal: AbortSignal;
  },
): Promise<MonthOfArchives> {
  await client.query(`truncate ${LOADED_ROWS}`);
  const tables: string[] = [];
  const archives: VerifiedArchive[] = [];
  for (const archive of await listArchives(client)) {
    if (archive.log !== log || archive.month !== month || archive.state === "attached") continue;
    if (archive.state === "detached") {
      const { rows } = await client.query<{ table: string }>(
        `select private.archive_table($1, $2) as "table"`,
        [log, `${month}-01`],
      );
      tables.push(rows[0]!.table);
      continue;
    }
    const reason = await load(client, archive, folder, signal);
    archives.push({ log, month, fileName: archive.fileName, isVerified: reason === null, reason });
  }
  return { tables, archives, isComplete: archives.every(({ isVerified }) => isVerified) };
}

/** Returns the reason why the rows cannot be read, or null. */
async function load(
  client: pg.ClientBase,
  archive: RegisteredArchive,
  folder: ArchiveFolder,
  signal: AbortSignal,
): Promise<string | null> {
  if (archive.state === "dropped") return "The retention policy dropped the rows.";
  if (!folder) return "PLINTH_ARCHIVES is not set.";
  let waiting: string[] = [];
  const flush = async () => {
    await client.query(
      `insert into ${LOADED_ROWS} (id, created_at, content)
       select r.id, r.created_at, to_jsonb(r)
       from unnest($1::text[]) l (line)
       cross join lateral json_populate_record(null::${archive.log}, l.line::json) r`,
      [waiting],
    );
    waiting = [];
  };
  try {
    const keys = archive.isEncrypted ? requireKeys(folder.keys) : [];
    for await (const line of readArchive({ directory: folder.directory, name: archive.fileName!, keys })) {
      signal.throwIfAborted();
      waiting.push(line);
      if (waiting.length === ROWS_PER_STATEMENT) await flush();
    }
    await flush();
    return null;
  } catch (error) {
    if (error instanceof PlinthError) return error.message;
    throw error;
  }
}
