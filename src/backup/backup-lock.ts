import { join } from "node:path";
import { acquireLock, type Lock, LockHeld } from "../database/embedded/lock.ts";
import { PlinthError } from "../support/errors.ts";

/**
 * Held while a folder of backups is changed, so that a folder without backup.json is known to be left over.
 * @throws PlinthError BACKUPS_IN_USE while another process holds it
 */
export async function lockBackups(folder: string, log: (line: string) => void): Promise<Lock> {
  try {
    return await acquireLock(join(folder, "backup.lock"), "command", log);
  } catch (error) {
    if (!(error instanceof LockHeld)) throw error;
    const { pid, host, since } = error.holder;
    throw new PlinthError(
      "BACKUPS_IN_USE",
      `Process ${pid}${error.isHere ? "" : ` on ${host}`} has been making or deleting a backup in ${folder} since ${since}.`,
      {
        hint: "Run the command again when it is done. The server makes backups by its schedule, too.",
        cause: error,
      },
    );
  }
}
