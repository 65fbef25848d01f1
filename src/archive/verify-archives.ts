import { PlinthError } from "../support/errors.ts";
import type { OnProgress } from "../support/progress.ts";
import { examineArchive } from "./archive-file.ts";
import { readManifest } from "./manifest.ts";
import type { RegisteredArchive } from "./registered-archives.ts";
import { requireKeys } from "./require-keys.ts";

export interface VerifiedArchive extends RegisteredArchive {
  /** Null if the file is as it was registered, otherwise the fault. */
  readonly fault: string | null;
}

/** Reads each file and compares it with its manifest and with the register. */
export async function verifyArchives(
  archives: readonly RegisteredArchive[],
  {
    directory,
    keys,
    log,
    onProgress,
  }: {
    directory: string;
    keys: readonly Buffer[];
    log: (line: string) => void;
    onProgress?: OnProgress | undefined;
  },
): Promise<VerifiedArchive[]> {
  const verified: VerifiedArchive[] = [];
  for (const [index, archive] of archives.entries()) {
    onProgress?.({ step: "Verifying", done: index, total: archives.length, unit: "archives" });
    if (archive.state !== "archived" && archive.state !== "attached") continue;
    const fault = await faultOf(archive, directory, keys);
    verified.push({ ...archive, fault });
    log(`${archive.log} ${archive.month}: ${fault ?? "ok"}`);
  }
  return verified;
}

async function faultOf(
  archive: RegisteredArchive,
  directory: string,
  keys: readonly Buffer[],
): Promise<string | null> {
  const name = archive.fileName!;
  try {
    const manifest = readManifest(directory, name);
    const found = await examineArchive({
      directory,
      name,
      keys: archive.isEncrypted ? requireKeys(keys) : [],
    });
    if (found.sha256 !== archive.sha256) return "The file's checksum is not the registered one.";
    if (manifest.sha256 !== archive.sha256) return "The manifest's checksum is not the registered one.";
    if (found.rows !== archive.rows || found.contentSha256 !== manifest.contentSha256)
      return "The rows are not the registered ones.";
    return null;
  } catch (error) {
    if (error instanceof PlinthError) return `${error.message} ${error.hint ?? ""}`.trim();
    throw error;
  }
}
