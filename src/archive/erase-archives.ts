import { namesIn } from "../support/files.ts";
import { readArchive } from "./archive-file.ts";
import { withArchiveLock } from "./archive-lock.ts";
import { deleteArchiveFile } from "./manifest.ts";
import { placeOf, type RegisteredFile } from "./registered-file.ts";
import { eraseFile } from "./rewrite-archive.ts";
import { type Erased, isByName, isOf, markOf, SIGN_INS } from "./rows-of-accounts.ts";
import { stopIfAborted } from "./stop-if-aborted.ts";
import { type ArchiveWriter, writeOpenArchives } from "./write-open-archives.ts";

export interface ArchiveErasures {
  /** Accounts whose rows are in no archive any more. */
  readonly accounts: number;
  readonly rows: number;
  readonly files: number;
}

/**
 * Rewrites each archive that has rows of deleted accounts, by the rule that also clears rows in the database
 * (private.without_account). The new file gets a new name: it is complete and registered before the old one is deleted. A killed
 * run leaves the registered file valid, and the next run starts again; files that are clean are only read.
 * @throws PlinthError ARCHIVES_IN_USE, ARCHIVE_MISSING, ARCHIVE_DAMAGED, BACKUP_KEY_MISSING, ARCHIVES_NOT_WRITABLE, INTERRUPTED
 */
export async function eraseArchives(writer: ArchiveWriter): Promise<ArchiveErasures> {
  const { client, directory } = writer;
  return withArchiveLock(client, async () => {
    const { rows: pending } = await client.query<{ user_id: string; marks: string[] }>(
      "select user_id, marks from private.pending_archive_erasures()",
    );
    if (pending.length === 0) return { accounts: 0, rows: 0, files: 0 };
    const accounts = pending.map(({ user_id, marks }) => ({
      id: user_id,
      marks: new Set(marks),
      attempts: new Set<string>(),
    }));
    // A month between its log and its file is written first, so that files are all there is.
    await writeOpenArchives(writer);
    const { rows: files } = await client.query<RegisteredFile>(
      "select archive_id, log, to_char(month, 'YYYY-MM') as month, file_name, is_encrypted, sha256 from private.archives_with_files()",
    );
    for (const file of files) deleteLeftovers(directory, file);
    for (const file of files) if (file.log === SIGN_INS) await noteAttempts(writer, file, accounts);
    const done = { accounts: accounts.length, rows: 0, files: 0 };
    // Sign-ins last: after a crash, they must still tell which events belong to them.
    const ordered = files.toSorted((a, b) => Number(a.log === SIGN_INS) - Number(b.log === SIGN_INS));
    for (const [index, file] of ordered.entries()) {
      writer.onProgress?.({ step: "Erasing from archives", done: index, total: files.length, unit: "files" });
      if (!(await hasRowsOf(writer, file, accounts))) continue;
      const rows = await eraseFile(writer, file, accounts);
      if (rows > 0) done.files += 1;
      done.rows += rows;
    }
    for (const { id } of accounts) await client.query("select private.finish_archive_erasure($1)", [id]);
    return done;
  });
}

/** A killed run may leave the old file, which has the rows, or a new one that was not registered. */
function deleteLeftovers(directory: string, { log, month, archive_id, file_name }: RegisteredFile): void {
  const ours = `${log}-${month}-${archive_id}`;
  for (const name of namesIn(directory) ?? [])
    if (name.startsWith(ours) && !name.startsWith(file_name)) deleteArchiveFile(directory, name);
}

/** Attempts in archives also tell which events in the database belong to them. */
async function noteAttempts(
  writer: ArchiveWriter,
  file: RegisteredFile,
  accounts: readonly Erased[],
): Promise<void> {
  const found = new Map(accounts.map((account) => [account, [] as Readonly<Record<string, unknown>>[]]));
  for await (const line of readArchive(placeOf(writer, file))) {
    stopIfAborted(writer);
    for (const [account, attempts] of found) if (isByName(line, account)) attempts.push(JSON.parse(line));
  }
  for (const [account, attempts] of found) {
    if (attempts.length === 0) continue;
    for (const { created_at, ip_address } of attempts)
      account.attempts.add(markOf(account, `${created_at} ${ip_address}`));
    await writer.client.query("select private.erase_failed_sign_ins($1, $2, $3)", [
      account.id,
      attempts.map(({ created_at }) => created_at),
      attempts.map(({ ip_address }) => ip_address),
    ]);
  }
}

async function hasRowsOf(
  writer: ArchiveWriter,
  file: RegisteredFile,
  accounts: readonly Erased[],
): Promise<boolean> {
  let found = false;
  // To the end, so that a damaged file is noticed before it is replaced.
  for await (const line of readArchive(placeOf(writer, file))) {
    stopIfAborted(writer);
    found ||= accounts.some((account) => isOf(file.log, line, account));
  }
  return found;
}
