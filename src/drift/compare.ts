import { isExpected } from "./alternative-bodies.ts";
import { type Catalogue, type CatalogueObject, titleOf } from "./catalogue.ts";
import { withOpenArchives } from "./open-archives.ts";
import { withPartitions } from "./partitions.ts";

/** A property that is not as the migrations make it; undefined on the side that lacks it. */
export interface Change {
  readonly property: string;
  readonly expected: string | undefined;
  readonly found: string | undefined;
}

/** An object that is missing, was changed, or that no migration makes. */
export interface Difference {
  readonly kind: "missing" | "changed" | "extra";
  readonly object: CatalogueObject;
  readonly changes: readonly Change[];
}

/**
 * Compares a database with its expected state. Parts of a missing or extra relation are not listed again, except the grants on an
 * extra object: they may show rows of others.
 */
export function compareCatalogues(expected: Catalogue, found: Catalogue): Difference[] {
  const wanted = withOpenArchives(withPartitions(expected, found), found);
  const differences: Difference[] = [];
  for (const [title, object] of wanted) {
    const actual = found.get(title);
    if (!actual) differences.push({ kind: "missing", object, changes: changesOf(object, undefined) });
    else {
      const changes = changesOf(object, actual);
      if (changes.length > 0) differences.push({ kind: "changed", object, changes });
    }
  }
  for (const [title, object] of found)
    if (!wanted.has(title))
      differences.push({ kind: "extra", object, changes: changesOf(undefined, object) });
  return withoutParts(differences);
}

function changesOf(expected: CatalogueObject | undefined, found: CatalogueObject | undefined): Change[] {
  const [before, after] = [expected?.properties ?? {}, found?.properties ?? {}];
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .map((property) => ({ property, expected: before[property], found: after[property] }))
    .filter((change) => !isExpected(change.property, change.expected, change.found));
}

function withoutParts(differences: readonly Difference[]): Difference[] {
  const whole = (kind: Difference["kind"]) =>
    new Set(
      differences
        .filter((each) => each.kind === kind && !each.object.on)
        .map(({ object }) => subjectOf(object)),
    );
  const [missing, extra] = [whole("missing"), whole("extra")];
  return differences.filter(({ kind, object }) => {
    if (object.on === undefined) return true;
    if (kind === "missing") return !missing.has(object.on);
    const showsRows = object.kind === "grant" && !object.on.startsWith("type ");
    return kind !== "extra" || showsRows || !extra.has(object.on);
  });
}

const SUBJECTS: Readonly<Record<string, string>> = {
  aggregate: "function",
  domain: "type",
  procedure: "function",
};

/** The name by which an object's parts and grants refer to it: relations by their name alone. */
export function subjectOf({ kind, name }: CatalogueObject): string {
  return /^(table|view|materialized view|foreign table|sequence)$/.test(kind)
    ? name
    : titleOf({ kind: SUBJECTS[kind] ?? kind, name });
}
