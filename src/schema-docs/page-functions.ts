import type { CatalogueObject } from "../drift/catalogue.ts";
import { lowerCaseKeywords } from "../schema-dump/sql-text.ts";
import type { Catalogued } from "./catalogued.ts";
import { namesOf } from "./identifiers.ts";
import type { PageFunction, PageType } from "./page-data.ts";
import { callersOf } from "./page-grants.ts";
import { shortType } from "./short-type.ts";

/** The functions of the schemas, by name. */
export function functionsOf(
  objects: readonly CatalogueObject[],
  catalogued: Catalogued,
  schemas: readonly string[],
): PageFunction[] {
  return objects
    .filter(({ kind }) => ["function", "procedure", "aggregate"].includes(kind))
    .flatMap(({ name: written, properties }): PageFunction[] => {
      const [, qualified, identity] = /^([^(]+)\((.*)\)$/s.exec(written)!;
      const [schema = "", name = ""] = namesOf(qualified!);
      if (!schemas.includes(schema)) return [];
      const callers = callersOf(written, catalogued);
      return [
        {
          schema,
          name,
          arguments: lowerCaseKeywords(shortType(properties.arguments ?? identity!)),
          returns: lowerCaseKeywords(shortType(properties.returns ?? "")),
          comment: catalogued.comments.get(`function ${written}`) ?? "",
          ...(properties.volatility && { volatility: properties.volatility }),
          ...(properties["security definer"] && { isDefiner: true }),
          ...(callers.length > 0 && { callers }),
        },
      ];
    })
    .sort(
      (a, b) => compare(a.name, b.name) || compare(a.schema, b.schema) || compare(a.arguments, b.arguments),
    );
}

/** Domains and composite types, by name. */
export function typesOf(objects: readonly CatalogueObject[], { comments }: Catalogued): PageType[] {
  return objects
    .filter(({ kind }) => kind === "type" || kind === "domain")
    .map(({ kind, name: written, properties }) => {
      const [schema = "", name = ""] = namesOf(written);
      return {
        schema,
        name,
        kind: kind === "domain" ? "domain" : "type",
        text: lowerCaseKeywords(properties.definition ?? ""),
        comment: comments.get(`type ${written}`) ?? "",
      };
    })
    .sort((a, b) => compare(a.name, b.name) || compare(a.schema, b.schema));
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
