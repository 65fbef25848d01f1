import type { ArchiveFile } from "./archive-file.ts";
import { requireKeys } from "./require-keys.ts";
import type { ArchiveWriter } from "./write-open-archives.ts";

/** A file as the database registered it. */
export interface RegisteredFile {
  readonly archive_id: string;
  readonly log: string;
  readonly month: string;
  readonly file_name: string;
  readonly is_encrypted: boolean;
  readonly sha256: string;
}

export const placeOf = (
  { directory, keys }: ArchiveWriter,
  { file_name, is_encrypted }: RegisteredFile,
): ArchiveFile => ({
  directory,
  name: file_name,
  keys: is_encrypted ? requireKeys(keys) : [],
});
