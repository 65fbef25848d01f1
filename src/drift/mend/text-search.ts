import type { CatalogueObject } from "../catalogue.ts";
import { REBUILD, type Step } from "./step.ts";

/** Changes the mapping of each kind of token that differs. Its text is `word: dictionary, dictionary; …`. */
export function mappingSteps({ name, properties }: CatalogueObject, found: CatalogueObject): Step[] {
  const [wanted, actual] = [properties.mapping, found.properties.mapping].map(mappingOf);
  const alter = (change: string): Step => ({
    phase: "alter",
    sql: `alter text search configuration ${name} ${change};`,
  });
  return [
    ...[...actual!.keys()]
      .filter((token) => !wanted!.has(token))
      .map((token) => alter(`drop mapping for ${token}`)),
    ...[...wanted!]
      .filter(([token, dictionaries]) => actual!.get(token) !== dictionaries)
      .map(([token, dictionaries]) =>
        alter(`${actual!.has(token) ? "alter" : "add"} mapping for ${token} with ${dictionaries}`),
      ),
  ];
}

const mappingOf = (text: string | undefined) =>
  new Map((text?.split("; ") ?? []).map((entry) => entry.split(": ", 2) as [string, string]));

/** The options follow the template, which cannot be changed. */
export function dictionarySteps(
  { name, properties }: CatalogueObject,
  found: CatalogueObject,
): Step[] | typeof REBUILD {
  const [template, ...options] = properties.definition!.split(", ");
  if (!found.properties.definition!.startsWith(template!) || options.length === 0) return REBUILD;
  return [{ phase: "alter", sql: `alter text search dictionary ${name} (${options.join(", ")});` }];
}
