import { randomInt, randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { grantRole, registerUser } from "../support/accounts.ts";
import { addItem } from "../support/content.ts";
import {
  asRole,
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
  withClient,
} from "../support/database.ts";

// Every change that completes an item or course records the completion once, and no later change removes it.

let db: TestDatabase;
let ada: string;
let bob: string;
let editor: string;
beforeAll(async () => {
  db = await createTestDatabase();
  [ada, bob, editor] = (await Promise.all(
    ["ada", "bob", "editor"].map((name) => registerUser(db, name)),
  )) as [string, string, string];
  await grantRole(db, editor, "admin");
});
afterAll(() => db.drop());

const name = () => `c-${randomUUID()}`;
const complete = (tx: Transaction, item: string) => tx.rows("select learning.complete_item($1)", [item]);
const asOwner = (sql: string, params: unknown[] = []) =>
  withClient(db.url("owner"), async (client) => (await client.query(sql, params)).rows);
/** Runs one statement as the owner and returns to the previous role. */
async function owner(
  tx: Transaction,
  sql: string,
  params: unknown[] = [],
): Promise<Record<string, unknown>[]> {
  await tx.asOwner();
  return tx.rows(sql, params);
}
const recorded = (tx: Transaction, user: string, item: string) =>
  owner(
    tx,
    `select completed_version, completed_at is not null as done, credited_version
     from learning.content_progress where user_id = $1 and item_id = $2 and completed_at is not null`,
    [user, item],
  );
const DONE = [{ completed_version: 1, done: true, credited_version: 1 }];

async function addSkill(taught: readonly string[], gain = 0.5, trainingGain = 2): Promise<string> {
  const [skill] = await asOwner(
    "insert into learning.skills (skill_name, training_gain) values ($1, $2) returning id",
    [`s_${randomUUID().replaceAll("-", "_")}`, trainingGain],
  );
  for (const item of taught)
    await asOwner("insert into learning.content_skills (item_id, skill_id, gain) values ($1, $2, $3)", [
      item,
      skill.id,
      gain,
    ]);
  return skill.id;
}

describe("a course of two parts, one of them completed,", () => {
  let course: string;
  let other: string;
  let a: string;
  let b: string;
  let next: string;
  beforeEach(async () => {
    course = await addItem(db, name(), { type: "course", duration: null });
    other = await addItem(db, name(), { type: "course", duration: null });
    a = await addItem(db, name(), { type: "article", duration: null, course, position: 1 });
    b = await addItem(db, name(), { type: "article", duration: null, course, position: 2 });
    next = await addItem(db, name(), { type: "article", duration: null });
    await addSkill([course]);
    await asOwner("insert into learning.content_prerequisites (item_id, required_item_id) values ($1, $2)", [
      next,
      course,
    ]);
  });

  const WAYS: readonly [string, (tx: Transaction) => Promise<unknown>][] = [
    ["is deleted", (tx) => tx.rows("select learning.delete_content($1)", [b])],
    ["is unpublished", (tx) => tx.rows("select learning.unpublish_content($1)", [b])],
    [
      "is moved out",
      (tx) => tx.rows("update learning.content_items set course_id = null where id = $1", [b]),
    ],
    [
      "is moved to another course",
      (tx) => tx.rows("update learning.content_items set course_id = $2 where id = $1", [b, other]),
    ],
    [
      "gets a window that has ended",
      (tx) =>
        owner(
          tx,
          "update learning.content_items set publish_from = now() - interval '2 days', publish_until = now() - interval '1 day' where id = $1",
          [b],
        ),
    ],
    ["is postponed", (tx) => tx.rows("select learning.publish_content($1, now() + interval '1 day')", [b])],
    ["is deleted permanently", (tx) => owner(tx, "delete from learning.content_items where id = $1", [b])],
  ];
  test.each(WAYS)("is completed when the other %s, and stays completed", async (_, way) => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await complete(tx, a);
      expect(await recorded(tx, ada, course)).toEqual([]);
      await tx.asUser(editor);
      await way(tx);
      expect(await recorded(tx, ada, course)).toEqual(DONE);
      expect(await recorded(tx, bob, course)).toEqual([]);
      // The completion is evidence, once.
      expect(
        await tx.rows("select delta::float8 as delta from learning.skill_evidence where user_id = $1", [ada]),
      ).toEqual([{ delta: 0.5 }]);
      // A part that is added later completes nothing.
      const [added] = await tx.rows<{ id: string }>(
        `insert into learning.content_items (category_id, slug, content_type, title, course_id)
         select category_id, $2, 'article', 'New', id from learning.content_items where id = $1 returning id`,
        [course, name()],
      );
      await tx.rows(
        "insert into learning.content_versions (item_id, version, published_at) values ($1, 1, now())",
        [added!.id],
      );
      await tx.rows(
        "update learning.content_items set current_version = 1, publish_from = now() where id = $1",
        [added!.id],
      );
      await tx.asUser(ada);
      await complete(tx, next);
      await complete(tx, added!.id);
      expect(
        await tx.rows("select count(*)::integer as n from learning.skill_evidence where user_id = $1", [ada]),
      ).toEqual([{ n: 1 }]);
    });
  });

  test("is not completed by withdrawing the whole course, in any order of its parts", async () => {
    for (const way of [
      "update learning.content_items set deleted_at = now() where id = $1",
      "update learning.content_items set current_version = null, publish_from = null where id = $1",
      "update learning.content_items set publish_until = now() where id = $1 and publish_from < now()",
      "update learning.content_items set deleted_at = now() where course_id = $1",
    ])
      await inRolledBackTransaction(db, async (tx) => {
        await tx.asUser(ada);
        await complete(tx, a);
        await tx.asUser(bob);
        await complete(tx, b);
        await owner(tx, way, [course]);
        for (const user of [ada, bob]) expect(await recorded(tx, user, course)).toEqual([]);
      });
  });

  test("is completed at the moment its part expires, before a later part counts", async () => {
    const late = await addItem(db, name(), { type: "article", duration: null, course });
    await asOwner("update learning.content_items set publish_from = now() + interval '1 day' where id = $1", [
      late,
    ]);
    await withClient(db.url("authenticator"), async (client) => {
      await client.query("begin");
      await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: ada });
      await client.query("select learning.complete_item($1)", [a]);
      await client.query("commit");
    });
    // Both moments are still to come for the triggers, however long they take.
    const ends = await withClient(db.url("owner"), async (client) => {
      for (let seconds = 0.2; ; seconds *= 4) {
        await client.query("begin");
        const { rows } = await client.query<{ ends: Date }>(
          `with moment as (
             select date_trunc('milliseconds', clock_timestamp()) + $3 * interval '1 second' as ends
           ),
           expiring as (
             update learning.content_items set publish_until = ends from moment where id = $1 returning id
           )
         update learning.content_items set publish_from = ends + interval '0.2 seconds'
         from moment where content_items.id = $2 returning ends`,
          [b, late, seconds],
        );
        const { ends } = rows[0]!;
        const clock = await client.query("select clock_timestamp() < $1 as is_ahead", [ends]);
        await client.query(clock.rows[0].is_ahead ? "commit" : "rollback");
        if (clock.rows[0].is_ahead) return ends;
      }
    });
    await asOwner("select pg_sleep_until($1::timestamptz + interval '0.5 seconds')", [ends]);
    // Both moments have passed; the job or an editor evaluates them next.
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asWorker();
      const [{ n } = { n: 0 }] = await tx.rows<{ n: number }>("select private.record_due_completions() as n");
      expect(n).toBeGreaterThanOrEqual(2);
      expect(await tx.rows("select private.record_due_completions() as n")).toEqual([{ n: 0 }]);
      expect(await recorded(tx, ada, course)).toEqual(DONE);
      expect(
        await tx.rows(
          'select completed_at = $2 as "asOfThen" from learning.content_progress where item_id = $1',
          [course, ends],
        ),
      ).toEqual([{ asOfThen: true }]);
    });
    await asOwner("update learning.content_items set title = 'Changed' where id = $1", [late]);
    await inRolledBackTransaction(db, async (tx) => {
      expect(await recorded(tx, ada, course)).toEqual(DONE);
    });
  });

  test("is completed when learner and editor act at the same time, in either order", async () => {
    const pool = new pg.Pool({ connectionString: db.url("authenticator"), max: 4 });
    try {
      for (let round = 0; round < 12; round++) {
        const racing = await addItem(db, name(), { type: "course", duration: null });
        const parts = await Promise.all(
          [1, 2].map((position) =>
            addItem(db, name(), { type: "article", duration: null, course: racing, position }),
          ),
        );
        const as = async (user: string, sql: string, item: string, wait: number) => {
          const client = await pool.connect();
          try {
            await client.query("begin");
            await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: user });
            await client.query(sql, [item]);
            await client.query("select pg_sleep($1)", [wait]);
            await client.query("commit");
          } finally {
            client.release();
          }
        };
        await Promise.all([
          as(ada, "select learning.complete_item($1)", parts[0]!, randomInt(3) / 100),
          as(editor, "select learning.delete_content($1)", parts[1]!, randomInt(3) / 100),
        ]);
        await inRolledBackTransaction(db, async (tx) => {
          expect(await recorded(tx, ada, racing)).toEqual(DONE);
        });
      }
    } finally {
      await pool.end();
    }
  });
});

