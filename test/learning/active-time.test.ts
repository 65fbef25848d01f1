import { randomInt, randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { grantRole, registerUser } from "../support/accounts.ts";
import { addCategory, addItem } from "../support/content.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
  withClient,
} from "../support/database.ts";

// Time spent is clock time: each second counts once in the item, the session, the course and every view, however many tabs report
// it. heartbeats.test.ts covers single heartbeats.

let db: TestDatabase;
let ada: string;
let trainer: string;
let course: string;
let category: string;
let parts: string[];
let skill: string;
beforeAll(async () => {
  db = await createTestDatabase();
  ada = await registerUser(db, "ada");
  trainer = await registerUser(db, "trainer");
  await grantRole(db, trainer, "admin");
  category = await addCategory(db, "time");
  course = await addItem(db, "course", { type: "course", duration: null, category });
  parts = [];
  for (let position = 0; position < 3; position++)
    parts.push(await addItem(db, `part-${position}`, { duration: 10_000, course, category, position }));
  skill = await withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query<{ id: string }>(
      "insert into learning.skills (skill_name) values ('time') returning id",
    );
    for (const part of parts)
      await client.query("insert into learning.content_skills (item_id, skill_id) values ($1, $2)", [
        part,
        rows[0]!.id,
      ]);
    return rows[0]!.id;
  });
});
afterAll(() => db.drop());

/** The seconds [ended - seconds, ended) of the last hours, of an item. */
interface Beat {
  readonly item: string;
  readonly ended: number;
  readonly seconds: number;
}
const record = (tx: Transaction, { item, ended, seconds }: Beat) =>
  tx.rows(
    "select learning.record_heartbeat($1, $2, 0, 0, $3, date_trunc('second', now()) - make_interval(secs => $4))",
    [item, randomUUID(), seconds, 20_000 - ended],
  );
const secondsOf = (beats: readonly Beat[]) =>
  new Set(beats.flatMap(({ ended, seconds }) => Array.from({ length: seconds }, (_, i) => ended - 1 - i)))
    .size;

/** The value in every place that sums time. */
async function everywhere(tx: Transaction): Promise<Record<string, number>> {
  const one = async (sql: string, params: unknown[] = []) =>
    Number((await tx.rows<{ n: string | null }>(sql, params))[0]?.n ?? 0);
  const found: Record<string, number> = {};
  for (const who of [ada, trainer]) {
    await tx.asUser(who);
    found[`analytics for ${who === ada ? "the learner" : "a trainer"}`] = await one(
      "select active_seconds as n from learning.learning_analytics where user_id = $1 and skill_id = $2",
      [ada, skill],
    );
  }
  found.report = await one("select active_seconds as n from learning.course_learners($1)", [course]);
  await tx.asUser(ada);
  found.course = await one(
    "select (learning.content_items_progress(i)).active_seconds as n from learning.content_items i where id = $1",
    [course],
  );
  found.category = await one(
    "select (learning.content_categories_progress(c)).active_seconds as n from learning.content_categories c where id = $1",
    [category],
  );
  await tx.asAnalyst();
  found["activity summary"] = await one(
    "select active_seconds as n from analytics.user_activity_summary where user_id = $1",
    [ada],
  );
  // A materialized view shows the state of its last refresh.
  await tx.asOwner();
  await tx.rows("refresh materialized view analytics.content_popularity");
  found.popularity = await one(
    "select active_seconds as n from analytics.content_popularity where item_id = $1",
    [course],
  );
  return found;
}
const all = (seconds: number) => ({
  "analytics for the learner": seconds,
  "analytics for a trainer": seconds,
  report: seconds,
  course: seconds,
  category: seconds,
  "activity summary": seconds,
  popularity: seconds,
});

const stored = (tx: Transaction) =>
  tx.rows(
    `select item_id, p.active_seconds::integer as active,
       (select sum(c.active_seconds)::integer from learning.content_consumption c where (c.user_id, c.item_id) = (p.user_id, p.item_id)) as sessions
     from learning.content_progress p where user_id = $1 and item_id = any ($2) order by item_id`,
    [ada, parts],
  );

