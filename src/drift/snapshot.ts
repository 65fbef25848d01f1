import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { SCHEMA_FOLDER } from "../support/paths.ts";
import { type Catalogue, type CatalogueObject, catalogueOf } from "./catalogue.ts";

export const SNAPSHOT_FILE = "catalogue.json";

/** Each object is a line, so that a review shows each change. Partitions are omitted, because they depend on the date. */
export function snapshotText(catalogue: Catalogue): string {
  const partitions = new Set(
    [...catalogue.values()].filter(({ properties }) => "partition of" in properties).map(({ name }) => name),
  );
  const lines = [...catalogue]
    .filter(([, { name, on }]) => !partitions.has(on ?? name))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, object]) => JSON.stringify(object));
  return `[\n${lines.join(",\n")}\n]\n`;
}

/** Reads the state after all migrations, which `plinth schema dump` wrote. */
export async function readSnapshot(file = join(SCHEMA_FOLDER, SNAPSHOT_FILE)): Promise<Catalogue> {
  return catalogueOf(JSON.parse(await readFile(file, "utf8")) as CatalogueObject[]);
}
