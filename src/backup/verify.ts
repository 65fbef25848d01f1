import { rmSync } from "node:fs";
import { backupKeysOf } from "../auth/backup-keys.ts";
import { withConnection } from "../database/connection.ts";
import type { DatabaseConfig } from "../database/database.ts";
import { walFolder } from "../database/embedded/archiving.ts";
import { findBinaries } from "../database/embedded/binaries.ts";
import { acquireLock } from "../database/embedded/lock.ts";
import { clusterFolder } from "../database/embedded/replace-cluster.ts";
import { chooseRunAs } from "../database/embedded/run-as.ts";
import { lockPath } from "../database/embedded/server.ts";
import { embeddedUrl } from "../database/embedded/url.ts";
import { readSecrets, secretsPath } from "../database/secrets.ts";
import { PlinthError } from "../support/errors.ts";
import { errno } from "../support/files.ts";
import type { OnProgress } from "../support/progress.ts";
import { findPacked, unpackWhole } from "../wal/packed.ts";
import { sealedName } from "../wal/segments.ts";
import { checkStructure } from "./check-structure.ts";
import { compareContents } from "./compare-contents.ts";
import { explainDamage } from "./damage.ts";
import { checkStored } from "./packed-stream.ts";
import { type Backup, neededLsn, type Verification, writeVerification } from "./records.ts";
import { recover } from "./recovery.ts";
import { makeScratchFolder } from "./scratch-folder.ts";
import { backupsOf } from "./superuser.ts";
import { type Plan, walMissing } from "./target.ts";
import { readWalArchive } from "./wal-archive.ts";

export interface VerifyOptions {
  readonly config: DatabaseConfig;
  readonly backup: Backup;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
  readonly log: (line: string) => void;
}

/**
 * Checks a backup in three steps: its files and the WAL after it; that PostgreSQL recovers it on a server of its own, with sound
 * tables and indexes; and that the tables are those of the moment at which the backup recorded them. The result is stored with
 * the backup.
 * @throws PlinthError INTERRUPTED and others that say nothing about the backup
 */
export async function verifyBackup(options: VerifyOptions): Promise<Verification> {
  const { config, backup } = options;
  const { folder } = backupsOf(config);
  const started = Date.now();
  const findings: string[] = [];
  let isSound = true;
  try {
    findings.push(await checkFiles(options), await checkWal(options), ...(await checkRestored(options)));
  } catch (error) {
    options.signal.throwIfAborted();
    if (!(error instanceof PlinthError) || !FAULTS.has(error.code)) throw error;
    isSound = false;
    findings.push(error.message);
  }
  const verification = {
    at: new Date().toISOString(),
    seconds: Math.round((Date.now() - started) / 100) / 10,
    isSound,
    findings,
  };
  try {
    writeVerification(folder, backup.id, verification);
  } catch (error) {
    // Such as a read-only disk. The backup is what it is; only list and doctor will not know.
    if (errno(error) === undefined) throw error;
    options.log(`The result could not be stored with the backup: ${(error as Error).message}.`);
  }
  return verification;
}

/** Errors that are the backup's fault. With a wrong key, it may be sound. */
const FAULTS = new Set([
  "BACKUP_DAMAGED",
  "WAL_MISSING",
  "BACKUP_DIFFERS",
  "DATABASE_START_FAILED",
  "RESTORE_TARGET_NOT_REACHED",
]);

async function checkFiles({ config, backup, onProgress }: VerifyOptions): Promise<string> {
  for (const [index, file] of backup.files.entries()) {
    onProgress({ step: "Reading the backup", done: index, total: backup.files.length, unit: "files" });
    await checkStored(backupsOf(config).folder, backup.id, file);
  }
  return `Its files have the recorded checksums (${backup.files.length}).`;
}

async function checkWal({ config, backup, signal, onProgress }: VerifyOptions): Promise<string> {
  const settings = backupsOf(config);
  const keys = backupKeysOf(settings);
  const archive = await readWalArchive(settings.folder, keys);
  const isOnPath = archive.includes(backup.timeline, backup.endLsn);
  const path = isOnPath ? archive : await readWalArchive(settings.folder, keys, backup.timeline);
  const missing = path.missingToNewest(backup, neededLsn(backup));
  if (missing.length > 0) throw walMissing(missing, backup);
  const segments = path.segments(backup.startLsn);
  for (const [index, name] of segments.entries()) {
    signal.throwIfAborted();
    onProgress({ step: "Reading the WAL", done: index, total: segments.length, unit: "segments" });
    const file = findPacked(walFolder(settings.folder), name)!;
    await unpackWhole(file, keys, sealedName(name)).catch((error) => {
      throw explainDamage(error, file);
    });
  }
  return `The WAL is complete up to ${segments.at(-1)} (segments: ${segments.length}).`;
}

async function checkRestored(options: VerifyOptions): Promise<string[]> {
  const { config, backup, signal, onProgress, log } = options;
  const settings = backupsOf(config);
  const secrets = readSecrets(config.dataDirectory);
  if (!secrets)
    throw new PlinthError("SECRETS_MISSING", `${secretsPath(config.dataDirectory)} is missing.`, {
      hint: "The restored server asks for the password in it.",
    });
  await using held = new AsyncDisposableStack();
  const dataDirectory = makeScratchFolder(config.dataDirectory);
  const lock = await acquireLock(lockPath(dataDirectory), "command", log);
  held.defer(() => {
    rmSync(dataDirectory, { recursive: true, force: true });
    lock.release();
  });
  const folder = clusterFolder(dataDirectory);
  const runAs = await chooseRunAs(folder);
  const cluster = { dataDirectory, folder, runAs, binaries: await findBinaries(runAs) };
  const { postmaster, port } = await recover({
    settings,
    plan: planTo(backup),
    cluster,
    serverSettings: { archive_mode: "off", fsync: "off", full_page_writes: "off", autovacuum: "off" },
    signal,
    onProgress,
    log,
  });
  held.defer(() => postmaster.stop());
  const url = embeddedUrl(port, "postgres", secrets.passwords.superuser);
  return await withConnection(
    { connectionString: url, application_name: "plinth backup" },
    async (client) => {
      // First, because amcheck comes with a table's worth of functions.
      const compared = backup.reference
        ? await compareContents(client, backup.reference, signal, onProgress)
        : "The tables could not be compared, because writers never paused while it was created.";
      return [await checkStructure(client, signal, onProgress), compared];
    },
  );
}

/** The point at which the tables were recorded, or else the end of the backup. */
function planTo(backup: Backup): Plan {
  const end = { recovery_target_timeline: String(backup.timeline), recovery_target_action: "promote" };
  const settings = backup.reference
    ? { ...end, recovery_target_name: backup.reference.point }
    : { ...end, recovery_target: "immediate" };
  return { backup, target: { kind: "latest" }, settings };
}
