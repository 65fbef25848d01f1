import { randomInt, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { registerUser } from "../support/accounts.ts";
import { addItem, publishVersion } from "../support/content.ts";
import {
  asRole,
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
  withClient,
} from "../support/database.ts";

// Heartbeats become sessions and progress once each, in any order, concurrently, and only for users with access. A model without
// rows and locks computes the expected result.

let db: TestDatabase;
let ada: string;
let video: string;
let article: string;
let gated: string;
beforeAll(async () => {
  db = await createTestDatabase();
  ada = await registerUser(db, "ada");
  video = await addItem(db, "video", { duration: 100 });
  await publishVersion(db, video, 2);
  article = await addItem(db, "article", { type: "article", duration: null });
  gated = await addItem(db, "gated", { accessLevel: 5 });
});
afterAll(() => db.drop());

interface Heartbeat {
  readonly itemId: string;
  readonly eventId: string;
  readonly fromSeconds: number;
  readonly toSeconds: number;
  readonly activeSeconds: number;
  readonly occurredAt: string;
  readonly version: number;
}

const RECORD = "select * from learning.record_heartbeat($1, $2, $3, $4, $5, $6, $7)";
const valuesOf = (h: Heartbeat) => [
  h.itemId,
  h.eventId,
  h.fromSeconds,
  h.toSeconds,
  h.activeSeconds,
  h.occurredAt,
  h.version,
];
const record = (tx: Transaction, heartbeat: Heartbeat) => tx.attempt(RECORD, valuesOf(heartbeat));

/** A heartbeat of ten seconds from `from`, `ago` seconds ago. */
const heartbeat = (from: number, ago: number, more: Partial<Heartbeat> = {}): Heartbeat => ({
  itemId: video,
  eventId: randomUUID(),
  fromSeconds: from,
  toSeconds: from + 10,
  activeSeconds: 10,
  occurredAt: new Date(NOW - ago * 1_000).toISOString(),
  version: 2,
  ...more,
});
const NOW = Math.floor(Date.now() / 1_000) * 1_000 - 5_000;

/** The stored state of one user, without values that depend on the order of arrival. */
async function state(tx: Transaction, user = ada, item = video) {
  const [progress] = await tx.rows(
    `select version, covered::text as covered, covered_seconds, active_seconds::integer as active, position_seconds,
       completed_version, progress::float8 as progress, started_at, last_activity_at
     from learning.content_progress where user_id = $1 and item_id = $2`,
    [user, item],
  );
  const sessions = await tx.rows(
    `select version, started_at, last_activity_at, active_seconds as active, heartbeat_count as beats, covered::text as covered
     from learning.content_consumption where user_id = $1 and item_id = $2 order by version, started_at`,
    [user, item],
  );
  return { progress, sessions };
}

const GAP_MS = 30 * 60_000;
const DURATION = 100;

/** Seconds of a video as a set, in PostgreSQL's notation. */
function ranges(seconds: ReadonlySet<number>): string {
  const sorted = [...seconds].sort((a, b) => a - b);
  const found: [number, number][] = [];
  for (const second of sorted) {
    const last = found.at(-1);
    if (last && last[1] === second) last[1] += 1;
    else found.push([second, second + 1]);
  }
  return `{${found.map(([from, to]) => `[${from},${to})`).join(",")}}`;
}
const secondsOf = (beats: readonly Heartbeat[]) => {
  const seconds = new Set<number>();
  for (const { fromSeconds, toSeconds } of beats)
    for (let second = fromSeconds; second < toSeconds; second++) seconds.add(second);
  return seconds;
};
/** Seconds of the clock, each once. */
const active = (beats: readonly Heartbeat[]) => {
  const seconds = new Set<number>();
  for (const { occurredAt, activeSeconds } of beats)
    for (let i = 1; i <= activeSeconds; i++) seconds.add(Math.floor(Date.parse(occurredAt) / 1_000) - i);
  return seconds.size;
};
const startOf = (beat: Heartbeat) => Date.parse(beat.occurredAt) - beat.activeSeconds * 1_000;
const endOf = (beat: Heartbeat) => Date.parse(beat.occurredAt);

/** Brute force: each event once, sessions as chains of events at most half an hour apart. */
function model(all: readonly Heartbeat[]) {
  const beats = [...new Map(all.map((beat) => [beat.eventId, beat])).values()];
  const versions = [...new Set(beats.map((beat) => beat.version))].sort();
  const sessions = versions.flatMap((version) => {
    let groups = beats.filter((beat) => beat.version === version).map((beat) => [beat]);
    for (let joined = true; joined; ) {
      joined = false;
      search: for (const a of groups)
        for (const b of groups)
          if (
            a !== b &&
            a.some((x) => b.some((y) => startOf(x) - endOf(y) <= GAP_MS && startOf(y) - endOf(x) <= GAP_MS))
          ) {
            groups = [...groups.filter((group) => group !== a && group !== b), [...a, ...b]];
            joined = true;
            break search;
          }
    }
    return groups
      .map((group) => ({
        version,
        started_at: new Date(Math.min(...group.map(startOf))),
        last_activity_at: new Date(Math.max(...group.map(endOf))),
        active: active(group),
        beats: group.length,
        covered: ranges(secondsOf(group)),
      }))
      .sort((a, b) => a.started_at.getTime() - b.started_at.getTime());
  });
  const version = Math.max(...versions);
  const seen = (wanted: number) => secondsOf(beats.filter((beat) => beat.version === wanted));
  const within = (wanted: number) => [...seen(wanted)].filter((second) => second < DURATION).length;
  const completed = versions.filter((each) => within(each) >= 0.9 * DURATION);
  const last = beats
    .filter((beat) => beat.version === version)
    .sort((a, b) => endOf(a) - endOf(b) || a.toSeconds - b.toSeconds)
    .at(-1)!;
  return {
    progress: {
      version,
      covered: ranges(seen(version)),
      covered_seconds: within(version),
      active: active(beats),
      position_seconds: last.toSeconds,
      completed_version: completed.at(-1) ?? null,
      progress: completed.length > 0 ? 1 : within(version) / DURATION,
      started_at: new Date(Math.min(...beats.map(startOf))),
      last_activity_at: new Date(Math.max(...beats.map(endOf))),
    },
    sessions,
  };
}

function someHeartbeats(count: number): Heartbeat[] {
  const beats = Array.from({ length: count }, () => {
    const from = randomInt(0, 105);
    return heartbeat(from, randomInt(0, 4 * 3_600), {
      toSeconds: from + randomInt(0, 25),
      activeSeconds: randomInt(7, 30),
      version: randomInt(1, 3),
    });
  });
  // Repeated heartbeats, also with other values, follow the first, which counts.
  return beats;
}
const shuffled = <T>(list: readonly T[]): T[] =>
  list
    .map((value) => [Math.random(), value] as const)
    .sort(([a], [b]) => a - b)
    .map(([, value]) => value);

test("produces the model's sessions and progress for heartbeats in any order and repeated", async () => {
  for (let round = 0; round < 25; round++) {
    const beats = someHeartbeats(randomInt(1, 26));
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      const sent = shuffled([...beats, ...beats.filter(() => randomInt(3) === 0)]);
      for (const beat of sent) await tx.rows(RECORD, valuesOf(beat));
      expect(await state(tx)).toEqual(model(beats));
    });
  }
});

