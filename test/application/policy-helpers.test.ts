import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { grantRole, registerUser } from "../support/accounts.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
} from "../support/database.ts";

// Each test creates its own table as the owner, as an application's migration does, and reads and writes it as other roles.

let db: TestDatabase;
let ada: string;
let bob: string;
let manager: string;
beforeAll(async () => {
  db = await createTestDatabase();
  ada = await registerUser(db, "ada");
  bob = await registerUser(db, "bob");
  manager = await registerUser(db, "manager");
  await grantRole(db, manager, "admin");
});
afterAll(async () => {
  await db.drop();
});

/** Runs in a transaction with a table of orders, one of each of two users. */
function withOrders(sql: string, use: (tx: Transaction) => Promise<void>): Promise<void> {
  return inRolledBackTransaction(db, async (tx) => {
    const { rolePrefix } = db;
    await tx.rows("create schema shop");
    await tx.rows(
      `grant usage on schema shop to ${["anonymous", "user", "worker"].map((role) => `${rolePrefix}_${role}`).join(", ")}`,
    );
    await tx.rows(`
      create table shop.orders (
        id integer generated always as identity primary key,
        user_id uuid not null default plinth.current_user_id() references identity.users on delete cascade,
        item text not null,
        size integer not null generated always as (length(item)) stored,
        updated_at timestamptz not null default '2000-01-01'
      )`);
    await tx.rows("insert into shop.orders (user_id, item) values ($1, 'lamp'), ($2, 'chair')", [ada, bob]);
    await tx.rows("insert into access.permissions (permission_name) values ('manage_orders')");
    await tx.rows(sql);
    await use(tx);
  });
}

const items = async (tx: Transaction) =>
  (await tx.attempt<{ item: string }>("select item from shop.orders order by 1")).map(({ item }) => item);
const denied = { code: "42501" };

describe("own_rows", () => {
  test("lets a user read, add, change and delete own rows only", async () => {
    await withOrders("select plinth.own_rows('shop.orders')", async (tx) => {
      await tx.asUser(ada);
      expect(await items(tx)).toEqual(["lamp"]);
      await tx.attempt("insert into shop.orders (item) values ('sofa')");
      expect(await tx.attempt("update shop.orders set item = 'bed' returning item")).toHaveLength(2);
      await expect(
        tx.attempt("insert into shop.orders (user_id, item) values ($1, 'x')", [bob]),
      ).rejects.toMatchObject(denied);
      await expect(tx.attempt("update shop.orders set user_id = $1", [bob])).rejects.toMatchObject(denied);
      expect(await tx.attempt("delete from shop.orders returning id")).toHaveLength(2);
      await tx.asUser(bob);
      expect(await items(tx)).toEqual(["chair"]);
      await tx.asUser(null);
      expect(await items(tx)).toEqual([]);
      await tx.asAnonymous();
      await expect(items(tx)).rejects.toMatchObject(denied);
      await tx.asWorker();
      await expect(items(tx)).rejects.toMatchObject(denied);
    });
  });

  test("grants only the given commands and columns, also when it runs again with fewer", async () => {
    const sql = `select plinth.own_rows('shop.orders')`;
    await withOrders(sql, async (tx) => {
      await tx.rows(`revoke all on shop.orders from ${db.rolePrefix}_user`);
      await tx.rows("select plinth.own_rows('shop.orders', grants => 'SELECT, insert (item)')");
      const policies = await tx.rows(
        "select policyname from pg_policies where schemaname = 'shop' order by 1",
      );
      expect(policies).toEqual([{ policyname: "insert_own" }, { policyname: "select_own" }]);
      await tx.asUser(ada);
      await tx.attempt("insert into shop.orders (item) values ('sofa')");
      expect(await items(tx)).toEqual(["lamp", "sofa"]);
      await expect(
        tx.attempt("insert into shop.orders (user_id, item) values ($1, 'x')", [ada]),
      ).rejects.toMatchObject(denied);
      await expect(tx.attempt("update shop.orders set item = 'x'")).rejects.toMatchObject(denied);
      await expect(tx.attempt("delete from shop.orders")).rejects.toMatchObject(denied);
    });
  });

  test("changes nothing when it runs again, and describes each policy", async () => {
    const sql = "select plinth.own_rows('shop.orders')";
    await withOrders(sql, async (tx) => {
      const read = () =>
        tx.rows<{ comment: string }>(
          `select p.polname, p.polcmd, pg_get_expr(p.polqual, p.polrelid) as using,
             pg_get_expr(p.polwithcheck, p.polrelid) as "check", obj_description(p.oid, 'pg_policy') as comment,
             c.relacl::text, c.relrowsecurity
           from pg_policy p join pg_class c on c.oid = p.polrelid where c.oid = 'shop.orders'::regclass order by 1`,
        );
      const before = await read();
      expect(before.map(({ comment }) => comment)).toEqual([
        "Users delete their own orders.",
        "Users add their own orders.",
        "Users read their own orders.",
        "Users change their own orders.",
      ]);
      await tx.rows(sql);
      expect(await read()).toEqual(before);
    });
  });

  test("rejects other privileges and unknown columns", async () => {
    await withOrders("", async (tx) => {
      for (const grants of ["all", "select, truncate", ""])
        await expect(
          tx.attempt("select plinth.own_rows('shop.orders', grants => $1)", [grants]),
        ).rejects.toMatchObject({ code: "PL422" });
      await expect(tx.attempt("select plinth.own_rows('shop.orders', 'owner_id')")).rejects.toMatchObject({
        code: "42703",
      });
    });
  });
});

