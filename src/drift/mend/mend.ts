import type { CatalogueObject } from "../catalogue.ts";
import type { Difference } from "../compare.ts";
import { alterSteps } from "./alter.ts";
import { createSteps, isInheritedPart } from "./create.ts";
import { extraSteps, isDroppedEarly, isViewColumn } from "./extra.ts";
import { defaultPrivilegeSteps, grantSteps } from "./grants.ts";
import { inOrder, type ObjectStep } from "./order.ts";
import { Rebuild } from "./rebuild.ts";
import { constraintStep } from "./relation-parts.ts";
import { renamedTables } from "./renamed.ts";
import { settingSteps } from "./settings.ts";
import { isPartition, type MendContext, REBUILD, type Step } from "./step.ts";
import { schemaOf, targetOf } from "./target.ts";

/**
 * Returns the steps that make the database what its migrations make, in an order that runs in one transaction. An object that cannot
 * be changed in place is dropped and created again, with everything of the migrations that depends on it.
 */
export function mendDifferences(differences: readonly Difference[], context: MendContext): ObjectStep[] {
  const rebuild = new Rebuild(context);
  const planned: ObjectStep[] = [];
  const renamed = renamedTables(differences, context);
  const present = new Set(renamed.values());
  for (const difference of differences) {
    const { object } = difference;
    if (comesFromParent(difference, differences, context) || present.has(object.on ?? object.name)) continue;
    if (object.kind === "table" && renamed.has(object.name)) {
      planned.push({ ...renameStep(object, renamed.get(object.name)!), object });
      continue;
    }
    const steps = isDroppedEarly(difference, differences) ? REBUILD : stepsOf(difference, context);
    if (steps === REBUILD) rebuild.add(object);
    else if (changesType(steps) && !rebuild.addUsersOf(object)) continue;
    else planned.push(...steps.map((step) => ({ ...step, object })));
  }
  const steps = planned.filter(({ object }) => !rebuild.has(object) && !rebuild.hasViewOf(object));
  return inOrder([...steps, ...rebuild.steps()], context.dependencies);
}

/** A change that the file runs; what uses the column must be out of its way. */
const changesType = (steps: readonly Step[]) =>
  steps.some(({ phase, manual }) => phase === "type" && manual === undefined);

function renameStep({ name }: CatalogueObject, present: string): Step {
  const target = name.slice(schemaOf(name).length);
  return { phase: "rename", sql: `alter table ${present} rename to ${target};` };
}

/** A change of a partitioned table reaches its partitions. */
function comesFromParent(
  { kind, object, changes }: Difference,
  differences: readonly Difference[],
  { expected }: MendContext,
): boolean {
  if (object.on === undefined || !isPartition(object, expected)) return false;
  const parent = expected.get(`table ${object.on}`)!.properties["partition of"];
  const properties = (list: Difference["changes"]) => list.map(({ property }) => property).join();
  return differences.some(
    (other) =>
      other.kind === kind &&
      other.object.kind === object.kind &&
      other.object.name === object.name &&
      other.object.on === parent &&
      properties(other.changes) === properties(changes),
  );
}

function stepsOf(difference: Difference, context: MendContext): Step[] | typeof REBUILD {
  if (difference.kind === "changed") return alterSteps(difference, context);
  return difference.kind === "missing"
    ? missingSteps(difference.object, context)
    : extraSteps(difference.object, context);
}

function missingSteps(object: CatalogueObject, context: MendContext): Step[] {
  switch (object.kind) {
    case "grant":
      return grantSteps(object, undefined, context);
    case "default privileges":
      return defaultPrivilegeSteps(object, object, undefined);
    case "setting":
      return settingSteps(object, context);
    case "column":
      return isViewColumn(object, context)
        ? [{ phase: "comment", sql: context.source.comment(object) }]
        : createSteps(object, context);
    case "constraint":
      return isInheritedPart(object, context) ? [constraintStep(object)] : createSteps(object, context);
    case "index":
    case "trigger":
      return isInheritedPart(object, context)
        ? [
            {
              phase: "index",
              sql: "",
              manual: `Partition ${object.on} lacks ${object.kind} ${object.name} of its parent: detach the partition, create ${targetOf(object)} and attach it.`,
            },
          ]
        : createSteps(object, context);
    default:
      return createSteps(object, context);
  }
}
