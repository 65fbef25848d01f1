import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { findUserDataGaps } from "../../src/database/user-data-gaps.ts";
import { deleteDueAccounts } from "../../src/jobs/delete-due-accounts.ts";
import { writeDataExports } from "../../src/jobs/write-data-exports.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { SHOP } from "../support/shop.ts";

// The tables of an application in the export and the erasure of an account.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
  await withClient(db.url("owner"), (client) => client.query(SHOP));
});
afterAll(async () => {
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);
const asWorker = rowsAs("worker", () => db);

async function createUser(name: string): Promise<string> {
  const [user] = await asOwner<{ id: string }>(
    "insert into identity.users (username) values ($1) returning id",
    [name],
  );
  return user!.id;
}

/** A seller with a product, and a customer who has a row in every other table of the shop. */
async function trade(name: string): Promise<{ customer: string; seller: string; order: string }> {
  const [customer, seller] = [await createUser(`${name}-customer`), await createUser(`${name}-seller`)];
  const [made] = await asOwner<{ id: string }>(
    `with product as (
       insert into shop.products (sku, seller_id, price_cents)
       values ('ABC-' || lpad((select count(*) from shop.products)::text, 4, '0'), $2, 5) returning id
     ), placed as (
       insert into shop.orders (user_id, note, delivery_password) values ($1, 'difficult', 'sesame') returning id
     ), line as (
       insert into shop.order_lines (order_id, product_id, quantity)
       select placed.id, product.id, 2 from placed, product returning id
     ), parcel as (insert into shop.parcels select id, 'by bike' from line),
     offer as (insert into shop.offers (order_id, product_id, discount) select placed.id, product.id, 1 from placed, product),
     review as (insert into shop.reviews (product_id, user_id, stars) select id, $1, 4 from product),
     subscriber as (insert into shop.subscribers (account, topic) values ($1, 'tea')),
     visit as (insert into shop.visits (visitor, page) values ($1, '/tea'), ($2, '/sales'))
     insert into shop.risk_scores select $1, 7 from placed returning (select id from placed) as id`,
    [customer, seller],
  );
  return { customer, seller, order: made!.id };
}

async function exportOf(userId: string): Promise<Record<string, Record<string, unknown>[]>> {
  const [made] = await asOwner<{ id: string }>(
    "insert into identity.data_exports (user_id) values ($1) returning id",
    [userId],
  );
  for (let outcome: string | null = "continued"; outcome; )
    outcome = (await asWorker("select private.write_data_export() as outcome", []))[0]!.outcome as
      | string
      | null;
  const parts = await asOwner<{ content: string }>(
    "select content from private.data_export_parts where export_id = $1 order by part_number",
    [made!.id],
  );
  return JSON.parse(`${parts.map(({ content }) => content).join("")}}`).tables;
}

const ofShop = (tables: object) => Object.keys(tables).filter((name) => name.startsWith("shop."));

test("exports the rows of an application's tables, over any number of references, without secrets and omitted columns", async () => {
  const { customer, seller, order } = await trade("export");
  const tables = await exportOf(customer);
  expect(ofShop(tables)).toEqual([
    "shop.order_lines",
    "shop.orders",
    "shop.parcels",
    "shop.reviews",
    "shop.subscribers",
    "shop.visits",
  ]);
  expect(tables["shop.orders"]).toEqual([
    { id: order, user_id: customer, state: "open", created_at: expect.any(String) },
  ]);
  expect(tables["shop.order_lines"]).toEqual([
    { id: expect.any(Number), order_id: order, product_id: expect.any(String), quantity: 2 },
  ]);
  expect(tables["shop.parcels"]).toEqual([
    { line_id: tables["shop.order_lines"]![0]!.id, carrier: "by bike" },
  ]);
  expect(tables["shop.visits"]).toEqual([expect.objectContaining({ visitor: customer, page: "/tea" })]);
  expect(JSON.stringify(tables)).not.toContain("sesame");
  // The seller's own export has the product, and nothing of the customer.
  const sold = await exportOf(seller);
  expect(ofShop(sold)).toEqual(["shop.products", "shop.visits"]);
  expect(sold["shop.visits"]).toEqual([expect.objectContaining({ visitor: seller })]);
});

test("fails an export rather than leave out rows that forced row security hides, and leaves out tables of other roles", async () => {
  const { customer } = await trade("forced");
  await asOwner("alter table shop.orders force row level security", []);
  await asOwner("insert into identity.data_exports (user_id) values ($1)", [customer]);
  await expect(
    writeDataExports({ query: (sql, values) => asWorker(sql, values), signal: new AbortController().signal }),
  ).rejects.toThrow("Exports could not be written: 42501 in shop.order_lines.");
  expect(
    await asOwner("select status, attempts from identity.data_exports where user_id = $1", [customer]),
  ).toEqual([{ status: "pending", attempts: 1 }]);
  await asOwner("alter table shop.orders no force row level security", []);
  await asOwner("delete from identity.data_exports where user_id = $1", [customer]);
  await withClient(db.adminUrl, (client) =>
    client.query(
      "create table shop.foreign_rows (user_id uuid); insert into shop.foreign_rows select id from identity.users",
    ),
  );
  expect(ofShop(await exportOf(customer))).not.toContain("shop.foreign_rows");
});

const rowsOfShop = async (tables: readonly string[]): Promise<Record<string, number>> =>
  Object.fromEntries(
    await Promise.all(
      tables.map(async (table) => {
        const [count] = await asOwner<{ n: number }>(`select count(*)::int as n from shop.${table}`, []);
        return [table, count!.n] as const;
      }),
    ),
  );

test("deletes and clears the rows of a deleted account, by foreign keys and by the tag @userId", async () => {
  await asOwner(
    "truncate shop.products, shop.orders, shop.subscribers, shop.visits, shop.risk_scores cascade",
    [],
  );
  const { customer } = await trade("leaving");
  await asOwner("delete from shop.parcels", []);
  await asOwner("delete from shop.offers", []);
  await asOwner("delete from identity.users where id = $1", [customer]);
  expect(
    await rowsOfShop(["orders", "order_lines", "subscribers", "risk_scores", "reviews", "visits"]),
  ).toEqual({ orders: 0, order_lines: 0, subscribers: 0, risk_scores: 0, reviews: 1, visits: 2 });
  expect(await asOwner("select user_id from shop.reviews", [])).toEqual([{ user_id: null }]);
  expect(await asOwner("select visitor from shop.visits where page = '/tea'", [])).toEqual([
    { visitor: null },
  ]);
});

const runJob = () =>
  deleteDueAccounts({ query: (sql, values) => asWorker(sql, values), signal: new AbortController().signal });
const makeDue = (id: string) =>
  asOwner(
    `insert into identity.account_deletions (user_id, requested_at, due_at, next_attempt_at)
     values ($1, now() - interval '15 days', now() - interval '1 day', now() - interval '1 day')`,
    [id],
  );

test.each(["", "deferrable initially deferred"])(
  "a foreign key without an action blocks one deletion, and the job names its table (%s)",
  async (deferred) => {
    const [blocked, free] = [
      await createUser(`blocked${deferred.length}`),
      await createUser(`free${deferred.length}`),
    ];
    await asOwner(`create table shop.invoices (user_id uuid references identity.users ${deferred})`, []);
    await asOwner("insert into shop.invoices values ($1)", [blocked]);
    await makeDue(blocked);
    await makeDue(free);
    await expect(runJob()).rejects.toThrow(
      "Accounts cannot be deleted because of shop.invoices (invoices_user_id_fkey). Run plinth doctor.",
    );
    expect(
      await asOwner("select user_id, attempts, last_failure from identity.account_deletions", []),
    ).toEqual([
      { user_id: blocked, attempts: 1, last_failure: "23503 shop.invoices (invoices_user_id_fkey)" },
    ]);
    expect(await asOwner("select from identity.users where id = $1", [free])).toEqual([]);
    await expect(asOwner("delete from identity.users where id = $1", [blocked])).rejects.toMatchObject({
      code: "23503",
      table: "invoices",
    });
    await asOwner("drop table shop.invoices", []);
    await asOwner("update identity.account_deletions set next_attempt_at = now()", []);
    expect(await runJob()).toEqual({ deleted: 1, postponed: 0, canceled: 0 });
  },
);

test("a tag with an unknown value blocks a deletion, and the job names its column", async () => {
  const blocked = await createUser("tagged");
  await asOwner("comment on column shop.visits.visitor is '@userId erase'", []);
  await makeDue(blocked);
  await expect(runJob()).rejects.toThrow("shop.visits (visitor)");
  await asOwner("comment on column shop.visits.visitor is '@userId clear'", []);
  await asOwner("update identity.account_deletions set next_attempt_at = now()", []);
  expect(await runJob()).toEqual({ deleted: 1, postponed: 0, canceled: 0 });
});

test("reports foreign keys that block a deletion, rows that outlive their user, and tables that exports leave out", async () => {
  await asOwner(
    `create table shop.invoices (
       user_id uuid not null references identity.users, paid_by uuid not null references identity.users on delete set null
     )`,
    [],
  );
  await asOwner("create table shop.sign_ups (user_id uuid)", []);
  await asOwner("create table shop.guests (host uuid, name text, visit uuid not null)", []);
  for (const [column, tag] of Object.entries({ host: "erase", name: "delete", visit: "clear" }))
    await asOwner(`comment on column shop.guests.${column} is '@userId ${tag}'`, []);
  await asOwner("alter table shop.orders force row level security", []);
  await withClient(db.adminUrl, (client) =>
    client.query("create table shop.audits (auditor uuid references identity.users on delete cascade)"),
  );
  const gaps = await withClient(db.url("owner"), findUserDataGaps);
  expect(gaps.map(({ kind, table, reason }) => `${kind}: ${table}: ${reason}`)).toEqual([
    'blocks: shop.invoices: invoices_paid_by_fkey has "on delete set null", but its column is not null',
    'blocks: shop.invoices: invoices_user_id_fkey refers to identity.users without "on delete cascade" or "on delete set null"',
    'blocks: shop.offers: offers_order_id_fkey refers to shop.orders without "on delete cascade" or "on delete set null"',
    'blocks: shop.parcels: parcels_line_id_fkey refers to shop.order_lines without "on delete cascade" or "on delete set null"',
    "blocks: shop.guests: host has the tag @userId without delete, clear or keep",
    "blocks: shop.guests: visit has the tag @userId clear, but is not null",
    "undeclared: shop.guests: name has the tag @userId, but is not a uuid",
    "undeclared: shop.sign_ups: user_id has no foreign key and no tag @userId",
    expect.stringMatching(/^of another owner: shop\.audits: its owner is \w+$/),
    "not exported: shop.orders: has forced row security, so that exports fail",
    "not exported: shop.offers: refers to shop.orders and shop.products, but no rule says whose its rows are",
  ]);
  await asOwner("drop table shop.invoices, shop.offers, shop.parcels, shop.guests", []);
  expect(
    (await withClient(db.url("owner"), findUserDataGaps)).filter(({ kind }) => kind === "blocks"),
  ).toEqual([]);
});
