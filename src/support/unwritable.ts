import { PlinthError } from "./errors.ts";
import { errno } from "./files.ts";

const REASONS: Readonly<Record<string, string>> = {
  EACCES: "is not writable by this user",
  EDQUOT: "is on a full disk",
  EEXIST: "is not a folder",
  ENOENT: "cannot be created",
  ENOSPC: "is on a full disk",
  ENOTDIR: "is not a folder",
  EPERM: "is not writable by this user",
  EROFS: "is on a read-only disk",
};

/**
 * Turns an error of the file system into a message that the user can act on. Returns other errors unchanged.
 * @param title beginning of the sentence, such as "The folder of backups"
 */
export function explainUnwritable(
  error: unknown,
  { code, title, folder, hint }: { code: string; title: string; folder: string; hint: string },
): unknown {
  const reason = REASONS[errno(error) ?? ""];
  if (error instanceof PlinthError || reason === undefined) return error;
  return new PlinthError(code, `${title} ${folder} ${reason}.`, { hint, cause: error });
}
