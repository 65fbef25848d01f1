// Compares Plinth as shipped with stock PostGraphile, with a server written by hand and with PostgreSQL itself; see docs/performance.md.
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import jwt from "jsonwebtoken";
import { assertSameAnswers } from "./answers.ts";
import { cpuOf, cpuOfChildren, residentOf } from "./cpu.ts";
import { openSeeded } from "./database.ts";
import { type Client, type Load, load } from "./load.ts";
import { OPERATIONS } from "./operations.ts";
import { hasPgbench, runPgbench } from "./pgbench.ts";
import { report, type Sample } from "./report.ts";
import { PASSWORD, randomUser, sessionId, userId } from "./seed.ts";
import { type RunningServer, SERVERS, startServer } from "./servers/start.ts";

const HELP = `Usage: npm run bench -- [options]

  --rounds N        measure each operation N times on each server, in turn (default 3)
  --seconds N       length of a measurement (default 5)
  --connections N   clients at the same time (default 32)
  --only TEXT       only operations whose name contains TEXT; several with commas
  --servers LIST    of stock, mercurius, plinth, pgbench (default: all)
  --data FOLDER     where the seeded database is kept (default: in the temporary folder)
  --json FILE       write every measurement to FILE as well
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
const [rounds, seconds, connections] = [
  Number(flags.rounds),
  Number(flags.seconds),
  Number(flags.connections),
];
const wanted = flags.servers.split(",");
const operations = OPERATIONS.filter(
  ({ name }) => !flags.only || flags.only.split(",").some((text) => name.includes(text)),
);

const key = randomBytes(32).toString("base64url");
const tokens = new Map<number, string>();
const client: Client = {
  connections,
  token(user) {
    let token = tokens.get(user);
    if (!token) {
      token = jwt.sign({ sid: sessionId(user), tv: 0 }, Buffer.from(key, "base64url"), {
        algorithm: "HS256",
        header: { alg: "HS256", typ: "at+jwt", kid: "bench" },
        issuer: "plinth",
        audience: "plinth",
        subject: userId(user),
        jwtid: crypto.randomUUID(),
        notBefore: 0,
        expiresIn: "1d",
      });
      tokens.set(user, token);
    }
    return token;
  },
  async signIn(server) {
    const signIn = OPERATIONS.find(({ name }) => name === "sign-in")!;
    const answer = await fetch(`${server.url}/graphql`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "x-forwarded-for": `10.9.${randomUser() % 256}.${randomUser() % 256}`,
      },
      body: JSON.stringify({
        query: signIn.documents[server.name],
        variables: { name: `bench${randomUser()}`, password: PASSWORD },
      }),
    });
    const { data, errors } = (await answer.json()) as {
      data?: { login: { refreshToken: string } };
      errors?: unknown;
    };
    if (!data) throw new Error(`${server.name}: ${JSON.stringify(errors)}`);
    return data.login.refreshToken;
  },
};

const seeded = await openSeeded(flags.data);
const servers: RunningServer[] = [];
const samples: Sample[] = [];

async function measure(name: string, pid: number | undefined, run: () => Load | Promise<Load>) {
  const [node, backends] = [pid ? cpuOf(pid) : Number.NaN, cpuOfChildren(seeded.postmaster)];
  const result = await run();
  return {
    server: name,
    ...result,
    nodeMs: pid ? (cpuOf(pid) - node) / result.requests : Number.NaN,
    postgresMs: (cpuOfChildren(seeded.postmaster) - backends) / result.requests,
  };
}

try {
  for (const name of SERVERS) if (wanted.includes(name)) servers.push(await startServer(name, seeded, key));
  if (wanted.includes("pgbench") && !hasPgbench)
    console.log("pgbench is not installed, so PostgreSQL's own rate is left out.");
  for (const operation of operations) {
    await assertSameAnswers(servers, operation, client);
    for (let round = -1; round < rounds; round++) {
      for (const server of servers) {
        if (!operation.documents[server.name]) continue;
        const sample = await measure(server.name, server.pid, () =>
          load(server, operation, client, round < 0 ? 2 : seconds),
        );
        if (round >= 0) samples.push({ operation: operation.name, ...sample });
      }
      if (round >= 0 && operation.sql && hasPgbench && wanted.includes("pgbench"))
        samples.push({
          operation: operation.name,
          ...(await measure("pgbench", undefined, () =>
            runPgbench(seeded.database.url("authenticator"), operation, connections, seconds),
          )),
        });
    }
    console.log(report(operation.name, samples));
  }
  console.log(
    `Resident size: ${servers.map(({ name, pid }) => `${name} ${residentOf(pid).toFixed(0)} MB`).join(", ")}`,
  );
  if (flags.json) writeFileSync(flags.json, JSON.stringify(samples, null, 2));
} finally {
  for (const server of servers) await server.stop();
  await seeded.database.close();
}
