import { rmSync } from "node:fs";
import { join } from "node:path";
import { walFolder } from "../database/embedded/archiving.ts";
import { PlinthError } from "../support/errors.ts";
import { namesIn, syncFolder } from "../support/files.ts";
import { lockBackups } from "./backup-lock.ts";
import { type Backup, baseFolder, listBackups, listPoints, pointsFolder } from "./records.ts";
import { explainBackups } from "./take-backup.ts";
import { parseLsn, parseSegmentName, segmentOf } from "./wal-names.ts";

export interface Pruned {
  /** Ids of the deleted backups. */
  readonly backups: readonly string[];
  /** Number of deleted WAL segments. */
  readonly segments: number;
}

/**
 * Deletes all but the newest `keep` complete backups, unfinished ones, and WAL from before the oldest backup that is left. Backups
 * that `backup verify` found damaged do not count, so that they do not displace sound ones.
 */
export function pruneBackups(folder: string, keep: number, log: (line: string) => void): Promise<Pruned> {
  return deleteBackups(folder, log, (listed) => {
    const complete = listed.filter(({ backup }) => backup);
    const oldest = complete.filter(({ verification }) => verification?.isSound !== false).at(-keep);
    const kept = oldest ? complete.slice(complete.indexOf(oldest)) : complete;
    return listed.filter((each) => !kept.includes(each)).map(({ id }) => id);
  });
}

/**
 * Deletes one backup, and WAL that no other one needs.
 * @throws PlinthError NO_SUCH_BACKUP, LAST_BACKUP
 */
export function deleteBackup(folder: string, id: string, log: (line: string) => void): Promise<Pruned> {
  return deleteBackups(folder, log, (listed) => {
    const found = listed.find((each) => each.id === id);
    if (!found)
      throw new PlinthError("NO_SUCH_BACKUP", `There is no backup ${id} in ${folder}.`, {
        hint: "plinth backup list shows the backups.",
      });
    if (found.backup && listed.filter(({ backup }) => backup).length === 1)
      throw new PlinthError("LAST_BACKUP", `${id} is the only complete backup.`, {
        hint: "Create another one first: plinth backup.",
      });
    return [id];
  });
}

async function deleteBackups(
  folder: string,
  log: (line: string) => void,
  choose: (listed: ReturnType<typeof listBackups>) => readonly string[],
): Promise<Pruned> {
  await using held = new AsyncDisposableStack();
  const lock = await lockBackups(folder, log).catch((error) => {
    throw explainBackups(error, folder);
  });
  held.defer(() => lock.release());
  const listed = listBackups(folder);
  const chosen = choose(listed);
  for (const id of chosen) {
    // Without this file the backup is unfinished, so an interrupted deletion leaves nothing that looks complete.
    rmSync(join(baseFolder(folder, id), "backup.json"), { force: true });
    syncFolder(baseFolder(folder, id));
    rmSync(baseFolder(folder, id), { recursive: true, force: true });
  }
  const left = listed.flatMap(({ id, backup }) => (backup && !chosen.includes(id) ? backup : []));
  return { backups: chosen, segments: deleteOldWal(folder, left) };
}

/** A restore to a point can begin anywhere after the oldest backup, so all WAL since then is kept, on every timeline. */
function deleteOldWal(folder: string, left: readonly Backup[]): number {
  if (left.length === 0) return 0;
  const start = left.map(({ startLsn }) => startLsn).reduce((a, b) => (parseLsn(a) < parseLsn(b) ? a : b));
  let deleted = 0;
  for (const file of namesIn(walFolder(folder)) ?? []) {
    const found = parseSegmentName(file.slice(0, 24));
    if (!found || found.segment >= segmentOf(start)) continue;
    rmSync(join(walFolder(folder), file), { force: true });
    deleted += 1;
  }
  for (const point of listPoints(folder))
    if (parseLsn(point.lsn) < parseLsn(start))
      rmSync(join(pointsFolder(folder), `${point.name}.json`), { force: true });
  return deleted;
}
