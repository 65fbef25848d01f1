import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { grantRole, registerUser } from "../support/accounts.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  type TestDatabase,
  withClient,
} from "../support/database.ts";
import { untilWaiting, whileLocked } from "../support/waiting.ts";
import { addItem } from "./support.ts";

let db: TestDatabase;
let editor: string;
let ada: string;
beforeAll(async () => {
  db = await createTestDatabase();
  editor = await registerUser(db, "editor");
  ada = await registerUser(db, "ada");
  await grantRole(db, editor, "moderator");
});
afterAll(async () => {
  await db.drop();
});

describe("an item from draft to publication and back [A4]", () => {
  test("is written, published, revised, withdrawn, deleted and restored by an editor", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.rows("insert into learning.content_categories (slug, name) values ('c', 'C')");
      await tx.asUser(editor);
      const [made] = await tx.rows<{ id: string; author_id: string; tags: string[] }>(
        `insert into learning.content_items (category_id, slug, content_type, title, tags)
         select id, 'intro', 'article', 'Intro', '{" Python ",python,AI,""}' from learning.content_categories returning *`,
      );
      expect(made).toMatchObject({ author_id: editor, tags: ["ai", "python"], current_version: null });
      const id = made!.id;
      const seen = async () => {
        await tx.asUser(ada);
        const items = await tx.rows("select current_version from learning.content_items where id = $1", [id]);
        const bodies = await tx.rows<{ body: string }>(
          "select body from learning.content_bodies where item_id = $1",
          [id],
        );
        await tx.asUser(editor);
        return [items.length, ...bodies.map(({ body }) => body)];
      };
      await expect(tx.attempt("select learning.publish_content($1)", [id])).rejects.toMatchObject({
        code: "PL422",
      });
      await tx.rows("select learning.save_draft($1, 'one')", [id]);
      await tx.rows("select learning.save_draft($1, 'first', 'markdown', 'begun')", [id]);
      expect(await seen()).toEqual([0]);
      await tx.rows("select learning.publish_content($1)", [id]);
      expect(await seen()).toEqual([1, "first"]);
      await tx.rows("select learning.save_draft($1, 'second')", [id]);
      expect(await seen()).toEqual([1, "first"]);
      expect(await tx.rows("select current_version from learning.publish_content($1)", [id])).toEqual([
        { current_version: 2 },
      ]);
      expect(await tx.rows("select current_version from learning.publish_content($1)", [id])).toEqual([
        { current_version: 2 },
      ]);
      expect(await seen()).toEqual([1, "second"]);
      expect(
        await tx.rows(
          "select version, change_note, created_by, published_at is not null as p from learning.content_versions order by 1",
        ),
      ).toEqual([
        { version: 1, change_note: "begun", created_by: editor, p: true },
        { version: 2, change_note: "", created_by: editor, p: true },
      ]);
      await tx.rows("select learning.unpublish_content($1)", [id]);
      expect(await seen()).toEqual([0]);
      await tx.rows("select learning.publish_content($1)", [id]);
      await tx.rows("select learning.delete_content($1)", [id]);
      expect(await seen()).toEqual([0]);
      await expect(tx.attempt("select learning.publish_content($1)", [id])).rejects.toMatchObject({
        code: "PL409",
      });
      await tx.rows("select learning.restore_content($1)", [id]);
      expect(await seen()).toEqual([1, "second"]);
    });
  });

  test("requires the permission and reports missing items", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const id = await addItem(tx.client);
      for (const call of [
        "save_draft($1, 'x')",
        "publish_content($1)",
        "unpublish_content($1)",
        "delete_content($1)",
        "restore_content($1)",
      ]) {
        await tx.asUser(ada);
        await expect(tx.attempt(`select learning.${call}`, [id])).rejects.toMatchObject({ code: "PL403" });
        await tx.asUser(editor);
        await expect(tx.attempt(`select learning.${call}`, [ada])).rejects.toMatchObject({ code: "PL404" });
      }
      await expect(
        tx.attempt("update learning.content_items set deleted_at = now() where id = $1", [id]),
      ).rejects.toMatchObject({ code: "42501" });
    });
  });

  test("keeps published versions unchanged even for the owner and after the author's deletion", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const id = await addItem(tx.client);
      await tx.rows("alter table learning.content_versions disable trigger user");
      await tx.rows("update learning.content_versions set created_by = $1", [ada]);
      await tx.rows("alter table learning.content_versions enable trigger user");
      for (const sql of [
        "update learning.content_versions set change_note = 'x' where item_id = $1",
        "update learning.content_versions set published_at = null where item_id = $1",
        "delete from learning.content_versions where item_id = $1",
        "update learning.content_bodies set body = 'x' where item_id = $1",
        "delete from learning.content_bodies where item_id = $1",
      ])
        await expect(tx.attempt(sql, [id])).rejects.toMatchObject({ code: "PL409" });
      await tx.rows("delete from identity.users where id = $1", [ada]);
      expect(
        await tx.rows("select created_by from learning.content_versions where item_id = $1", [id]),
      ).toEqual([{ created_by: null }]);
      await tx.rows("delete from learning.content_items where id = $1", [id]);
      expect(await tx.rows("select from learning.content_bodies where item_id = $1", [id])).toEqual([]);
    });
  });

  test("gets one version from concurrent publications", async () => {
    const id = await withClient(db.url("owner"), (client) => addItem(client, { published: false }));
    await Promise.all(
      Array.from({ length: 8 }, () =>
        withClient(db.url("authenticator"), async (client) => {
          await client.query("begin");
          await client.query(
            "select set_config('role', $1, true), set_config('jwt.claims.user_id', $2, true)",
            [`${db.rolePrefix}_user`, editor],
          );
          await client.query("select learning.save_draft($1, 'text')", [id]);
          await client.query("select learning.publish_content($1)", [id]);
          await client.query("commit");
        }),
      ),
    );
    await withClient(db.url("owner"), async (client) => {
      const { rows } = await client.query(
        `select count(*)::integer as versions, max(version) as newest, bool_and(published_at is not null) as published,
           (select current_version from learning.content_items where id = $1) as current
         from learning.content_versions where item_id = $1`,
        [id],
      );
      expect(rows).toEqual([{ versions: 8, newest: 8, published: true, current: 8 }]);
    });
  });
});

