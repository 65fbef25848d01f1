import { withClient } from "../client.ts";
import { createTestDatabase, type TestDatabase } from "../test-database.ts";
import { readActors, seedContract } from "./actors.ts";
import { openSqlContract } from "./attempt-all.ts";
import { attemptGraphql } from "./attempt-graphql.ts";
import type { Cell } from "./cells.ts";
import { contractOf, type Roles, rolesOf, writeContract } from "./contract.ts";

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
    await client.query("begin");
    const contract = await openSqlContract(client, db);
    const cells = await contract.attempt();
    await client.query("rollback");
    return { roles: rolesOf(await readActors(client)), cells };
  });
