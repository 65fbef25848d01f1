import type pg from "pg";
import type { Application } from "../application/application.ts";
import { SCHEMAS } from "../database/schemas.ts";
import { readApplicationSnapshot, schemasOf } from "./application-snapshot.ts";
import type { Catalogue, CatalogueObject } from "./catalogue.ts";
import { compareCatalogues, type Difference } from "./compare.ts";
import {
  compatTest,
  findCompatSchemas,
  readCompatSnapshots,
  withCompatSchemas,
} from "./compat-catalogues.ts";
import { withOptionalMigrations } from "./optional-migrations.ts";
import { readCatalogue } from "./read-catalogue.ts";
import { readSnapshot } from "./snapshot.ts";

/** A database beside the state that its migrations make. */
export interface Drift {
  readonly expected: Catalogue;
  readonly found: Catalogue;
  readonly differences: readonly Difference[];
  /** Whether `plinth compat enable` mends an object. */
  readonly isOfCompat: (object: CatalogueObject) => boolean;
  /** False: the application's migrations have no schema/catalogue.json, so its schemas are not compared. */
  readonly hasApplicationSnapshot: boolean;
}

/**
 * Compares the database with what Plinth's migrations and the application's make (migrations/schema/catalogue.json of each). Reads
 * only the system catalogues, so every role sees all differences. Undefined for a database without tables.
 */
export async function readDrift(
  client: pg.ClientBase,
  rolePrefix: string,
  { migrations }: Pick<Application, "migrations"> = {},
): Promise<Drift | undefined> {
  const snapshot = migrations === undefined ? new Map() : await readApplicationSnapshot(migrations);
  const ofApplication: Catalogue = snapshot ?? new Map();
  const compat = await findCompatSchemas(client);
  const found = await readCatalogue(client, rolePrefix, [...SCHEMAS, ...compat, ...schemasOf(ofApplication)]);
  if (![...found.values()].some(({ kind }) => kind === "table")) return undefined;
  const snapshots = await readCompatSnapshots(found);
  const ofPlinth = withCompatSchemas(await withOptionalMigrations(await readSnapshot(), found), snapshots);
  const expected = new Map([...ofPlinth, ...ofApplication]);
  return {
    expected,
    found,
    differences: compareCatalogues(expected, found),
    isOfCompat: compatTest(snapshots),
    hasApplicationSnapshot: snapshot !== undefined,
  };
}
