import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { PlinthError } from "../support/errors.ts";
import { syncFolder, writeWhole } from "../support/files.ts";
import type { FileSummary } from "./archive-file.ts";

export interface Column {
  readonly name: string;
  /** As PostgreSQL writes it. */
  readonly type: string;
}

/** Describes a file to its reader, without the database that it came from. */
export interface Manifest extends FileSummary {
  readonly format: "ndjson.gz";
  readonly encryption: "aes-256-gcm" | null;
  readonly archiveId: string;
  readonly log: string;
  /** Such as 2024-02. */
  readonly month: string;
  readonly columns: readonly Column[];
  /** The latest migration, which tells the meaning of the columns. */
  readonly migration: string;
  readonly writtenAt: string;
}

const pathOf = (directory: string, fileName: string): string => join(directory, `${fileName}.manifest.json`);

export function writeManifest(directory: string, fileName: string, manifest: Manifest): void {
  writeWhole(pathOf(directory, fileName), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** Deletes an archive's file, if there is one, and its manifest. */
export function deleteArchiveFile(directory: string, fileName: string): void {
  for (const path of [join(directory, fileName), pathOf(directory, fileName)]) rmSync(path, { force: true });
  syncFolder(directory);
}

/** @throws PlinthError ARCHIVE_MISSING */
export function readManifest(directory: string, fileName: string): Manifest {
  const path = pathOf(directory, fileName);
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new PlinthError("ARCHIVE_MISSING", `${path} cannot be read.`, {
      hint: "Copy the manifest there together with the archive's file.",
      cause,
    });
  }
}
