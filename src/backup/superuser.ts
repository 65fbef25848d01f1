import type pg from "pg";
import type { BackupSettings } from "../config/backup-settings.ts";
import { withConnection } from "../database/connection.ts";
import type { Database } from "../database/database.ts";
import { walFolder } from "../database/embedded/archiving.ts";
import { quoteForSetting } from "../database/embedded/wal-program.ts";
import { PlinthError } from "../support/errors.ts";

/** @throws PlinthError NO_EMBEDDED_SERVER */
export function adminUrlOf(database: Database): string {
  if (database.adminUrl) return database.adminUrl;
  throw externalServer();
}

export function externalServer(): PlinthError {
  return new PlinthError("NO_EMBEDDED_SERVER", "plinth backup and restore are for the embedded server.", {
    hint: "For a server of your own, use its tools; docs/operations.md#backups lists them.",
  });
}

/**
 * The settings of backups.
 * @throws PlinthError BACKUPS_OFF
 */
export function backupsOf({ backups }: { readonly backups?: BackupSettings | undefined }): BackupSettings {
  if (backups) return backups;
  throw new PlinthError("BACKUPS_OFF", "PLINTH_BACKUPS is not set.", {
    hint: "Set it to a folder for backups, best on another disk, and start Plinth again.",
  });
}

/** Connects as the superuser of a server that archives its WAL to this folder. @throws PlinthError ARCHIVING_OFF */
export function withArchivingServer<T>(
  database: Database,
  settings: BackupSettings,
  use: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const connection = { connectionString: adminUrlOf(database), application_name: "plinth backup" };
  return withConnection(connection, async (client) => {
    const { rows } = await client.query<{ command: string }>(
      "select current_setting('archive_command') as command",
    );
    if (rows[0]!.command.includes(quoteForSetting(walFolder(settings.folder)))) return use(client);
    throw new PlinthError(
      "ARCHIVING_OFF",
      `The running Plinth does not archive to ${settings.folder}, so a backup could not be restored.`,
      {
        hint: "Start it again with PLINTH_BACKUPS set to this folder.",
      },
    );
  });
}
