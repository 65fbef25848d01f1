import type { Change, Difference } from "./compare.ts";

/** Properties that change speed or size, but neither access nor results. */
const HARMLESS = ["storage options", "statistics", "storage", "cost", "rows", "parallel", "support"];

/** Kinds of objects that by existing give or take access, or change what statements mean. */
const POWERFUL = [
  "grant",
  "revoke",
  "default privileges",
  "setting",
  "rule",
  "operator",
  "operator class",
  "cast",
  "extension",
];

/** Whether a difference may give or take access, or change results. */
export function isDangerous({ kind, object, changes }: Difference): boolean {
  if (kind === "changed") return changes.some((change) => !isHarmless(change));
  // Without its search path, a role must write names in full; that is all.
  if (kind === "missing") return object.kind !== "setting";
  return POWERFUL.includes(object.kind) || opens(object.kind, object.properties);
}

function isHarmless({ property }: Change): boolean {
  return HARMLESS.includes(property);
}

function opens(kind: string, properties: Difference["object"]["properties"]): boolean {
  if (kind === "policy") return !("restrictive" in properties);
  // Rows of an inheriting table appear in its parent.
  if (kind === "table") return "inherits" in properties;
  // Some providers add functions to the system's schema.
  return (
    /^(function|procedure)$/.test(kind) &&
    !("outside" in properties) &&
    ("security definer" in properties || ["c", "internal"].includes(properties.language ?? ""))
  );
}
