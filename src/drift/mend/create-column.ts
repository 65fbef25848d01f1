import type { CatalogueObject } from "../catalogue.ts";
import { remark, type Step } from "./step.ts";

/** Adds a column. Rows need a value before NOT NULL holds. */
export function newColumnSteps(column: CatalogueObject): Step[] {
  const { name, on, properties } = column;
  const { "not null": notNull, generated, default: value, identity } = properties;
  const hasValue = generated !== undefined || identity !== undefined || value !== undefined;
  const steps: Step[] = [
    {
      phase: "create",
      sql: `alter table ${on} add column ${name} ${columnType(column)}${columnValue(column)}${
        notNull && hasValue && identity === undefined ? " not null" : ""
      };`,
      makes: on!,
    },
  ];
  if (generated === undefined)
    steps.push(remark("create", `The values of ${on}.${name} must come from a backup.`));
  if (notNull && !hasValue)
    steps.push({
      phase: "alter",
      sql: `alter table ${on} alter column ${name} set not null;`,
      manual: "Run it after the values have come from a backup.",
    });
  return [...steps, ...storageSteps(column)];
}

/** Storage and statistics cannot be set while a column is added. */
export function storageSteps({ name, on, properties }: CatalogueObject): Step[] {
  const words = { p: "plain", e: "external", x: "extended", m: "main" } as Readonly<Record<string, string>>;
  const settings = [
    properties.statistics && `statistics ${properties.statistics}`,
    properties.storage && `storage ${words[properties.storage] ?? "default"}`,
  ].filter((setting) => setting !== undefined);
  return settings.map((setting) => ({
    phase: "alter",
    sql: `alter table ${on} alter column ${name} set ${setting};`,
  }));
}

export function columnType({ properties }: CatalogueObject): string {
  return `${properties.type}${properties.collation ? ` collate ${properties.collation}` : ""}`;
}

function columnValue({ properties: { generated, identity, default: value } }: CatalogueObject): string {
  if (generated !== undefined) return ` generated always as (${value}) ${generated}`;
  if (identity !== undefined) return ` generated ${identity} as identity`;
  return value === undefined ? "" : ` default ${value}`;
}
