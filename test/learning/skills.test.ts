import { randomInt, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { grantRole, registerUser } from "../support/accounts.ts";
import {
  asRole,
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
  withClient,
} from "../support/database.ts";

// A level equals the sum of its evidence, whatever the writer, and a training has states.

let db: TestDatabase;
let ada: string;
let bob: string;
let trainer: string;
let empathy: string;
let listening: string;
let retired: string;
beforeAll(async () => {
  db = await createTestDatabase();
  [ada, bob, trainer] = (await Promise.all(
    ["ada", "bob", "trainer"].map((name) => registerUser(db, name)),
  )) as [string, string, string];
  await grantRole(db, trainer, "admin");
  [empathy, listening, retired] = (await withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query<{ id: string }>(
      `insert into learning.skills (skill_name, training_gain, is_active)
       values ('empathy', 1.5, true), ('active_listening', 1, true), ('telegraphy', 1, false) returning id`,
    );
    return rows.map(({ id }) => id);
  })) as [string, string, string];
});
afterAll(() => db.drop());

const level = async (tx: Transaction, user = ada, skill = empathy) =>
  Number(
    (
      await tx.rows<{ level: string }>(
        "select level from learning.user_skills where user_id = $1 and skill_id = $2",
        [user, skill],
      )
    )[0]?.level,
  );
const evidence = async (tx: Transaction) =>
  (
    await tx.rows<{ kind: string; delta: string }>(
      "select kind, delta::float8 as delta from learning.skill_evidence where user_id = $1 order by created_at, id",
      [ada],
    )
  ).map(({ kind, delta }) => [kind, delta]);
const assess = (
  tx: Transaction,
  delta: number | null,
  key: string | null = null,
  user = ada,
  skill = empathy,
) => tx.attempt("select * from learning.assess_skill($1, $2, $3, 'talk', $4)", [user, skill, delta, key]);