test("with_permission adds the rows of all users for those who hold it", async () => {
  const sql = `select plinth.own_rows('shop.orders', grants => 'select');
               select plinth.with_permission('shop.orders', 'manage_orders', 'select, update (item)')`;
  await withOrders(sql, async (tx) => {
    await tx.asUser(manager);
    expect(await items(tx)).toEqual(["chair", "lamp"]);
    expect(await tx.attempt("update shop.orders set item = 'x' returning id")).toHaveLength(2);
    await expect(tx.attempt("delete from shop.orders")).rejects.toMatchObject(denied);
    await tx.asUser(ada);
    expect(await items(tx)).toEqual(["x"]);
    expect(await tx.attempt("update shop.orders set item = 'y' returning id")).toEqual([]);
    await tx.asOwner();
    await expect(
      tx.attempt("select plinth.with_permission('shop.orders', 'rule_all')"),
    ).rejects.toMatchObject({
      code: "PL404",
      message: "The permission rule_all does not exist.",
    });
  });
});

test("columns that one policy's rows may not change are not granted for another's", async () => {
  await withOrders("select plinth.own_rows('shop.orders', grants => 'select, update (item)')", async (tx) => {
    const widen = (grants: string) =>
      tx.attempt("select plinth.with_permission('shop.orders', 'manage_orders', $1)", [grants]);
    for (const grants of ["update (user_id)", "update", "select, Update ( item , user_id )"])
      await expect(widen(grants)).rejects.toMatchObject({
        code: "PL422",
        message: expect.stringContaining(
          "The policy update_own of shop.orders would let users update other columns",
        ),
      });
    for (const grants of ["select", 'update ( "item" )', "insert (item), delete"]) await widen(grants);
    await tx.rows(`revoke all on shop.orders from ${db.rolePrefix}_user`);
    await tx.attempt("select plinth.own_rows('shop.orders', grants => 'select, update (user_id)')");
  });
});

test("readable_by_all lets users and visitors read, and nothing else", async () => {
  await withOrders("select plinth.readable_by_all('shop.orders')", async (tx) => {
    for (const become of [() => tx.asUser(ada), () => tx.asAnonymous()]) {
      await become();
      expect(await items(tx)).toEqual(["chair", "lamp"]);
      await expect(tx.attempt("insert into shop.orders (item) values ('x')")).rejects.toMatchObject(denied);
      await expect(tx.attempt("delete from shop.orders")).rejects.toMatchObject(denied);
    }
  });
});

test("keep_updated_at sets the time of each change, except for generated columns", async () => {
  await withOrders("select plinth.keep_updated_at('shop.orders')", async (tx) => {
    const changed = (sql: string) =>
      tx.rows<{ changed: boolean }>(`${sql} returning updated_at > '2020-01-01' as changed`);
    expect(await changed("update shop.orders set item = item where item = 'lamp'")).toEqual([
      { changed: false },
    ]);
    expect(await changed("update shop.orders set item = 'sofa' where item = 'lamp'")).toEqual([
      { changed: true },
    ]);
  });
});

test("track_changes writes the audit trail under the row's account, without confidential values", async () => {
  const sql = `select plinth.track_changes('shop.orders', 'user_id', '{updated_at,size}', '{item}')`;
  await withOrders(sql, async (tx) => {
    await tx.rows("update shop.orders set item = 'sofa' where item = 'lamp'");
    expect(
      await tx.rows(
        `select operation, row_key ? 'id' as keyed, user_id, changed_columns, new_values
         from security.audit_trail where table_name = 'shop.orders'`,
      ),
    ).toEqual([
      { operation: "UPDATE", keyed: true, user_id: ada, changed_columns: ["item"], new_values: {} },
    ]);
    await tx.rows("create table shop.notes (note text)");
    await expect(tx.attempt("select plinth.track_changes('shop.notes')")).rejects.toMatchObject({
      code: "PL422",
    });
  });
});

test("a deleted account's rows are deleted, although the owner of the tables is no superuser", async () => {
  await withOrders("select plinth.own_rows('shop.orders')", async (tx) => {
    await tx.rows("delete from identity.users where id = $1", [bob]);
    expect(await items(tx)).toEqual(["lamp"]);
  });
});

test("no role but the owner calls the helpers or queues jobs", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const callable = await tx.rows<{ name: string; role: string }>(
      `select p.proname as name, r.rolname as role
       from pg_proc p
       cross join pg_roles r
       where p.pronamespace = 'plinth'::regnamespace
         and p.proname in (
           'own_rows', 'with_permission', 'readable_by_all', 'track_changes', 'keep_updated_at', 'enqueue_job'
         )
         and r.rolname like $1 and has_function_privilege(r.oid, p.oid, 'execute')`,
      [`${db.rolePrefix}\\_%`],
    );
    expect(new Set(callable.map(({ role }) => role))).toEqual(new Set([`${db.rolePrefix}_owner`]));
    expect(callable).toHaveLength(6);
  });
});
