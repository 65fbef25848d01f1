import { PlinthError } from "../../support/errors.ts";

/** Returns the error for a file that cannot be opened or read. */
export function notReadable(path: string, cause: unknown, expected: "file" | "folder"): PlinthError {
  const code = (cause as NodeJS.ErrnoException | null)?.code ?? "";
  const reasons: Record<string, [string, string]> = {
    ENOENT: ["FILE_NOT_FOUND", `The ${expected} ${path} does not exist.`],
    EISDIR: ["FILE_IS_FOLDER", `${path} is a folder, but must be a file.`],
    ENOTDIR: ["FOLDER_IS_FILE", `${path} is a file, but must be a folder.`],
    EACCES: ["FILE_NOT_READABLE", `This user may not read ${path}.`],
    EPERM: ["FILE_NOT_READABLE", `This user may not read ${path}.`],
  };
  const [name, message] = reasons[code] ?? [
    "FILE_NOT_READABLE",
    `${path} cannot be read: ${cause instanceof Error ? cause.message : cause}`,
  ];
  return new PlinthError(name, message, { cause });
}

export function notText(path: string): PlinthError {
  return new PlinthError("FILE_NOT_TEXT", `${path} is not UTF-8 text.`, {
    hint: "Check that it is the right file, and save it as UTF-8.",
  });
}

/** Whether a strict TextDecoder threw this. Compares the code, because the error may come from another realm. */
export function isNotUtf8(error: unknown): boolean {
  return (error as NodeJS.ErrnoException | null)?.code === "ERR_ENCODING_INVALID_ENCODED_DATA";
}
