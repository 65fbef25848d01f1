import { lowerCaseKeywords } from "../../schema-dump/sql-text.ts";
import type { CatalogueObject } from "../catalogue.ts";
import type { Step } from "./step.ts";

export function constraintStep({ name, on, properties }: CatalogueObject): Step {
  const definition = properties.definition!;
  const sql = `alter table ${on} add constraint ${name} ${lowerCaseKeywords(definition)};`;
  // A view that groups by a primary key needs it.
  if (definition.startsWith("PRIMARY KEY")) return { phase: "create", sql, makes: on! };
  return { phase: definition.startsWith("FOREIGN KEY") ? "foreign key" : "constraint", sql };
}

export function indexSql({ name, on, properties }: CatalogueObject): string {
  const unique = properties.unique ? "unique " : "";
  return `create ${unique}index ${name} on ${on} ${lowerCaseKeywords(properties.definition!)};`;
}

/** The comparison leaves the name of the table out of the definition. */
export function triggerSql({ on, properties }: CatalogueObject): string {
  const definition = properties.definition!.replace(
    / (?=(?:FROM|NOT DEFERRABLE|DEFERRABLE|REFERENCING|FOR EACH) )/,
    ` ON ${on} `,
  );
  return `${lowerCaseKeywords(definition)};`;
}

const ENABLED: Readonly<Record<string, string>> = {
  no: "disable",
  "on replicas only": "enable replica",
  always: "enable always",
};

export function enabledStep({ kind, name, on, properties }: CatalogueObject): Step {
  const verb = ENABLED[properties.enabled ?? ""] ?? "enable";
  return { phase: "trigger", sql: `alter table ${on} ${verb} ${kind} ${name};` };
}

export function policySql({ name, on, properties }: CatalogueObject): string {
  const { command, restrictive, to, using, "with check": check } = properties;
  const lines = [
    `create policy ${name} on ${on}${restrictive ? " as restrictive" : ""}`,
    `  for ${command} to ${to}`,
    ...(using === undefined ? [] : [`  using (${lowerCaseKeywords(using)})`]),
    ...(check === undefined ? [] : [`  with check (${lowerCaseKeywords(check)})`]),
  ];
  return `${lines.join("\n")};`;
}
