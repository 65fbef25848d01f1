import { withClient } from "../client.ts";
import type { TestDatabase } from "../test-database.ts";
import { readActors, seedContract } from "./actors.ts";
import { openSqlContract } from "./attempt-all.ts";
import { attemptGraphql } from "./attempt-graphql.ts";
import { contractOf, rolesOf, writeContract } from "./contract.ts";

/** Fills an empty database and tries everything on it; returns the text of the file for machines. */
export async function generateContract(db: TestDatabase): Promise<string> {
  await withClient(db.url("owner"), seedContract);
  const [actors, sqlCells] = await withClient(db.adminUrl, async (client) => {
    await client.query("begin");
    const contract = await openSqlContract(client, db);
    const cells = await contract.attempt();
    await client.query("rollback");
    return [await readActors(client), cells] as const;
  });
  return writeContract(contractOf([...sqlCells, ...(await attemptGraphql(db))]), rolesOf(actors));
}