test("records a list like single heartbeats", async () => {
  for (let round = 0; round < 10; round++) {
    const beats = someHeartbeats(randomInt(1, 26));
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await tx.rows(RECORD, valuesOf(beats[0]!));
      const results = await tx.rows<{ event_id: string; outcome: string }>(
        "select event_id, outcome from learning.record_heartbeats($1)",
        [JSON.stringify(shuffled(beats))],
      );
      expect(results).toHaveLength(beats.length);
      for (const { event_id, outcome } of results)
        expect(outcome).toBe(event_id === beats[0]!.eventId ? "repeated" : "recorded");
      expect(await state(tx)).toEqual(model(beats));
    });
  }
});

test("loses and repeats nothing with several devices at once and retries", async () => {
  const bob = await registerUser(db, "bob");
  const beats = someHeartbeats(120);
  const queue = shuffled([...beats, ...beats, ...beats.slice(0, 40)]);
  const pool = new pg.Pool({ connectionString: db.url("authenticator"), max: 8 });
  try {
    const device = async () => {
      for (let beat = queue.pop(); beat; beat = queue.pop()) {
        const client = await pool.connect();
        try {
          await client.query("begin");
          await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: bob });
          await client.query(RECORD, valuesOf(beat));
          // Some devices lose their connection before the commit; another device sends the heartbeat, too.
          await client.query(queue.length > 160 && randomInt(4) === 0 ? "rollback" : "commit");
        } finally {
          client.release();
        }
      }
    };
    await Promise.all(Array.from({ length: 8 }, device));
    queue.push(...beats);
    await Promise.all(Array.from({ length: 8 }, device));
  } finally {
    await pool.end();
  }
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    expect(await state(tx, bob)).toEqual(model(beats));
  });
});

