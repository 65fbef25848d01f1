import type { Config } from "../config/config.ts";
import { withConnection } from "../database/connection.ts";
import type { Database } from "../database/database.ts";
import type { DemoAccount } from "../demo/demo-data.ts";
import { findMasterKeys } from "./key-settings.ts";

/** Fills an empty database with the demo data. @returns the demo accounts that can sign in */
export async function prepareDemo(config: Config, database: Database): Promise<readonly DemoAccount[]> {
  const { findDemoAccounts, loadDemoData } = await import("../demo/demo-data.ts");
  const connection = { connectionString: database.url("owner"), application_name: "plinth demo" };
  return withConnection(connection, async (client) => {
    await loadDemoData(client, config.dataDirectory, {
      masterKeys: findMasterKeys(config, database),
      privacyMode: config.auth.privacyMode,
    });
    return findDemoAccounts(client, config.dataDirectory);
  });
}
