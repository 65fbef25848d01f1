import { closeSync, copyFileSync, fstatSync, ftruncateSync, openSync, readSync } from "node:fs";
import { dirname } from "node:path";
import { giveToOwnerOf } from "../../support/files.ts";

/** Maximum size of the log file and of the one older file beside it. */
const MAX_BYTES = 10 * 1024 * 1024;
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

/** Opens (or creates) the log for appending and limits its size until it is closed. */
export function openServerLog(path: string): ServerLog {
  const handle = openSync(path, "a+", 0o600);
  giveToOwnerOf(dirname(path), path);
  bound();
  let start = fstatSync(handle).size;
  const timer = setInterval(bound, CHECK_MS);
  timer.unref();

  // PostgreSQL holds the file open, so it is copied and truncated instead of renamed; appending then continues at the new end.
  function bound(): void {
    try {
      if (fstatSync(handle).size <= MAX_BYTES) return;
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
