import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { TIMETABLE } from "../../src/jobs/index.ts";
import { registerUser } from "../support/accounts.ts";
import { addItem } from "../support/content.ts";
import {
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
  withClient,
} from "../support/database.ts";

// The popularity of content, and the recommendations for a user.

let db: TestDatabase;
let ada: string;
let bob: string;
let skill: string;
const items: Record<string, string> = {};
beforeAll(async () => {
  db = await createTestDatabase();
  [ada, bob] = (await Promise.all(["ada", "bob"].map((name) => registerUser(db, name)))) as [string, string];
  const add = async (slug: string, options: Parameters<typeof addItem>[2] = {}) => {
    items[slug] = await addItem(db, slug, { type: "article", duration: null, ...options });
  };
  await add("easy");
  await add("hard", { level: 9 });
  await add("taught", { level: 2 });
  await add("dear", { accessLevel: 5 });
  await add("later");
  await add("course", { type: "course" });
  for (const position of [0, 1, 2]) await add(`part-${position}`, { course: items.course!, position });
  skill = await withClient(db.url("owner"), async (client) => {
    await client.query(
      "insert into learning.content_prerequisites (item_id, required_item_id) values ($1, $2)",
      [items.later, items.easy],
    );
    const { rows } = await client.query<{ id: string }>(
      "insert into learning.skills (skill_name) values ('sql') returning id",
    );
    await client.query("insert into learning.content_skills (item_id, skill_id) values ($1, $2)", [
      items.taught,
      rows[0]!.id,
    ]);
    return rows[0]!.id;
  });
});
afterAll(() => db.drop());

interface Recommendation {
  readonly slug: string;
  readonly reason: string;
  readonly score: number;
  readonly level_fit: number;
  readonly popularity: number;
  readonly trains_skill: boolean;
  readonly is_begun: boolean;
  readonly is_next_in_course: boolean;
}
const recommended = (tx: Transaction, count = 20) =>
  tx.rows<Recommendation>(
    `select slug, reason, score::float8 as score, level_fit::float8 as level_fit, popularity::float8 as popularity,
       trains_skill, is_begun, is_next_in_course, skill_names
     from learning.recommend_items($1)`,
    [count],
  );
const complete = (tx: Transaction, slug: string) =>
  tx.rows("select learning.complete_item($1)", [items[slug]]);
const beat = (tx: Transaction, slug: string) =>
  tx.rows("select learning.record_heartbeat($1, $2, 0, 10)", [items[slug], randomUUID()]);

describe("recommendations [A15]", () => {
  test("contain items that the user may read, is ready for and has not completed, and the next part of a course", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      const slugs = async () => (await recommended(tx)).map(({ slug }) => slug).sort();
      expect(await slugs()).toEqual(["easy", "hard", "part-0", "taught"]);
      await complete(tx, "easy");
      await complete(tx, "part-0");
      expect(await slugs()).toEqual(["hard", "later", "part-1", "taught"]);
      await tx.asOwner();
      await tx.rows(
        "insert into learning.user_content_permissions (user_id, item_id, permission) values ($1, $2, 'allow'), ($1, $3, 'deny')",
        [ada, items.dear, items.hard],
      );
      await tx.rows("update learning.content_items set deleted_at = now() where id = $1", [items.taught]);
      await tx.asUser(ada);
      expect(await slugs()).toEqual(["dear", "later", "part-1"]);
    });
  });

  test("are ordered by score, each with its reason, and the score matches its columns", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(bob);
      await beat(tx, "hard");
      await tx.asOwner();
      await tx.rows("insert into learning.user_skills (user_id, skill_id, level) values ($1, $2, 2)", [
        ada,
        skill,
      ]);
      // A concurrent refresh needs a transaction of its own to see other sessions; here it sees its own.
      await tx.rows("select private.refresh_content_popularity()");
      await tx.asUser(ada);
      await tx.rows("select learning.start_training($1)", [skill]);
      await beat(tx, "easy");
      await complete(tx, "part-0");
      const list = await recommended(tx);
      expect(Object.fromEntries(list.map(({ slug, reason }) => [slug, reason]))).toEqual({
        easy: "begun",
        "part-1": "next_in_course",
        taught: "trains_skill",
        hard: "popular",
      });
      expect(list.map(({ score }) => score)).toEqual(list.map(({ score }) => score).sort((a, b) => b - a));
      for (const { score, level_fit, popularity, trains_skill, is_begun, is_next_in_course } of list)
        expect(score).toBeCloseTo(
          0.4 * level_fit +
            0.2 * popularity +
            0.2 * Number(trains_skill) +
            0.1 * Number(is_begun) +
            0.1 * Number(is_next_in_course),
          6,
        );
      expect(list.find(({ slug }) => slug === "taught")).toMatchObject({
        level_fit: 1,
        skill_names: ["sql"],
      });
      expect(list.find(({ slug }) => slug === "hard")).toMatchObject({ level_fit: 0.3, popularity: 1 });
      expect(await recommended(tx, 2)).toEqual(list.slice(0, 2));
    });
  });

  test("require a user and a valid count", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      for (const count of [0, -1, 101])
        await expectSqlState(tx.attempt("select * from learning.recommend_items($1)", [count]), "PL422");
      // As everywhere, see plinth.checked_count.
      const usual = await tx.attempt("select * from learning.recommend_items(null)");
      expect(usual).toEqual(await tx.attempt("select * from learning.recommend_items()"));
      await tx.asUser(null);
      await expectSqlState(tx.attempt("select * from learning.recommend_items(1)"), "PL401");
      await tx.asAnonymous();
      await expectSqlState(tx.attempt("select * from learning.recommend_items(1)"), "42501");
    });
  });
});

