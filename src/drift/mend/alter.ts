import { type CatalogueObject, titleOf } from "../catalogue.ts";
import type { Difference } from "../compare.ts";
import { columnSteps } from "./alter-column.ts";
import { constraintSteps, rebuildUnlessInherited, reindexStep } from "./alter-part.ts";
import { optionSteps, sequenceSql, tableSteps } from "./alter-relation.ts";
import { domainSteps, typeSteps } from "./alter-type.ts";
import { defaultPrivilegeSteps, grantSteps } from "./grants.ts";
import { enabledStep, policySql } from "./relation-parts.ts";
import { settingSteps } from "./settings.ts";
import { type MendContext, REBUILD, remark, type Step } from "./step.ts";
import { targetOf } from "./target.ts";
import { dictionarySteps, mappingSteps } from "./text-search.ts";

/**
 * The steps that change an object in place. Properties that need no other treatment (owner, comment) are the same for all kinds.
 */
export function alterSteps(difference: Difference, context: MendContext): Step[] | typeof REBUILD {
  const { object, changes } = difference;
  const found = context.found.get(titleOf(object))!;
  const names = changes.map(({ property }) => property).filter((property) => !COMMON.includes(property));
  const special = names.length === 0 ? [] : specialSteps(object, found, names, context);
  if (special === REBUILD) return REBUILD;
  return [...commonSteps(difference, context), ...special];
}

const COMMON = ["owner", "tags"];

function commonSteps({ object, changes }: Difference, { source }: MendContext): Step[] {
  return changes.flatMap(({ property, expected }): Step[] => {
    if (property === "owner")
      // Only a superuser, or a member of both roles, may give an object away.
      return [
        {
          phase: "administrator",
          sql: `alter ${ownedTarget(object)} owner to ${expected ?? ":PLINTH_OWNER"};`,
        },
      ];
    return property === "tags" ? [{ phase: "comment", sql: source.comment(object) }] : [];
  });
}

const ownedTarget = (object: CatalogueObject) =>
  /^(function|procedure|aggregate)$/.test(object.kind) ? `routine ${object.name}` : targetOf(object);

function specialSteps(
  object: CatalogueObject,
  found: CatalogueObject,
  names: readonly string[],
  context: MendContext,
): Step[] | typeof REBUILD {
  switch (object.kind) {
    case "table":
    case "foreign table":
      return names.flatMap((property) => tableSteps(object, found, property));
    case "column":
      return columnSteps(object, found, names);
    case "view":
      return names.includes("definition") ? REBUILD : optionSteps(object, found, "options");
    case "materialized view":
      return names.includes("definition") ? REBUILD : optionSteps(object, found, "storage options");
    case "sequence":
      return [{ phase: "alter", sql: sequenceSql(object) }];
    case "constraint":
      return constraintSteps(object, found, names, context);
    case "index":
      if (names.some((property) => property !== "invalid")) return rebuildUnlessInherited(object, context);
      return [reindexStep(object, context)];
    case "trigger":
    case "rule":
      if (names.some((property) => property !== "enabled")) return rebuildUnlessInherited(object, context);
      return [enabledStep(object)];
    case "policy":
      return [
        { phase: "drop", sql: `drop policy ${object.name} on ${object.on};` },
        { phase: "policy", sql: policySql(object) },
        { phase: "comment", sql: context.source.comment(object) },
      ];
    case "grant":
      return grantSteps(object, found, context);
    case "default privileges":
      return defaultPrivilegeSteps(object, object, found);
    case "setting":
      return settingSteps(object, context);
    case "function":
    case "procedure":
      return functionSteps(object, found, names, context);
    case "domain":
      return domainSteps(object, found);
    case "type":
      return typeSteps(object, found);
    case "text search configuration":
      return names.includes("parser") ? REBUILD : mappingSteps(object, found);
    case "text search dictionary":
      return dictionarySteps(object, found);
    default:
      return REBUILD;
  }
}

/** CREATE OR REPLACE sets every attribute, but keeps the result's type and cannot remove the default of an argument. */
function functionSteps(
  { name, properties }: CatalogueObject,
  found: CatalogueObject,
  names: readonly string[],
  { source }: MendContext,
): Step[] | typeof REBUILD {
  const lostDefault = (found.properties.arguments ?? "").split(" DEFAULT ").length;
  const hasFewerDefaults = (properties.arguments ?? "").split(" DEFAULT ").length < lostDefault;
  if (names.includes("returns") || names.includes("window") || hasFewerDefaults) return REBUILD;
  const statements = source.create({ kind: "function", name, properties });
  if (statements.length === 0) return [remark("create", `No file has the text of ${name}.`)];
  return statements.map((sql) => ({ phase: "create", sql, makes: name.split("(")[0]! }));
}