describe("a course's window and level", () => {
  test("apply to its lessons, whichever changes", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const course = await addItem(tx.client, { type: "course", accessLevel: 5, until: 10 });
      const inherits = await addItem(tx.client, { course, accessLevel: null, until: 20 });
      const sample = await addItem(tx.client, { course, accessLevel: 0, until: 5 });
      const state = async () =>
        (
          await tx.rows<{ line: string }>(
            `select concat_ws(' ', effective_access_level, available_from is not null,
               round(extract(epoch from available_until - now()) / 86400)) as line
             from learning.content_items where id = any ($1) order by array_position($1, id)`,
            [[course, inherits, sample]],
          )
        ).map(({ line }) => line);
      expect(await state()).toEqual(["5 t 10", "5 t 10", "0 t 5"]);
      await tx.rows(
        "update learning.content_items set required_access_level = 7, publish_until = null where id = $1",
        [course],
      );
      expect(await state()).toEqual(["7 t", "7 t 20", "0 t 5"]);
      await tx.rows("update learning.content_items set deleted_at = now() where id = $1", [course]);
      expect(await state()).toEqual(["7 f", "7 f 20", "0 f 5"]);
      await tx.rows("update learning.content_items set deleted_at = null where id = $1", [course]);
      await tx.rows("update learning.content_items set course_id = null where id = $1", [inherits]);
      expect(await state()).toEqual(["7 t", "0 t 20", "0 t 5"]);
      await tx.rows(
        "update learning.content_items set effective_access_level = 0, available_from = null where id = $1",
        [course],
      );
      expect(await state()).toEqual(["7 t", "0 t 20", "0 t 5"]);
    });
  });

  test("allow parts only in a course, which stays a course while it has them", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const lesson = await addItem(tx.client);
      const course = await addItem(tx.client, { type: "course" });
      await addItem(tx.client, { course });
      await expect(
        tx.attempt("update learning.content_items set course_id = $1 where id = $2", [lesson, course]),
      ).rejects.toMatchObject({ code: expect.stringMatching(/PL422|23514/) });
      await expect(
        tx.attempt("update learning.content_items set content_type = 'lesson' where id = $1", [course]),
      ).rejects.toMatchObject({ code: "PL409" });
    });
  });
});

