import { PlinthError } from "../support/errors.ts";

/** Words a failure to open or read a file. */
export function notReadable(path: string, cause: unknown, expected: "file" | "folder"): PlinthError {
  const code = (cause as NodeJS.ErrnoException | null)?.code ?? "";
  const reasons: Record<string, [string, string]> = {
    ENOENT: ["FILE_NOT_FOUND", `There is no ${expected} ${path}.`],
    EISDIR: ["FILE_IS_FOLDER", `${path} is a folder, but must be a file.`],
    ENOTDIR: ["FOLDER_IS_FILE", `${path} is a file, but must be a folder.`],
    EACCES: ["FILE_NOT_READABLE", `${path} may not be read by this user.`],
    EPERM: ["FILE_NOT_READABLE", `${path} may not be read by this user.`],
  };
  const [name, message] = reasons[code] ?? [
    "FILE_NOT_READABLE",
    `${path} cannot be read: ${cause instanceof Error ? cause.message : cause}`,
  ];
  return new PlinthError(name, message, { cause });
}

export function notText(path: string): PlinthError {
  return new PlinthError("FILE_NOT_TEXT", `${path} is not UTF-8 text.`, {
    hint: "Save it as UTF-8, and check that it is the file you meant.",
  });
}

/** Whether a strict TextDecoder threw this. By code: the error may come from another realm than this TypeError. */
export function isNotUtf8(error: unknown): boolean {
  return (error as NodeJS.ErrnoException | null)?.code === "ERR_ENCODING_INVALID_ENCODED_DATA";
}
