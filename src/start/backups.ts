import type { Logger } from "pino";
import type { Config } from "../config/config.ts";
import type { Database } from "../database/database.ts";

/**
 * Makes backups of the embedded server by their schedule. They run in the process that started the server, as its superuser, and
 * not as a job, because the worker's role may not read the whole server.
 */
export async function startBackups(
  { backups }: Pick<Config, "backups">,
  database: Database,
  logger: Logger,
): Promise<{ close(): Promise<void> } | undefined> {
  if (!backups) return undefined;
  if (database.kind === "external") {
    logger.warn("PLINTH_BACKUPS is ignored, because it is for the embedded server only");
    return undefined;
  }
  if (!backups.key && !backups.keyFile)
    logger.warn("Backups are not encrypted, because PLINTH_BACKUP_KEY is not set");
  const { nextRun } = await import("../jobs/next-run.ts");
  const { newestUsableBackup } = await import("../backup/newest-usable.ts");
  const { pruneBackups } = await import("../backup/prune.ts");
  const { startSchedule } = await import("../backup/schedule.ts");
  const { takeBackup } = await import("../backup/take-backup.ts");
  const log = (line: string) => logger.debug({ backup: line }, "backup");
  return startSchedule({
    next: (after) => nextRun(backups.schedule, after),
    last: async () => {
      const newest = await newestUsableBackup(backups);
      return newest && new Date(newest.startedAt);
    },
    take: async (signal) => {
      const { id } = await takeBackup({ database, settings: backups, label: "scheduled", signal, log });
      const { backups: deleted } = await pruneBackups(backups.folder, backups.keep, log);
      logger.info({ id, deleted }, "made a backup");
    },
    onFailure: (error) => logger.error({ err: error }, "the backup failed; it is repeated in ten minutes"),
  });
}
