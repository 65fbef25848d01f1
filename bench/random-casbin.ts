// Asks random requests of random Casbin models of node-casbin and of SQL; see test/support/casbin/.
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { compareWithNodeCasbin, describeDifference } from "../test/support/casbin/compare.ts";
import { withClient } from "../test/support/client.ts";
import { startTestServer } from "../test/support/server.ts";
import { makeTemplate, removeAll, SETUP_VARIABLE } from "../test/support/template.ts";
import { createTestDatabase } from "../test/support/test-database.ts";

const HELP = `Usage: node bench/random-casbin.ts [options]

  --count N   number of requests (default 100000)
  --seed N    repeats the choices of a run (default: random, printed)
`;

/** Differences that are printed; all are counted. */
const PRINTED = 20;

const { values: flags } = parseArgs({
  options: {
    count: { type: "string", default: "100000" },
    seed: { type: "string", default: String(randomInt(1e9)) },
    help: { type: "boolean", default: false },
  },
});
if (flags.help) {
  console.log(HELP);
  process.exit(0);
}
const count = Number(flags.count);
const seed = Number(flags.seed);

const server = await startTestServer();
try {
  const setup = await makeTemplate(server);
  process.env[SETUP_VARIABLE] = JSON.stringify(setup);
  const db = await createTestDatabase();
  console.log(`Seed ${seed}, ${count} requests.`);
  let printed = 0;
  let reported = 0;
  const { asked, differences, tallies } = await withClient(db.url("owner"), (client) =>
    compareWithNodeCasbin({
      client,
      seed,
      count,
      onDifference(difference) {
        printed += 1;
        if (printed <= PRINTED) console.log(`\n${describeDifference(difference)}`);
      },
      onProgress(done) {
        if (done - reported < 10_000) return;
        reported = done;
        console.log(`${done} requests, ${printed} differences`);
      },
    }),
  );
  console.table(Object.fromEntries([...tallies].sort(([a], [b]) => a.localeCompare(b))));
  console.log(`${asked} requests, ${differences.length} differences.`);
  if (differences.length > 0) process.exitCode = 1;
  await db.drop();
  if (!server.isOurs) await removeAll(setup);
} finally {
  await server.stop();
}
