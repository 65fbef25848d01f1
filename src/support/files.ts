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

/** The name that an error of the system carries, such as "ENOENT"; undefined for anything else. */
export function errno(error: unknown): string | undefined {
  // Not `instanceof Error`: the system's errors may come from another realm than ours (in test runners).
  const code = (error as NodeJS.ErrnoException | null | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

/** Runs `action`; undefined if what it looks for is not there. Every other failure is thrown. */
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
 * Makes a folder and those above it, for its owner only; one that exists is left as it is. Not mkdirSync's `recursive`,
 * which reports "not found" for a read-only disk.
 */
export function makeFolder(path: string): void {
  if (isDirectory(path)) return;
  if (dirname(path) !== path) makeFolder(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Made by another process in this moment.
    if (errno(error) !== "EEXIST" || !isDirectory(path)) throw error;
  }
}

/** The names in a folder; undefined if there is no such folder. */
export function namesIn(folder: string): string[] | undefined {
  return unlessMissing(() => readdirSync(folder));
}

/** Makes renames and new names in a folder survive a power cut. */
export function syncFolder(folder: string): void {
  const handle = openSync(folder, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** What root makes in another user's folder must stay usable by that user. */
export function giveToOwnerOf(folder: string, path: string): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(folder);
  lchownSync(path, uid, gid);
}

/**
 * Puts a whole file in place at once, readable by its owner only: readers see the old content or the new, never a part,
 * also after a crash at any moment. With `onlyIfMissing`, of several processes one wins.
 * @returns false if the file was there already and was left alone.
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
