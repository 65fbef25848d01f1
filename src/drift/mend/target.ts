import type { CatalogueObject } from "../catalogue.ts";

/** The schema of a qualified name, with its dot. */
export function schemaOf(name: string): string {
  return /^(?:"(?:[^"]|"")*"|[^".]+)\./.exec(name)?.[0] ?? "";
}

/** The word and the name of an object in COMMENT ON, DROP and ALTER. */
export function targetOf({ kind, name, on }: Pick<CatalogueObject, "kind" | "name" | "on">): string {
  switch (kind) {
    case "column":
      return `column ${on}.${name}`;
    case "index":
    case "statistics":
      return `${kind} ${schemaOf(on!)}${name}`;
    default:
      return on === undefined ? `${kind} ${name}` : `${kind} ${name} on ${on}`;
  }
}