describe("a level", () => {
  test("is raised and lowered by assessments within 0 to 10 and keeps their evidence", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(trainer);
      await assess(tx, 4);
      await assess(tx, 7.5);
      expect(await level(tx)).toBe(10);
      await assess(tx, -2.25);
      expect(await level(tx)).toBe(7.75);
      await tx.asUser(ada);
      expect(await evidence(tx)).toEqual([
        ["assessment", 4],
        ["assessment", 6],
        ["assessment", -2.25],
      ]);
      expect(await tx.rows("select distinct recorded_by, note from learning.skill_evidence")).toEqual([
        { recorded_by: trainer, note: "talk" },
      ]);
    });
  });

  test("changes once for one event and rejects another assessment under its key", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(trainer);
      const first = await assess(tx, 2, "review-1");
      expect(await assess(tx, 2, "review-1")).toEqual(first);
      await expectSqlState(assess(tx, 5, "review-1"), "PL409");
      await assess(tx, 1, "review-2");
      await assess(tx, 1);
      await assess(tx, 1);
      expect(await level(tx)).toBe(5);
    });
  });

  test.each([
    ["too high a value", 11, "PL422"],
    ["too low a value", -10.5, "PL422"],
    ["null", null, "PL422"],
    ["NaN", Number.NaN, "PL422"],
    ["a third decimal", 0.125, "PL422"],
  ])("is not changed by %s", async (_, delta, code) => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(trainer);
      await expectSqlState(assess(tx, delta), code);
    });
  });

  test("is assessed only by callers with manage_skills, for existing users and skills", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await expectSqlState(assess(tx, 1), "PL403");
      await tx.asUser(null);
      await expectSqlState(assess(tx, 1), "PL401");
      await tx.asAnonymous();
      await expectSqlState(assess(tx, 1), "42501");
      await tx.asUser(trainer);
      await expectSqlState(assess(tx, 1, null, randomUUID()), "PL404");
      await expectSqlState(assess(tx, 1, null, ada, randomUUID()), "PL404");
    });
  });

  test("leaves evidence when the owner writes it and drops when evidence is deleted", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asOwner();
      await tx.rows("insert into learning.user_skills (user_id, skill_id, level) values ($1, $2, 3)", [
        ada,
        empathy,
      ]);
      await tx.rows("update learning.user_skills set level = 5.5 where user_id = $1", [ada]);
      expect(await evidence(tx)).toEqual([
        ["initial", 3],
        ["adjustment", 2.5],
      ]);
      await tx.rows("delete from learning.skill_evidence where kind = 'initial'");
      expect(await level(tx)).toBe(2.5);
      await tx.rows("update learning.skill_evidence set delta = 1");
      expect(await level(tx)).toBe(1);
      // A sum outside of 0 to 10 is not a valid level.
      await expectSqlState(tx.attempt("update learning.skill_evidence set delta = -1"), "23514");
      await expectSqlState(tx.attempt("update learning.user_skills set level = 10.01"), "23514");
    });
  });

  test("cannot be written by its user, who can add skills in use at 0", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await tx.rows("insert into learning.user_skills (skill_id) values ($1)", [empathy]);
      expect(await level(tx)).toBe(0);
      await expectSqlState(
        tx.attempt("insert into learning.user_skills (skill_id) values ($1)", [empathy]),
        "23505",
      );
      await expectSqlState(
        tx.attempt("insert into learning.user_skills (skill_id) values ($1)", [retired]),
        "42501",
      );
      for (const sql of [
        "insert into learning.user_skills (skill_id, level) values ($1, 9)",
        "insert into learning.skill_evidence (user_id, skill_id, kind, delta) select id, $1, 'initial', 9 from identity.users",
        "update learning.user_skills set level = 9 where skill_id = $1",
        "delete from learning.skill_evidence where skill_id = $1",
        "select private.add_skill_evidence(null, $1, 'initial', 9)",
      ])
        await expectSqlState(tx.attempt(sql, [listening]), "42501");
      await tx.asUser(bob);
      expect(await tx.rows("select from learning.user_skills")).toEqual([]);
      await tx.asUser(trainer);
      expect(await tx.rows("select from learning.user_skills")).toHaveLength(1);
    });
  });

  test("equals the sum of its evidence after any change, according to a model", async () => {
    for (let round = 0; round < 8; round++)
      await inRolledBackTransaction(db, async (tx) => {
        await tx.asUser(trainer);
        const seen = new Map<string, number>();
        let expected = 0;
        for (let step = 0; step < 25; step++) {
          const delta = randomInt(-2000, 2001) / 200;
          const cents = Math.round(delta * 100) / 100;
          const key = randomInt(3) === 0 ? null : String(randomInt(8));
          const said = key === null ? undefined : seen.get(key);
          if (said === undefined || said === cents) await assess(tx, cents, key);
          else await expectSqlState(assess(tx, cents, key), "PL409");
          if (said === undefined)
            expected = Math.min(10, Math.max(0, Math.round((expected + cents) * 100) / 100));
          if (key !== null && said === undefined) seen.set(key, cents);
          expect(await level(tx)).toBeCloseTo(expected, 6);
        }
        expect(
          await tx.rows(
            `select us.level = sum(e.delta) as same from learning.user_skills us
             join learning.skill_evidence e using (user_id, skill_id) group by us.level`,
          ),
        ).toEqual([{ same: true }]);
      });
  });

  test("loses nothing with concurrent assessments", async () => {
    const pool = new pg.Pool({ connectionString: db.url("authenticator"), max: 8 });
    try {
      const keys = Array.from({ length: 60 }, (_, i) => `race-${i % 30}`);
      await Promise.all(
        keys.map(async (key) => {
          const client = await pool.connect();
          try {
            await client.query("begin");
            await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: trainer });
            await client.query("select learning.assess_skill($1, $2, 0.25, null, $3)", [bob, listening, key]);
            await client.query("commit");
          } finally {
            client.release();
          }
        }),
      );
    } finally {
      await pool.end();
    }
    await inRolledBackTransaction(db, async (tx) => {
      expect(await level(tx, bob, listening)).toBe(7.5);
      expect(await tx.rows("select from learning.skill_evidence where user_id = $1", [bob])).toHaveLength(30);
    });
  });
});

