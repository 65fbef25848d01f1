import type { CatalogueObject } from "../catalogue.ts";
import { remark, type Step } from "./step.ts";

/** Sets a property of a table. */
export function tableSteps(table: CatalogueObject, found: CatalogueObject, property: string): Step[] {
  const value = table.properties[property];
  const alter = (change: string, manual?: string): Step[] => [
    { phase: "alter", sql: `alter table ${table.name} ${change};`, ...(manual && { manual }) },
  ];
  switch (property) {
    case "row security":
      return alter(`${value ? "enable" : "disable"} row level security`);
    case "forced row security":
      return alter(`${value ? "" : "no "}force row level security`);
    case "persistence":
      return alter(`set ${value === "unlogged" ? "unlogged" : "logged"}`);
    case "storage options":
    case "options":
      return optionSteps(table, found, property);
    case "replica identity": {
      const words: Readonly<Record<string, string>> = { f: "full", n: "nothing" };
      return alter(`replica identity ${words[value ?? ""] ?? "default"}`);
    }
    case "inherits":
      return alter(`no inherit ${found.properties.inherits}`, "Its rows no longer appear in the parent.");
    default:
      return [remark("alter", `The ${property} of ${table.name} can only be set in a new table.`)];
  }
}

/** Options are written `a=1, b=2`. */
export function optionSteps(
  { kind, name, properties }: CatalogueObject,
  found: CatalogueObject,
  property: string,
): Step[] {
  const [wanted, actual] = [properties[property], found.properties[property]].map(optionsOf);
  const surplus = [...actual!.keys()].filter((option) => !wanted!.has(option));
  const set = [...wanted!].map(([option, value]) => `${option} = ${value}`);
  return [
    ...(surplus.length > 0 ? [`reset (${surplus.join(", ")})`] : []),
    ...(set.length > 0 ? [`set (${set.join(", ")})`] : []),
  ].map((change) => ({ phase: "alter", sql: `alter ${kind} ${name} ${change};` }));
}

const optionsOf = (text: string | undefined) =>
  new Map((text?.split(", ") ?? []).map((option) => option.split("=", 2) as [string, string]));

export function sequenceSql({ name, properties }: CatalogueObject): string {
  const options = properties
    .sequence!.replace("increment", "increment by")
    .replace("minimum", "minvalue")
    .replace("maximum", "maxvalue")
    .replace("start", "start with");
  return `alter sequence ${name} as ${options}${options.endsWith("cycle") ? "" : " no cycle"};`;
}
