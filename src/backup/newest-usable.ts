import { backupKeysOf } from "../auth/backup-keys.ts";
import type { BackupSettings } from "../config/backup-settings.ts";
import { type Backup, completeBackups, neededLsn } from "./records.ts";
import { readWalArchive } from "./wal-archive.ts";

/** Returns the newest backup from which the latest state can be restored: its WAL has no gap. */
export async function newestUsableBackup(settings: BackupSettings): Promise<Backup | undefined> {
  const archive = await readWalArchive(settings.folder, backupKeysOf(settings));
  return completeBackups(settings.folder).findLast(
    (backup) =>
      archive.includes(backup.timeline, backup.endLsn) &&
      archive.missingToNewest(backup, neededLsn(backup)).length === 0,
  );
}
