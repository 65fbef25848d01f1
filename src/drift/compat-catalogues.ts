import { join } from "node:path";
import type pg from "pg";
import { disableCompat, enableCompat } from "../database/compat/compat.ts";
import { COMPAT_FOLDER, compatSchema, compatSchemas, compatSystems } from "../database/compat/systems.ts";
import type { MigrationOptions } from "../database/migration-session.ts";
import { SCHEMAS } from "../database/schemas.ts";
import { applicationPart } from "./application-snapshot.ts";
import { type Catalogue, type CatalogueObject, catalogueOf, titleOf } from "./catalogue.ts";
import { readCatalogue } from "./read-catalogue.ts";
import { readSnapshot, SNAPSHOT_FILE, snapshotText } from "./snapshot.ts";

/** Returns the compatibility schemas of a database. */
export async function findCompatSchemas(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    "select nspname::text as name from pg_namespace where nspname = any ($1) order by 1",
    [compatSchemas()],
  );
  return rows.map(({ name }) => name);
}

const fileOf = (system: string) => join(system, SNAPSHOT_FILE);

/** Returns the expected objects of each system that is enabled in a database. */
export async function readCompatSnapshots(found: Catalogue): Promise<Catalogue[]> {
  const enabled = compatSystems().filter((system) => found.has(`schema ${compatSchema(system)}`));
  return Promise.all(enabled.map((system) => readSnapshot(join(COMPAT_FOLDER, fileOf(system)))));
}

/** Adds the objects of the systems that are enabled in a database. */
export function withCompatSchemas(expected: Catalogue, snapshots: readonly Catalogue[]): Catalogue {
  const result = new Map(expected);
  for (const snapshot of snapshots)
    for (const [title, object] of snapshot) result.set(title, merged(result.get(title), object));
  return result;
}

/**
 * Returns a test for objects that `plinth compat enable` mends: its own, and others in the schemas of systems, which it drops. It does
 * not drop the schema of the mechanism.
 */
export function compatTest(snapshots: readonly Catalogue[]): (object: CatalogueObject) => boolean {
  const schemas = compatSystems().map(compatSchema);
  return (object) => {
    const place = (object.on ?? object.name).replace(/^[a-z]+ /, "");
    return (
      schemas.includes(place.split(".")[0]!) || snapshots.some((snapshot) => snapshot.has(titleOf(object)))
    );
  };
}

/** Two systems may grant different commands on a table, or different columns of it. */
function merged(before: CatalogueObject | undefined, added: CatalogueObject): CatalogueObject {
  if (before === undefined || added.kind !== "grant") return added;
  const properties = { ...before.properties };
  for (const [privilege, scope] of Object.entries(added.properties))
    properties[privilege] = bothScopes(properties[privilege], scope);
  return { ...added, properties };
}

function bothScopes(before: string | undefined, added: string): string {
  if (before === undefined) return added;
  return [...new Set([before, added].flatMap((scope) => scope.split(", ")))].sort().join(", ");
}

/**
 * Enables each system alone and reads what it adds.
 * @param options a migrated database without compatibility schemas, which is left as it was
 */
export async function generateCompatCatalogues(
  client: pg.ClientBase,
  options: MigrationOptions & { adminUrl: string },
): Promise<Map<string, string>> {
  const before = await readCatalogue(client, options.rolePrefix);
  const files = new Map<string, string>();
  for (const system of compatSystems()) {
    await enableCompat([system], options);
    const schemas = [...SCHEMAS, ...(await findCompatSchemas(client))];
    const after = await readCatalogue(client, options.rolePrefix, schemas);
    await disableCompat([system], options);
    const part = [...applicationPart(before, after).values()];
    files.set(fileOf(system), snapshotText(catalogueOf(part)));
  }
  return files;
}
