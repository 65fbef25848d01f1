import type { CatalogueObject } from "../catalogue.ts";
import type { MendContext } from "./step.ts";
import { schemaOf, targetOf } from "./target.ts";

/** Kinds whose rows or values are lost with them. */
const WITH_ROWS = ["table", "foreign table", "column"];

/** Why a person must decide about dropping an object; undefined for an object without rows of its own. */
export function lossOf({ kind }: CatalogueObject): string | undefined {
  return WITH_ROWS.includes(kind)
    ? `Deletes the ${kind === "column" ? "values of the column" : "rows of the table"}; run it only if nothing needs them.`
    : undefined;
}

/** The statements that drop an object, without what depends on it. */
export function dropStatements(object: CatalogueObject, { dependencies }: MendContext): string[] {
  const { kind, name, on } = object;
  switch (kind) {
    case "column":
    case "constraint":
      return [`alter table ${on} drop ${kind} if exists ${name};`];
    case "policy":
    case "rule":
    case "trigger":
      return [`drop ${kind} if exists ${name} on ${on};`];
    case "index":
    case "statistics":
      return [`drop ${kind} if exists ${schemaOf(on!)}${name};`];
    case "function":
    case "procedure":
    case "aggregate": {
      const extension = dependencies.extensionOf(object);
      const target = `${kind} ${name}`;
      return [
        ...(extension === undefined ? [] : [`alter extension ${extension} drop ${target};`]),
        `drop ${target};`,
      ];
    }
    default:
      return [`drop ${targetOf(object)};`];
  }
}
