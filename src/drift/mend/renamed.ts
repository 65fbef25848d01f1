import type { Catalogue, CatalogueObject } from "../catalogue.ts";
import type { Difference } from "../compare.ts";
import type { MendContext } from "./step.ts";
import { schemaOf } from "./target.ts";

/**
 * Finds tables that were renamed within their schema: a missing table and an added one with the same columns. Their rows are kept.
 * @returns the present name by the name that the migrations give
 */
export function renamedTables(
  differences: readonly Difference[],
  { expected, found }: MendContext,
): ReadonlyMap<string, string> {
  const tables = (kind: Difference["kind"]) =>
    differences
      .filter((each) => each.kind === kind && each.object.kind === "table")
      .map(({ object }) => object);
  const added = tables("extra").filter(({ properties }) => !("partition of" in properties));
  const pairs = tables("missing").flatMap((table) => {
    const columns = columnsOf(table, expected);
    const same = added.filter(
      (other) =>
        schemaOf(other.name) === schemaOf(table.name) &&
        other.properties["partition key"] === table.properties["partition key"] &&
        columnsOf(other, found) === columns,
    );
    return same.length === 1 ? [[table.name, same[0]!.name] as const] : [];
  });
  return new Map(pairs);
}

function columnsOf({ name }: CatalogueObject, catalogue: Catalogue): string {
  return [...catalogue.values()]
    .filter(({ kind, on }) => kind === "column" && on === name)
    .map((column) => `${column.name} ${column.properties.type}`)
    .sort()
    .join();
}
