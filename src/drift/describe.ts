import { titleOf } from "./catalogue.ts";
import type { Change, Difference } from "./compare.ts";

/** Properties of which only a hash is known. */
const HASHED = /^[\w-]{43}(?: or [\w-]{43})*$/;

/** One line: `policy select_own on identity.users: expected using (…), found using true`. */
export function describeDifference({ kind, object, changes }: Difference): string {
  const title = titleOf(object);
  if (object.kind === "grant" || object.kind === "default privileges") {
    const [before, after] = [sideOf(changes, "expected"), sideOf(changes, "found")];
    return `${title}: expected ${before}, found ${after}`;
  }
  if (object.kind === "revoke") return `${title}: ${object.properties.privileges}`;
  if (kind === "missing") return `${title}: missing`;
  if (kind === "extra") return `${title}: not made by the migrations`;
  return `${title}: ${changes.map(describeChange).join("; ")}`;
}

function describeChange({ property, expected, found }: Change): string {
  if (HASHED.test(expected ?? "") || HASHED.test(found ?? "")) return `the ${property} differs`;
  const none = expected === "yes" || found === "yes" ? "no" : "none";
  const [before, after] = shorten(expected ?? none, found ?? none);
  return `expected ${property} ${before}, found ${after}`;
}

/** `select, update (email, name)` */
function sideOf(changes: readonly Change[], side: "expected" | "found"): string {
  const texts = Object.entries(Object.fromEntries(changes.map((each) => [each.property, each[side]])))
    .filter((entry): entry is [string, string] => entry[1] !== undefined)
    .map(([privilege, scope]) => describeScope(privilege, scope.split(", ")));
  return texts.length === 0 ? "none" : texts.join(", ");
}

/** A star is the whole object, other names are columns; a role's future privileges are listed as they are. */
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
