import { statSync } from "node:fs";
import { join } from "node:path";
import { walFolder } from "../database/embedded/archiving.ts";
import { namesIn } from "../support/files.ts";
import { COMPRESSED, ENCRYPTED, findPacked, type Keys, unpackWhole } from "../wal/packed.ts";
import { sealedName } from "../wal/segments.ts";
import { explainDamage } from "./damage.ts";
import type { Backup } from "./records.ts";
import { type Lsn, parseLsn, parseSegmentName, segmentBefore, segmentName, segmentOf } from "./wal-names.ts";

/** A part of the database's history: the WAL of one timeline up to the point where the next one leaves it. */
interface Stretch {
  readonly timeline: number;
  /** Undefined for the newest timeline. */
  readonly end: Lsn | undefined;
}

type Start = Pick<Backup, "startLsn" | "isEncrypted">;

/** The archived WAL as a path that a recovery can follow. Each restore begins a new timeline. */
export interface WalArchive {
  /** The number of the newest archived segment on the path. */
  readonly newestSegment: bigint | undefined;
  /** The timeline that was in use at a time, if later restores have left it. */
  timelineLeftAt(time: Date): number | undefined;
  /** Whether the path passes this position of this timeline. */
  includes(timeline: number, lsn: Lsn): boolean;
  /** Names of the segments that a backup lacks up to a position. For an encrypted backup, only encrypted segments count. */
  missing(backup: Start, to: Lsn): string[];
  /** Names of the segments that a backup lacks up to the newest one, or up to a position that must be reached. */
  missingToNewest(backup: Start, atLeast: Lsn): string[];
  /** Names of the archived segments on the path, from a position on. */
  segments(from: Lsn): string[];
}

/** The names of all archived files. */
export function archivedNames(folder: string, endings = [ENCRYPTED, COMPRESSED]): string[] {
  return (namesIn(walFolder(folder)) ?? []).flatMap((name) => {
    const ending = endings.find((each) => name.endsWith(each));
    return ending ? [name.slice(0, -ending.length)] : [];
  });
}

/**
 * Reads the archive along the newest timeline, or the path to another one.
 * @throws PlinthError BACKUP_DAMAGED, BACKUP_KEY_WRONG for a timeline's history
 */
export async function readWalArchive(folder: string, keys: Keys, timeline?: number): Promise<WalArchive> {
  const names = archivedNames(folder);
  const segments = names.flatMap((name) => parseSegmentName(name) ?? []);
  const histories = names.flatMap((name) => /^([0-9A-F]{8})\.history$/.exec(name)?.[1] ?? []);
  const newestTimeline =
    timeline ??
    Math.max(
      1,
      ...segments.map((segment) => segment.timeline),
      ...histories.map((hex) => Number.parseInt(hex, 16)),
    );
  const stretches = await readHistory(folder, keys, newestTimeline);
  const archived = new Set(names);
  const sealed = new Set(archivedNames(folder, [ENCRYPTED]));

  /** Where two timelines meet, the segment is archived for either or both. */
  const find = (segment: bigint, among = archived): string | undefined =>
    stretches
      .filter(({ end }) => end === undefined || segment <= segmentBefore(end))
      .map((stretch) => segmentName(stretch.timeline, segment))
      .find((name) => among.has(name));
  const newest = segments
    .filter((each) =>
      stretches.some(
        ({ timeline, end }) =>
          timeline === each.timeline && (end === undefined || each.segment <= segmentBefore(end)),
      ),
    )
    .reduce<bigint | undefined>(
      (most, { segment }) => (most === undefined || segment > most ? segment : most),
      undefined,
    );
  const range = (from: Lsn, last: bigint | undefined): bigint[] => {
    const found: bigint[] = [];
    for (let segment = segmentOf(from); last !== undefined && segment <= last; segment++) found.push(segment);
    return found;
  };

  const missing = ({ startLsn, isEncrypted }: Start, last: bigint): string[] =>
    range(startLsn, last)
      .filter((segment) => !find(segment, isEncrypted ? sealed : archived))
      .map((segment) => segmentName(timelineAt(stretches, segment), segment));

  return {
    newestSegment: newest,
    timelineLeftAt: (time) => {
      const used = stretches.findLast(({ timeline }) => beginOf(folder, timeline) <= time.getTime());
      return used?.end === undefined ? undefined : used.timeline;
    },
    includes: (timeline, lsn) =>
      stretches.some(
        (each) =>
          each.timeline === timeline && (each.end === undefined || parseLsn(lsn) <= parseLsn(each.end)),
      ),
    missing: (backup, to) => missing(backup, segmentBefore(to)),
    missingToNewest: (backup, atLeast) => {
      const least = segmentBefore(atLeast);
      return missing(backup, newest !== undefined && newest > least ? newest : least);
    },
    segments: (from) => range(from, newest).flatMap((segment) => find(segment) ?? []),
  };
}

/**
 * The time at which a restore began a timeline. The history itself only says where in the WAL it begins, so the archive keeps the
 * time of the file. A copy of the archive may have later times: then a time is looked for on the earlier
 * timeline, whose WAL ends before it, and the restore fails.
 */
function beginOf(folder: string, timeline: number): number {
  const path = findPacked(walFolder(folder), historyName(timeline));
  return path ? statSync(path).mtimeMs : Number.NEGATIVE_INFINITY;
}

function historyName(timeline: number): string {
  return `${timeline.toString(16).toUpperCase().padStart(8, "0")}.history`;
}

function timelineAt(stretches: readonly Stretch[], segment: bigint): number {
  return stretches.find(({ end }) => end === undefined || segment <= segmentBefore(end))!.timeline;
}

/** A history file has a line for each timeline before: its number, the position at which it was left, and the reason. */
async function readHistory(folder: string, keys: Keys, timeline: number): Promise<Stretch[]> {
  const name = historyName(timeline);
  const path = findPacked(walFolder(folder), name);
  const own = { timeline, end: undefined };
  if (!path) return [own];
  const text = await unpackWhole(path, keys, sealedName(name)).catch((error) => {
    throw explainDamage(error, join(walFolder(folder), name));
  });
  return [...parseHistory(text.toString("utf8")), own];
}

/** Reads the positions at which earlier timelines were left. */
export function parseHistory(text: string): (Stretch & { readonly end: Lsn })[] {
  const before = [...text.matchAll(/^\s*(\d+)\s+([0-9A-F]+\/[0-9A-F]+)/gm)];
  return before.map(([, number, end]) => ({ timeline: Number(number), end: end! }));
}
