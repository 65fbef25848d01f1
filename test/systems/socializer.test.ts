import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { registerUser } from "../support/accounts.ts";
import {
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
} from "../support/database.ts";

// Socializer's document, row by row, as a DBA uses it: unqualified names, the owner's connection. Ids are UUIDs.

let db: TestDatabase;
let alice: string;
beforeAll(async () => {
  db = await createTestDatabase();
  alice = await registerUser(db, "alice");
});
afterAll(() => db.drop());

/** The document's steps 2 to 4 of "Creating a New User with Training"; step 1 is the registration. */
async function startAsDocumented(tx: Transaction): Promise<void> {
  await tx.rows("INSERT INTO skills (skill_name) VALUES ('empathy'), ('active_listening')");
  const ids = await tx.rows<{ id: string }>("select id from skills order by skill_name desc");
  await tx.rows(
    `INSERT INTO user_skills (user_id, skill_id, level)
     VALUES ($1, $2, 0), ($1, $3, 0)`,
    [alice, ids[0]!.id, ids[1]!.id],
  );
  await tx.rows(
    `INSERT INTO training (user_id, skill_id, status, progress)
     VALUES ($1, $2, 'active', 0.0)`,
    [alice, ids[0]!.id],
  );
}

test("keeps skills unique by name, levels from 0 to 10 and unique per user and skill, and training keyed by both [S4]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    await startAsDocumented(tx);
    await expectSqlState(tx.attempt("insert into skills (skill_name) values ('empathy')"), "23505");
    await expectSqlState(
      tx.attempt("insert into user_skills (user_id, skill_id) select user_id, skill_id from training"),
      "23505",
    );
    await expectSqlState(tx.attempt("update user_skills set level = 11"), "23514");
    await expectSqlState(tx.attempt("update user_skills set level = -1"), "23514");
    await expectSqlState(
      tx.attempt("insert into training (user_id, skill_id) select user_id, skill_id from training"),
      "23505",
    );
    await expectSqlState(tx.attempt("update training set progress = 1.1"), "23514");
    await expectSqlState(tx.attempt("update training set status = 'abandoned'"), "23514");
    await tx.rows("update training set progress = 1.0");
    expect(await tx.rows("select status from training")).toEqual([{ status: "completed" }]);
  });
});

test("returns a new user with skills and training, and the training progress, as documented [S11, S12]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    await startAsDocumented(tx);
    expect(
      await tx.rows(
        `SELECT
           u.username,
           s.skill_name,
           t.progress,
           t.status,
           us.level as current_level
         FROM training t
         JOIN users u ON t.user_id = u.id
         JOIN skills s ON t.skill_id = s.id
         LEFT JOIN user_skills us ON us.user_id = t.user_id AND us.skill_id = t.skill_id
         WHERE u.id = $1`,
        [alice],
      ),
    ).toEqual([
      {
        username: "alice",
        skill_name: "empathy",
        progress: "0.0000",
        status: "active",
        current_level: "0.00",
      },
    ]);
  });
});

test("deletes skills, evidence and training with their user and with their skill [S14]", async () => {
  const left = (tx: Transaction) =>
    tx.rows(
      `select (select count(*)::integer from user_skills) as skills,
         (select count(*)::integer from skill_evidence) as evidence, (select count(*)::integer from training) as trainings`,
    );
  for (const sql of ["delete from users where username = 'alice'", "delete from skills"])
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asOwner();
      await startAsDocumented(tx);
      await tx.rows("update user_skills set level = 2");
      expect(await left(tx)).toEqual([{ skills: 2, evidence: 2, trainings: 1 }]);
      await tx.rows(sql);
      expect(await left(tx)).toEqual([{ skills: 0, evidence: 0, trainings: 0 }]);
    });
});
