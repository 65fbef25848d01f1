import { randomInt, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { grantRole, registerUser } from "../support/accounts.ts";
import { addCategory, addItem, publishVersion } from "../support/content.ts";
import {
  asRole,
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
  withClient,
} from "../support/database.ts";

// Items, courses and categories always report the same progress of a learner, and a completion affects the course, the training
// and the level.

let db: TestDatabase;
let ada: string;
let trainer: string;
let author: string;
beforeAll(async () => {
  db = await createTestDatabase();
  [ada, trainer, author] = (await Promise.all(
    ["ada", "trainer", "author"].map((name) => registerUser(db, name)),
  )) as [string, string, string];
  await grantRole(db, trainer, "admin");
});
afterAll(() => db.drop());

const beat = (tx: Transaction, item: string, from: number, to: number, ago = 0) =>
  tx.rows("select learning.record_heartbeat($1, $2, $3, $4, null, now() - make_interval(secs => $5))", [
    item,
    randomUUID(),
    from,
    to,
    ago,
  ]);
const complete = (tx: Transaction, item: string) =>
  tx.rows<{ completed_version: number }>("select * from learning.complete_item($1)", [item]);

interface Summary {
  readonly item_count: number;
  readonly completed_count: number;
  readonly progress: number;
  readonly active_seconds: number;
}
const SUMMARY =
  "item_count, completed_count, progress::float8 as progress, active_seconds::integer as active_seconds";
const ofItem = async (tx: Transaction, id: string) =>
  (
    await tx.rows<Summary>(
      `select ${SUMMARY} from learning.content_items i cross join lateral learning.content_items_progress(i) p where i.id = $1`,
      [id],
    )
  )[0]!;
const ofCategory = async (tx: Transaction, id: string) =>
  (
    await tx.rows<Summary>(
      `select ${SUMMARY} from learning.content_categories c cross join lateral learning.content_categories_progress(c) p where c.id = $1`,
      [id],
    )
  )[0]!;

/** Ten thousandths, so that sums are exact. */
const parts = (progress: number) => Math.round(progress * 10_000);

test("keeps items, courses and categories equal to a model after any change", async () => {
  // Two trees of three categories; four courses with parts in various categories, and items outside of courses.
  const categories: { id: string; above: number[] }[] = [];
  for (let i = 0; i < 6; i++) {
    const parent = i % 3 === 0 ? undefined : i - 1;
    const id = await addCategory(db, `tree-${i}`, parent === undefined ? undefined : categories[parent]!.id);
    categories.push({ id, above: [i, ...(parent === undefined ? [] : categories[parent]!.above)] });
  }
  const courses: string[] = [];
  for (let i = 0; i < 3; i++)
    courses.push(
      await addItem(db, `course-${i}`, { type: "course", duration: null, category: categories[i]!.id }),
    );
  const items: { id: string; course: number; category: number; type: string }[] = [];
  for (let i = 0; i < 18; i++) {
    const course = randomInt(4);
    const category = randomInt(6);
    const type = i % 2 ? "video" : "article";
    const id = await addItem(db, `item-${i}`, {
      type,
      duration: type === "video" ? 50 : null,
      category: categories[category]!.id,
      position: i,
      ...(course < 3 ? { course: courses[course]! } : {}),
    });
    items.push({ id, course, category, type });
  }

  for (let round = 0; round < 6; round++)
    await inRolledBackTransaction(db, async (tx) => {
      const model = new Map(
        items.map(({ id }) => [
          id,
          { seen: new Set<number>(), active: new Set<number>(), done: false, there: true },
        ]),
      );
      const progressOf = (id: string) => {
        const { seen, done } = model.get(id)!;
        return done ? 10_000 : Math.min(9_999, Math.floor((seen.size * 10_000) / 50));
      };
      const summary = (ids: readonly string[]): Summary => {
        const there = ids.filter((id) => model.get(id)!.there);
        const sum = there.reduce((all, id) => all + progressOf(id), 0);
        return {
          item_count: there.length,
          completed_count: there.filter((id) => model.get(id)!.done).length,
          progress: there.length === 0 ? 0 : Math.floor(sum / there.length) / 10_000,
          // A second spent on two of them at once is one second.
          active_seconds: new Set(there.flatMap((id) => [...model.get(id)!.active])).size,
        };
      };
      for (let step = 0; step < 40; step++) {
        const item = items[randomInt(items.length)]!;
        const state = model.get(item.id)!;
        const what = randomInt(10);
        if (what === 0) {
          state.there = !state.there;
          await tx.asOwner();
          await tx.rows(
            "update learning.content_items set deleted_at = case when $2 then null else now() end where id = $1",
            [item.id, state.there],
          );
        } else if (state.there && item.type === "article") {
          state.done = true;
          await tx.asUser(ada);
          await complete(tx, item.id);
        } else if (state.there) {
          const from = randomInt(45);
          const to = from + randomInt(1, 25);
          for (let second = from; second < Math.min(to, 50); second++) state.seen.add(second);
          const ago = randomInt(200);
          for (let second = ago; second < ago + to - from; second++) state.active.add(second);
          if (state.seen.size >= 45) state.done = true;
          await tx.asUser(ada);
          await beat(tx, item.id, from, to, ago);
        }
      }
      await tx.asUser(ada);
      for (const { id } of items)
        if (model.get(id)!.there) expect(await ofItem(tx, id)).toEqual(summary([id]));
      for (const [index, course] of courses.entries()) {
        const ids = items.filter((item) => item.course === index).map(({ id }) => id);
        expect(await ofItem(tx, course)).toEqual(summary(ids));
        // A completion lasts, and a course is complete when all its parts are.
        const { item_count, completed_count } = summary(ids);
        const [{ done } = { done: false }] = await tx.rows<{ done: boolean }>(
          "select learning.has_completed($1, $2) as done",
          [ada, course],
        );
        if (item_count > 0 && item_count === completed_count) expect(done).toBe(true);
        const recorded = await tx.rows(
          "select from learning.content_progress where item_id = $1 and completed_at is not null",
          [course],
        );
        expect(done).toBe(recorded.length === 1 || (item_count > 0 && item_count === completed_count));
      }
      for (const [index, { id }] of categories.entries()) {
        const ids = items
          .filter((item) => categories[item.category]!.above.includes(index))
          .map((item) => item.id);
        expect(await ofCategory(tx, id)).toEqual(summary(ids));
      }
      // A category is the sum of its subcategories and its own items.
      const whole = await ofCategory(tx, categories[0]!.id);
      const below = await ofCategory(tx, categories[1]!.id);
      const own = summary(items.filter((item) => item.category === 0).map(({ id }) => id));
      expect(whole.item_count).toBe(below.item_count + own.item_count);
      expect(whole.completed_count).toBe(below.completed_count + own.completed_count);
      expect(whole.active_seconds).toBeLessThanOrEqual(below.active_seconds + own.active_seconds);
      expect(whole.active_seconds).toBeGreaterThanOrEqual(Math.max(below.active_seconds, own.active_seconds));
      expect(parts(whole.progress)).toBeLessThanOrEqual(10_000);
    });
});

describe("a course", () => {
  let course: string;
  let lessons: string[];
  beforeAll(async () => {
    course = await addItem(db, "sql-course", { type: "course", duration: null });
    lessons = [];
    for (let i = 0; i < 4; i++)
      lessons.push(
        await addItem(db, `sql-lesson-${i}`, { type: "article", duration: null, course, position: i }),
      );
    await withClient(db.url("owner"), (client) =>
      client.query("update learning.content_items set author_id = $1 where id = $2", [author, course]),
    );
  });

  test("is completed by its last part in its current version and stays completed when it grows", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await expectSqlState(tx.attempt("select learning.complete_item($1)", [course]), "PL409");
      for (const lesson of lessons.slice(0, 3)) await complete(tx, lesson);
      expect(await ofItem(tx, course)).toMatchObject({ item_count: 4, completed_count: 3, progress: 0.75 });
      const done = async () =>
        tx.rows(
          "select completed_version, learning.has_completed($1, $2) as done from learning.content_progress where item_id = $2",
          [ada, course],
        );
      expect(await done()).toEqual([{ completed_version: null, done: false }]);
      await complete(tx, lessons[3]!);
      expect(await done()).toEqual([{ completed_version: 1, done: true }]);
      await tx.asOwner();
      await tx.rows("update learning.content_items set course_id = null where id = $1", [lessons[3]]);
      await tx.asUser(ada);
      expect(await ofItem(tx, course)).toMatchObject({ item_count: 3, completed_count: 3, progress: 1 });
      await tx.asOwner();
      const [grown] = await tx.rows<{ id: string }>(
        `insert into learning.content_items (category_id, slug, content_type, title, course_id)
         select category_id, 'sql-lesson-new', 'article', 'New', id from learning.content_items where id = $1 returning id`,
        [course],
      );
      await tx.rows(
        "insert into learning.content_versions (item_id, version, published_at) values ($1, 1, now())",
        [grown!.id],
      );
      await tx.rows(
        "update learning.content_items set current_version = 1, publish_from = now() where id = $1",
        [grown!.id],
      );
      await tx.asUser(ada);
      expect(await ofItem(tx, course)).toMatchObject({ item_count: 4, completed_count: 3, progress: 0.75 });
      expect(await done()).toEqual([{ completed_version: 1, done: true }]);
    });
  });

  test("unlocks its dependent items", async () => {
    const next = await addItem(db, "after-sql", { type: "article", duration: null });
    await withClient(db.url("owner"), (client) =>
      client.query("insert into learning.content_prerequisites (item_id, required_item_id) values ($1, $2)", [
        next,
        course,
      ]),
    );
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await expect(tx.attempt("select learning.complete_item($1)", [next])).rejects.toMatchObject({
        code: "PL403",
        hint: "prerequisites_missing",
      });
      for (const lesson of lessons) await complete(tx, lesson);
      await complete(tx, next);
    });
  });

  test("is completed when two devices complete the last two parts at once", async () => {
    const pool = new pg.Pool({ connectionString: db.url("authenticator"), max: 4 });
    try {
      for (let round = 0; round < 10; round++) {
        const user = await registerUser(db, `racer${round}`);
        await Promise.all(
          lessons.map(async (lesson) => {
            const client = await pool.connect();
            try {
              await client.query("begin");
              await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: user });
              await client.query("select learning.complete_item($1)", [lesson]);
              await client.query("commit");
            } finally {
              client.release();
            }
          }),
        );
        await inRolledBackTransaction(db, async (tx) => {
          await tx.asUser(user);
          expect(
            await tx.rows("select completed_version from learning.content_progress where item_id = $1", [
              course,
            ]),
          ).toEqual([{ completed_version: 1 }]);
        });
      }
    } finally {
      await pool.end();
    }
  });

  test("is reported only to its author and to trainers", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await complete(tx, lessons[0]!);
      await expectSqlState(tx.attempt("select * from learning.course_learners($1)", [course]), "PL404");
      const own = await ofItem(tx, course);
      for (const who of [author, trainer]) {
        await tx.asUser(who);
        const rows = await tx.rows<Summary & { user_id: string }>(
          `select user_id, ${SUMMARY} from learning.course_learners($1) where user_id = $2`,
          [course, ada],
        );
        expect(rows).toEqual([{ user_id: ada, ...own }]);
        for (const other of [lessons[0], randomUUID()])
          await expectSqlState(tx.attempt("select * from learning.course_learners($1)", [other]), "PL404");
      }
    });
  });
});

