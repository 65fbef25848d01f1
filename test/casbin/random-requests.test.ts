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
  // Kinds that only deny, or only allow, would compare little.
  for (const [kind, { allowed, denied }] of tallies) {
    expect([kind, allowed > 0]).toEqual([kind, true]);
    expect([kind, denied > 0]).toEqual([kind, true]);
  }
  expect(tallies.size).toBeGreaterThan(25);
});
