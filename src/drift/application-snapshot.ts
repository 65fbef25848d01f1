import { existsSync } from "node:fs";
import { join } from "node:path";
import { SCHEMAS } from "../database/schemas.ts";
import type { Catalogue } from "./catalogue.ts";
import { readSnapshot, SNAPSHOT_FILE } from "./snapshot.ts";

/** Folder of the generated files inside an application's migrations, as in Plinth's own. */
export const schemaFolderOf = (migrationsFolder: string): string => join(migrationsFolder, "schema");

/** Returns the objects that an application's migrations make or change. */
export function applicationPart(plinth: Catalogue, both: Catalogue): Catalogue {
  const isSame = (title: string) => JSON.stringify(plinth.get(title)) === JSON.stringify(both.get(title));
  return new Map([...both].filter(([title]) => !isSame(title)));
}

/** Reads the state after an application's migrations, which `plinth schema dump` wrote in its folder; undefined before that. */
export async function readApplicationSnapshot(migrationsFolder: string): Promise<Catalogue | undefined> {
  const file = join(schemaFolderOf(migrationsFolder), SNAPSHOT_FILE);
  return existsSync(file) ? readSnapshot(file) : undefined;
}

/** Returns the schemas that an application's migrations make, also those that the API does not show. */
export function schemasOf(application: Catalogue): string[] {
  return [...application.values()]
    .filter(({ kind }) => kind === "schema")
    .map(({ name }) => (name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name))
    .filter((name) => !SCHEMAS.some((each) => each === name));
}