describe("content_popularity [A7]", () => {
  test("counts users, sessions and completions, halves them every two weeks and drops them after half a year", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asOwner();
      const session =
        "insert into content_consumption (user_id, item_id, version, started_at, last_activity_at, active_seconds, heartbeat_count, covered, created_at)";
      const ago = "now() - make_interval(days => $3)";
      for (const [user, days] of [
        [ada, 0],
        [ada, 14],
        [bob, 28],
        [bob, 181],
      ])
        await tx.rows(`${session} values ($1, $2, 1, ${ago}, ${ago}, 60, 1, '{}', ${ago})`, [
          user,
          items.easy,
          days,
        ]);
      await tx.asUser(ada);
      await complete(tx, "part-0");
      await tx.asWorker();
      expect(await tx.rows("select private.refresh_content_popularity() as n")).toEqual([{ n: 3 }]);
      await tx.asAnalyst();
      expect(
        await tx.rows(
          `select item_id, users::integer as users, sessions::integer as sessions, completions::integer as completions,
             active_seconds::integer as active, popularity_score::float8 as score
           from content_popularity order by score, item_id`,
        ),
      ).toEqual([
        { item_id: items.easy, users: 2, sessions: 3, completions: 0, active: 180, score: 1.75 },
        ...[items.course, items["part-0"]].map((item_id) => ({
          item_id,
          users: 1,
          sessions: 0,
          completions: 1,
          active: 0,
          score: 3,
        })),
      ]);
    });
  });

  test("sums the parts of a completed course and adds nothing for the course", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      for (const part of [0, 1, 2]) await complete(tx, `part-${part}`);
      expect(
        await tx.rows(
          "select from learning.content_progress where item_id = $1 and completed_at is not null",
          [items.course],
        ),
      ).toHaveLength(1);
      await tx.asWorker();
      await tx.rows("select private.refresh_content_popularity()");
      await tx.asAnalyst();
      expect(
        await tx.rows(
          "select users::integer as users, completions::integer as completions, popularity_score::float8 as score from content_popularity where item_id = $1",
          [items.course],
        ),
      ).toEqual([{ users: 1, completions: 3, score: 9 }]);
    });
  });

  test("is refreshed by its job while users read it", async () => {
    expect(TIMETABLE.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["refresh-content-popularity", "delete-old-heartbeats"]),
    );
    const eve = await registerUser(db, "eve");
    await withClient(db.url("owner"), async (client) => {
      await client.query("begin");
      await client.query("select set_config('jwt.claims.user_id', $1, true)", [eve]);
      await client.query("select learning.record_heartbeat($1, $2, 0, 10)", [items.hard, randomUUID()]);
      await client.query("commit");
    });
    await withClient(db.url("analyst"), async (analyst) => {
      await analyst.query("begin");
      await analyst.query("select * from content_popularity");
      await withClient(db.url("worker"), (worker) =>
        worker.query("select private.refresh_content_popularity()"),
      );
      await analyst.query("commit");
      const { rows } = await analyst.query("select item_id from content_popularity");
      expect(rows).toEqual([{ item_id: items.hard }]);
    });
    await withClient(db.url("analyst"), (analyst) =>
      expectSqlState(analyst.query("refresh materialized view analytics.content_popularity"), "42501"),
    );
  });
});

test("aggregates consumption, completion rates and sign-ins in user_activity_summary [A9]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asUser(ada);
    await beat(tx, "easy");
    await complete(tx, "part-0");
    await tx.asOwner();
    await tx.rows("select track_login_attempt($1, 'ada', null, null, 'failed', 'wrong_password')", [ada]);
    await tx.rows("select track_login_attempt($1, 'ada', null, null, 'success', null)", [ada]);
    // The right password, before the second factor: not a rejected sign-in.
    await tx.rows("select track_login_attempt($1, 'ada', null, null, 'challenged', null)", [ada]);
    await tx.asAnalyst();
    expect(
      await tx.rows(
        `SELECT sessions::integer as sessions, active_seconds::integer as active, active_days::integer as days,
           items_started::integer as started, items_completed::integer as completed, completion_rate::float8 as rate,
           sign_ins::integer as ins, failed_sign_ins::integer as failed
         FROM user_activity_summary WHERE user_id = $1`,
        [ada],
      ),
    ).toEqual([{ sessions: 1, active: 10, days: 1, started: 2, completed: 1, rate: 0.5, ins: 1, failed: 1 }]);
    const { rowCount } = await tx.client.query("select from user_activity_summary");
    await tx.asOwner();
    expect(await tx.rows("select from users")).toHaveLength(rowCount!);
  });
});

test("partitions content_consumption by month [A8]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asUser(ada);
    await beat(tx, "easy");
    await tx.asOwner();
    // The month of the transaction, which may have ended since.
    expect(
      await tx.rows(
        `select tableoid::regclass::text = to_char(now() at time zone 'UTC', '"content_consumption_"YYYY_MM') as "isThere"
         from content_consumption where user_id = $1`,
        [ada],
      ),
    ).toEqual([{ isThere: true }]);
  });
});
