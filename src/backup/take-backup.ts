import { mkdirSync, rmSync } from "node:fs";
import { backupKeysOf } from "../auth/backup-keys.ts";
import type { BackupSettings } from "../config/backup-settings.ts";
import type { Database } from "../database/database.ts";
import { errno, giveToOwnerOf, makeFolder } from "../support/files.ts";
import type { OnProgress } from "../support/progress.ts";
import { explainUnwritable } from "../support/unwritable.ts";
import { awaitArchived } from "./await-archived.ts";
import { lockBackups } from "./backup-lock.ts";
import { takeBaseBackup } from "./base-backup.ts";
import { type Backup, baseFolder, writeBackup } from "./records.ts";
import { takeReference } from "./reference.ts";
import { adminUrlOf, withArchivingServer } from "./superuser.ts";

export interface TakeOptions {
  readonly database: Database;
  readonly settings: BackupSettings;
  readonly label?: string | undefined;
  /** Limit of the reading rate in kB/s, from 32. */
  readonly maxRateKb?: number | undefined;
  readonly signal: AbortSignal;
  readonly onProgress?: OnProgress;
  readonly log: (line: string) => void;
}

/**
 * Makes a base backup of a running server.
 * @throws PlinthError BACKUPS_IN_USE, ARCHIVING_OFF, ARCHIVING_FAILS, BACKUPS_NOT_WRITABLE
 */
export async function takeBackup(options: TakeOptions): Promise<Backup> {
  try {
    return await take(options);
  } catch (error) {
    throw explainBackups(error, options.settings.folder);
  }
}

/** Explains that the folder of backups cannot be changed. */
export function explainBackups(error: unknown, folder: string): unknown {
  return explainUnwritable(error, {
    code: "BACKUPS_NOT_WRITABLE",
    title: "The folder of backups",
    folder,
    hint: "Check its disk, or set PLINTH_BACKUPS to another folder. No unfinished backup counts as one.",
  });
}

async function take(options: TakeOptions): Promise<Backup> {
  const { database, settings, label = null, signal, log, onProgress = () => {} } = options;
  const keys = backupKeysOf(settings);
  if (keys.length === 0) log("The backup is not encrypted, because PLINTH_BACKUP_KEY is not set.");
  return withArchivingServer(database, settings, async (client) => {
    await using held = new AsyncDisposableStack();
    const lock = await lockBackups(settings.folder, log);
    held.defer(() => lock.release());
    const startedAt = new Date();
    const { id, folder } = createFolder(settings.folder, startedAt);
    try {
      const { rows } = await client.query<{ bytes: string; version: string }>(
        `select sum(pg_database_size(oid))::text as bytes, current_setting('server_version') as version
         from pg_database`,
      );
      const { bytes, version } = rows[0]!;
      const { systemIdentifier, timeline, startLsn, endLsn, files } = await takeBaseBackup({
        url: adminUrlOf(database),
        label: label ?? `plinth ${id}`,
        folder,
        keys,
        maxRateKb: options.maxRateKb,
        signal,
        onProgress: (done) => onProgress({ step: "Backing up", done, total: Number(bytes), unit: "bytes" }),
        onNotice: log,
      });
      const onTables = (done: number, total: number) =>
        onProgress({ step: "Reading tables", done, total, unit: "tables" });
      const reference = await takeReference(adminUrlOf(database), `plinth-verify-${id}`, signal, onTables);
      if (!reference) log("Writers never paused, so backup verify cannot compare the tables of this backup.");
      await awaitArchived(client, settings.folder, { timeline, lsn: reference?.lsn ?? endLsn }, signal);
      const backup: Backup = {
        id,
        label,
        startedAt: startedAt.toISOString(),
        finishedAt: new Date().toISOString(),
        postgresVersion: version,
        systemIdentifier,
        timeline,
        startLsn,
        endLsn,
        isEncrypted: keys.length > 0,
        files,
        reference: reference ?? null,
      };
      writeBackup(settings.folder, backup);
      return backup;
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  });
}

/** The name is the time in UTC; a second backup in the same second gets a number. */
function createFolder(backups: string, now: Date): { id: string; folder: string } {
  makeFolder(baseFolder(backups));
  const time = now.toISOString().replace(/[-:]|\.\d+/g, "");
  for (let number = 1; ; number++) {
    const id = number === 1 ? time : `${time}-${number}`;
    const folder = baseFolder(backups, id);
    try {
      mkdirSync(folder, { mode: 0o700 });
      giveToOwnerOf(backups, folder);
      return { id, folder };
    } catch (error) {
      if (errno(error) !== "EEXIST") throw error;
    }
  }
}
