// Sends random queries to two servers and compares their answers; see test/support/operations/walk.ts.
import "../src/support/graphile-env.ts";
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { openTwoServers, SETTINGS, sendInlined, USERS } from "../test/support/operations/two-servers.ts";
import { describeFault, walk } from "../test/support/operations/walk.ts";
import { startTestServer } from "../test/support/server.ts";
import { makeTemplate, removeAll, SETUP_VARIABLE } from "../test/support/template.ts";

const HELP = `Usage: node bench/random-operations.ts [options]

  --count N             number of operations (default 5000)
  --seed N              repeats the choices of a run (default: random, printed)
  --a NAME=VALUE        a setting of the first server; can be repeated
  --b NAME=VALUE        a setting of the second server; can be repeated
  --inline              sends the second server each operation without fragments and variables
  --missing             list the parts of the schema that no operation used
`;

const { values: flags } = parseArgs({
  options: {
    count: { type: "string", default: "5000" },
    seed: { type: "string", default: String(randomInt(1e9)) },
    a: { type: "string", multiple: true, default: [] },
    b: { type: "string", multiple: true, default: [] },
    inline: { type: "boolean", default: false },
    missing: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (flags.help) {
  console.log(HELP);
  process.exit(0);
}

const count = Number(flags.count);
const seed = Number(flags.seed);
const settingsOf = (side: "a" | "b") => ({
  ...SETTINGS[side],
  ...Object.fromEntries(flags[side].map((text) => text.split(/=(.*)/s).slice(0, 2))),
});

const server = await startTestServer();
try {
  const setup = await makeTemplate(server);
  process.env[SETUP_VARIABLE] = JSON.stringify(setup);
  const servers = await openTwoServers(seed, { a: settingsOf("a"), b: settingsOf("b") });
  console.log(`Seed ${seed}, ${count} operations.`);
  const { schema, send } = servers;
  const started = performance.now();
  try {
    const { faults, filled, codes, coverage } = await walk({
      schema,
      send: flags.inline ? { a: send.a, b: sendInlined(schema, send.b) } : send,
      users: USERS,
      seed,
      count,
      onFault: (fault) => console.log(`\n${describeFault(fault)}`),
      onOperation: (done) => {
        if (done % 250 > 0) return;
        const rate = Math.round((done / (performance.now() - started)) * 1_000);
        console.log(`${done} operations, ${rate} per second`);
      },
    });
    console.log(
      `\n${faults.length} faults. ${Math.round((filled / count) * 100)} % of the answers have rows.`,
    );
    console.log(`Errors: ${[...codes].map(([code, times]) => `${code} ${times}`).join(", ") || "none"}.`);
    for (const [part, { reached, total, missing }] of Object.entries(coverage.report())) {
      console.log(`${part}: ${reached} of ${total}, ${((reached / total) * 100).toFixed(1)} %`);
      if (flags.missing) console.log(missing.map((place) => `  ${place}`).join("\n"));
    }
    if (faults.length > 0) process.exitCode = 1;
  } finally {
    await servers.close();
  }
  if (!server.isOurs) await removeAll(setup);
} finally {
  await server.stop();
}
