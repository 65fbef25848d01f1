import { titleOf } from "./catalogue.ts";
import type { Change, Difference } from "./compare.ts";

/** Properties of which only a hash is known. */
const HASHED = /^[\w-]{43}(?: or [\w-]{43})*$/;

/** The names of usual values, which are not stored. */
const USUAL: Readonly<Record<string, string>> = {
  enabled: "yes",
  language: "plpgsql",
  parallel: "unsafe",
  persistence: "permanent",
  volatility: "volatile",
};

/** A line such as `policy select_own on identity.users: expected using (…), found true`. */
export function describeDifference({ kind, object, changes }: Difference): string {
  const title = titleOf(object);
  if (object.kind === "revoke") return `${title}: expected ${object.properties.privileges}, found none`;
  if (object.kind === "grant" || (object.kind === "default privileges" && kind !== "missing")) {
    const [expected, found] = (["expected", "found"] as const).map((side) =>
      describePrivileges(object.kind, changes, side),
    );
    return `${title}: expected ${expected}, found ${found}`;
  }
  if (kind === "missing") return `${title}: missing`;
  if (kind === "extra") return `${title}: not created by the migrations`;
  return `${title}: ${changes.map(describeChange).join("; ")}`;
}

function describeChange({ property, expected, found }: Change): string {
  if (HASHED.test(expected ?? "") || HASHED.test(found ?? "")) return `the ${property} differs`;
  const usual = USUAL[property] ?? (expected === "yes" || found === "yes" ? "no" : "none");
  const [before, after] = shorten(expected ?? usual, found ?? usual);
  return `expected ${property} ${before}, found ${after}`;
}

function describePrivileges(kind: string, changes: readonly Change[], side: "expected" | "found"): string {
  const texts = changes.flatMap(({ property, [side]: value }) => {
    if (value === undefined) return [];
    return [kind === "grant" ? describeScope(property, value.split(", ")) : `${value} to ${property}`];
  });
  return texts.join(", ") || "none";
}

/** A star is the whole object; other names are columns. */
function describeScope(privilege: string, names: readonly string[]): string {
  const columns = names.filter((name) => name !== "*");
  if (columns.length === 0) return privilege;
  return `${names.includes("*") ? `${privilege}, ` : ""}${privilege} (${columns.join(", ")})`;
}

const LONGEST = 80;
const CONTEXT = 20;

/** Two texts from a little before their first difference, with dots for the rest. */
function shorten(one: string, other: string): [string, string] {
  if (one.length <= LONGEST && other.length <= LONGEST) return [one, other];
  let same = 0;
  while (same < Math.min(one.length, other.length) && one[same] === other[same]) same++;
  const start = Math.max(0, same - CONTEXT);
  const cut = (text: string) =>
    `${start > 0 ? "…" : ""}${text.slice(start, start + LONGEST)}${text.length > start + LONGEST ? "…" : ""}`;
  return [cut(one), cut(other)];
}
