import { readdirSync } from "node:fs";
import { join } from "node:path";
import type pg from "pg";
import { plinthHistory } from "../database/history.ts";
import { PlinthError } from "../support/errors.ts";
import { makeFolder } from "../support/files.ts";
import type { OnProgress } from "../support/progress.ts";
import { explainUnwritable } from "../support/unwritable.ts";
import { examineArchive, writeArchive } from "./archive-file.ts";
import { type Column, deleteArchiveFile, type Manifest, writeManifest } from "./manifest.ts";
import { stopIfAborted } from "./stop-if-aborted.ts";

export interface ArchiveWriter {
  /** A connection as the worker or the owner. */
  readonly client: pg.Client;
  readonly directory: string;
  readonly keys: readonly Buffer[];
  /** Aborted when the writing should stop; the next run continues. */
  readonly signal: AbortSignal;
  /** Called after each step. */
  readonly log: (line: string) => void;
  readonly onProgress?: OnProgress;
}

interface OpenArchive {
  readonly archive_id: string;
  readonly log: string;
  readonly month: string;
  readonly columns: readonly Column[];
  readonly blocks: string;
}

/** A block has 8 kB; long values, which are stored elsewhere, make a page larger. */
const BLOCKS_PER_PAGE = 64;

/**
 * Writes each month that was moved out of its log to a file, reads the file back, and only then drops the rows. A killed run
 * leaves the rows in the database, and the next run writes the file again.
 * @throws PlinthError ARCHIVES_NOT_WRITABLE, ARCHIVE_DAMAGED, INTERRUPTED
 */
export async function writeOpenArchives(writer: ArchiveWriter): Promise<{ archived: number; rows: number }> {
  const done = { archived: 0, rows: 0 };
  const { rows } = await writer.client.query<OpenArchive>(
    "select archive_id, log, to_char(month, 'YYYY-MM') as month, columns, blocks from private.open_archives()",
  );
  for (const archive of rows) {
    if (writer.signal.aborted) break;
    const written = await writeOne(writer, archive).catch((error) => {
      throw explainUnwritable(error, {
        code: "ARCHIVES_NOT_WRITABLE",
        title: "The folder of archives",
        folder: writer.directory,
        hint: "Free space, or set PLINTH_ARCHIVES to another folder. No row was deleted; the next run continues.",
      });
    });
    done.archived += 1;
    done.rows += written.rows;
  }
  return done;
}

async function writeOne(writer: ArchiveWriter, archive: OpenArchive): Promise<Manifest> {
  const { client, directory, keys, log } = writer;
  const isEncrypted = keys.length > 0;
  const title = `${archive.log} ${archive.month}`;
  makeFolder(directory);
  const names = [".ndjson.gz", ".ndjson.gz.sealed"].map(
    (ending) => `${archive.log}-${archive.month}-${archive.archive_id}${ending}`,
  );
  const [name, otherName] = isEncrypted ? [names[1]!, names[0]!] : [names[0]!, names[1]!];
  const file = { directory, name, keys };
  const summary = await writeArchive(file, readRows(writer, archive));
  const manifest: Manifest = {
    format: "ndjson.gz",
    encryption: isEncrypted ? "aes-256-gcm" : null,
    archiveId: archive.archive_id,
    log: archive.log,
    month: archive.month,
    columns: archive.columns,
    migration: latestMigration(),
    writtenAt: new Date().toISOString(),
    ...summary,
  };
  writeManifest(directory, name, manifest);
  log(`${title}: wrote ${summary.rows} rows to ${name}`);

  const found = await examineArchive(file);
  if (found.sha256 !== summary.sha256 || found.contentSha256 !== summary.contentSha256)
    throw new PlinthError(
      "ARCHIVE_DAMAGED",
      `${join(directory, name)} was not read back as it was written.`,
      {
        hint: "Check the disk. No row was deleted; the next run writes the file again.",
      },
    );
  log(`${title}: verified`);
  // From before a key was set, or removed. It may contain rows that were erased while the archive was attached.
  deleteArchiveFile(directory, otherName);

  await client.query("select private.finish_archive($1, $2, $3, $4, $5, $6, $7)", [
    archive.archive_id,
    name,
    summary.bytes,
    summary.sha256,
    summary.rows,
    isEncrypted,
    manifest.migration,
  ]);
  log(`${title}: archived`);
  return manifest;
}

async function* readRows(
  writer: ArchiveWriter,
  { archive_id, blocks, ...archive }: OpenArchive,
): AsyncGenerator<string> {
  const { client, log, onProgress } = writer;
  for (let block = 0; block < Number(blocks); block += BLOCKS_PER_PAGE) {
    stopIfAborted(writer);
    onProgress?.({
      step: `Archiving ${archive.month}`,
      done: block,
      total: Number(blocks),
      unit: "blocks",
    });
    const { rows } = await client.query<{ line: string }>(
      "select line from private.read_archive_rows($1, $2, $3) line",
      [archive_id, block, BLOCKS_PER_PAGE],
    );
    for (const { line } of rows) yield line;
    log(
      `${archive.log} ${archive.month}: read ${Math.min(block + BLOCKS_PER_PAGE, Number(blocks))} of ${blocks} blocks`,
    );
  }
}

function latestMigration(): string {
  return readdirSync(join(plinthHistory.migrationsFolder, "committed")).sort().at(-1)!;
}
