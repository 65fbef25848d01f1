import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { compareWithNodeCasbin, describeDifference } from "../support/casbin/compare.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { SEED } from "../support/random.ts";

// `node bench/random-casbin.ts` asks 100,000.

const REQUESTS = 3_000;

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

test(`SQL answers random requests of random models as node-casbin does (seed ${SEED}) [C5]`, async () => {
  const { asked, differences, tallies } = await withClient(db.url("owner"), (client) =>
    compareWithNodeCasbin({ client, seed: SEED, count: REQUESTS }),
  );
  expect(differences.map(describeDifference)).toEqual([]);
  expect(asked).toBeGreaterThanOrEqual(REQUESTS);
  // Answers of one kind, or of few kinds of models, would compare little.
  const actions = [...tallies].filter(([kind]) => kind.startsWith("action: "));
  const share = (answer: "allowed" | "denied") =>
    actions.reduce((sum, [, tally]) => sum + tally[answer], 0) / asked;
  expect(share("allowed")).toBeGreaterThan(0.1);
  expect(share("denied")).toBeGreaterThan(0.3);
  expect(tallies.size).toBeGreaterThan(25);
});