test("is completed when its only item moves into it completed", async () => {
  const course = await addItem(db, name(), { type: "course", duration: null });
  const item = await addItem(db, name(), { type: "article", duration: null });
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asUser(ada);
    await complete(tx, item);
    await owner(tx, "update learning.content_items set course_id = $2 where id = $1", [item, course]);
    expect(await recorded(tx, ada, course)).toEqual(DONE);
  });
});

describe("a corrected duration", () => {
  test("completes for users who have played enough, with all consequences", async () => {
    const course = await addItem(db, name(), { type: "course", duration: null });
    const video = await addItem(db, name(), { type: "video", duration: 100, course });
    const skill = await addSkill([video]);
    await inRolledBackTransaction(db, async (tx) => {
      for (const [user, seconds] of [
        [ada, 46],
        [bob, 44],
      ] as const) {
        await tx.asUser(user);
        await tx.rows("select learning.start_training($1)", [skill]);
        await tx.rows("select learning.record_heartbeat($1, $2, 0, $3)", [video, randomUUID(), seconds]);
      }
      expect(await recorded(tx, ada, video)).toEqual([]);
      await tx.asUser(editor);
      await tx.rows("update learning.content_items set duration_seconds = 50 where id = $1", [video]);
      for (const item of [video, course]) {
        expect(await recorded(tx, ada, item)).toEqual(DONE);
        expect(await recorded(tx, bob, item)).toEqual([]);
      }
      expect(
        await tx.rows("select status from learning.training where skill_id = $1 order by status", [skill]),
      ).toEqual([{ status: "active" }, { status: "completed" }]);
      expect(
        await tx.rows(
          "select level::float8 as level from learning.user_skills where user_id = $1 and skill_id = $2",
          [ada, skill],
        ),
      ).toEqual([{ level: 2.5 }]);
      // Longer again: existing completions stay.
      await tx.rows("update learning.content_items set duration_seconds = 500 where id = $1", [video]);
      expect(await recorded(tx, ada, course)).toEqual(DONE);
    });
  });

  test("does not wait for a heartbeat that is being recorded; the job completes it later", async () => {
    const video = await addItem(db, name(), { type: "video", duration: 100 });
    await withClient(db.url("authenticator"), async (client) => {
      await client.query("begin");
      await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: bob });
      await client.query("select learning.record_heartbeat($1, $2, 0, 45)", [video, randomUUID()]);
      await client.query("commit");
      await client.query("begin");
      await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: bob });
      await client.query("select learning.record_heartbeat($1, $2, 45, 46)", [video, randomUUID()]);
      await asOwner("update learning.content_items set duration_seconds = 50 where id = $1", [video]);
      await client.query("commit");
    });
    await inRolledBackTransaction(db, async (tx) => {
      expect(await recorded(tx, bob, video)).toEqual([]);
      await tx.asWorker();
      await tx.rows("select private.record_due_completions()");
      expect(await recorded(tx, bob, video)).toEqual(DONE);
    });
  });
});

