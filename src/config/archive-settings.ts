import { join, resolve } from "node:path";
import { type Environment, fileInstead } from "./environment.ts";

export interface ArchiveSettings {
  /** Folder of the archived months of logs. If omitted, nothing is archived. */
  readonly directory: string | undefined;
  /** The keys of backups, which also encrypt archives. If omitted, the files are not encrypted. */
  readonly key: string | undefined;
  /** A file with the same content. */
  readonly keyFile: string | undefined;
}

/** @param embeddedIn the data folder, if the database is embedded: its archives are there by default */
export function archives(env: Environment, embeddedIn: string | undefined): ArchiveSettings {
  return {
    directory: env.PLINTH_ARCHIVES
      ? resolve(env.PLINTH_ARCHIVES)
      : embeddedIn && join(embeddedIn, "archives"),
    key: env.PLINTH_BACKUP_KEY || undefined,
    keyFile: fileInstead(env, "PLINTH_BACKUP_KEY"),
  };
}
