import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

const page = readFileSync(new URL("../../docs/analytics.md", import.meta.url), "utf8");
const examples = [...page.matchAll(/```sql\n(.*?)```/gs)].map(([, sql]) => sql!);

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

test("lists exactly the views that analysts have", async () => {
  const views = await withClient(db.url("analyst"), async (client) => {
    const { rows } = await client.query<{ name: string }>(
      "select relname as name from pg_class where relnamespace = 'analytics'::regnamespace and relkind in ('v', 'm')",
    );
    return rows.map(({ name }) => name);
  });
  const cells = page.split("\n").filter((line) => line.startsWith("| ") && line.includes("?"));
  const named = cells.flatMap((line) => [...line.matchAll(/`(\w+)`/g)].map(([, name]) => name!));
  expect(named.sort()).toEqual(views.sort());
});

test.each(examples)("contains an example that the analyst can run: %s", async (sql) => {
  const { fields } = await withClient(db.url("analyst"), (client) => client.query(sql));
  expect(fields.length).toBeGreaterThan(1);
});
