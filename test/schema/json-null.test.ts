import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

interface Column {
  readonly table: string;
  readonly column: string;
  /** The checks on this column alone. */
  readonly checks: string[];
}

// The API reads JSON's null as null, so a `JSON!` field that contains it fails together with its list.
test("rejects JSON's null in every JSON column that is not null", async () => {
  await withClient(db.adminUrl, async (client) => {
    const { rows: columns } = await client.query<Column>(
      `select c.oid::regclass::text as table, a.attname as column, array(
         select pg_get_expr(k.conbin, k.conrelid)
         from pg_constraint k
         where k.conrelid = c.oid and k.contype = 'c' and k.conkey = array[a.attnum]
       ) as checks
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
       join pg_attribute a on a.attrelid = c.oid and a.attnotnull and a.atttypid = 'jsonb'::regtype
       where c.relkind in ('r', 'p') and not c.relispartition
         and n.nspname in ('identity', 'access', 'billing', 'llm', 'rooms', 'learning', 'security')`,
    );
    expect(columns.length).toBeGreaterThan(10);
    const taking: string[] = [];
    for (const { table, column, checks } of columns) {
      const name = client.escapeIdentifier(column);
      const condition = checks.map((check) => `coalesce(${check}, true)`).join(" and ") || "true";
      const { rows } = await client.query<{ takes: boolean }>(
        `select ${condition} as takes from (select 'null'::jsonb as ${name}) t`,
      );
      if (rows[0]!.takes) taking.push(`${table}.${column}`);
    }
    expect(taking).toEqual([]);
  });
});
