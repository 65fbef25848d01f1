import { createHash } from "node:crypto";
import { join } from "node:path";
import { PlinthError } from "../support/errors.ts";
import { namesIn } from "../support/files.ts";
import { explainUnwritable } from "../support/unwritable.ts";
import { examineArchive, readArchive, writeArchive } from "./archive-file.ts";
import { withArchiveLock } from "./archive-lock.ts";
import { deleteArchiveFile, readManifest, writeManifest } from "./manifest.ts";
import { requireKeys } from "./require-keys.ts";
import { type ArchiveWriter, writeOpenArchives } from "./write-open-archives.ts";

export interface ArchiveErasures {
  /** Accounts whose rows are in no archive any more. */
  readonly accounts: number;
  readonly rows: number;
  readonly files: number;
}

interface Erased {
  readonly id: string;
  readonly marks: ReadonlySet<string>;
  /** Marks of the audit log's entries about sign-ins by a name, found in the archives of sign-ins. */
  readonly attempts: Set<string>;
}

interface ArchivedFile {
  readonly archive_id: string;
  readonly log: string;
  readonly month: string;
  readonly file_name: string;
  readonly is_encrypted: boolean;
  readonly sha256: string;
}

type Entry = Readonly<Record<string, unknown>>;

const LINES_PER_STATEMENT = 500;
const SIGN_INS = "security.login_attempts";
const EVENTS = "security.security_audit_log";

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
    const { rows: files } = await client.query<ArchivedFile>(
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
function deleteLeftovers(directory: string, { log, month, archive_id, file_name }: ArchivedFile): void {
  const ours = `${log}-${month}-${archive_id}`;
  for (const name of namesIn(directory) ?? [])
    if (name.startsWith(ours) && !name.startsWith(file_name)) deleteArchiveFile(directory, name);
}

const placeOf = ({ directory, keys }: ArchiveWriter, { file_name, is_encrypted }: ArchivedFile) => ({
  directory,
  name: file_name,
  keys: is_encrypted ? requireKeys(keys) : [],
});

/** Attempts in archives also tell which events in the database belong to them. */
async function noteAttempts(
  writer: ArchiveWriter,
  file: ArchivedFile,
  accounts: readonly Erased[],
): Promise<void> {
  const found = new Map(accounts.map((account) => [account, [] as Entry[]]));
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

/**
 * A single transaction: rewritten rows of the audit logs get new commitments, which must appear together with the registered file, see
 * private.commit_archived_erasure. It locks nothing that other work waits for.
 * @returns the number of rows that changed or went
 */
async function eraseFile(
  writer: ArchiveWriter,
  file: ArchivedFile,
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
  file: ArchivedFile,
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
      `${join(directory, name)} reads back differently than written.`,
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
function nextName({ log, month, archive_id, file_name }: ArchivedFile, isSealed: boolean): string {
  const stem = `${log}-${month}-${archive_id}`;
  const number = Number(/^\.(\d+)\./.exec(file_name.slice(stem.length))?.[1] ?? 1) + 1;
  return `${stem}.${number}.ndjson.gz${isSealed ? ".sealed" : ""}`;
}

async function hasRowsOf(
  writer: ArchiveWriter,
  file: ArchivedFile,
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

async function* cleanedLines(
  writer: ArchiveWriter,
  file: ArchivedFile,
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

/** By the id anywhere in the row, or by a mark. */
function isOf(log: string, line: string, account: Erased): boolean {
  if (line.includes(account.id)) return true;
  if (log === SIGN_INS) return isByName(line, account);
  if (log !== EVENTS || account.marks.size + account.attempts.size === 0) return false;
  if (!line.includes('"login_failed"')) return false;
  const { event_type, user_id, actor_id, created_at, ip_address, user_agent }: Entry = JSON.parse(line);
  if (event_type !== "login_failed" || user_id !== null || actor_id !== null) return false;
  // Cleaned already, if nothing is left of the person.
  if (ip_address === null && user_agent === null) return false;
  const mark = markOf(account, `${created_at} ${ip_address}`);
  return account.marks.has(mark) || account.attempts.has(mark);
}

function isByName(line: string, account: Erased): boolean {
  if (account.marks.size === 0) return false;
  const { user_id, email }: Entry = JSON.parse(line);
  return user_id === null && typeof email === "string" && account.marks.has(markOf(account, email));
}

/** As private.archive_marks makes them. */
function markOf({ id }: Erased, text: string): string {
  return createHash("sha256")
    .update(id + text)
    .digest("hex");
}

function stopIfAborted({ signal }: ArchiveWriter): void {
  if (signal.aborted)
    throw new PlinthError("INTERRUPTED", "Stopped; the next run continues.", { exitCode: 130 });
}
