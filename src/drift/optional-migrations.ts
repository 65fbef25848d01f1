import { join } from "node:path";
import { OPTIONAL_MIGRATIONS_FOLDER } from "../support/paths.ts";
import type { Catalogue } from "./catalogue.ts";
import { readSnapshot } from "./snapshot.ts";

/** The objects of `plinth memory enable-vectors`. */
export const MEMORY_VECTORS_FILE = join(OPTIONAL_MIGRATIONS_FOLDER, "memory-vectors.catalogue.json");
const MEMORY_VECTORS_TABLE = "table private.memory_embeddings";
/** Exists without the table before the optional migration runs, and after it was taken back. */
const EXTENSION = "extension vector";

/** Adds the expected state of the optional migration, if the database has run it: both states are as the migrations make them. */
export async function withOptionalMigrations(expected: Catalogue, found: Catalogue): Promise<Catalogue> {
  const isEnabled = found.has(MEMORY_VECTORS_TABLE);
  if (!isEnabled && !found.has(EXTENSION)) return expected;
  const optional = await readSnapshot(MEMORY_VECTORS_FILE);
  const added = isEnabled ? optional : [[EXTENSION, optional.get(EXTENSION)!] as const];
  return new Map([...expected, ...added]);
}
