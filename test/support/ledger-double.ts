import { readFile } from "node:fs/promises";
import { type TestDatabase, withClient } from "./database.ts";

/** Replaces the ledger's two functions in a test's database by ones that only note the calls, in private.ledger_calls. */
export async function useLedgerDouble(db: TestDatabase): Promise<void> {
  const sql = await readFile(new URL("./ledger-double.sql", import.meta.url), "utf8");
  await withClient(db.url("owner"), (client) => client.query(sql));
}
