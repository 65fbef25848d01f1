import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type pg from "pg";
import { roleName, rolePlaceholders } from "../../src/config/roles.ts";
import type { ScratchDatabase } from "../../src/database/scratch-database.ts";
import { dumpSchema } from "../../src/schema-dump/dump.ts";
import { createEmptyTestDatabase, withClient } from "../support/database.ts";

// shop.sql creates one of everything; shop.expected.sql is the expected dump.
const DATA = join(import.meta.dirname, "schema-dump");

let db: ScratchDatabase;
beforeAll(async () => {
  db = await createEmptyTestDatabase();
  await makeShop(db);
});
afterAll(async () => {
  await db.drop();
});

async function makeShop({ rolePrefix, url }: ScratchDatabase): Promise<void> {
  let sql = await readFile(join(DATA, "shop.sql"), "utf8");
  const placeholders = rolePlaceholders(rolePrefix, roleName(rolePrefix, "owner"));
  for (const [placeholder, name] of Object.entries(placeholders)) sql = sql.replaceAll(placeholder, name);
  await withClient(url("owner"), (client) => client.query(sql));
}

const dump = ({ rolePrefix, url }: ScratchDatabase) =>
  withClient(url("owner"), (client) => dumpSchema(client, { rolePrefix }));

test("dumps one of everything, in one order", async () => {
  const texts = await dump(db);
  expect([...texts.keys()]).toEqual(["database", "shop"]);
  const text = [...texts.values()].join("\n");
  expect(text).toBe(await readFile(join(DATA, "shop.expected.sql"), "utf8"));
});

test("does not depend on the prefix of the roles or on the session's settings, and leaves those unchanged", async () => {
  const other = await createEmptyTestDatabase();
  try {
    await makeShop(other);
    await withClient(other.url("owner"), async (client) => {
      const settings = ["search_path", "TimeZone", "DateStyle", "IntervalStyle"];
      const show = async () =>
        (
          await client.query("select name, setting from pg_settings where name = any ($1) order by 1", [
            settings,
          ])
        ).rows;
      await client.query(
        "set search_path = shop; set timezone = 'Asia/Tokyo'; set datestyle = 'SQL, DMY'; set intervalstyle = 'iso_8601'",
      );
      const before = await show();
      expect(await dumpSchema(client, { rolePrefix: other.rolePrefix })).toEqual(await dump(db));
      expect(await show()).toEqual(before);
    });
  } finally {
    await other.drop();
  }
});

test("names the fixture in place of a body when given one, and keeps the rest", async () => {
  const total = "fixtures/shop/functions/total.sql";
  const twice = "fixtures/shop/functions/twice.sql";
  const fixtures = new Map([
    ["shop.total", total],
    ["shop.twice", twice],
  ]);
  const lean = await withClient(db.url("owner"), (client) =>
    dumpSchema(client, { rolePrefix: db.rolePrefix, fixtures }),
  );
  const whole = (await dump(db)).get("shop")!;
  // The first body is a string, the second SQL.
  const expected = whole
    .replace(/(set search_path to .pg_catalog.)\nas \$\$\n\s+select total [\s\S]*?\$\$;/, `$1; -- ${total}`)
    .replace("\nreturn (n * 2);", `; -- ${twice}`);
  expect(lean.get("shop")).toBe(expected);
  expect(expected).not.toContain("select total");
});

test("dumps only the requested schemas", async () => {
  await withClient(db.url("owner"), async (client) => {
    const texts = await dumpSchema(client, { rolePrefix: db.rolePrefix, schemas: ["public"] });
    expect([...texts.keys()]).toEqual(["database", "public"]);
  });
});

describe("the dump changes with", () => {
  const inTransaction = (use: (client: pg.Client) => Promise<void>) =>
    withClient(db.url("owner"), async (client) => {
      await client.query("begin");
      await use(client);
      await client.query("rollback");
    });

  test.each([
    "alter table shop.orders disable row level security",
    "alter table shop.orders force row level security",
    "drop policy select_own on shop.orders",
    "alter policy select_own on shop.orders using (true)",
    "alter policy select_own on shop.orders to public",
    "comment on policy select_own on shop.orders is null",
    "grant delete on shop.orders to :PLINTH_USER",
    "grant update (id) on shop.orders to :PLINTH_USER",
    "revoke update (note) on shop.orders from :PLINTH_USER",
    "grant select on shop.orders to :PLINTH_ANALYST with grant option",
    "revoke insert on shop.orders from :PLINTH_OWNER",
    "grant execute on function shop.total(integer) to public",
    "grant usage on schema shop to public",
    "alter default privileges grant select on tables to :PLINTH_USER",
    "alter default privileges in schema shop grant usage on sequences to :PLINTH_USER",
    "alter table shop.orders alter column note drop not null",
    "alter table shop.orders alter column note set default 'x'",
    'alter table shop.customers alter column "E-mail" type varchar(10)',
    "alter table shop.orders alter column note set statistics 500",
    "alter table shop.orders add column more text",
    "alter table shop.orders drop constraint orders_quantity_is_positive",
    "alter table shop.orders replica identity full",
    "alter table shop.orders set (fillfactor = 70)",
    "alter table shop.orders set unlogged",
    "alter table shop.orders disable trigger _100_stamp",
    "drop trigger _100_stamp on shop.orders",
    "drop index shop.orders_note_idx",
    "alter index shop.orders_note_idx rename to other_idx",
    "comment on index shop.orders_note_idx is 'else'",
    "drop statistics shop.orders_customer_state",
    "create rule r as on delete to shop.orders do instead nothing",
    "comment on column shop.orders.note is 'else'",
    "comment on table shop.orders is null",
    "create or replace function shop.total(order_id integer) returns bigint language sql stable as 'select 1'",
    "alter function shop.total(integer) set search_path = public",
    "alter function shop.total(integer) volatile",
    "create or replace view shop.open_orders with (security_invoker = false) as select id from shop.orders",
    "alter materialized view shop.totals rename column orders to n",
    "alter type shop.order_state add value 'lost'",
    "alter domain shop.cents drop constraint cents_are_not_negative",
    "alter sequence shop.tickets increment by 2",
    "create text search dictionary shop.stems (template = pg_catalog.snowball, language = english)",
    "create text search configuration shop.words (copy = pg_catalog.simple)",
    "create table shop.new_table (id integer)",
    "create schema another",
    "create table public.stray (id integer)",
    "create extension citext with schema shop",
  ])("%s", async (change) => {
    const before = await dump(db);
    await inTransaction(async (client) => {
      let sql = change;
      for (const [placeholder, name] of Object.entries(
        rolePlaceholders(db.rolePrefix, roleName(db.rolePrefix, "owner")),
      ))
        sql = sql.replaceAll(placeholder, name);
      await client.query(sql);
      expect(await dumpSchema(client, { rolePrefix: db.rolePrefix })).not.toEqual(before);
    });
  });

  test.each([
    "create table shop.events_2026_02 partition of shop.events for values from ('2026-02-01') to ('2026-03-01')",
    "insert into shop.events (at) values ('2026-01-02')",
    "create schema plinth_jobs; create table plinth_jobs.job (id integer)",
    "select nextval('shop.tickets')",
    "analyze shop.orders",
  ])("nothing else, such as %s", async (change) => {
    const before = await dump(db);
    await inTransaction(async (client) => {
      await client.query(change);
      expect(await dumpSchema(client, { rolePrefix: db.rolePrefix })).toEqual(before);
    });
  });
});
