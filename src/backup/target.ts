import { PlinthError } from "../support/errors.ts";
import type { Keys } from "../wal/packed.ts";
import {
  type Backup,
  completeBackups,
  findBackup,
  listPoints,
  neededLsn,
  type RestorePoint,
} from "./records.ts";
import { readWalArchive, type WalArchive } from "./wal-archive.ts";
import { parseLsn } from "./wal-names.ts";

/** The state to restore. */
export type Target =
  | { readonly kind: "latest" }
  | { readonly kind: "time"; readonly time: Date }
  | { readonly kind: "point"; readonly point: RestorePoint };

/** A base backup and the settings of the recovery that leads from it to the target. */
export interface Plan {
  readonly backup: Backup;
  readonly target: Target;
  readonly settings: Readonly<Record<string, string>>;
  /** The number of the WAL segment that the recovery must reach; undefined if PostgreSQL itself insists on the target. */
  readonly newestSegment?: bigint | undefined;
  /** The timeline of a target that an earlier restore left behind. */
  readonly timelineLeft?: number | undefined;
}

/**
 * Reads `--to`: `latest`, the name of a point, or a time.
 * @throws PlinthError NO_SUCH_TARGET
 */
export function parseTarget(folder: string, text: string): Target {
  if (text === "latest") return { kind: "latest" };
  const points = listPoints(folder);
  const point = points.find(({ name }) => name === text);
  if (point) return { kind: "point", point };
  const time = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d/.test(text) ? new Date(text) : undefined;
  if (time && !Number.isNaN(time.getTime())) return { kind: "time", time };
  const names = points.map(({ name }) => name).join(", ");
  throw new PlinthError("NO_SUCH_TARGET", `${JSON.stringify(text)} is neither a point nor a time.`, {
    hint: `Use latest, a time such as 2026-11-30T02:15:00Z, or a point${names ? ` (${names})` : ""}.`,
  });
}

/**
 * Chooses the newest base backup before the target, and checks that the WAL between them is archived.
 * @param from id of the base backup to use instead
 * @throws PlinthError NO_BACKUP, NO_SUCH_BACKUP, WAL_MISSING
 */
export async function planRestore(folder: string, keys: Keys, target: Target, from?: string): Promise<Plan> {
  const newest = await readWalArchive(folder, keys);
  const timeline = timelineLeft(newest, target);
  const archive = timeline === undefined ? newest : await readWalArchive(folder, keys, timeline);
  const usable = completeBackups(folder).filter(
    (backup) => archive.includes(backup.timeline, backup.endLsn) && isBefore(backup, target),
  );
  const backup = from === undefined ? usable.at(-1) : findBackup(folder, from);
  if (!backup) throw noBackup(folder, target);
  if (!usable.some(({ id }) => id === backup.id))
    throw new PlinthError("NO_BACKUP", `The backup ${backup.id} does not lead to ${describe(target)}.`, {
      hint: "Leave out --from to use the newest one that does.",
    });
  const missing =
    target.kind === "latest"
      ? archive.missingToNewest(backup, neededLsn(backup))
      : archive.missing(backup, target.kind === "point" ? target.point.lsn : backup.endLsn);
  if (missing.length > 0) throw walMissing(missing, backup);
  return {
    backup,
    target,
    newestSegment: target.kind === "latest" ? archive.newestSegment : undefined,
    timelineLeft: timeline,
    settings: {
      ...settingsOf(target),
      recovery_target_timeline: timeline === undefined ? "latest" : String(timeline),
      recovery_target_action: "promote",
    },
  };
}

/**
 * The timeline of a target that an earlier restore left behind: the one on which a point was created, or on which a time passed.
 * Undefined for a target on the path of the newest timeline. On that path, a time between the target of the earlier restore and the
 * restore itself would be the state of that target.
 */
function timelineLeft(archive: WalArchive, target: Target): number | undefined {
  if (target.kind === "latest") return undefined;
  if (target.kind === "time") return archive.timelineLeftAt(target.time);
  return archive.includes(target.point.timeline, target.point.lsn) ? undefined : target.point.timeline;
}

export function describe(target: Target): string {
  if (target.kind === "latest") return "the latest state";
  return target.kind === "time" ? target.time.toISOString() : `the point ${target.point.name}`;
}

/** @throws PlinthError WAL_MISSING */
export function walMissing(missing: readonly string[], backup: Backup): PlinthError {
  const more = missing.length > 1 ? ` and ${missing.length - 1} more` : "";
  return new PlinthError(
    "WAL_MISSING",
    `The archive lacks the WAL segment ${missing[0]}${more}, which the backup ${backup.id} needs.` +
      (backup.isEncrypted ? " Segments that are not encrypted do not count, because the backup is." : ""),
    {
      hint:
        "Copy it to the folder wal, use a newer backup (--from), or restore to a time before it (--to). " +
        "Then create a new backup: plinth backup.",
    },
  );
}

function settingsOf(target: Target): Record<string, string> {
  if (target.kind === "latest") return {};
  return target.kind === "time"
    ? { recovery_target_time: target.time.toISOString().replace("T", " ").replace("Z", "+00") }
    : // Not by its name: an attempt that failed after writing its record has left the name at an earlier position of the WAL.
      { recovery_target_lsn: target.point.lsn, recovery_target_inclusive: "off" };
}

function isBefore(backup: Backup, target: Target): boolean {
  if (target.kind === "latest") return true;
  if (target.kind === "time") return Date.parse(backup.finishedAt) <= target.time.getTime();
  return parseLsn(backup.endLsn) <= parseLsn(target.point.lsn);
}

function noBackup(folder: string, target: Target): PlinthError {
  const [oldest] = completeBackups(folder);
  if (!oldest)
    return new PlinthError("NO_BACKUP", `There is no complete backup in ${folder}.`, {
      hint: "Check PLINTH_BACKUPS, or create one: plinth backup.",
    });
  return new PlinthError("NO_BACKUP", `No backup leads to ${describe(target)}.`, {
    hint: `The oldest backup, ${oldest.id}, was complete at ${oldest.finishedAt}.`,
  });
}
