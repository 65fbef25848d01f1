import { randomBytes } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";

/** Returns the code of a system error, such as "ENOENT"; undefined for other errors. */
export function errno(error: unknown): string | undefined {
  // Not `instanceof Error`, because in test runners system errors may come from another realm.
  const code = (error as NodeJS.ErrnoException | null | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

/** Runs `action`. Returns undefined if its file does not exist; throws other errors. */
export function unlessMissing<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (errno(error) === "ENOENT" || errno(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

export function isDirectory(path: string): boolean {
  return unlessMissing(() => statSync(path))?.isDirectory() ?? false;
}

/**
 * Creates a folder and its parents, accessible by their owner only. Existing folders are not changed. Does not use mkdirSync's
 * `recursive`, which reports "not found" on a read-only disk.
 */
export function makeFolder(path: string): void {
  if (isDirectory(path)) return;
  if (dirname(path) !== path) makeFolder(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another process created it at the same moment.
    if (errno(error) !== "EEXIST" || !isDirectory(path)) throw error;
  }
}

/** Returns the names in a folder; undefined if it does not exist. */
export function namesIn(folder: string): string[] | undefined {
  return unlessMissing(() => readdirSync(folder));
}

/** Makes renames and new names in a folder durable. */
export function syncFolder(folder: string): void {
  const handle = openSync(folder, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** Gives a file that root created in another user's folder to that user. */
export function giveToOwnerOf(folder: string, path: string): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(folder);
  lchownSync(path, uid, gid);
}

/**
 * Writes a whole file atomically, readable by its owner only: readers see the old or the new content, never a part, even after a
 * crash. With `onlyIfMissing`, only one of several processes succeeds.
 * @returns false if the file already existed; it is then unchanged.
 */
export function writeWhole(
  path: string,
  content: string,
  options: { onlyIfMissing?: boolean } = {},
): boolean {
  const temporary = `${path}.${process.pid}-${randomBytes(6).toString("hex")}`;
  try {
    writeFileSync(temporary, content, { mode: 0o600, flag: "wx", flush: true });
    giveToOwnerOf(dirname(path), temporary);
    if (options.onlyIfMissing) linkSync(temporary, path);
    else renameSync(temporary, path);
  } catch (error) {
    if (options.onlyIfMissing && errno(error) === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
  syncFolder(dirname(path));
  return true;
}
