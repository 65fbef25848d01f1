import { chownSync, lchownSync, lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { backupKeysOf } from "../../auth/backup-keys.ts";
import type { BackupSettings } from "../../config/backup-settings.ts";
import { errno, isDirectory, makeFolder } from "../../support/files.ts";
import { COMPRESSED, ENCRYPTED } from "../../wal/packed.ts";
import { claimBackups } from "./claim-backups.ts";
import type { RunAs } from "./programs.ts";
import { findWalProgram, quoteForSetting } from "./wal-program.ts";

/** Seconds after which a segment that is not full is archived too, so that a lost disk loses at most that much. */
const ARCHIVE_TIMEOUT_SECONDS = 60;

/** The settings with which the server archives its WAL. */
export interface Archiving {
  readonly settings: Readonly<Record<string, string>>;
  readonly env: Readonly<Record<string, string>>;
}

const OFF: Archiving = { settings: {}, env: {} };

export function walFolder(backups: string): string {
  return join(backups, "wal");
}

/**
 * Prepares the archive. Every start of the server archives, also one for a short command, because WAL that is written without
 * archiving is a gap which no restore can pass.
 * @throws PlinthError, as claimBackups, backupKeysOf and findWalProgram do
 */
export async function prepareArchiving(
  backups: BackupSettings | undefined,
  dataDirectory: string,
  runAs: RunAs | undefined,
): Promise<Archiving> {
  if (!backups) return OFF;
  const folder = walFolder(backups.folder);
  makeFolderFor(backups.folder, runAs);
  makeFolderFor(folder, runAs);
  claimBackups(backups.folder, dataDirectory);
  const { command } = await findWalProgram(folder, runAs, "archive");
  return {
    settings: {
      archive_mode: "on",
      archive_command: `${command.replaceAll("%", "%%")} archive ${quoteForSetting(folder)} %p %f`,
      archive_timeout: String(ARCHIVE_TIMEOUT_SECONDS),
    },
    env: archiveEnvironment(backups),
  };
}

/**
 * The settings with which a server recovers from the archive.
 * @param isSealed whether the WAL must be encrypted, as the backup is
 */
export async function recoveryArchive(
  backups: BackupSettings,
  runAs: RunAs | undefined,
  isSealed: boolean,
): Promise<Archiving> {
  const folder = walFolder(backups.folder);
  if (runAs) giveTo(folder, runAs);
  const { command } = await findWalProgram(folder, runAs, "fetch");
  const place = quoteForSetting(folder);
  // PostgreSQL also asks for what does not exist, such as the history of the next timeline: the shell says so without a start of Node.
  const exists = [ENCRYPTED, COMPRESSED].map((ending) => `[ -e ${place}/%f${ending} ]`).join(" || ");
  return {
    settings: {
      restore_command: `{ ${exists}; } && exec ${command.replaceAll("%", "%%")} fetch ${place} %f %p`,
    },
    env: { ...archiveEnvironment(backups), ...(isSealed && { PLINTH_BACKUP_IS_SEALED: "1" }) },
  };
}

function archiveEnvironment(backups: BackupSettings): Record<string, string> {
  const keys = backupKeysOf(backups).map((key) => key.toString("base64url"));
  return keys.length > 0 ? { PLINTH_BACKUP_KEY: keys.join(",") } : {};
}

/** The server's user must be able to enter the folders that root creates. */
function makeFolderFor(folder: string, runAs: RunAs | undefined): void {
  if (isDirectory(folder)) return;
  makeFolder(folder);
  if (runAs) chownSync(folder, runAs.uid, runAs.gid);
}

/** If root has copied the folder from elsewhere, the server's user cannot read it. */
function giveTo(folder: string, { uid, gid }: RunAs): void {
  for (const path of [folder, ...readdirSync(folder).map((name) => join(folder, name))])
    if (lstatSync(path).uid !== uid) unlessReadOnly(() => lchownSync(path, uid, gid));
}

function unlessReadOnly(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (errno(error) !== "EROFS") throw error;
  }
}
