import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import {
  createTestDatabase,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
  withClient,
} from "../support/database.ts";
import { addCategory, addItem } from "./support.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});

const paths = async (tx: Transaction): Promise<string[]> =>
  (await tx.rows<{ path: string }>("select path from learning.content_categories order by path")).map(
    ({ path }) => path,
  );

test("moves a subtree with everything below it, and back to the top [A4]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const a = await addCategory(tx.client, "a");
    const b = await addCategory(tx.client, "b", a);
    const c = await addCategory(tx.client, "c", b);
    await addCategory(tx.client, "d", c);
    const x = await addCategory(tx.client, "x");
    await tx.rows("select learning.move_category($1, $2)", [b, x]);
    expect(await paths(tx)).toEqual(["a", "x", "x/b", "x/b/c", "x/b/c/d"]);
    await tx.rows("select learning.move_category($1)", [c]);
    expect(await paths(tx)).toEqual(["a", "c", "c/d", "x", "x/b"]);
    await tx.rows("update learning.content_categories set slug = 'y' where id = $1", [x]);
    expect(await paths(tx)).toEqual(["a", "c", "c/d", "y", "y/b"]);
    expect(await tx.rows("select path, depth from learning.content_categories where path = 'c/d'")).toEqual([
      { path: "c/d", depth: 2 },
    ]);
  });
});

test("rejects a category below itself, even in one statement, and any write to the path", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const a = await addCategory(tx.client, "a");
    const b = await addCategory(tx.client, "b", a);
    const c = await addCategory(tx.client, "c", b);
    const x = await addCategory(tx.client, "x");
    const y = await addCategory(tx.client, "y", x);
    for (const parent of [b, c])
      await expect(tx.attempt("select learning.move_category($1, $2)", [a, parent])).rejects.toMatchObject({
        code: "PL409",
      });
    await expect(tx.attempt("select learning.move_category($1, $1)", [a])).rejects.toMatchObject({
      code: "PL409",
    });
    await expect(
      tx.attempt(
        "update learning.content_categories set parent_id = case id when $1 then $4::uuid when $2 then $3::uuid end where id in ($1, $2)",
        [a, x, c, y],
      ),
    ).rejects.toMatchObject({ code: "PL409" });
    await tx.rows("update learning.content_categories set path = 'elsewhere', depth = 5 where id = $1", [c]);
    expect(await paths(tx)).toEqual(["a", "a/b", "a/b/c", "x", "x/y"]);
  });
});

test("moves several categories in one statement, each with its subtree", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const a = await addCategory(tx.client, "a");
    await addCategory(tx.client, "b", a);
    const x = await addCategory(tx.client, "x");
    await addCategory(tx.client, "y", x);
    const top = await addCategory(tx.client, "top");
    await tx.rows(
      "update learning.content_categories set parent_id = case id when $1 then $3::uuid when $2 then $1::uuid end where id in ($1, $2)",
      [a, x, top],
    );
    expect(await paths(tx)).toEqual(["top", "top/a", "top/a/b", "top/a/x", "top/a/x/y"]);
  });
});

test("keeps slugs unique among siblings and at the top, and keeps parents with content or children", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const a = await addCategory(tx.client, "a");
    const b = await addCategory(tx.client, "b", a);
    await tx.client.query("savepoint s");
    await expect(addCategory(tx.client, "a")).rejects.toMatchObject({ code: "23505" });
    await tx.client.query("rollback to s");
    await expect(addCategory(tx.client, "b", a)).rejects.toMatchObject({ code: "23505" });
    await tx.client.query("rollback to s");
    const top = await addCategory(tx.client, "b");
    await expect(tx.attempt("select learning.move_category($1)", [b])).rejects.toMatchObject({
      code: "23505",
    });
    await expect(
      tx.attempt("delete from learning.content_categories where id = $1", [a]),
    ).rejects.toMatchObject({
      code: expect.stringMatching(/23001|23503/), // PostgreSQL 18 and later report restrict separately
    });
    await addItem(tx.client, { category: top });
    await expect(
      tx.attempt("delete from learning.content_categories where id = $1", [top]),
    ).rejects.toMatchObject({
      code: expect.stringMatching(/23001|23503/), // PostgreSQL 18 and later report restrict separately
    });
    let parent: string | null = null;
    for (let depth = 1; depth <= 10; depth++) parent = await addCategory(tx.client, `deep-${depth}`, parent);
    await tx.client.query("savepoint s");
    await expect(addCategory(tx.client, "too-deep", parent)).rejects.toMatchObject({ code: "23514" });
  });
});

describe("concurrent moves", () => {
  const connect = async () => {
    const client = new pg.Client(db.url("owner"));
    await client.connect();
    return client;
  };

  test.each(["read committed", "repeatable read", "serializable"])(
    "that are harmless alone form no circle together (%s)",
    async (isolation) => {
      const [one, two] = [await connect(), await connect()];
      try {
        const a = await addCategory(one, `a-${isolation.replace(" ", "-")}`);
        const b = await addCategory(one, `b-${isolation.replace(" ", "-")}`);
        for (const client of [one, two]) {
          await client.query(`begin isolation level ${isolation}`);
          await client.query("select from learning.content_categories");
        }
        await one.query("select learning.move_category($1, $2)", [a, b]);
        const second = two.query("select learning.move_category($1, $2)", [b, a]).then(
          () => "moved",
          (error) => error.code,
        );
        await one.query("commit");
        expect(await second).toBe(isolation === "read committed" ? "PL409" : "40001");
        await two.query("rollback");
      } finally {
        await one.end();
        await two.end();
      }
    },
  );

  test("leave a tree whose paths match the parents", async () => {
    const ids = await withClient(db.url("owner"), async (client) => {
      const made: string[] = [];
      for (let i = 0; i < 12; i++) made.push(await addCategory(client, `n${i}`));
      return made;
    });
    const outcomes = await Promise.all(
      Array.from({ length: 6 }, async (_, worker) => {
        const client = await connect();
        const codes: string[] = [];
        try {
          for (let i = 0; i < 20; i++) {
            const child = ids[(worker * 7 + i * 5) % ids.length];
            const parent = i % 6 === 5 ? null : ids[(worker * 3 + i * 11 + 1) % ids.length];
            await client
              .query("select learning.move_category($1, $2)", [child, parent])
              .then(() => codes.push("moved"))
              .catch((error) => codes.push(error.code));
          }
        } finally {
          await client.end();
        }
        return codes;
      }),
    );
    const codes = new Set(outcomes.flat());
    expect(codes).toContain("moved");
    codes.delete("moved");
    codes.delete("PL409"); // a circle
    codes.delete("23514"); // too deep
    expect([...codes]).toEqual([]);
    await withClient(db.url("owner"), async (client) => {
      const { rows } = await client.query(
        `with recursive tree as (
           select id, slug as path, 1 as depth from learning.content_categories where parent_id is null
           union all
           select c.id, t.path || '/' || c.slug, t.depth + 1
           from tree t join learning.content_categories c on c.parent_id = t.id
         )
         select c.slug from learning.content_categories c
         left join tree t using (id)
         where (t.path, t.depth) is distinct from (c.path, c.depth)`,
      );
      expect(rows).toEqual([]);
    });
  });
});