test("counts elapsed time once for two tabs with one item and for two items at once", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asUser(ada);
    for (let ended = 1_010; ended <= 1_060; ended += 10)
      for (const item of [parts[0]!, parts[0]!, parts[1]!]) await record(tx, { item, ended, seconds: 10 });
    expect(await stored(tx)).toEqual(
      [parts[0], parts[1]].sort().map((item_id) => ({ item_id, active: 60, sessions: 60 })),
    );
    expect(await everywhere(tx)).toEqual(all(60));
  });
});

test("counts twenty heartbeats at one instant once", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asUser(ada);
    for (let i = 0; i < 20; i++) await record(tx, { item: parts[0]!, ended: 1_000, seconds: 600 });
    expect(await stored(tx)).toEqual([{ item_id: parts[0], active: 600, sessions: 600 }]);
    expect(await everywhere(tx)).toEqual(all(600));
  });
});

test("sums the union of the intervals everywhere, in any order", async () => {
  for (let round = 0; round < 5; round++)
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      const beats = Array.from({ length: randomInt(1, 60) }, () => ({
        item: parts[randomInt(3)]!,
        ended: randomInt(700, 20_000),
        seconds: randomInt(0, 601),
      }));
      for (const beat of beats) await record(tx, beat);
      for (const { item_id, active, sessions } of await stored(tx)) {
        const seconds = secondsOf(beats.filter(({ item }) => item === item_id));
        expect([active, sessions]).toEqual([seconds, seconds]);
      }
      expect(await everywhere(tx)).toEqual(all(secondsOf(beats)));
    });
});

test("keeps time that was counted before clock positions were stored", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.rows(
      `insert into learning.content_progress (user_id, item_id, version, active_seconds, started_at, last_activity_at)
       select $1, i, 1, 100, now() - interval '1 day', now() - interval '1 day' from unnest($2::uuid[]) i`,
      [ada, parts.slice(0, 2)],
    );
    await tx.asUser(ada);
    for (const item of parts) await record(tx, { item, ended: 1_000, seconds: 30 });
    expect(
      (
        await tx.rows<{ n: string }>(
          "select active_seconds as n from learning.content_progress where item_id = $1",
          [parts[0]],
        )
      )[0]?.n,
    ).toBe("130");
    expect((await everywhere(tx)).course).toBe(230);
  });
});

test("keeps a row small after many pauses without gaining or losing time", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asUser(ada);
    const begun = Date.now() - 100_000_000;
    const beats = Array.from({ length: 3_000 }, (_, i) => ({
      eventId: randomUUID(),
      itemId: parts[0],
      fromSeconds: 0,
      toSeconds: 0,
      activeSeconds: 1,
      occurredAt: new Date(begun + i * 5_000).toISOString(),
    }));
    for (let i = 0; i < beats.length; i += 500)
      await tx.rows("select learning.record_heartbeats($1)", [JSON.stringify(beats.slice(i, i + 500))]);
    expect(await stored(tx)).toEqual([{ item_id: parts[0], active: 3_000, sessions: 3_000 }]);
    const [{ size } = { size: 0 }] = await tx.rows<{ size: number }>(
      `select greatest(octet_length(p.active::text), octet_length(c.active::text)) as size
       from learning.content_progress p join learning.content_consumption c using (user_id, item_id) where p.user_id = $1`,
      [ada],
    );
    expect(size).toBeLessThan(40_000);
    // The same time again under other ids adds nothing.
    await tx.rows("select learning.record_heartbeats($1)", [
      JSON.stringify(beats.slice(0, 500).map((beat) => ({ ...beat, eventId: randomUUID() }))),
    ]);
    expect(await stored(tx)).toMatchObject([{ active: 3_000, sessions: 3_000 }]);
  });
});
