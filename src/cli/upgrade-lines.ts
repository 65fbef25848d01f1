import type { UpgradeNotes } from "../upgrade/upgrade-notes.ts";
import { oneLine } from "./output.ts";

/** The notes for a terminal: the versions and the changes. */
export function changeLines({ from, to, changes }: UpgradeNotes, isMigrated: boolean): string[] {
  if (!isMigrated) return [`The database is new. This is Plinth ${to}.`];
  const version = from === null ? "a version from before the first release" : `version ${from}`;
  const lines = [`The database has ${version}. This is Plinth ${to}.`];
  for (const { version, date, text } of changes)
    lines.push("", `${version}${date ? ` (${date})` : ""}`, "", ...text.split("\n"));
  return lines.map((line) => line.replace(/\S.*/, oneLine));
}

/** A titled list; nothing for an empty one. */
export function stepLines(title: string, steps: readonly string[]): string[] {
  return steps.length === 0 ? [] : ["", `${title}:`, ...steps.map((step) => `  - ${oneLine(step)}`)];
}