describe("prerequisites", () => {
  const require = (
    sql: (text: string, params: unknown[]) => Promise<unknown>,
    item: string,
    required: string,
  ) =>
    sql("insert into learning.content_prerequisites (item_id, required_item_id) values ($1, $2)", [
      item,
      required,
    ]);

  test("never form a circle, not even through courses and lessons", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const [a, b, c] = [await addItem(tx.client), await addItem(tx.client), await addItem(tx.client)];
      const course = await addItem(tx.client, { type: "course" });
      const lesson = await addItem(tx.client, { course });
      await require(tx.attempt, a, b);
      await require(tx.attempt, b, c);
      await require(tx.attempt, course, a);
      for (const [item, required] of [
        [c, a],
        [b, a],
        [c, course],
        [c, lesson], // the lesson depends on its course's prerequisites
        [course, lesson],
        [lesson, course],
      ] as const)
        await expect(require(tx.attempt, item, required)).rejects.toMatchObject({ code: "PL409" });
      // A lesson without prerequisites, moved into a course that depends on it.
      const other = await addItem(tx.client);
      await require(tx.attempt, c, other);
      await expect(
        tx.attempt("update learning.content_items set course_id = $1 where id = $2", [course, other]),
      ).rejects.toMatchObject({ code: "PL409" });
    });
  });

  test("form no circle together when added at the same time", async () => {
    await withClient(db.url("owner"), async (one) => {
      const [a, b] = [await addItem(one), await addItem(one)];
      await withClient(db.url("owner"), async (two) => {
        await one.query("begin");
        await require((text, params) => one.query(text, params), a, b);
        const second = require((text, params) => two.query(text, params), b, a).then(
          () => "added",
          (error) => error.code,
        );
        await one.query("commit");
        expect(await second).toBe("PL409");
      });
    });
  });
});

