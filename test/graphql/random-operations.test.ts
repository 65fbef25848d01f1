import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { Send } from "../support/operations/compare-answers.ts";
import type { Coverage } from "../support/operations/coverage.ts";
import { openTwoServers, sendInlined, type TwoServers, USERS } from "../support/operations/two-servers.ts";
import { describeFault, walk } from "../support/operations/walk.ts";
import { SEED } from "../support/random.ts";

// `node bench/random-operations.ts` runs the same walks for longer.

const OPERATIONS = 100;
/** Answers without rows would compare nothing. */
const LEAST_FILLED = 60;

/** The share of the schema's fields that were read. */
function shareOfFields(coverage: Coverage): number {
  const { fields } = coverage.report();
  return fields.reached / fields.total;
}

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
      isEnough: ({ filled, coverage }) => filled > LEAST_FILLED && shareOfFields(coverage) > 0.5,
    });
    expect(faults.map(describeFault)).toEqual([]);
    expect(filled).toBeGreaterThan(LEAST_FILLED);
    expect(shareOfFields(coverage)).toBeGreaterThan(0.5);
  },
  600_000,
);
