import { join } from "node:path";
import { checkApplication } from "../../../src/application/check-application.ts";
import { timetableOf } from "../../../src/application/timetable.ts";
import { migrateDatabase } from "../../../src/database/migrate.ts";
import { queuesOf } from "../../../src/jobs/index.ts";
import { createTestDatabase, type TestDatabase } from "../database.ts";
import config from "./plinth.config.ts";

export const SHOP_FOLDER = import.meta.dirname;
export const SHOP_CONFIG = join(SHOP_FOLDER, "plinth.config.ts");
export const shop = checkApplication(config, SHOP_FOLDER);

/** A database with Plinth's migrations and the shop's. */
export async function createShopDatabase(): Promise<TestDatabase> {
  const db = await createTestDatabase();
  await migrateDatabase({
    ownerUrl: db.url("owner"),
    rolePrefix: db.rolePrefix,
    applicationMigrations: shop.migrations,
    queues: queuesOf(timetableOf(shop)),
  });
  return db;
}
