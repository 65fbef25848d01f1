import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PlinthError } from "../support/errors.ts";
import { makeFolder, namesIn, unlessMissing, writeWhole } from "../support/files.ts";
import { type Lsn, parseLsn } from "./wal-names.ts";

/** A file of a base backup, as it is stored. */
export interface StoredFile {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Number of rows and a checksum of them, in any order. */
export interface TableContents {
  readonly rows: string;
  readonly checksum: string;
}

/** The contents of all tables at a point of the WAL. */
export interface Reference {
  /** Name of the restore point. */
  readonly point: string;
  readonly lsn: Lsn;
  readonly tables: Readonly<Record<string, TableContents>>;
}

/** `backup.json`, which is written last: a backup without it is unfinished. */
export interface Backup {
  readonly id: string;
  readonly label: string | null;
  readonly startedAt: string;
  readonly finishedAt: string;
  /** "18.4" */
  readonly postgresVersion: string;
  readonly systemIdentifier: string;
  readonly timeline: number;
  readonly startLsn: Lsn;
  readonly endLsn: Lsn;
  readonly isEncrypted: boolean;
  readonly files: readonly StoredFile[];
  /** Null if no moment was found at which the contents are known exactly. */
  readonly reference: Reference | null;
}

/** The result of the last `plinth backup verify`. */
export interface Verification {
  readonly at: string;
  readonly seconds: number;
  readonly isSound: boolean;
  /** Sentences. */
  readonly findings: readonly string[];
}

export interface ListedBackup {
  readonly id: string;
  /** Undefined for an unfinished backup. */
  readonly backup: Backup | undefined;
  readonly verification: Verification | undefined;
}

/** A named point, to which a restore can return. */
export interface RestorePoint {
  readonly name: string;
  readonly at: string;
  readonly timeline: number;
  readonly lsn: Lsn;
}

export function baseFolder(folder: string, id = ""): string {
  return join(folder, "base", id);
}

export function pointsFolder(folder: string): string {
  return join(folder, "points");
}

/** The position up to which the WAL must be archived for the backup to be worth something, and to be verified. */
export function neededLsn({ reference, endLsn }: Backup): Lsn {
  return reference?.lsn ?? endLsn;
}

/** All complete backups, oldest first, then the unfinished ones. */
export function listBackups(folder: string): ListedBackup[] {
  return (namesIn(baseFolder(folder)) ?? [])
    .map((id) => ({
      id,
      backup: readRecord<Backup>(join(baseFolder(folder, id), "backup.json"), { id }),
      verification: readJson<Verification>(join(baseFolder(folder, id), "verification.json")),
    }))
    .sort(byPosition);
}

/** In the order of the WAL. The times, of which the ids are made, follow a clock that may have been wrong. */
function byPosition(a: ListedBackup, b: ListedBackup): number {
  if (!a.backup || !b.backup) return Number(!a.backup) - Number(!b.backup) || (a.id < b.id ? -1 : 1);
  const timelines = a.backup.timeline - b.backup.timeline;
  return timelines || (parseLsn(a.backup.startLsn) < parseLsn(b.backup.startLsn) ? -1 : 1);
}

/** The complete backups, oldest first. */
export function completeBackups(folder: string): Backup[] {
  return listBackups(folder).flatMap(({ backup }) => backup ?? []);
}

/** @throws PlinthError NO_SUCH_BACKUP */
export function findBackup(folder: string, id: string): Backup {
  const found = completeBackups(folder).find((backup) => backup.id === id);
  if (found) return found;
  throw new PlinthError("NO_SUCH_BACKUP", `There is no complete backup ${id} in ${folder}.`, {
    hint: "plinth backup list shows the backups.",
  });
}

/** Makes a backup complete. */
export function writeBackup(folder: string, backup: Backup): void {
  writeWhole(join(baseFolder(folder, backup.id), "backup.json"), toText(backup));
}

export function writeVerification(folder: string, id: string, verification: Verification): void {
  writeWhole(join(baseFolder(folder, id), "verification.json"), toText(verification));
}

export function listPoints(folder: string): RestorePoint[] {
  return (namesIn(pointsFolder(folder)) ?? [])
    .flatMap((file) => {
      const name = /^(.+)\.json$/.exec(file)?.[1];
      return (name && readRecord<RestorePoint>(join(pointsFolder(folder), file), { name })) || [];
    })
    .sort((a, b) => a.at.localeCompare(b.at));
}

/** @returns false if a point has this name already */
export function writePoint(folder: string, point: RestorePoint): boolean {
  makeFolder(pointsFolder(folder));
  const path = join(pointsFolder(folder), `${point.name}.json`);
  return writeWhole(path, toText(point), { onlyIfMissing: true });
}

function toText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/**
 * Reads a record. Its name is that of its file or folder, whatever it says: paths are made of names, and one that leads elsewhere
 * would have other files deleted.
 */
function readRecord<T>(path: string, name: Partial<T>): T | undefined {
  const record = readJson<T>(path);
  return record && { ...record, ...name };
}

/** A file that another process deletes meanwhile counts as missing. */
function readJson<T>(path: string): T | undefined {
  const text = unlessMissing(() => readFileSync(path, "utf8"));
  try {
    return text === undefined ? undefined : (JSON.parse(text) as T);
  } catch (cause) {
    throw damagedRecord(path, cause);
  }
}

function damagedRecord(path: string, cause?: unknown): PlinthError {
  return new PlinthError("BACKUP_DAMAGED", `${path} is damaged.`, {
    hint: "Delete it, or restore it from a copy of the folder.",
    cause,
  });
}
