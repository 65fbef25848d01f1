import { openSqlContract } from "../../../src/access-contract/attempt-all.ts";
import type { Cell } from "../../../src/access-contract/cells.ts";
import { contractOf, type Roles, rolesOf, writeContract } from "../../../src/access-contract/contract.ts";
import { SCHEMAS } from "../../../src/database/schemas.ts";
import { withClient } from "../client.ts";
import { createTestDatabase, type TestDatabase } from "../test-database.ts";
import { readActors, seedContract } from "./actors.ts";
import { attemptGraphql } from "./attempt-graphql.ts";

/**
 * Tries everything and returns the text of the file for machines. SQL and GraphQL have a database each, so that they run at the
 * same time and neither waits for a lock of the other.
 */
export async function generateContract(): Promise<string> {
  const [{ roles, cells }, graphqlCells] = await Promise.all([
    onSeededDatabase(attemptSql),
    onSeededDatabase(attemptGraphql),
  ]);
  return writeContract(contractOf([...cells, ...graphqlCells]), roles);
}

async function onSeededDatabase<T>(use: (db: TestDatabase) => Promise<T>): Promise<T> {
  const db = await createTestDatabase();
  try {
    await withClient(db.url("owner"), seedContract);
    return await use(db);
  } finally {
    await db.drop();
  }
}

const attemptSql = (db: TestDatabase): Promise<{ roles: Roles; cells: readonly Cell[] }> =>
  withClient(db.adminUrl, async (client) => {
    const actors = await readActors(client);
    await client.query("begin");
    const contract = await openSqlContract(client, { ...db, actors, schemas: SCHEMAS });
    const cells = await contract.attempt();
    await client.query("rollback");
    return { roles: rolesOf(actors), cells };
  });
