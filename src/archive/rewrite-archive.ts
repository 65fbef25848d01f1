import { join } from "node:path";
import { PlinthError } from "../support/errors.ts";
import { explainUnwritable } from "../support/unwritable.ts";
import { examineArchive, readArchive, writeArchive } from "./archive-file.ts";
import { deleteArchiveFile, readManifest, writeManifest } from "./manifest.ts";
import { placeOf, type RegisteredFile } from "./registered-file.ts";
import { type Erased, isOf } from "./rows-of-accounts.ts";
import { stopIfAborted } from "./stop-if-aborted.ts";
import type { ArchiveWriter } from "./write-open-archives.ts";

const LINES_PER_STATEMENT = 500;

/**
 * A single transaction: rewritten rows of the audit logs get new commitments, which must appear together with the registered file, see
 * private.commit_archived_erasure. It locks nothing that other work waits for.
 * @returns the number of rows that changed or went
 */
export async function eraseFile(
  writer: ArchiveWriter,
  file: RegisteredFile,
  accounts: readonly Erased[],
): Promise<number> {
  const { client, directory, log } = writer;
  const title = `${file.log} ${file.month}`;
  const erased = new Map(accounts.map(({ id }) => [id, 0]));
  let name: string;
  await client.query("begin");
  try {
    // Compressing and reading back a file send no statement.
    await client.query("set local idle_in_transaction_session_timeout = 0");
    name = await replaceFile(writer, file, accounts, erased);
    await client.query("commit");
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw error;
  }
  log(`${title}: registered ${name}`);
  deleteArchiveFile(directory, file.file_name);
  const rows = [...erased.values()].reduce((sum, count) => sum + count, 0);
  log(`${title}: erased ${rows} rows of deleted accounts`);
  return rows;
}

/** Returns the name of the new file. */
async function replaceFile(
  writer: ArchiveWriter,
  file: RegisteredFile,
  accounts: readonly Erased[],
  erased: Map<string, number>,
): Promise<string> {
  const { client, directory, keys, log } = writer;
  const manifest = readManifest(directory, file.file_name);
  const name = nextName(file, keys.length > 0);
  const place = { directory, name, keys };
  const summary = await writeArchive(place, cleanedLines(writer, file, accounts, erased)).catch((error) => {
    throw explainUnwritable(error, {
      code: "ARCHIVES_NOT_WRITABLE",
      title: "The folder of archives",
      folder: directory,
      hint: "Free space, or set PLINTH_ARCHIVES to another folder. The next run continues.",
    });
  });
  writeManifest(directory, name, {
    ...manifest,
    ...summary,
    encryption: keys.length > 0 ? "aes-256-gcm" : null,
    writtenAt: new Date().toISOString(),
  });
  log(`${file.log} ${file.month}: wrote ${summary.rows} rows to ${name}`);
  const found = await examineArchive(place);
  if (found.sha256 !== summary.sha256 || found.contentSha256 !== summary.contentSha256)
    throw new PlinthError(
      "ARCHIVE_DAMAGED",
      `${join(directory, name)} was not read back as it was written.`,
      {
        hint: "Check the disk. The former file is unchanged; the next run writes it again.",
      },
    );
  await client.query("select private.replace_archive_file($1, $2, $3, $4, $5, $6, $7, $8, $9)", [
    file.archive_id,
    file.sha256,
    name,
    summary.bytes,
    summary.sha256,
    summary.rows,
    keys.length > 0,
    [...erased.keys()],
    [...erased.values()],
  ]);
  return name;
}

/** `….ndjson.gz`, `….2.ndjson.gz`, `….3.ndjson.gz` */
function nextName({ log, month, archive_id, file_name }: RegisteredFile, isSealed: boolean): string {
  const stem = `${log}-${month}-${archive_id}`;
  const number = Number(/^\.(\d+)\./.exec(file_name.slice(stem.length))?.[1] ?? 1) + 1;
  return `${stem}.${number}.ndjson.gz${isSealed ? ".sealed" : ""}`;
}

async function* cleanedLines(
  writer: ArchiveWriter,
  file: RegisteredFile,
  accounts: readonly Erased[],
  erased: Map<string, number>,
): AsyncGenerator<string> {
  let waiting: string[] = [];
  let done = 0;
  for await (const line of readArchive(placeOf(writer, file))) {
    waiting.push(line);
    if (waiting.length < LINES_PER_STATEMENT) continue;
    stopIfAborted(writer);
    yield* await cleaned(writer, file.log, waiting, accounts, erased);
    done += waiting.length;
    writer.log(`${file.log} ${file.month}: rewrote ${done} rows`);
    waiting = [];
  }
  yield* await cleaned(writer, file.log, waiting, accounts, erased);
}

async function cleaned(
  { client }: ArchiveWriter,
  log: string,
  lines: readonly string[],
  accounts: readonly Erased[],
  erased: Map<string, number>,
): Promise<string[]> {
  let result: (string | null)[] = [...lines];
  for (const account of accounts) {
    const places = result.flatMap((line, index) =>
      line !== null && isOf(log, line, account) ? [index] : [],
    );
    if (places.length === 0) continue;
    const { rows } = await client.query<{ line: string | null }>(
      "select line from private.erase_archived_lines($1, $2, $3) line",
      [log, places.map((place) => result[place]), places.map(() => account.id)],
    );
    const next = [...result];
    rows.forEach(({ line }, index) => {
      next[places[index]!] = line;
    });
    result = next;
    erased.set(account.id, erased.get(account.id)! + rows.length);
  }
  return result.filter((line) => line !== null);
}
