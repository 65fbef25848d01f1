import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// A value outside its range is rejected before it is rounded. A column of type numeric(p, s) rounds before any CHECK sees
// the value, so a written column with a range must be plain numeric, with a CHECK on its decimals.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

interface Column {
  readonly name: string;
  readonly relation: string;
  readonly attribute: string;
  readonly type: string;
  /** The numbers in its CHECKs. */
  readonly bounds: string[];
}

/** Writable columns of type numeric with a CHECK. */
const columns = () =>
  withClient(db.url("owner"), async (client) => {
    await client.query("set search_path = ''");
    const { rows } = await client.query<Column>(`
      select
        c.oid::pg_catalog.regclass || '.' || a.attname as name, c.oid::pg_catalog.regclass::text as relation,
        a.attname as attribute, pg_catalog.format_type(a.atttypid, a.atttypmod) as type,
        array(
          select distinct m[1]
          from pg_catalog.pg_constraint k
          cross join lateral pg_catalog.regexp_matches(pg_catalog.pg_get_constraintdef(k.oid), '[<>=] \\(*''?(-?[0-9]+)', 'g') m
          where k.conrelid = c.oid and k.contype = 'c' and a.attnum = any (k.conkey)
        ) as bounds
      from pg_catalog.pg_attribute a
      join pg_catalog.pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'p') and not c.relispartition
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'plinth_jobs')
      where a.attnum > 0 and a.atttypid = 'pg_catalog.numeric'::pg_catalog.regtype and a.attgenerated = ''
        and exists (
          select from pg_catalog.pg_constraint k where k.conrelid = c.oid and k.contype = 'c' and a.attnum = any (k.conkey)
        )
      order by 1`);
    return rows;
  });

test("no column with a range rounds its values", async () => {
  const found = await columns();
  expect(found.length).toBeGreaterThan(8);
  expect(found.filter(({ type }) => type !== "numeric").map(({ name }) => name)).toEqual([]);
});

test("rejects a value just outside a bound, too many decimals, NaN and infinity", async () => {
  for (const { name, relation, attribute, bounds } of await columns())
    await withClient(db.url("owner"), async (client) => {
      expect([name, bounds.length > 0]).toEqual([name, true]);
      await client.query("begin");
      await client.query(
        `create temporary table probe (like ${relation} including constraints) on commit drop`,
      );
      const { rows } = await client.query<{ name: string }>(
        "select attname as name from pg_attribute where attrelid = 'pg_temp.probe'::regclass and attnum > 0 and attnotnull",
      );
      for (const column of rows) await client.query(`alter table probe alter "${column.name}" drop not null`);
      const outcome = async (value: string) => {
        await client.query("savepoint before");
        try {
          await client.query(`insert into probe ("${attribute}") values (${value})`);
          return "accepted";
        } catch (error) {
          await client.query("rollback to before");
          return (error as { code: string }).code;
        }
      };
      const near = bounds.flatMap((bound) => [`${bound} - 1e-30`, `${bound} + 1e-30`]);
      for (const value of [...near, "'NaN'", "'Infinity'", "'-Infinity'"])
        expect([name, value, await outcome(value)]).toEqual([name, value, "23514"]);
      // The value itself is rejected: one of its neighbours is in the range.
      const inside: string[] = [];
      for (const bound of bounds) inside.push(await outcome(bound), await outcome(`${bound}::numeric + 1`));
      expect(inside).toContain("accepted");
      await client.query("rollback");
    });
});

test("returns accepted values with a fixed number of decimals", async () => {
  await withClient(db.url("owner"), async (client) => {
    await client.query("begin");
    const { rows } = await client.query<{ training_gain: string }>(
      "insert into learning.skills (skill_name, training_gain) values ('a', 10), ('b', 0.5), ('c', 0.2500000) returning training_gain",
    );
    expect(rows.map((row) => row.training_gain)).toEqual(["10.00", "0.50", "0.25"]);
    await client.query("rollback");
  });
});

test("rejects an invalid imported price instead of rounding it to 0", async () => {
  await withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query("select outcome from private.import_models($1)", [
      JSON.stringify(
        [-1e-7, 1.5].map((input, i) => ({
          vendor: "v",
          id: `m${i}`,
          name: "M",
          priceHistory: [{ input, output: 1, from: null, to: null }],
        })),
      ),
    ]);
    expect(rows).toEqual([{ outcome: "rejected" }, { outcome: "inserted" }]);
    const prices = await client.query(
      "select input_price_per_million_tokens as price from billing.model_prices",
    );
    expect(prices.rows).toEqual([{ price: "1.500000" }]);
  });
});
