import type { CatalogueObject } from "../drift/catalogue.ts";
import type { Catalogued } from "./catalogued.ts";
import { unquoted } from "./identifiers.ts";
import type { PageRelation } from "./page-data.ts";

/** `user` for `:PLINTH_USER`, the placeholder of the migrations. */
export function roleLabel(name: string): string {
  if (name === "public") return "everyone";
  return name.startsWith(":PLINTH_") ? name.slice(8).toLowerCase() : unquoted(name);
}

/** The grants on a table or view by role and operation: all columns, or their names. */
export function grantsOf(name: string, { parts }: Catalogued): NonNullable<PageRelation["grants"]> {
  const grants = (parts.get(name) ?? []).filter(({ kind }) => kind === "grant");
  return Object.fromEntries(
    grants.sort(byName).map((grant) => [
      roleLabel(grant.name),
      Object.fromEntries(
        Object.entries(grant.properties).map(([operation, scope]) => {
          const columns = scope.split(", ");
          return [operation, columns.includes("*") ? "*" : columns.map(unquoted)];
        }),
      ),
    ]),
  );
}

/** The roles that may execute a function. */
export function callersOf(name: string, { parts }: Catalogued): string[] {
  return (parts.get(`function ${name}`) ?? [])
    .filter(({ kind, properties }) => kind === "grant" && properties.execute !== undefined)
    .map((grant) => roleLabel(grant.name))
    .sort();
}

const byName = (a: CatalogueObject, b: CatalogueObject) => (a.name < b.name ? -1 : 1);