describe("skills", () => {
  let skill: string;
  let taught: string[];
  beforeAll(async () => {
    taught = [];
    for (let i = 0; i < 4; i++)
      taught.push(await addItem(db, `taught-${i}`, { type: "exercise", duration: null, level: i }));
    skill = await withClient(db.url("owner"), async (client) => {
      const { rows } = await client.query<{ id: string }>(
        "insert into learning.skills (skill_name, training_gain) values ('sql', 2) returning id",
      );
      for (const item of taught)
        await client.query(
          "insert into learning.content_skills (item_id, skill_id, gain) values ($1, $2, 0.5)",
          [item, rows[0]!.id],
        );
      return rows[0]!.id;
    });
  });
  const analytics = async (tx: Transaction) =>
    (
      await tx.rows(
        `select level::float8 as level, level_gained_30_days::float8 as gained, training_status as status,
           training_progress::float8 as progress, items_completed as completed, evidence_count as evidence
         from learning.learning_analytics where user_id = $1 and skill_id = $2`,
        [ada, skill],
      )
    )[0];

  test("grow once with each completed item, whatever its version, and advance the training", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await complete(tx, taught[0]!);
      expect(await analytics(tx)).toEqual({
        level: 0.5,
        gained: 0.5,
        status: null,
        progress: null,
        completed: 1,
        evidence: 1,
      });
      // Earlier completions count for a training that begins.
      await tx.rows("select learning.start_training($1)", [skill]);
      expect(await analytics(tx)).toMatchObject({ status: "active", progress: 0.25 });
      for (const item of taught.slice(0, 3)) await complete(tx, item);
      expect(await analytics(tx)).toMatchObject({
        level: 1.5,
        status: "active",
        progress: 0.75,
        completed: 3,
      });
      await complete(tx, taught[3]!);
      expect(await analytics(tx)).toMatchObject({ level: 4, status: "completed", progress: 1, evidence: 5 });
      await tx.asOwner();
      await tx.rows(
        "insert into learning.content_versions (item_id, version, published_at) values ($1, 2, now())",
        [taught[0]],
      );
      await tx.rows("update learning.content_items set current_version = 2 where id = $1", [taught[0]]);
      await tx.asUser(ada);
      expect(await complete(tx, taught[0]!)).toMatchObject([{ completed_version: 2 }]);
      expect(await analytics(tx)).toMatchObject({ level: 4, evidence: 5 });
      // A further run counts only completions since its start: none yet.
      await tx.rows("select learning.restart_training($1)", [skill]);
      expect(await analytics(tx)).toMatchObject({ status: "active", progress: 0 });
    });
  });

  test("are analyzed for their user and for trainers", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await complete(tx, taught[0]!);
      await tx.asUser(author);
      expect(await analytics(tx)).toBeUndefined();
      await tx.asUser(trainer);
      expect(await analytics(tx)).toMatchObject({ level: 0.5, completed: 1 });
    });
  });

  test("are assigned to items by editors", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const add = () =>
        tx.attempt(
          "insert into learning.content_skills (item_id, skill_id) select id, $1 from learning.content_items where slug = 'sql-course'",
          [skill],
        );
      await tx.asUser(ada);
      await expectSqlState(add(), "42501");
      await tx.asUser(trainer);
      await add();
    });
  });
});

test("offers a new version of an item again and keeps its completion", async () => {
  const item = await addItem(db, "twice", { type: "quiz", duration: null });
  await publishVersion(db, item, 2);
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asUser(ada);
    const at = async (version: number | null) =>
      (
        await tx.rows<{ v: number }>("select (learning.complete_item($1, $2)).completed_version as v", [
          item,
          version,
        ])
      )[0]!.v;
    expect(await at(1)).toBe(1);
    expect(await at(2)).toBe(2);
    expect(await at(1)).toBe(2);
    expect(await at(null)).toBe(2);
  });
});
