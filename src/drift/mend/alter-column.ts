import type { CatalogueObject } from "../catalogue.ts";
import { columnType, storageSteps } from "./create-column.ts";
import { REBUILD, type Step } from "./step.ts";

const INTEGERS = ["smallint", "integer", "bigint"];

/** Changes a column in place. A computed column can only be created again, which computes its values again. */
export function columnSteps(
  column: CatalogueObject,
  found: CatalogueObject,
  names: readonly string[],
): Step[] | typeof REBUILD {
  const { name, on, properties } = column;
  if (properties.generated !== undefined && names.some((each) => /^(generated|default|type)$/.test(each)))
    return REBUILD;
  const alter = (change: string, manual?: string): Step => ({
    phase: "alter",
    sql: `alter table ${on} alter column ${name} ${change};`,
    ...(manual && { manual }),
  });
  const steps: Step[] = [];
  if (found.properties.generated !== undefined)
    steps.push(
      found.properties.generated === "stored"
        ? alter("drop expression")
        : alter("drop expression", "PostgreSQL cannot keep the values of a virtual column."),
    );
  if (names.includes("type") || names.includes("collation")) {
    const isSafe = [properties.type, found.properties.type].every((type) => INTEGERS.includes(type ?? ""));
    // A default of the former type may not fit the new one.
    if (found.properties.default !== undefined && found.properties.generated === undefined)
      steps.push({ ...alter("drop default"), phase: "type" });
    const manual =
      isSafe || properties.type === found.properties.type
        ? undefined
        : `The conversion from ${found.properties.type} may change values or need USING; lost values must come from a backup.`;
    steps.push({ ...alter(`type ${columnType(column)}`, manual), phase: "type" });
  }
  if (names.includes("identity")) steps.push(...identitySteps(column, found, alter));
  if ((names.includes("default") || names.includes("type")) && properties.identity === undefined)
    if (properties.default !== undefined) steps.push(alter(`set default ${properties.default}`));
    else if (found.properties.default !== undefined && found.properties.generated === undefined)
      steps.push(alter("drop default"));
  if (names.includes("not null")) steps.push(alter(`${properties["not null"] ? "set" : "drop"} not null`));
  if (names.includes("statistics") || names.includes("storage"))
    steps.push(...restoredSteps(column, names, alter));
  return steps;
}

function identitySteps(
  { properties: { identity } }: CatalogueObject,
  found: CatalogueObject,
  alter: (change: string, manual?: string) => Step,
): Step[] {
  if (identity === undefined) return [alter("drop identity")];
  if (found.properties.identity !== undefined) return [alter(`set generated ${identity}`)];
  return [
    ...(found.properties.default === undefined ? [] : [alter("drop default")]),
    alter(`add generated ${identity} as identity`, "Its sequence must restart above the largest value."),
  ];
}

function restoredSteps(
  column: CatalogueObject,
  names: readonly string[],
  alter: (change: string) => Step,
): Step[] {
  const steps = storageSteps(column);
  if (names.includes("statistics") && column.properties.statistics === undefined)
    steps.push(alter("set statistics -1"));
  if (names.includes("storage") && column.properties.storage === undefined)
    steps.push(alter("set storage default"));
  return steps;
}
