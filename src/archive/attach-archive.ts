import type pg from "pg";
import { PlinthError } from "../support/errors.ts";
import { checksumOf, type FileSummary, readArchive } from "./archive-file.ts";
import { withArchiveLock } from "./archive-lock.ts";
import { eraseArchives } from "./erase-archives.ts";
import { readManifest } from "./manifest.ts";
import { listArchives, type RegisteredArchive } from "./registered-archives.ts";
import { requireKeys } from "./require-keys.ts";
import { type ArchiveWriter, writeOpenArchives } from "./write-open-archives.ts";

const ROWS_PER_STATEMENT = 1_000;

/**
 * Erases deleted accounts from the archives, then loads an archive into its log again, in one transaction. The log's policies apply
 * to the rows. Rows of accounts deleted since stay out, or lose the reference.
 * @param writer.client a connection as the owner
 * @returns the number of rows in the file and of those loaded
 * @throws PlinthError ARCHIVE_NOT_FOUND, ARCHIVE_NOT_READY, ARCHIVE_MISSING, ARCHIVE_DAMAGED, ARCHIVES_IN_USE
 */
export async function attachArchive(
  writer: ArchiveWriter,
  id: string,
): Promise<{ rows: number; loaded: number }> {
  const { client } = writer;
  await findArchive(client, id, "archived");
  // The triggers that erase a log have run for accounts that are already deleted.
  await eraseArchives(writer);
  return withArchiveLock(client, async () => {
    const archive = await findArchive(client, id, "archived");
    await assertMonthIsFree(client, archive);
    await client.query("begin");
    try {
      await client.query("select private.begin_attach($1)", [id]);
      const result = await load(writer, archive);
      await client.query("commit");
      writer.log(`${archive.log} ${archive.month}: attached`);
      return result;
    } catch (error) {
      await client.query("rollback").catch(() => {});
      throw error;
    }
  });
}

/**
 * Moves the month of an attached archive out of its log and writes its file anew.
 * @throws PlinthError ARCHIVE_NOT_FOUND, ARCHIVE_NOT_READY, ARCHIVES_IN_USE
 */
export async function detachArchive(writer: ArchiveWriter, id: string): Promise<{ rows: number }> {
  const { client } = writer;
  return withArchiveLock(client, async () => {
    const archive = await findArchive(client, id, "attached");
    await client.query("select private.reopen_archive($1)", [id]);
    writer.log(`${archive.log} ${archive.month}: detached`);
    await writeOpenArchives(writer);
    return { rows: (await findArchive(client, id, "archived")).rows! };
  });
}

async function findArchive(
  client: pg.Client,
  id: string,
  state: RegisteredArchive["state"],
): Promise<RegisteredArchive> {
  const archive = (await listArchives(client)).find((each) => each.id === id);
  if (!archive)
    throw new PlinthError("ARCHIVE_NOT_FOUND", `Archive ${id} not found.`, {
      hint: "plinth archive list prints the ids.",
    });
  if (archive.state !== state)
    throw new PlinthError("ARCHIVE_NOT_READY", `The archive is ${archive.state}, not ${state}.`, {
      hint: "plinth archive list prints the states; plinth archive run finishes detached months.",
    });
  return archive;
}

/** Rows that came after their month was archived make a second archive of it. */
async function assertMonthIsFree(client: pg.Client, { log, month }: RegisteredArchive): Promise<void> {
  const other = (await listArchives(client)).find(
    (each) => each.log === log && each.month === month && /^(attached|detached)$/.test(each.state),
  );
  if (!other) return;
  throw new PlinthError("ARCHIVE_NOT_READY", `Another archive of ${log} ${month} is ${other.state}.`, {
    hint:
      other.state === "attached"
        ? `Detach it first: plinth archive detach ${other.id}`
        : "Finish it first: plinth archive run",
  });
}

async function load(
  { client, directory, keys, signal, log, onProgress }: ArchiveWriter,
  archive: RegisteredArchive,
): Promise<{ rows: number; loaded: number }> {
  const name = archive.fileName!;
  await requireRegistered(directory, archive);
  const columns = readManifest(directory, name).columns.map((column) => column.name);
  const file = readArchive({ directory, name, keys: archive.isEncrypted ? requireKeys(keys) : [] });
  let waiting: string[] = [];
  let loaded = 0;
  const flush = async (): Promise<void> => {
    const { rows } = await client.query<{ count: string }>(
      "select private.load_archive_rows($1, $2, $3) as count",
      [archive.id, columns, waiting],
    );
    loaded += Number(rows[0]!.count);
    waiting = [];
    onProgress?.({ step: "Attaching", done: loaded, total: archive.rows ?? 0, unit: "rows" });
    log(`${archive.log} ${archive.month}: loaded ${loaded} of ${archive.rows} rows`);
  };
  let summary: FileSummary;
  for (;;) {
    const { done, value } = await file.next();
    if (done) {
      summary = value;
      break;
    }
    if (signal.aborted)
      throw new PlinthError("INTERRUPTED", "Stopped; nothing was attached.", { exitCode: 130 });
    if (waiting.length === 0 && loaded === 0) requireColumns(value, columns, name);
    waiting.push(value);
    if (waiting.length === ROWS_PER_STATEMENT) await flush();
  }
  await flush();
  if (summary.sha256 !== archive.sha256) throw notRegistered(name);
  return { rows: summary.rows, loaded };
}

/**
 * Before anything is decompressed or parsed: another file could be of any size.
 * @throws PlinthError ARCHIVE_MISSING, ARCHIVE_DAMAGED
 */
async function requireRegistered(directory: string, archive: RegisteredArchive): Promise<void> {
  const name = archive.fileName!;
  if ((await checksumOf({ directory, name })) !== archive.sha256) throw notRegistered(name);
}

/**
 * No checksum covers the manifest, and a column that it left out would get its default.
 * @throws PlinthError ARCHIVE_DAMAGED
 */
function requireColumns(line: string, columns: readonly string[], name: string): void {
  if (Object.keys(JSON.parse(line)).join() === columns.join()) return;
  throw new PlinthError("ARCHIVE_DAMAGED", `The manifest of ${name} does not have the columns of the file.`, {
    hint: "Restore it from a copy. Nothing was attached.",
  });
}

function notRegistered(name: string): PlinthError {
  return new PlinthError("ARCHIVE_DAMAGED", `${name} is not the file that was registered.`, {
    hint: "Restore it from a copy. Nothing was attached.",
  });
}
