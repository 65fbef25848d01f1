import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { compareVersions } from "../support/compare-versions.ts";
import { PACKAGE_ROOT } from "../support/paths.ts";

/** The changes of one version, as CHANGELOG.md has them. */
export interface ChangelogEntry {
  /** "Unreleased" for changes that no version has yet. */
  readonly version: string;
  /** The day of the release; undefined while it is unreleased. */
  readonly date: string | undefined;
  /** Its Markdown below the heading. */
  readonly text: string;
}

export const UNRELEASED = "Unreleased";

const HEADING = /^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$/m;

/** Returns the entries, newest first. */
export function parseChangelog(markdown: string): ChangelogEntry[] {
  return markdown.split(/^(?=## )/m).flatMap((section) => {
    const [heading, version = "", date] = HEADING.exec(section) ?? [];
    return heading === undefined ? [] : [{ version, date, text: section.slice(heading.length).trim() }];
  });
}

export async function readChangelog(): Promise<ChangelogEntry[]> {
  return parseChangelog(await readFile(join(PACKAGE_ROOT, "CHANGELOG.md"), "utf8"));
}

/** Returns the entries of the versions after `from` up to `to`, newest first; without `from`, all up to `to`. */
export function entriesBetween(
  entries: readonly ChangelogEntry[],
  from: string | undefined,
  to: string,
): ChangelogEntry[] {
  return entries.filter(
    ({ version }) =>
      version !== UNRELEASED &&
      compareVersions(version, to) <= 0 &&
      (from === undefined || compareVersions(version, from) > 0),
  );
}
