import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { type Api, PASSWORD, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// The example as an app would live: tokens expire, calls overlap, answers are lost, sessions end elsewhere.

const SCRIPT = join(PACKAGE_ROOT, "examples", "refresh-in-curl", "plinth.sh");
const hasTools = spawnSync("sh", ["-c", "command -v curl jq flock"]).status === 0;
const run = hasTools ? test : test.skip;

let db: TestDatabase;
let api: Api;
let folder: string;
let session: string;
/** Number of answers to refreshes that get lost on their way. */
let losses = 0;
const proxy = createServer((incoming, outgoing) => {
  const chunks: Buffer[] = [];
  incoming.on("data", (chunk) => chunks.push(chunk));
  incoming.on("end", () => {
    const body = Buffer.concat(chunks);
    const { host: _host, ...headers } = incoming.headers;
    request(api.url + incoming.url, { method: incoming.method, headers }, (answer) => {
      const isLost = losses > 0 && body.includes("RefreshInput");
      if (isLost) {
        losses--;
        answer.resume().on("end", () => outgoing.destroy());
      } else answer.pipe(outgoing.writeHead(answer.statusCode ?? 500, answer.headers));
    }).end(body);
  });
});

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  folder = await mkdtemp(join(tmpdir(), "plinth-curl-"));
  await api.ask("mutation ($in: RegisterInput!) { register(input: $in) { accessToken } }", {
    variables: { in: { username: "maria", email: "maria@example.com", password: PASSWORD } },
  });
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await new Promise((resolve) => proxy.close(resolve));
  await api.close();
  await db.drop();
});
beforeEach(() => {
  session = join(folder, `${Math.random()}.json`);
});

const app = (args: string[], input = "", url?: string): Promise<{ code: number; out: string; err: string }> =>
  new Promise((resolve) => {
    const env = {
      ...process.env,
      PLINTH_URL: url ?? `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
      PLINTH_SESSION: session,
    };
    const child = execFile("sh", [SCRIPT, ...args], { env }, (error, out, err) =>
      resolve({ code: Number(error?.code ?? 0), out, err }),
    );
    // A call that fails at once does not read its input.
    child.stdin?.on("error", () => {}).end(input);
  });
const whoAmI = () => app(["ask", "{ currentUser { username } }"]);
const tokens = async () => JSON.parse(await readFile(session, "utf8"));
const expire = async () =>
  writeFile(session, JSON.stringify({ ...(await tokens()), accessToken: "expired" }));
const MARIA = { data: { currentUser: { username: "maria" } } };

run("signs in, asks and signs out", async () => {
  expect(await app(["sign-in", "maria"], `${PASSWORD}\n`)).toMatchObject({ code: 0, err: "" });
  expect((await stat(session)).mode & 0o077).toBe(0);
  const { refreshToken } = await tokens();
  expect(JSON.parse((await whoAmI()).out)).toEqual(MARIA);
  expect((await app(["sign-out"])).code).toBe(0);
  await expect(stat(session)).rejects.toThrow("ENOENT");
  await writeFile(session, JSON.stringify({ accessToken: "expired", refreshToken }));
  expect((await whoAmI()).code).toBe(1);
});

run("says why a sign-in fails and stores nothing", async () => {
  expect(await app(["sign-in", "maria"], "wrong\n")).toMatchObject({
    code: 1,
    err: expect.stringMatching(/password/i),
  });
  await expect(stat(session)).rejects.toThrow("ENOENT");
  expect(await whoAmI()).toMatchObject({ code: 1, err: expect.stringContaining("Sign in first") });
});

run("refreshes once for calls that find an expired token at the same time", async () => {
  await app(["sign-in", "maria"], `${PASSWORD}\n`);
  const before = await refreshes();
  await expire();
  const answers = await Promise.all([whoAmI(), whoAmI(), whoAmI(), whoAmI()]);
  expect(answers.map(({ out }) => JSON.parse(out))).toEqual([MARIA, MARIA, MARIA, MARIA]);
  expect(await refreshes()).toBe(before + 1);
});

run("keeps the session when the answer to a refresh is lost", async () => {
  await app(["sign-in", "maria"], `${PASSWORD}\n`);
  await expire();
  losses = 1;
  expect(JSON.parse((await whoAmI()).out)).toEqual(MARIA);
  // Lost twice: the call fails and the next one succeeds.
  await expire();
  losses = 2;
  expect((await whoAmI()).code).not.toBe(0);
  expect(JSON.parse((await whoAmI()).out)).toEqual(MARIA);
});

run("forgets a session that has ended elsewhere", async () => {
  await app(["sign-in", "maria"], `${PASSWORD}\n`);
  const { accessToken } = await tokens();
  await api.ask("mutation { logoutEverywhere(input: {}) { clientMutationId } }", { token: accessToken });
  await until(async () => (await api.ask("{ __typename }", { token: accessToken })).status === 401);
  expect(await whoAmI()).toMatchObject({ code: 1, out: "" });
  await expect(stat(session)).rejects.toThrow("ENOENT");
});

run("refuses tokens that would be options of curl", async () => {
  const hostile = createServer((_request, response) => {
    const accessToken = `x"\nnext\nurl = "http://127.0.0.1:1"\noutput = "${folder}/written"\nheader = "y`;
    response.end(JSON.stringify({ data: { login: { accessToken, refreshToken: "plr_x" } } }));
  });
  await new Promise<void>((resolve) => hostile.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(hostile.address() as AddressInfo).port}`;
  expect((await app(["sign-in", "maria"], `${PASSWORD}\n`, url)).code).toBe(1);
  await expect(stat(session)).rejects.toThrow("ENOENT");
  await new Promise((resolve) => hostile.close(resolve));
});

const refreshes = (): Promise<number> =>
  withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query<{ n: number }>(
      "select count(*)::integer as n from private.refresh_tokens",
    );
    return rows[0]!.n;
  });
