import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { openTwoServers, type TwoServers, USERS } from "../support/operations/two-servers.ts";
import { describeFault, walk } from "../support/operations/walk.ts";
import { SEED } from "../support/random.ts";

// `node bench/random-operations.ts` runs the same walk for longer.

const OPERATIONS = 200;

let servers: TwoServers;
beforeAll(async () => {
  servers = await openTwoServers(SEED);
});
afterAll(() => servers.close());

test(`two servers answer random operations alike and without internal errors (seed ${SEED})`, async () => {
  const { faults, filled, coverage } = await walk({
    ...servers,
    users: USERS,
    seed: SEED,
    count: OPERATIONS,
  });
  expect(faults.map(describeFault)).toEqual([]);
  expect(filled / OPERATIONS).toBeGreaterThan(0.6);
  const { fields } = coverage.report();
  expect(fields.reached / fields.total).toBeGreaterThan(0.5);
});
