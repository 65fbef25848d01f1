import { compareVersions } from "../support/compare-versions.ts";
import { type ChangelogEntry, entriesBetween } from "./changelog.ts";
import type { DatabaseVersion } from "./database-version.ts";

/** Notes that an operator reads before an upgrade. */
export interface UpgradeNotes {
  /** The version that migrated the database last; null if it is new or older than all releases. */
  readonly from: string | null;
  readonly to: string;
  /** Whether the database is of a version after this one. */
  readonly isNewer: boolean;
  /** Newest first. */
  readonly changes: readonly ChangelogEntry[];
  readonly before: readonly string[];
  readonly after: readonly string[];
}

export function upgradeNotes(options: {
  readonly database: DatabaseVersion;
  readonly to: string;
  readonly changelog: readonly ChangelogEntry[];
  /** Variables PLINTH_… that are not settings of this version. */
  readonly unknownSettings: readonly string[];
  readonly isEmbedded: boolean;
}): UpgradeNotes {
  const { database, to, changelog, unknownSettings, isEmbedded } = options;
  const { version, isMigrated, compatibilitySchemas, hasVectors } = database;
  const isNew = !isMigrated;
  return {
    from: version ?? null,
    to,
    isNewer: version !== undefined && compareVersions(version, to) > 0,
    changes: isNew ? [] : entriesBetween(changelog, version, to),
    before: [
      ...(isNew ? [] : [backupStep(isEmbedded)]),
      ...unknownSettings.map(
        (name) => `Remove or rename ${name}: this version has no such setting, see docs/settings.md.`,
      ),
    ],
    after: [
      ...(compatibilitySchemas.length > 0
        ? [`Bring ${compatibilitySchemas.join(", ")} up to date: npx plinth compat enable`]
        : []),
      ...(hasVectors ? ["Bring the vectors of memories up to date: npx plinth memory enable-vectors"] : []),
      "Start serve, work and answer of this version, and stop those of the version before.",
      "Check the result: npx plinth doctor",
    ],
  };
}

function backupStep(isEmbedded: boolean): string {
  return isEmbedded
    ? "Back up the database: npx plinth backup (docs/operations.md#backups)"
    : "Back up the database with the tool of its server (docs/backups.md).";
}
