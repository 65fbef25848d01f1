import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { Send } from "../support/operations/compare-answers.ts";
import { openTwoServers, sendInlined, type TwoServers, USERS } from "../support/operations/two-servers.ts";
import { describeFault, walk } from "../support/operations/walk.ts";
import { SEED } from "../support/random.ts";

// `node bench/random-operations.ts` runs the same walks for longer.

const OPERATIONS = 100;

let servers: TwoServers;
beforeAll(async () => {
  servers = await openTwoServers(SEED);
});
afterAll(() => servers.close());

test.each<[string, (b: Send) => Send]>([
  ["two servers answer random operations alike", (b) => b],
  [
    "random operations have the answers that they have without fragments and variables",
    (b) => sendInlined(servers.schema, b),
  ],
])(
  `%s, without internal errors (seed ${SEED})`,
  async (_title, sendToB) => {
    const { schema, send } = servers;
    const { faults, filled, coverage } = await walk({
      schema,
      send: { a: send.a, b: sendToB(send.b) },
      users: USERS,
      seed: SEED,
      count: OPERATIONS,
    });
    expect(faults.map(describeFault)).toEqual([]);
    // Answers without rows would compare nothing.
    expect(filled / OPERATIONS).toBeGreaterThan(0.6);
    const { fields } = coverage.report();
    expect(fields.reached / fields.total).toBeGreaterThan(0.5);
  },
  600_000,
);
