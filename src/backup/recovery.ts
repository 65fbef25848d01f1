import { chownSync, copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { backupKeysOf } from "../auth/backup-keys.ts";
import type { BackupSettings } from "../config/backup-settings.ts";
import { recoveryArchive } from "../database/embedded/archiving.ts";
import type { Cluster } from "../database/embedded/cluster.ts";
import { chooseFreePort } from "../database/embedded/port.ts";
import { type Postmaster, startPostmaster } from "../database/embedded/postmaster.ts";
import { removeCluster } from "../database/embedded/replace-cluster.ts";
import { namesIn } from "../support/files.ts";
import type { OnProgress } from "../support/progress.ts";
import type { Plan } from "./target.ts";
import { unpackBase } from "./unpack-base.ts";
import { parseSegmentName } from "./wal-names.ts";

export interface RecoveryOptions {
  readonly settings: BackupSettings;
  readonly plan: Plan;
  /** Its folder is created. Remains of an interrupted restore there are deleted. */
  readonly cluster: Cluster;
  /** Settings of the server that recovers. */
  readonly serverSettings: Readonly<Record<string, string>>;
  /** A pg_wal with segments that are not archived yet. */
  readonly unarchived?: string | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
  readonly log: (line: string) => void;
}

/**
 * Restores a base backup to the cluster's folder, and recovers it with PostgreSQL itself up to the target.
 * @returns the recovered server, which accepts writes
 */
export async function recover(options: RecoveryOptions): Promise<{ postmaster: Postmaster; port: number }> {
  const { settings, plan, cluster, serverSettings, signal, onProgress, log } = options;
  const { folder, runAs } = cluster;
  const keys = backupKeysOf(settings);
  if (keys.length > 0 && !plan.backup.isEncrypted)
    log(
      `The backup ${plan.backup.id} is not encrypted, although PLINTH_BACKUP_KEY is set: anyone who can write to ` +
        `${settings.folder} could have changed it.`,
    );
  await removeCluster(folder, log);
  mkdirSync(folder, { mode: 0o700 });
  if (runAs) chownSync(folder, runAs.uid, runAs.gid);
  await unpackBase({
    folder: settings.folder,
    backup: plan.backup,
    keys,
    into: folder,
    runAs,
    signal,
    onProgress: (done, total) =>
      onProgress({ step: "Restoring the base backup", done, total, unit: "bytes" }),
  });
  if (options.unarchived) copySegments(options.unarchived, cluster);
  const request = join(folder, "recovery.signal");
  writeFileSync(request, "", { mode: 0o600 });
  if (runAs) chownSync(request, runAs.uid, runAs.gid);
  onProgress({ step: "Replaying the WAL" });
  const archive = await recoveryArchive(settings, runAs, plan.backup.isEncrypted);
  const port = await chooseFreePort();
  const postmaster = await startPostmaster(cluster, {
    port,
    // Connections before the end would require the limits of the server that was backed up.
    settings: { hot_standby: "off", ...archive.settings, ...plan.settings, ...serverSettings },
    env: archive.env,
    log,
    signal,
  });
  return { postmaster, port };
}

/** PostgreSQL looks into the archive first, so copies of archived segments do no harm. */
function copySegments(from: string, { folder, runAs }: Cluster): void {
  for (const name of namesIn(from) ?? []) {
    // A history that is not archived yet leads to the timeline of the segments after it.
    if (!parseSegmentName(name) && !name.endsWith(".history")) continue;
    const target = join(folder, "pg_wal", name);
    copyFileSync(join(from, name), target);
    if (runAs) chownSync(target, runAs.uid, runAs.gid);
  }
}
