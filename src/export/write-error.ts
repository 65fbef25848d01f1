import { dirname } from "node:path";
import { PlinthError } from "../support/errors.ts";

/**
 * Explains an error of writing a file.
 * @returns PlinthError FILE_NOT_WRITABLE, DISK_FULL
 */
export function writeError(path: string, cause: unknown): PlinthError {
  const folder = dirname(path);
  const { code } = cause as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT")
    return new PlinthError("DISK_FULL", `The disk that holds ${folder} is full.`, {
      hint: "Free some space, or write to another disk.",
      cause,
    });
  const sentences: Record<string, string> = {
    EROFS: `The disk that holds ${folder} is read-only.`,
    EACCES: `This user may not write ${path}.`,
    EPERM: `This user may not write ${path}.`,
    ENOENT: `The folder ${folder} does not exist or is not writable.`,
    ENOTDIR: `${folder} is not a folder.`,
    EEXIST: `${path} is not a folder.`,
    EISDIR: `${path} is a folder, but must be a file.`,
  };
  const message =
    sentences[code ?? ""] ?? `${path} cannot be written: ${cause instanceof Error ? cause.message : cause}`;
  return new PlinthError("FILE_NOT_WRITABLE", message, { hint: "Choose another path.", cause });
}
