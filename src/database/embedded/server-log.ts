import { closeSync, copyFileSync, fstatSync, ftruncateSync, openSync, readSync } from "node:fs";
import { dirname } from "node:path";
import { giveToOwnerOf } from "../../support/files.ts";

/** The file keeps at most this much, and one older file beside it as much again. */
const MAX_BYTES = 10 * 1024 * 1024;
const CHECK_MS = 60_000;
/** What is read back to explain a failure. */
const TAIL_BYTES = 64 * 1024;

/** What PostgreSQL prints goes into a file, not a pipe: it must be able to go on printing when Node was killed. */
export interface ServerLog {
  readonly handle: number;
  /** Everything printed since the log was opened, or its end. */
  text(): string;
  close(): void;
}

/** Opens (or makes) the log for appending and keeps it bounded until it is closed. */
export function openServerLog(path: string): ServerLog {
  const handle = openSync(path, "a+", 0o600);
  giveToOwnerOf(dirname(path), path);
  bound();
  let start = fstatSync(handle).size;
  const timer = setInterval(bound, CHECK_MS);
  timer.unref();

  // PostgreSQL holds the file open, so it is copied and emptied rather than renamed; appending starts at the end anew.
  function bound(): void {
    try {
      if (fstatSync(handle).size <= MAX_BYTES) return;
      copyFileSync(path, `${path}.1`);
      giveToOwnerOf(dirname(path), `${path}.1`);
      ftruncateSync(handle);
      start = 0;
    } catch {
      // No room to keep the old part: better no log than no database.
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
