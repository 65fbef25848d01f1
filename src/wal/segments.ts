import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { ENCRYPTED, findPacked, type Keys, packedEnding, packWhole, unpackWhole } from "./packed.ts";
import { SealedFileError } from "./sealed.ts";

const SEGMENT = /^[0-9A-F]{24}$/;

/** The name of an archived file that its encryption is bound to. */
export function sealedName(name: string): string {
  return `wal/${name}`;
}

/**
 * Archives one file. It gets its name only when it is whole and on disk. PostgreSQL repeats the call after a crash, so the same
 * content again is a success; other content under the same name would be another server's.
 * @throws Error if the archive has other content under this name
 */
export async function archiveFile(folder: string, path: string, name: string, keys: Keys): Promise<void> {
  const content = readFileSync(path);
  const archived = findPacked(folder, name);
  if (archived) {
    if (content.equals(await unpackWhole(archived, keys, sealedName(name)))) return;
    throw new Error(`${archived} exists with other content. Does another server archive to this folder?`);
  }
  const target = join(folder, name + packedEnding(keys));
  const unfinished = `${target}.part`;
  writeFileSync(unfinished, await packWhole(content, keys, sealedName(name)), { mode: 0o600, flush: true });
  // The time of a timeline's history is that of the restore which began it, however late it is archived.
  const { atime, mtime } = statSync(path);
  utimesSync(unfinished, atime, mtime);
  renameSync(unfinished, target);
  syncFolder(folder);
}

/**
 * Copies one file from the archive to `path`.
 * @param isSealed whether segments must be encrypted; histories may be older than the key
 * @returns false if the archive does not have it
 * @throws SealedFileError naming the file
 */
export async function fetchFile(
  folder: string,
  name: string,
  path: string,
  keys: Keys,
  isSealed = false,
): Promise<boolean> {
  const archived = findPacked(folder, name);
  if (!archived) return false;
  if (isSealed && SEGMENT.test(name) && !archived.endsWith(ENCRYPTED))
    throw new SealedFileError("is not encrypted, but its backup is: anyone could have written it");
  writeFileSync(path, await unpackWhole(archived, keys, sealedName(name)), { mode: 0o600 });
  return true;
}

/** @throws the system's error if this process cannot write to the folder */
export function checkWritable(folder: string): void {
  const path = join(folder, `check-${process.pid}`);
  writeFileSync(path, "", { mode: 0o600 });
  rmSync(path);
}

function syncFolder(folder: string): void {
  const handle = openSync(folder, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
