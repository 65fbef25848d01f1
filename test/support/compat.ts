import { enableCompat } from "../../src/database/compat/compat.ts";
import { compatSystems } from "../../src/database/compat/systems.ts";
import type { TestDatabase } from "./test-database.ts";

/** Enables compatibility schemas, by default all, in a database of a test. */
export async function enableSystems(db: TestDatabase, systems: readonly string[] = compatSystems()) {
  return enableCompat(systems, compatOptions(db));
}

/** The roles belong to the server, and its administrator creates them. */
export function compatOptions(db: TestDatabase) {
  return {
    ownerUrl: db.url("owner"),
    rolePrefix: db.rolePrefix,
    adminUrl: db.adminUrl,
    applicationPassword: new URL(db.url("application")).password,
  };
}
