import { readFileSync } from "node:fs";
import type pg from "pg";
import { withClient } from "../../support/client.ts";
import { createTestDatabase, type TestDatabase } from "../../support/test-database.ts";

/** The time of the demo product. Its last day is not over. */
const NOW = "2025-06-30 12:00Z";
const read = (name: string) => readFileSync(new URL(name, import.meta.url), "utf8");

/** A database of the demo product: its history, summed by day up to {@link NOW}, and then its present. */
export async function createDemoDatabase(): Promise<TestDatabase> {
  const db = await createTestDatabase();
  try {
    await withClient(db.url("owner"), fill);
    return db;
  } catch (error) {
    await db.drop();
    throw error;
  }
}

async function fill(client: pg.Client): Promise<void> {
  await client.query(read("history.sql"));
  await client.query("select private.refresh_subscription_metrics(), private.find_days_to_roll_up()");
  await client.query("do $$ begin while private.roll_up_day() is not null loop end loop; end $$");
  await client.query("update private.roll_up_state set watermark = $1, refreshed_at = $1", [NOW]);
  await client.query(read("present.sql"));
  await client.query("select private.refresh_content_popularity()");
}

/** A query of the page as if it were run at {@link NOW}. */
export const atDemoTime = (sql: string) =>
  sql
    .replaceAll(/\bcurrent_date\b/g, `date '${NOW.slice(0, 10)}'`)
    .replaceAll(/\bnow\(\)/g, `timestamptz '${NOW}'`);