describe("ratings [A4]", () => {
  test("are limited to one per user for items that the user may read, and can be changed", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const item = await addItem(tx.client);
      const gated = await addItem(tx.client, { accessLevel: 1 });
      await tx.asUser(ada);
      await tx.rows("select learning.rate_content($1, 5, 'good')", [item]);
      await tx.rows("select learning.rate_content($1, 2)", [item]);
      expect(await tx.rows("select rating, review from learning.content_ratings")).toEqual([
        { rating: 2, review: "" },
      ]);
      await expect(tx.attempt("select learning.rate_content($1, 5)", [gated])).rejects.toMatchObject({
        code: "PL404",
      });
      await expect(tx.attempt("select learning.rate_content($1, 6)", [item])).rejects.toMatchObject({
        code: "PL422",
      });
      await tx.asUser(editor);
      await tx.rows("select learning.rate_content($1, 5)", [item]);
      const totals =
        "select rating_count, rating_sum::integer, rating_average::text from learning.content_items where id = $1";
      expect(await tx.rows(totals, [item])).toEqual([
        { rating_count: 2, rating_sum: 7, rating_average: "3.50" },
      ]);
      await tx.asOwner();
      await tx.rows("delete from identity.users where id = $1", [ada]);
      expect(await tx.rows(totals, [item])).toEqual([
        { rating_count: 1, rating_sum: 5, rating_average: "5.00" },
      ]);
      await tx.rows("delete from learning.content_ratings");
      expect(await tx.rows(totals, [item])).toEqual([
        { rating_count: 0, rating_sum: 0, rating_average: null },
      ]);
      await expect(
        tx.attempt("insert into learning.content_ratings (item_id, user_id, rating) values ($1, $2, 0)", [
          item,
          editor,
        ]),
      ).rejects.toMatchObject({ code: "23514" });
    });
  });

  test("are all counted when many users rate at once, each with its latest value", async () => {
    const users = await Promise.all(Array.from({ length: 12 }, (_, i) => registerUser(db, `rater${i}`)));
    const items = await withClient(db.url("owner"), async (client) => [
      await addItem(client),
      await addItem(client),
    ]);
    await Promise.all(
      users.map((user, u) =>
        withClient(db.url("authenticator"), async (client) => {
          for (let i = 0; i < 12; i++) {
            await client.query("begin");
            await client.query(
              "select set_config('role', $1, true), set_config('jwt.claims.user_id', $2, true)",
              [`${db.rolePrefix}_user`, user],
            );
            const item = items[(u + i) % 2];
            if (i % 5 === 4)
              await client.query("delete from learning.content_ratings where item_id = $1", [item]);
            else await client.query("select learning.rate_content($1, $2)", [item, 1 + ((u + 3 * i) % 5)]);
            await client.query(i % 7 === 6 ? "rollback" : "commit");
          }
        }),
      ),
    );
    await withClient(db.url("owner"), async (client) => {
      const { rows } = await client.query(
        `select i.rating_count, i.rating_sum::integer, count(r.*)::integer as n, coalesce(sum(r.rating), 0)::integer as s
         from learning.content_items i left join learning.content_ratings r on r.item_id = i.id
         where i.id = any ($1) group by i.id`,
        [items],
      );
      expect(rows).toHaveLength(2);
      for (const { rating_count, rating_sum, n, s } of rows) {
        expect(n).toBeGreaterThan(0);
        expect([rating_count, rating_sum]).toEqual([n, s]);
      }
    });
  });

  test("do not count as a change of the item", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const item = await addItem(tx.client);
      const [before] = await tx.rows("select updated_at from learning.content_items where id = $1", [item]);
      await tx.rows("insert into learning.content_ratings (item_id, user_id, rating) values ($1, $2, 4)", [
        item,
        ada,
      ]);
      expect(await tx.rows("select updated_at from learning.content_items where id = $1", [item])).toEqual([
        before,
      ]);
    });
  });
});

test("deletes an account while it saves a draft of its item", async () => {
  const author = await registerUser(db, "author");
  await grantRole(db, author, "moderator");
  const item = await withClient(db.url("owner"), async (client) => {
    const id = await addItem(client);
    await client.query("update learning.content_items set author_id = $2 where id = $1", [id, author]);
    return id;
  });
  const asOwner = (...statements: [string, unknown[]][]) =>
    withClient(db.url("owner"), async (client) => {
      for (const [sql, params] of statements) await client.query(sql, params);
    });
  let both: Promise<unknown> = Promise.resolve();
  await whileLocked(
    db,
    [["select from learning.content_items where id = $1 for update", [item]]],
    async () => {
      const saving = asOwner(
        ["select set_config('jwt.claims.user_id', $1, false)", [author]],
        ["select learning.save_draft($1, 'x')", [item]],
      );
      await untilWaiting(db, 1);
      both = Promise.allSettled([saving, asOwner(["delete from identity.users where id = $1", [author]])]);
      await untilWaiting(db, 2);
    },
  );
  expect(await both).toMatchObject([{ status: "fulfilled" }, { status: "fulfilled" }]);
});
