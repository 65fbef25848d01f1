import { type Catalogue, type CatalogueObject, catalogueOf, type Properties } from "./catalogue.ts";

/** The parts that a partition has from its parent. */
const INHERITED = ["column", "constraint", "index", "trigger"];

/**
 * Adds the expected state of the partitions of a database, which depend on the date: what their parent has, without policies and
 * grants. Without policies, no role but the owner sees rows through the partition itself.
 */
export function withPartitions(expected: Catalogue, found: Catalogue): Catalogue {
  const parts = Map.groupBy(expected.values(), ({ on }) => on);
  const partitions = [...found.values()].flatMap((partition) => {
    const parent = expected.get(`table ${partition.properties["partition of"]}`);
    if (partition.kind !== "table" || !parent) return [];
    const inherited = (parts.get(parent.name) ?? []).filter(isInherited);
    return [
      { ...partition, properties: partitionProperties(parent) },
      ...inherited.map((part) => ({
        ...part,
        on: partition.name,
        properties: without(part.properties, "tags", "statistics"),
      })),
    ];
  });
  return new Map([...expected, ...catalogueOf(partitions)]);
}

/** Triggers for each statement stay with the parent. */
function isInherited({ kind, properties }: CatalogueObject): boolean {
  return INHERITED.includes(kind) && !/ FOR EACH STATEMENT /.test(properties.definition ?? "");
}

function partitionProperties(parent: CatalogueObject): Properties {
  return {
    ...without(parent.properties, "partition key", "tags", "forced row security"),
    "partition of": parent.name,
  };
}

function without(properties: Properties, ...names: readonly string[]): Properties {
  return Object.fromEntries(Object.entries(properties).filter(([name]) => !names.includes(name)));
}
