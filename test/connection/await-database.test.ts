import dns from "node:dns";
import { createServer, connect as dial, type Server, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, expect, jest, test } from "@jest/globals";
import { awaitDatabase, type Waiting } from "../../src/connection/await-database.ts";
import { cli } from "../cli/run-cli.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let server: Server;
let port: number;
/** Number of further connections that the server answers as one that is starting. */
let startingFor = 0;
let attempts = 0;
const sockets = new Set<Socket>();
/** The connections to PostgreSQL. */
const upstreams = new Set<Socket>();

/** PostgreSQL's answer while it recovers. */
const STARTING_UP = (() => {
  const fields = Buffer.from("SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0");
  const head = Buffer.alloc(5);
  head.write("E");
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
})();

beforeAll(async () => {
  db = await createTestDatabase();
  const { hostname, port: realPort } = new URL(db.url("owner"));
  // Half open, so that a client's connection ends when PostgreSQL has ended it.
  server = createServer({ allowHalfOpen: true }, (client) => {
    sockets.add(client);
    client.on("error", () => {});
    attempts += 1;
    if (startingFor > 0) {
      startingFor -= 1;
      client.once("data", () => client.end(STARTING_UP));
      return;
    }
    const upstream = dial(Number(realPort), hostname);
    sockets.add(upstream);
    upstreams.add(upstream);
    upstream.on("error", () => client.destroy());
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ({ port } = server.address() as { port: number });
});
afterEach(() => {
  startingFor = 0;
  attempts = 0;
  jest.restoreAllMocks();
});
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  await db.drop();
});

const through = (url = db.url("owner")) => Object.assign(new URL(url), { port: String(port) }).href;

async function wait(url: string, options: Partial<Waiting> = {}) {
  const lines: string[] = [];
  await awaitDatabase(url, { connectTimeoutSeconds: 30, log: (line) => lines.push(line), ...options });
  return lines;
}

test("waits for a server that is starting, and logs sparsely", async () => {
  // All attempts are made within a second, however slow the machine is.
  jest.spyOn(performance, "now").mockReturnValue(0);
  startingFor = 3;
  const lines = await wait(through());
  expect(attempts).toBe(4);
  expect(lines).toEqual([
    "The database is not ready (the database system is starting up). Waiting up to 30 s.",
  ]);
});

test("ends its own connection first, which would count among the sessions of its role", async () => {
  upstreams.clear();
  await wait(through());
  expect([...upstreams].map(({ readableEnded }) => readableEnded)).toEqual([true]);
});

test.each([
  ["a wrong password", () => through().replace(/:[^:@]*@/, ":wrong@")],
  ["a missing database", () => through().replace(/\/[^/?]*(\?|$)/, "/nowhere$1")],
])("does not wait for %s, which its first user reports", async (_what, url) => {
  expect(await wait(url())).toEqual([]);
  expect(attempts).toBe(1);
});

test.each([
  ["a closed port", "postgres://nobody@127.0.0.1:1/nowhere", "ECONNREFUSED"],
  ["an unknown host", "postgres://nobody@host.invalid/nowhere", "host.invalid"],
])("gives up on %s in a sentence when the time is over", async (_what, url, reason) => {
  // A real name server may take longer than an attempt.
  jest.spyOn(dns, "lookup").mockImplementation(((host: string, ...[, done]: unknown[]) => {
    const error = Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), { code: "ENOTFOUND" });
    setImmediate(done as (error: Error) => void, error);
  }) as never);
  await expect(wait(url, { connectTimeoutSeconds: 0 })).rejects.toMatchObject({
    code: "DATABASE_UNREACHABLE",
    message: expect.stringContaining(reason),
  });
});

test("stops at a signal", async () => {
  const stop = new AbortController();
  const log = () => stop.abort();
  await expect(
    wait("postgres://nobody@127.0.0.1:1/nowhere", { log, signal: stop.signal }),
  ).rejects.toMatchObject({
    code: "INTERRUPTED",
    exitCode: 130,
  });
});

test("migrate waits for the database and then runs", async () => {
  startingFor = 2;
  const env = { PLINTH_OWNER_URL: through(), PLINTH_ROLE_PREFIX: db.rolePrefix };
  const { code, stdout, stderr } = await cli(["migrate"], { env });
  expect(stderr).toMatch(/^The database is not ready \(the database system is starting up\)\. Waiting/);
  expect({ code, stdout }).toEqual({ code: 0, stdout: "The database is up to date.\n" });
});

test("doctor does not wait", async () => {
  startingFor = 1;
  const env = { PLINTH_OWNER_URL: through(), PLINTH_ROLE_PREFIX: db.rolePrefix };
  const { code, stdout } = await cli(["doctor"], { env });
  expect({ code, attempts }).toEqual({ code: 1, attempts: 1 });
  expect(stdout).toContain("starting up");
});
