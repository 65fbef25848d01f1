import { generateMasterKey } from "../../../src/auth/master-keys.ts";
import { generateAsymmetricSigningKey } from "../../../src/auth/signing-keys.ts";
import { ALL_ROLES } from "../../../src/config/roles.ts";
import { databaseEnv } from "../../cli/run-cli.ts";
import { withClient } from "../../support/client.ts";
import type { Terminal } from "../../support/shell/terminal.ts";
import { createTestDatabase, type TestDatabase } from "../../support/test-database.ts";
import { faultsOf, type Recipe } from "./recipe.ts";

const KEYS = { PLINTH_JWT_KEYS: generateAsymmetricSigningKey(), PLINTH_MASTER_KEYS: generateMasterKey(1) };

/** Runs a recipe on a migrated database of its own, as an external server, and returns what differs from the page. */
export async function runOnDatabase(recipe: Recipe, terminal: Terminal): Promise<string[]> {
  const db = await createTestDatabase();
  try {
    if (recipe.sql !== undefined) await withClient(db.url("owner"), (client) => client.query(recipe.sql!));
    return await faultsOf(recipe, terminal, { ...KEYS, ...databaseEnv(db) }, rolesOf(db));
  } finally {
    await db.drop();
  }
}

/** The roles of a run on another server have a prefix of their own. */
function rolesOf({ rolePrefix }: TestDatabase): (text: string) => string {
  const names = new RegExp(`\\bplinth_(${ALL_ROLES.join("|")})\\b`, "g");
  return (text) => text.replace(names, `${rolePrefix}_$1`);
}
