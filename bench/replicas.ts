// The load that a replica takes off the primary. Two servers answer the same query in turn, one of them with a replica, first
// without writes and then with a write for every tenth query. Prints the CPU time of the primary for each query, and the ratio.
// Both servers and the replica run on this machine, so the latencies say little.
import { join } from "node:path";
import pg from "pg";
import { pino } from "pino";
import { postmasterFile } from "../src/database/embedded/postmaster.ts";
import { startServer } from "../src/http/server.ts";
import { ask, serverOptions, signUp } from "../test/support/api.ts";
import { startPrimary, startStandby } from "../test/support/standby.ts";
import { cpuOfChildren } from "./compare/cpu.ts";
import { percentile } from "./support.ts";

const ROUNDS = 10;
const QUERIES_PER_ROUND = 400;
const CLIENTS = 8;
const ROOMS = 30;
const QUERY =
  "{ myRooms { totalCount nodes { name description isPublic createdAt } } currentUser { username } }";
const CREATE =
  "mutation ($name: String!) { createRoom(input: { name: $name, roomType: group }) { result { id } } }";

const primary = await startPrimary();
const standby = await startStandby(primary);
const start = (settings: Record<string, string>) =>
  startServer({ ...serverOptions(primary.db, settings), logger: pino({ level: "silent" }) });
const servers = {
  "primary only": await start({}),
  "with a replica": await start({ PLINTH_REPLICA_URLS: standby.url("authenticator") }),
};
const writes = servers["primary only"].url;
const { token } = await signUp({ ask: (query, options) => ask(writes, query, options) }, "ada");
const write = (name: string) => ask(writes, CREATE, { token, variables: { name } });
for (let i = 0; i < ROOMS; i++) await write(`room ${i}`);

const cpuOfPrimary = () => cpuOfChildren(Number(postmasterFile(join(primary.folder, "postgres"))[0]));

const writer = new pg.Pool({ connectionString: primary.db.adminUrl, max: CLIENTS });
await writer.query("create table public.bench_writes (at timestamptz)");

/** Returns the primary's CPU time for a round, in ms, and adds the latencies. */
async function round(url: string, queriesPerWrite: number, latencies: number[]): Promise<number> {
  const before = cpuOfPrimary();
  let sent = 0;
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      while (++sent <= QUERIES_PER_ROUND) {
        if (sent % queriesPerWrite === 0)
          await writer.query("insert into public.bench_writes values (now())");
        const started = performance.now();
        const { errors } = await ask(url, QUERY, { token });
        if (errors) throw new Error(JSON.stringify(errors));
        latencies.push(performance.now() - started);
      }
    }),
  );
  return cpuOfPrimary() - before;
}

async function compare(queriesPerWrite: number): Promise<void> {
  const names = Object.keys(servers) as (keyof typeof servers)[];
  const cpu = { "primary only": 0, "with a replica": 0 };
  const latencies: Record<keyof typeof servers, number[]> = { "primary only": [], "with a replica": [] };
  for (const name of names) await round(servers[name].url, queriesPerWrite, []);
  for (let i = 0; i < ROUNDS; i++)
    for (const name of i % 2 ? names : names.toReversed())
      cpu[name] += await round(servers[name].url, queriesPerWrite, latencies[name]);
  for (const name of names) {
    const each = cpu[name] / (ROUNDS * QUERIES_PER_ROUND);
    const median = percentile(latencies[name], 0.5);
    console.log(
      `  ${name.padEnd(14)} ${each.toFixed(3)} ms of CPU for each query, p50 ${median.toFixed(1)} ms`,
    );
  }
  console.log(`  ratio of the CPU ${(cpu["with a replica"] / cpu["primary only"]).toFixed(2)}`);
}

try {
  console.log("without writes");
  await compare(Number.POSITIVE_INFINITY);
  console.log("with a write for every tenth query");
  await compare(10);
} finally {
  await writer.end();
  await Promise.all(Object.values(servers).map((server) => server.close()));
  await standby.close();
  await primary.close();
}
