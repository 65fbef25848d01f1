import { afterAll, beforeAll, test } from "@jest/globals";
import { createPool } from "../../src/request/pool.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { ALL_TRIALS, prepareFaults, randomTrial, tryFault } from "../support/faults.ts";
import { PATIENT_POOL } from "../support/patient-pool.ts";
import { makeRandom, SEED } from "../support/random.ts";

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
  await prepareFaults(db);
});
afterAll(() => db.drop());

test.each([
  ["with prepared statements", true],
  ["without prepared statements", false],
])(
  `two users alternate on one connection through thousands of faults and see only their own claims, %s (seed ${SEED})`,
  async (_how, preparedStatements) => {
    const pool = createPool({
      url: db.url("authenticator"),
      applicationName: "faults test",
      max: 1,
      settings: { ...PATIENT_POOL, preparedStatements },
      onError: () => {},
    });
    const random = makeRandom(SEED);
    const trials = [...ALL_TRIALS, ...Array.from({ length: 1_500 }, () => randomTrial(random))];
    try {
      for (const [i, trial] of trials.entries())
        await tryFault(
          { pool, rolePrefix: db.rolePrefix },
          trial,
          i % 2 ? { faulty: "ada", next: "bob" } : { faulty: "bob", next: "ada" },
        );
    } finally {
      await pool.end();
    }
  },
);
