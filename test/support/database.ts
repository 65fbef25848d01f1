import { expect } from "@jest/globals";
import type pg from "pg";
import { createScratchDatabase, type ScratchDatabase } from "../../src/database/scratch-database.ts";
import { withClient } from "./client.ts";
import { testSetup } from "./test-database.ts";

export { cutOff, rowsAs, withClient, withNewClient } from "./client.ts";
export { createTestDatabase, type TestDatabase, testSetup } from "./test-database.ts";
export { asRole, inRolledBackTransaction, type Transaction } from "./transaction.ts";

/** An empty database with its own roles, for tests that migrate. */
export async function createEmptyTestDatabase(): Promise<ScratchDatabase> {
  const { adminUrl, rolePrefix } = testSetup();
  return createScratchDatabase(adminUrl, rolePrefix);
}

/** Runs in a transaction of its own and commits. */
export async function inTransaction<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  return withClient(url, async (client) => {
    await client.query("begin");
    const result = await use(client);
    await client.query("commit");
    return result;
  });
}

/** Asserts that a statement fails with this SQLSTATE. */
export async function expectSqlState(statement: Promise<unknown>, code: string): Promise<void> {
  await expect(statement).rejects.toMatchObject({ code });
}
