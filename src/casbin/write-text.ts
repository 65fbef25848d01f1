import { writeFile } from "node:fs/promises";
import { writeError } from "../export/write-error.ts";

/** @throws PlinthError FILE_NOT_WRITABLE, DISK_FULL */
export async function writeText(path: string, text: string): Promise<void> {
  await writeFile(path, text, { mode: 0o600 }).catch((error) => {
    throw writeError(path, error);
  });
}
