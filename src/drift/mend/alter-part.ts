import type { CatalogueObject } from "../catalogue.ts";
import { isInheritedPart } from "./create.ts";
import { type MendContext, REBUILD, remark, type Step } from "./step.ts";
import { schemaOf, targetOf } from "./target.ts";

export function constraintSteps(
  constraint: CatalogueObject,
  found: CatalogueObject,
  names: readonly string[],
  context: MendContext,
): Step[] | typeof REBUILD {
  const { name, on, properties } = constraint;
  if (isInheritedPart(constraint, context)) {
    if (names.includes("disabled triggers"))
      return [{ phase: "administrator", sql: `alter table ${on} enable trigger all;` }];
    if (names.includes("invalid index")) return [reindexStep(constraint, context)];
  } else if (names.length === 1) {
    if (found.properties.definition === `${properties.definition} NOT VALID`)
      return [{ phase: "constraint", sql: `alter table ${on} validate constraint ${name};` }];
    if (names[0] === "invalid index") return [reindexStep(constraint, context)];
  }
  // The triggers of a foreign key belong to the server. A new foreign key also checks the rows written without them.
  return rebuildUnlessInherited(constraint, context);
}

/** An index of a partition has a name that only the server knows. */
export function reindexStep(part: CatalogueObject, context: MendContext): Step {
  const { name, on } = part;
  const isPartitioned = "partition key" in (context.expected.get(`table ${on}`)?.properties ?? {});
  if (isPartitioned)
    return remark(
      "index",
      `The index ${schemaOf(on!)}${name} is invalid because a partition lacks its own: create and attach that.`,
    );
  return isInheritedPart(part, context)
    ? { phase: "index", sql: `reindex table ${on};` }
    : { phase: "index", sql: `reindex index ${schemaOf(on!)}${name};` };
}

export function rebuildUnlessInherited(part: CatalogueObject, context: MendContext): Step[] | typeof REBUILD {
  if (!isInheritedPart(part, context)) return REBUILD;
  const manual = `${targetOf(part)} differs from that of the parent: detach the partition, create it again and attach it.`;
  return [remark("alter", manual)];
}
