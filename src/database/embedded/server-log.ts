import {
  closeSync,
  copyFileSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { giveToOwnerOf, namesIn, unlessMissing } from "../../support/files.ts";

/** Name of the log file in the data folder. */
export const SERVER_LOG = "postgres.log";

/** Maximum size of the log file and of each older file beside it. */
const MAX_BYTES = 10 * 1024 * 1024;
/** Number of older files. The newest is `.1`. */
const MAX_OLDER = 10;
/** Age of the first line at which a small file is rotated too, so that old lines can be deleted. */
const MAX_AGE_MS = 7 * 86_400_000;
const CHECK_MS = 60_000;
/** Size of the end of the log that is read to explain a failure. */
const TAIL_BYTES = 64 * 1024;

/** PostgreSQL prints to a file, not to a pipe, so that it can continue to print after Node was killed. */
export interface ServerLog {
  readonly handle: number;
  /** Returns the output since the log was opened, or the end of it. */
  text(): string;
  close(): void;
}

/** Opens (or creates) the log for appending, and rotates it until it is closed. */
export function openServerLog(path: string): ServerLog {
  const handle = openSync(path, "a+", 0o600);
  giveToOwnerOf(dirname(path), path);
  rotate();
  let start = fstatSync(handle).size;
  const timer = setInterval(rotate, CHECK_MS);
  timer.unref();

  // PostgreSQL holds the file open, so it is copied and truncated instead of renamed; appending then continues at the new end.
  function rotate(): void {
    try {
      if (!isFull(handle)) return;
      for (let number = MAX_OLDER - 1; number > 0; number -= 1)
        unlessMissing(() => renameSync(`${path}.${number}`, `${path}.${number + 1}`));
      copyFileSync(path, `${path}.1`);
      giveToOwnerOf(dirname(path), `${path}.1`);
      ftruncateSync(handle);
      start = 0;
    } catch {
      // The disk has no room for the copy. The database is more important than the log.
    }
  }

  return {
    handle,
    text() {
      const size = fstatSync(handle).size;
      const from = Math.max(start > size ? 0 : start, size - TAIL_BYTES);
      const buffer = Buffer.alloc(size - from);
      return buffer.toString("utf8", 0, readSync(handle, buffer, 0, buffer.length, from));
    },
    close() {
      clearInterval(timer);
      closeSync(handle);
    },
  };
}

/**
 * Deletes the older log files whose last line is from before `since`.
 * @returns their number
 */
export function deleteOldServerLogs(path: string, since: Date): number {
  const isOlder = (name: string) => name.startsWith(`${basename(path)}.`) && /\.\d+$/.test(name);
  const old = (namesIn(dirname(path)) ?? [])
    .filter(isOlder)
    .map((name) => join(dirname(path), name))
    .filter((file) => (unlessMissing(() => statSync(file))?.mtime ?? since) < since);
  for (const file of old) rmSync(file, { force: true });
  return old.length;
}

function isFull(handle: number): boolean {
  if (fstatSync(handle).size > MAX_BYTES) return true;
  const start = Buffer.alloc(64);
  const length = readSync(handle, start, 0, start.length, 0);
  // PostgreSQL begins each line with the time, such as 2026-11-30 02:17:00.123 UTC.
  const time = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/.exec(start.toString("latin1", 0, length))?.[0];
  return time !== undefined && Date.now() - Date.parse(`${time.replace(" ", "T")}Z`) > MAX_AGE_MS;
}
