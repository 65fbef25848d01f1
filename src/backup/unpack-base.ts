import { createHash } from "node:crypto";
import { chmodSync, chownSync, closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import type { RunAs } from "../database/embedded/programs.ts";
import type { Keys } from "../wal/packed.ts";
import { damaged, explainDamage } from "./damage.ts";
import { unpack } from "./packed-stream.ts";
import { type Backup, baseFolder } from "./records.ts";
import { readTar, type TarEntry } from "./tar.ts";

interface Manifest {
  readonly Files: readonly {
    readonly Path?: string;
    /** Hexadecimal, for a name that is not UTF-8. */
    readonly "Encoded-Path"?: string;
    readonly Size: number;
    readonly Checksum: string;
  }[];
}

export interface UnpackOptions {
  /** Folder of all backups. */
  readonly folder: string;
  readonly backup: Backup;
  readonly keys: Keys;
  /** An existing, empty folder. */
  readonly into: string;
  readonly runAs: RunAs | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

/**
 * Writes the files of a base backup and compares each with the manifest. The recovery syncs them to disk.
 * @throws PlinthError BACKUP_DAMAGED naming the file, BACKUP_KEY_WRONG
 */
export async function unpackBase(options: UnpackOptions): Promise<void> {
  const { folder, backup, keys, into, runAs, signal, onProgress } = options;
  const source = baseFolder(folder, backup.id);
  const archive = join(source, "base.tar");
  const expected = await readManifest(source, keys, backup.isEncrypted);
  const total = [...expected.values()].reduce((sum, { Size }) => sum + Size, 0);
  let done = 0;
  try {
    for await (const entry of readTar(unpack(source, "base.tar", keys, backup.isEncrypted))) {
      signal.throwIfAborted();
      const path = safePath(into, entry.path, archive);
      if (entry.kind === "folder") {
        mkdirSync(path, { recursive: true, mode: 0o700 });
        own(path, runAs);
        continue;
      }
      if (entry.kind === "link") throw damaged(archive, `has a link (${entry.path})`);
      const checksum = await writeEntry(entry, path, runAs);
      const wanted = expected.get(entry.path);
      // pg_control is sent last and is not in the manifest of some versions; the other files are.
      if (wanted && wanted.Checksum !== checksum)
        throw damaged(archive, `has a file that differs from its checksum (${entry.path})`);
      expected.delete(entry.path);
      done += entry.bytes;
      onProgress(done, total);
    }
  } catch (error) {
    throw explainDamage(error, archive);
  }
  const [missing] = expected.keys();
  if (missing) throw damaged(archive, `lacks a file (${missing})`);
  chmodSync(into, 0o700);
}

async function readManifest(
  source: string,
  keys: Keys,
  isSealed: boolean,
): Promise<Map<string, Manifest["Files"][number]>> {
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of unpack(source, "backup_manifest", keys, isSealed)) chunks.push(chunk);
    const { Files } = JSON.parse(Buffer.concat(chunks).toString("utf8")) as Manifest;
    return new Map(
      Files.map((file) => [file.Path ?? Buffer.from(file["Encoded-Path"]!, "hex").toString("utf8"), file]),
    );
  } catch (error) {
    if (error instanceof SyntaxError) throw damaged(join(source, "backup_manifest"), "is damaged");
    throw explainDamage(error, join(source, "backup_manifest"));
  }
}

async function writeEntry(entry: TarEntry, path: string, runAs: RunAs | undefined): Promise<string> {
  const hash = createHash("sha256");
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const handle = openSync(path, "wx", 0o600);
  try {
    for await (const part of entry.content()) {
      hash.update(part);
      writeSync(handle, part);
    }
  } finally {
    closeSync(handle);
  }
  own(path, runAs);
  return hash.digest("hex");
}

function own(path: string, runAs: RunAs | undefined): void {
  if (runAs) chownSync(path, runAs.uid, runAs.gid);
}

/** Backups that are not encrypted could have been changed to contain a name that leads elsewhere. */
function safePath(into: string, path: string, archive: string): string {
  const clean = normalize(path);
  if (clean.startsWith("..") || clean.startsWith("/")) throw damaged(archive, `has a file outside (${path})`);
  return join(into, clean);
}