describe("a session", () => {
  test("continues while pauses are shorter than half an hour", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      for (const ago of [10_000, 9_990, 8_200, 6_300]) await record(tx, heartbeat(0, ago));
      expect((await state(tx)).sessions.map(({ beats }) => beats)).toEqual([3, 1]);
    });
  });

  test("absorbs another, even the current one, when a late heartbeat fills the gap", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await record(tx, heartbeat(0, 9_000));
      await record(tx, heartbeat(10, 6_000));
      expect((await state(tx)).sessions).toHaveLength(2);
      await record(tx, heartbeat(20, 7_500));
      expect((await state(tx)).sessions).toMatchObject([{ beats: 3, active: 30, covered: "{[0,30)}" }]);
      await record(tx, heartbeat(30, 5_990));
      expect((await state(tx)).sessions).toMatchObject([{ beats: 4 }]);
    });
  });

  test("is stored in the partition of the month in which it arrived, however late", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await record(tx, heartbeat(0, 29 * 86_400));
      await tx.asOwner();
      // The month of the transaction, which may have ended since.
      expect(
        await tx.rows(
          `select tableoid::regclass::text = to_char(now() at time zone 'UTC', '"content_consumption_"YYYY_MM') as "isThere"
           from learning.content_consumption where user_id = $1`,
          [ada],
        ),
      ).toEqual([{ isThere: true }]);
    });
  });
});

describe("progress", () => {
  test("resumes at the place of the latest heartbeat, not of the last to arrive", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await record(tx, heartbeat(40, 60));
      await record(tx, heartbeat(10, 120));
      expect((await state(tx)).progress).toMatchObject({ position_seconds: 50, progress: 0.2 });
      // A return to the beginning is the current place.
      const [answer] = await record(tx, heartbeat(0, 30));
      expect(answer).toMatchObject({ position_seconds: 10, covered_seconds: 30, progress: "0.3000" });
    });
  });

  test("completes at nine tenths in its version and stays completed in a new version", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      for (let from = 0; from < 80; from += 10)
        await record(tx, heartbeat(from, 1_000 - from, { version: 1 }));
      expect((await state(tx)).progress).toMatchObject({ progress: 0.8, completed_version: null });
      expect(await tx.rows("select learning.has_completed($1, $2) as done", [ada, video])).toEqual([
        { done: false },
      ]);
      await record(tx, heartbeat(80, 900, { version: 1 }));
      expect((await state(tx)).progress).toMatchObject({ progress: 1, completed_version: 1 });
      await record(tx, heartbeat(0, 800));
      expect((await state(tx)).progress).toMatchObject({
        version: 2,
        completed_version: 1,
        covered_seconds: 10,
        progress: 1,
        position_seconds: 10,
      });
      expect(await tx.rows("select learning.has_completed($1, $2) as done", [ada, video])).toEqual([
        { done: true },
      ]);
      for (let from = 10; from < 90; from += 10) await record(tx, heartbeat(from, 700 - from));
      expect((await state(tx)).progress).toMatchObject({ completed_version: 2 });
    });
  });

  test("is set by the reader for an article but not for a video with a duration", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      const complete = (item: string, version: number | null = null) =>
        tx.attempt("select * from learning.complete_item($1, $2)", [item, version]);
      const [first] = await complete(article);
      expect(first).toMatchObject({ completed_version: 1, progress: "1.0000" });
      expect(await complete(article)).toEqual([{ ...first, credited_version: 1 }]);
      await expectSqlState(complete(video), "PL409");
      await expectSqlState(complete(gated), "PL403");
      await expectSqlState(complete(randomUUID()), "PL404");
      await expectSqlState(complete(article, 7), "PL404");
      await tx.asUser(null);
      await expectSqlState(complete(article), "PL401");
    });
  });

  test("is readable only by its user and writable by no user", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await record(tx, heartbeat(0, 60));
      for (const sql of [
        "update learning.content_progress set completed_version = 2, completed_at = now()",
        "insert into learning.content_progress (user_id, item_id, version, started_at, last_activity_at) select user_id, item_id, 1, now(), now() from learning.content_progress",
        "delete from learning.content_consumption",
        "update learning.content_consumption set active_seconds = 100000",
        "select * from private.recorded_heartbeats",
        "select learning.has_completed(null, null), private.credit_completions(null, null)",
      ])
        await expectSqlState(tx.attempt(sql), "42501");
      await tx.asUser(randomUUID());
      expect(await tx.rows("select from learning.content_progress")).toEqual([]);
      expect(await tx.rows("select from learning.content_consumption")).toEqual([]);
    });
  });
});

