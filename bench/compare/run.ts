// Compares Plinth as shipped with stock PostGraphile, with a server written by hand and with PostgreSQL itself; see docs/performance.md.
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { assertSameAnswers } from "./answers.ts";
import { createClient } from "./client.ts";
import { residentOf } from "./cpu.ts";
import { openSeeded } from "./database.ts";
import { createMeasure } from "./measure.ts";
import { OPERATIONS } from "./operations.ts";
import { hasPgbench } from "./pgbench.ts";
import { report, residentTable, summary } from "./report.ts";
import type { Sample } from "./samples.ts";
import { SERVERS } from "./servers/names.ts";
import { type RunningServer, startServer } from "./servers/start.ts";
import { judge, targetTable } from "./targets.ts";

const HELP = `Usage: npm run bench -- [options]

  --rounds N        measure each operation N times on each server, in turn (default 3)
  --seconds N       length of a measurement (default 5)
  --connections N   clients at the same time (default 32)
  --only TEXT       only operations whose name contains TEXT; several with commas
  --servers LIST    of ${[...SERVERS, "pgbench"].join(", ")} (default: all)
  --data FOLDER     where the seeded database is kept (default: in the temporary folder)
  --json FILE       write every measurement, the resident sizes and the targets to FILE as well
`;

const { values: flags } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "5" },
    connections: { type: "string", default: "32" },
    only: { type: "string" },
    servers: { type: "string", default: [...SERVERS, "pgbench"].join(",") },
    data: { type: "string" },
    json: { type: "string" },
    help: { type: "boolean", default: false },
  },
});
if (flags.help) {
  console.log(HELP);
  process.exit(0);
}
const wanted = flags.servers.split(",");
const operations = OPERATIONS.filter(
  ({ name }) => !flags.only || flags.only.split(",").some((text) => name.includes(text)),
);
const withPgbench = wanted.includes("pgbench") && hasPgbench;
if (wanted.includes("pgbench") && !hasPgbench)
  console.log("pgbench is not installed, so PostgreSQL's own rate is left out.");

const key = randomBytes(32).toString("base64url");
const seeded = await openSeeded(flags.data);
const client = createClient(Number(flags.connections), key, seeded.database.url("service"));
const measure = createMeasure(seeded, client, Number(flags.seconds));
const servers: RunningServer[] = [];
const samples: Sample[] = [];

/** Each round begins with another one, so that none is always measured after the same neighbour. */
function inTurn<T>(items: readonly T[], round: number): T[] {
  const first = round % items.length;
  return [...items.slice(first), ...items.slice(0, first)];
}

try {
  for (const name of SERVERS) if (wanted.includes(name)) servers.push(await startServer(name, seeded, key));
  for (const operation of operations) {
    await assertSameAnswers(servers, operation, client);
    const able = servers.filter(({ dialect }) => operation.documents[dialect]);
    const scripts = withPgbench ? Object.entries(operation.scripts ?? {}) : [];
    const turns = [
      ...able.map((server) => ({ name: server.name, run: () => measure.server(server, operation) })),
      ...scripts.map(([name, script]) => ({ name, run: () => measure.pgbench(script) })),
    ];
    for (const server of able) await measure.warmUp(server, operation);
    for (let round = 0; round < Number(flags.rounds); round++)
      for (const { name, run } of inTurn(turns, round))
        samples.push({ operation: operation.name, server: name, round, ...(await run()) });
    console.log(report(operation.name, samples));
  }
  const resident = Object.fromEntries(servers.map(({ name, pid }) => [name, residentOf(pid)]));
  const targets = judge(samples);
  console.log(summary(samples));
  console.log(residentTable(resident));
  console.log(targetTable(targets));
  if (flags.json) writeFileSync(flags.json, JSON.stringify({ samples, resident, targets }, null, 2));
} finally {
  await client.applicationPool.end();
  for (const server of servers) await server.stop();
  await seeded.database.close();
}
