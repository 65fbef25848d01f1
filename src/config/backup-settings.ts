import { resolve } from "node:path";
import { type Environment, fileInstead, integer, matching } from "./environment.ts";

/** Backups of the embedded server. */
export interface BackupSettings {
  /** Folder of the base backups and of the archived WAL. */
  readonly folder: string;
  /** Five cron fields, in UTC. */
  readonly schedule: string;
  /** Number of base backups to keep, with the WAL since the oldest of them. */
  readonly keep: number;
  /** `base64url[,base64url…]`; the first encrypts, all decrypt. If omitted, backups are not encrypted. */
  readonly key: string | undefined;
  /** A file with the same content. */
  readonly keyFile: string | undefined;
}

export function backups(env: Environment): BackupSettings | undefined {
  const settings = {
    schedule: matching(
      env,
      "PLINTH_BACKUP_SCHEDULE",
      "0 3 * * *",
      /^\S+( \S+){4}$/,
      "five cron fields such as 0 3 * * *",
    ),
    keep: integer(env, "PLINTH_BACKUP_KEEP", 7, 1, 1_000),
    key: env.PLINTH_BACKUP_KEY || undefined,
    keyFile: fileInstead(env, "PLINTH_BACKUP_KEY"),
  };
  return env.PLINTH_BACKUPS ? { ...settings, folder: resolve(env.PLINTH_BACKUPS) } : undefined;
}