describe("a training", () => {
  const training = (tx: Transaction) =>
    tx.rows(
      `select status, progress::float8 as progress, run, started_at is not null as started, completed_at is not null as ended
       from learning.training where user_id = $1`,
      [ada],
    );
  const call = (tx: Transaction, name: string) =>
    tx.attempt(`select * from learning.${name}_training($1)`, [empathy]);
  const report = (tx: Transaction, progress: number | null, skill = empathy) =>
    tx.attempt("select * from learning.record_training_progress($1, $2, $3)", [ada, skill, progress]);

  test("starts, pauses, resumes, completes and restarts, and each call is repeatable", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await expectSqlState(call(tx, "pause"), "PL404");
      await expectSqlState(call(tx, "restart"), "PL404");
      await call(tx, "start");
      await call(tx, "start");
      expect(await training(tx)).toEqual([
        { status: "active", progress: 0, run: 1, started: true, ended: false },
      ]);
      await tx.asUser(trainer);
      await report(tx, 0.4);
      await tx.asUser(ada);
      await call(tx, "pause");
      await call(tx, "pause");
      await tx.asUser(trainer);
      await expectSqlState(report(tx, 0.5), "PL409");
      await tx.asUser(ada);
      await call(tx, "start");
      expect(await training(tx)).toMatchObject([{ status: "active", progress: 0.4, run: 1 }]);
      await tx.asUser(trainer);
      await report(tx, 1);
      await report(tx, 1);
      await tx.asUser(ada);
      expect(await training(tx)).toEqual([
        { status: "completed", progress: 1, run: 1, started: true, ended: true },
      ]);
      expect(await level(tx)).toBe(1.5);
      await expectSqlState(call(tx, "start"), "PL409");
      await expectSqlState(call(tx, "pause"), "PL409");
      await call(tx, "restart");
      await call(tx, "restart");
      expect(await training(tx)).toEqual([
        { status: "active", progress: 0, run: 2, started: true, ended: false },
      ]);
      await tx.asUser(trainer);
      await report(tx, 1);
      await tx.asUser(ada);
      expect(await level(tx)).toBe(3);
      expect(await evidence(tx)).toEqual([
        ["training", 1.5],
        ["training", 1.5],
      ]);
    });
  });

  test("is never set back by a late report", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await call(tx, "start");
      await tx.asUser(trainer);
      await report(tx, 0.7);
      await report(tx, 0.2);
      // Four decimals are stored, and rounding never completes a training.
      await report(tx, 0.99999);
      expect(await training(tx)).toMatchObject([{ status: "active", progress: 0.9999 }]);
    });
  });

  test("accepts reports from 0 to 1 only from callers with manage_skills", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await call(tx, "start");
      await expectSqlState(report(tx, 1), "PL403");
      await expectSqlState(tx.attempt("update learning.training set progress = 1"), "42501");
      await tx.asUser(trainer);
      for (const progress of [-0.1, 1.1, Number.NaN, null])
        await expectSqlState(report(tx, progress), "PL422");
      await expectSqlState(report(tx, 0.5, listening), "PL404");
    });
  });

  test("requires a skill in use and a user", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      for (const skill of [retired, randomUUID(), null])
        await expectSqlState(tx.attempt("select learning.start_training($1)", [skill]), "PL404");
      await tx.asUser(null);
      await expectSqlState(call(tx, "start"), "PL401");
    });
  });

  test("has one row per user and skill, and restricts its states for every writer", async () => {
    const move = (tx: Transaction, set: string) => tx.attempt(`update learning.training set ${set}`);
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asOwner();
      const add = "insert into learning.training (user_id, skill_id, status) values ($1, $2, $3)";
      await tx.rows(add, [ada, empathy, "pending"]);
      await expectSqlState(tx.attempt(add, [ada, empathy, "active"]), "23505");
      await expectSqlState(move(tx, "status = 'completed'"), "PL409");
      await expectSqlState(move(tx, "progress = 0.5"), "PL409");
      await expectSqlState(move(tx, "status = 'dropped'"), "23514");
      await move(tx, "status = 'active', progress = 0.5");
      await expectSqlState(move(tx, "progress = 1.5"), "23514");
      await move(tx, "status = 'completed'");
      expect(await training(tx)).toMatchObject([{ status: "completed", progress: 1 }]);
      await expectSqlState(move(tx, "status = 'pending'"), "PL409");
      await expectSqlState(move(tx, "progress = 0.5"), "PL409");
      await move(tx, "status = 'active', progress = 0.25");
      expect(await training(tx)).toMatchObject([{ status: "active", progress: 0.25, run: 2, ended: false }]);
    });
  });

  test("includes its evidence when it was completed elsewhere", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asOwner();
      await tx.rows(
        "insert into learning.training (user_id, skill_id, status, progress) values ($1, $2, 'completed', 1)",
        [ada, empathy],
      );
      expect(await level(tx)).toBe(1.5);
    });
  });
});
