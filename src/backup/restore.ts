import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { backupKeysOf } from "../auth/backup-keys.ts";
import type { BackupSettings } from "../config/backup-settings.ts";
import type { DatabaseConfig } from "../database/database.ts";
import { findBinaries } from "../database/embedded/binaries.ts";
import { explainFileError } from "../database/embedded/explain.ts";
import { stopLeftover } from "../database/embedded/leftover.ts";
import { acquireLock } from "../database/embedded/lock.ts";
import {
  clusterFolder,
  finishRestore,
  removeCluster,
  replaceCluster,
  restoredFolder,
  restoringFolder,
} from "../database/embedded/replace-cluster.ts";
import { chooseRunAs } from "../database/embedded/run-as.ts";
import { lockPath } from "../database/embedded/server.ts";
import { readSecrets, secretsPath, updateSecrets } from "../database/secrets.ts";
import { PlinthError } from "../support/errors.ts";
import { isDirectory, makeFolder, namesIn } from "../support/files.ts";
import type { OnProgress } from "../support/progress.ts";
import { assertReached } from "./reached.ts";
import { recover } from "./recovery.ts";
import { backupsOf } from "./superuser.ts";
import { type Plan, parseTarget, planRestore } from "./target.ts";

export interface RestoreOptions {
  readonly config: DatabaseConfig;
  /** `latest`, a time or the name of a point. */
  readonly to: string;
  /** Id of the base backup; the newest before the target if omitted. */
  readonly from?: string | undefined;
  /** A data folder to create; the restore is in place if omitted. */
  readonly into?: string | undefined;
  /** Further settings of the server that recovers. Tests pass `{ fsync: "off" }`. */
  readonly serverSettings?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
  readonly log: (line: string) => void;
}

export interface Restored {
  readonly plan: Plan;
  readonly dataDirectory: string;
  /** The folder that now has the old data. */
  readonly aside: string | undefined;
}

/**
 * Restores a database: into a new data folder, or in place, where the old data keeps its name until the new data is recovered.
 * @throws LockHeld while a Plinth runs on the data; PlinthError with the reason
 */
export async function restore(options: RestoreOptions): Promise<Restored> {
  const { config, into, log } = options;
  const settings = backupsOf(config);
  const dataDirectory = into ?? config.dataDirectory;
  const plan = await planRestore(
    settings.folder,
    backupKeysOf(settings),
    parseTarget(settings.folder, options.to),
    options.from,
  );
  if (into) prepareNewFolder(into, config.dataDirectory);
  requireSecrets(dataDirectory);
  await using held = new AsyncDisposableStack();
  const lock = await acquireLock(lockPath(dataDirectory), "command", log);
  held.defer(() => lock.release());
  try {
    const aside = await rebuild(dataDirectory, settings, plan, options);
    return { plan, dataDirectory, aside };
  } catch (error) {
    throw explainFileError(error, { dataDirectory });
  }
}

async function rebuild(
  dataDirectory: string,
  settings: BackupSettings,
  plan: Plan,
  { serverSettings, signal, onProgress, log }: Omit<RestoreOptions, "config" | "to">,
): Promise<string | undefined> {
  finishRestore(dataDirectory);
  await removeCluster(restoredFolder(dataDirectory), log);
  const current = clusterFolder(dataDirectory);
  if (isDirectory(current)) await stopLeftover(current, log);
  const runAs = await chooseRunAs(current);
  const binaries = await findBinaries(runAs);
  checkVersion(plan, binaries.major);
  const cluster = { dataDirectory, folder: restoringFolder(dataDirectory), runAs, binaries };
  try {
    const { postmaster } = await recover({
      settings,
      plan,
      cluster,
      // Without a command, the WAL of the new timeline waits in pg_wal: an attempt that fails adds no history to the archive.
      serverSettings: { ...serverSettings, archive_mode: "on", archive_command: "" },
      unarchived: plan.target.kind === "latest" ? join(current, "pg_wal") : undefined,
      signal,
      onProgress,
      log,
    });
    await postmaster.stop();
    signal.throwIfAborted();
    assertReached(cluster.folder, plan);
  } catch (error) {
    await removeCluster(cluster.folder, log);
    throw error;
  }
  return replaceCluster(dataDirectory);
}

function checkVersion({ backup }: Plan, major: number): void {
  const made = Number.parseInt(backup.postgresVersion, 10);
  if (made === major) return;
  throw new PlinthError(
    "BACKUP_OTHER_VERSION",
    `The backup ${backup.id} is of PostgreSQL ${made}; this Plinth has PostgreSQL ${major}.`,
    { hint: `Restore it with a Plinth that has PostgreSQL ${made}.` },
  );
}

/** The folder may already have secrets.json, and what an interrupted restore left. */
function prepareNewFolder(into: string, dataDirectory: string): void {
  if (existsSync(clusterFolder(into)))
    throw new PlinthError("FOLDER_NOT_EMPTY", `${into} already contains a database.`, {
      hint: "Choose another folder, or set PLINTH_DATA to it and leave out --into to replace its data.",
    });
  const foreign = (namesIn(into) ?? []).filter(
    (name) => !/^(secrets\.json|postgres\b.*|plinth\.lock.*)$/.test(name),
  );
  if (foreign.length > 0)
    throw new PlinthError("FOLDER_NOT_EMPTY", `${into} is not empty (${foreign[0]}).`, {
      hint: "Choose an empty folder, or one that contains only secrets.json.",
    });
  makeFolder(into);
  if (existsSync(secretsPath(into)) || !readSecrets(dataDirectory)) return;
  copyFileSync(secretsPath(dataDirectory), secretsPath(into));
  // Both can then run at the same time.
  updateSecrets(into, { databasePort: undefined });
}

function requireSecrets(dataDirectory: string): void {
  if (readSecrets(dataDirectory)) return;
  throw new PlinthError("SECRETS_MISSING", `${secretsPath(dataDirectory)} is missing.`, {
    hint:
      "Backups do not contain it, because it has the master keys that open the secrets in the database. " +
      "Copy it there from your own copy.",
  });
}