describe("a heartbeat", () => {
  test.each([
    ["without an id", { eventId: null }],
    ["that starts before the beginning", { fromSeconds: -1 }],
    ["that ends before it starts", { fromSeconds: 20, toSeconds: 10 }],
    ["without a position", { toSeconds: null }],
    ["played faster than possible", { toSeconds: 60, activeSeconds: 14 }],
    ["with a negative time", { activeSeconds: -1 }],
    ["with too long a time", { activeSeconds: 601 }],
    ["from tomorrow", { occurredAt: new Date(NOW + 86_400_000).toISOString() }],
    ["from the end of time", { occurredAt: "infinity" }],
    ["from six weeks ago", { occurredAt: new Date(NOW - 42 * 86_400_000).toISOString() }],
  ])("%s is rejected", async (_, more) => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      const wrong = heartbeat(0, 60, more as Partial<Heartbeat>);
      await expectSqlState(record(tx, wrong), "PL422");
      expect(
        await tx.rows("select outcome from learning.record_heartbeats($1)", [JSON.stringify([wrong])]),
      ).toEqual([{ outcome: "refused" }]);
      expect((await state(tx)).progress).toBeUndefined();
    });
  });

  test("is accepted only with access to the item and for published versions", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asOwner();
      await tx.rows("insert into learning.content_versions (item_id, version) values ($1, 3)", [video]);
      await tx.asUser(ada);
      await expectSqlState(record(tx, heartbeat(0, 60, { itemId: gated, version: 1 })), "PL403");
      await expectSqlState(record(tx, heartbeat(0, 60, { itemId: randomUUID() })), "PL404");
      for (const version of [0, 3, 4])
        await expectSqlState(record(tx, heartbeat(0, 60, { version })), "PL404");
      await tx.asUser(null);
      await expectSqlState(record(tx, heartbeat(0, 60)), "PL401");
      await tx.asAnonymous();
      await expectSqlState(record(tx, heartbeat(0, 60)), "42501");
      await tx.asOwner();
      await tx.rows(
        "insert into learning.user_content_permissions (user_id, item_id, permission) values ($1, $2, 'allow'), ($1, $3, 'deny')",
        [ada, gated, video],
      );
      await tx.asUser(ada);
      await record(tx, heartbeat(0, 60, { itemId: gated, version: 1 }));
      await expect(record(tx, heartbeat(0, 60))).rejects.toMatchObject({ code: "PL403", hint: "denied" });
      await tx.asOwner();
      await tx.rows("update learning.content_items set deleted_at = now() where id = $1", [gated]);
      await tx.asUser(ada);
      await expectSqlState(record(tx, heartbeat(10, 50, { itemId: gated, version: 1 })), "PL404");
    });
  });

  test("that is rejected does not block others in its list", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      const list = [heartbeat(0, 60), heartbeat(0, 50, { itemId: gated, version: 1 }), heartbeat(10, 40)];
      const results = await tx.rows<{ event_id: string; outcome: string; reason: string }>(
        "select event_id, outcome, reason from learning.record_heartbeats($1)",
        [JSON.stringify(list)],
      );
      const of = (index: number) => results.find(({ event_id }) => event_id === list[index]!.eventId);
      expect([of(0), of(1), of(2)]).toMatchObject([
        { outcome: "recorded", reason: null },
        { outcome: "refused", reason: "plan_required" },
        { outcome: "recorded", reason: null },
      ]);
      expect((await state(tx)).progress).toMatchObject({ covered_seconds: 20 });
    });
  });

  test.each([
    ["a position between seconds", { toSeconds: 10.5 }],
    ["a position out of range", { toSeconds: 1e11 }],
    ["positions too far apart", { fromSeconds: -(2 ** 31), toSeconds: 2 ** 31 - 1, activeSeconds: null }],
    ["an invalid time", { occurredAt: "yesterday-ish" }],
    ["an invalid version", { version: "newest" }],
    ["an invalid item id", { itemId: "x" }],
    ["an invalid event id", { eventId: "x" }],
  ])("with %s does not block others in its list", async (_, more) => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      const wrong = { ...heartbeat(0, 60), ...more };
      const list = [wrong, heartbeat(0, 60)];
      const results = await tx.rows<{ event_id: string; outcome: string; reason: string }>(
        "select event_id, outcome, reason from learning.record_heartbeats($1)",
        [JSON.stringify(list)],
      );
      expect(results).toHaveLength(2);
      expect(results).toEqual(
        expect.arrayContaining([
          { event_id: list[1]!.eventId, outcome: "recorded", reason: null },
          { event_id: wrong.eventId === "x" ? null : wrong.eventId, outcome: "refused", reason: "malformed" },
        ]),
      );
    });
  });

  test.each([
    ["an object", "{}", "PL422"],
    ["null", "null", "PL422"],
    ["a list of other values", "[1]", "PL422"],
    ["too long a list", JSON.stringify(Array.from({ length: 501 }, () => ({}))), "PL422"],
  ])("is rejected in %s", async (_, list, code) => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await expectSqlState(tx.attempt("select learning.record_heartbeats($1)", [list]), code);
    });
  });

  test("is deleted by a job when it is too old to be repeated", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      for (let i = 0; i < 5; i++) await record(tx, heartbeat(0, 60));
      await tx.asOwner();
      await tx.rows(
        `update private.recorded_heartbeats set created_at = now() - interval '36 days'
         where event_id in (select event_id from private.recorded_heartbeats where user_id = $1 limit 3)`,
        [ada],
      );
      await tx.asWorker();
      expect(await tx.rows("select private.delete_old_heartbeats(2) as n")).toEqual([{ n: 2 }]);
      expect(await tx.rows("select private.delete_old_heartbeats(10000) as n")).toEqual([{ n: 1 }]);
      await tx.asOwner();
      expect(await tx.rows("select from private.recorded_heartbeats where user_id = $1", [ada])).toHaveLength(
        2,
      );
    });
  });
});

test("deletes a user's consumption with the user", async () => {
  const eve = await registerUser(db, "eve");
  await withClient(db.url("owner"), async (client) => {
    await client.query("begin");
    await client.query("select set_config('jwt.claims.user_id', $1, true)", [eve]);
    await client.query(RECORD, valuesOf(heartbeat(0, 60)));
    await client.query("commit");
    await client.query("delete from identity.users where id = $1", [eve]);
    const { rows } = await client.query(
      `select from learning.content_progress where user_id = $1 union all
       select from learning.content_consumption where user_id = $1 union all
       select from private.recorded_heartbeats where user_id = $1`,
      [eve],
    );
    expect(rows).toEqual([]);
  });
});