describe("a training in a skill that two items teach, one of them completed,", () => {
  let skill: string;
  let taught: [string, string];
  beforeEach(async () => {
    taught = (await Promise.all(
      [1, 2].map(() => addItem(db, name(), { type: "exercise", duration: null })),
    )) as [string, string];
    skill = await addSkill(taught);
  });
  const training = async (tx: Transaction) =>
    owner(
      tx,
      `select t.status, t.progress::float8 as progress, us.level::float8 as level
       from learning.training t join learning.user_skills us using (user_id, skill_id)
       where t.user_id = $1 and t.skill_id = $2`,
      [ada, skill],
    );
  const WAYS: readonly [string, string][] = [
    ["the other is deleted", "select learning.delete_content($2)"],
    ["the other is unpublished", "select learning.unpublish_content($2)"],
    [
      "the other no longer teaches it",
      "delete from learning.content_skills where item_id = $2 and skill_id = $1",
    ],
  ];
  test.each(WAYS)("is completed once when %s", async (_, sql) => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await tx.rows("select learning.start_training($1)", [skill]);
      await complete(tx, taught[0]);
      expect(await training(tx)).toEqual([{ status: "active", progress: 0.5, level: 0.5 }]);
      await tx.asUser(editor);
      await tx.rows(sql.includes("$1") ? sql : `${sql}, $1::uuid`, [skill, taught[1]]);
      const done = [{ status: "completed", progress: 1, level: 2.5 }];
      expect(await training(tx)).toEqual(done);
      await owner(tx, "update learning.content_items set deleted_at = null where id = $1", [taught[1]]);
      expect(await training(tx)).toEqual(done);
    });
  });

  test("continues when a completed item is added to the skill, and a pause keeps the progress", async () => {
    const third = await addItem(db, name(), { type: "exercise", duration: null });
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await tx.rows("select learning.start_training($1)", [skill]);
      await complete(tx, taught[0]);
      await complete(tx, third);
      await owner(tx, "insert into learning.content_skills (item_id, skill_id) values ($1, $2)", [
        third,
        skill,
      ]);
      expect(await training(tx)).toMatchObject([{ progress: 0.6666 }]);
      await tx.asUser(ada);
      await tx.rows("select learning.pause_training($1)", [skill]);
      await owner(tx, "update learning.content_items set deleted_at = now() where id = $1", [taught[1]]);
      expect(await training(tx)).toMatchObject([{ status: "pending", progress: 0.6666 }]);
      await tx.asUser(ada);
      await tx.rows("select learning.start_training($1)", [skill]);
      expect(await training(tx)).toMatchObject([{ status: "completed" }]);
    });
  });
});

test("records completions for the worker and the content but rejects signed-in users", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asUser(ada);
    for (const call of [
      "record_due_completions()",
      "record_completions('{}', '{}')",
      "complete_played_items('{}')",
    ])
      await expectSqlState(tx.attempt(`select private.${call}`), "42501");
    await tx.asWorker();
    for (const size of ["0", "null", "100001"])
      await expectSqlState(tx.attempt(`select private.record_due_completions(${size})`), "PL422");
  });
});
