import { PlinthError } from "../errors.ts";

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such folder",
  ENOTDIR: "there is no such folder",
  EISDIR: "it is a folder",
  EEXIST: "there is a file of that name",
  EACCES: "this user may not write there",
  EPERM: "this user may not write there",
  EROFS: "the disk is read-only",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk is full",
};

/** Words a failure to make or write a file. */
export function notWritable(path: string, cause: unknown): PlinthError {
  const reason =
    REASONS[(cause as NodeJS.ErrnoException | null)?.code ?? ""] ??
    (cause instanceof Error ? cause.message : String(cause));
  return new PlinthError("FILE_NOT_WRITABLE", `${path} cannot be written: ${reason}.`, { cause });
}
