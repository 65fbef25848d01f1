import { createHash } from "node:crypto";
import { lstatSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PlinthError } from "../support/errors.ts";
import { errno } from "../support/files.ts";

/**
 * Returns the folder in which backups of a data folder are verified. It is always the same one, so that the next verification
 * stops the server of one that was killed and deletes its files.
 * @throws PlinthError SCRATCH_UNSAFE if it belongs to another user
 */
export function makeScratchFolder(dataDirectory: string): string {
  const hash = createHash("sha256").update(dataDirectory).digest("hex");
  const folder = join(tmpdir(), `plinth-verify-${process.getuid?.() ?? 0}-${hash.slice(0, 16)}`);
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if (errno(error) !== "EEXIST") throw error;
    const stat = lstatSync(folder);
    if (!stat.isDirectory() || stat.uid !== process.getuid?.() || (stat.mode & 0o077) !== 0)
      throw new PlinthError("SCRATCH_UNSAFE", `${folder} belongs to another user.`, {
        hint: "Set TMPDIR to a folder that only you can write.",
      });
  }
  return folder;
}
