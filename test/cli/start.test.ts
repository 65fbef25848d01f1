import type { ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { ask, until } from "../support/api.ts";
import { withClient } from "../support/database.ts";
import { cli, type Outcome, outcomeOf, startCli } from "./run-cli.ts";

// `plinth start` in an empty folder, as on a first try: one folder for all tests of this file, in their order.

let folder: string;
let env: Record<string, string>;
let running: { child: ChildProcess; outcome: Promise<Outcome> } | undefined;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "plinth-start-"));
  env = {
    PLINTH_DATA: join(folder, "data"),
    PLINTH_PORT: "0",
    // A busy machine may stand still for longer than a person would wait.
    PLINTH_STATEMENT_TIMEOUT_MS: "120000",
    PLINTH_POOL_CONNECTION_TIMEOUT_MS: "120000",
  };
});
afterEach(async () => {
  running?.child.kill("SIGKILL");
  await running?.outcome;
  running = undefined;
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

/** A busy machine needs minutes to start several processes. */
const PROCESS = { timeoutMs: 240_000, everyMs: 20 };

/** Starts Plinth and waits for the banner. */
async function start(
  ...args: string[]
): Promise<{ child: ChildProcess; outcome: Promise<Outcome>; banner: string }> {
  const child = startCli(args.length > 0 ? args : ["start"], env);
  const outcome = outcomeOf(child);
  running = { child, outcome };
  let banner = "";
  for (const stream of [child.stdout!, child.stderr!])
    stream.on("data", (text: string) => {
      banner += text;
    });
  let ended = false;
  child.once("exit", () => {
    ended = true;
  });
  await until(() => ended || /Ctrl-C to stop it|listens on/.test(banner), PROCESS);
  if (ended) throw new Error(`It ended: ${JSON.stringify(await outcome)}`);
  return { child, outcome, banner };
}

const postmasterOf = async (): Promise<number> =>
  Number((await readFile(join(folder, "data", "postgres", "postmaster.pid"), "utf8")).split("\n")[0]);
const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Sends the request of the banner's curl command. */
async function signIn(banner: string): Promise<{ url: string; token: string }> {
  const [, url, body] = /curl -s (\S+) -H 'content-type: application\/json' -d '(.*)'/.exec(banner) ?? [];
  const response = await fetch(url!, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: body!,
  });
  const { data } = (await response.json()) as { data: { login: { accessToken: string } } };
  return { url: new URL(url!).origin, token: data.login.accessToken };
}

const MINE = `{
  currentUser { username }
  chats(first: 5) { totalCount nodes { messages(first: 10) { nodes { thinking toolCalls } } } }
  models(first: 1) { totalCount }
  prompts(first: 1) { totalCount }
}`;

test("creates a database with demo data at the first start and says how to sign in; Ctrl-C stops everything", async () => {
  const { child, outcome, banner } = await start();
  const signedIn = await signIn(banner);
  const mine = await ask(signedIn.url, MINE, { token: signedIn.token });
  expect(mine.errors).toBeUndefined();
  expect(mine.data).toMatchObject({
    currentUser: { username: "ada" },
    chats: { totalCount: 2 },
    models: { totalCount: 8 },
    prompts: { totalCount: 12 },
  });
  expect(mine.text).toMatch(/"thinking":"[^"]/);
  expect(mine.text).toMatch(/"toolCalls":\[\{/);

  expect(banner).toContain(`psql "$(PLINTH_DATA='${env.PLINTH_DATA}' npx plinth db url --role analyst)"`);

  // Meanwhile, other commands use the running server, and a second start is rejected.
  const analyst = await cli(["db", "url", "--role", "analyst"], { env });
  expect(analyst).toMatchObject({ code: 0, stderr: "" });
  const seen = await withClient(analyst.stdout.trim(), (client) =>
    client.query("select current_user as name, count(*)::integer as models from analytics.model_catalogue"),
  );
  expect(seen.rows).toEqual([{ name: "plinth_analyst", models: expect.any(Number) }]);
  const popular = await withClient(analyst.stdout.trim(), (client) =>
    client.query("select item_id from analytics.content_popularity"),
  );
  expect(popular.rows.length).toBeGreaterThan(0);
  const second = await cli(["start"], { env });
  expect(second).toMatchObject({ code: 1, stdout: "" });
  expect(second.stderr).toContain(`process ${child.pid}`);

  const postmaster = await postmasterOf();
  child.kill("SIGINT");
  expect(await outcome).toMatchObject({ code: 0 });
  expect(isAlive(postmaster)).toBe(false);
});

test("answers a chat with the local echo, as the banner says, and again after a restart", async () => {
  const { child, outcome, banner } = await start();
  expect(banner).toMatch(/Model +Demo\/echo.*requestAnswer/);
  const { url, token } = await signIn(banner);
  const run = async (query: string, variables: Record<string, unknown> = {}) => {
    const { data, errors, text } = await ask(url, query, { token, variables });
    if (errors) throw new Error(text);
    return data;
  };
  const { models } = await run('{ models(filter: { name: { equalTo: "echo" } }) { nodes { id } } }');
  const { createChat } = await run("mutation { createChat(input: { chat: {} }) { chat { id } } }");
  const chat = createChat.chat.id;
  await run(
    'mutation ($chat: UUID!) { sendChatMessage(input: { chatId: $chat, content: "Hello?" }) { message { id } } }',
    { chat },
  );
  const { requestAnswer } = await run(
    "mutation ($chat: UUID!, $model: UUID!) { requestAnswer(input: { chatId: $chat, modelId: $model }) { message { id } } }",
    { chat, model: models.nodes[0].id },
  );
  const read = async () =>
    (
      await run("query ($id: UUID!) { message(id: $id) { state content tokensUsed } }", {
        id: requestAnswer.message.id,
      })
    ).message;
  await until(async () => (await read()).state !== "streaming", { ...PROCESS, everyMs: 50 });
  const answer = await read();
  expect(answer).toMatchObject({ state: "complete", content: expect.stringContaining("You said: Hello?") });
  expect(answer.tokensUsed).toBeGreaterThan(0);
  child.kill("SIGTERM");
  expect(await outcome).toMatchObject({ code: 0 });
});

test("finds the same accounts and data at the next start; SIGTERM also stops it", async () => {
  const { child, outcome, banner } = await start();
  const { url, token } = await signIn(banner);
  const { data } = await ask(url, "{ chats(first: 1) { totalCount } }", { token });
  expect(data.chats.totalCount).toBe(3);
  child.kill("SIGTERM");
  expect(await outcome).toMatchObject({ code: 0 });
});

test("reports in a sentence that the database has died, and exits with 1", async () => {
  const { outcome } = await start();
  process.kill(await postmasterOf(), "SIGKILL");
  const { code, stderr } = await outcome;
  expect(code).toBe(1);
  expect(stderr).toMatch(/(^|\n)error: .*\nhint: .*\n$/);
  expect(stderr).not.toMatch(/\n {4}at /);
});

/** The first Ctrl-C waits for as long for requests; then it ends the process without a second one. */
const DRAIN_MS = 10_000;

test("stops without waiting for requests after a second Ctrl-C, and stops the database too", async () => {
  while (!(await stopTwice())) {
    // This machine stood still for so long that the request was given up.
  }
});

/** Presses Ctrl-C twice during a request; returns whether it could be in time. */
async function stopTwice(): Promise<boolean> {
  const { child, outcome, banner } = await start();
  const postmaster = await postmasterOf();
  const { hostname, port } = new URL(/GraphQL +(\S+)/.exec(banner)![1]!);
  const unfinished = connect(Number(port), hostname).on("error", () => {});
  const isUnderWay = new Promise((resolve) => unfinished.once("data", resolve));
  unfinished.write(
    [
      "POST /graphql HTTP/1.1",
      `host: ${hostname}`,
      "content-type: application/json",
      "content-length: 100",
      // Answered once the server has the request.
      "expect: 100-continue",
      "\r\n{",
    ].join("\r\n"),
  );
  await isUnderWay;
  const pressedAt = performance.now();
  child.kill("SIGINT");
  // An earlier signal would count as the same key press; see interrupt.ts. A process that stands still gets several as one.
  for (let again = 1; child.exitCode === null && child.signalCode === null; again++) {
    await new Promise((resolve) => setTimeout(resolve, 700));
    const isLate = performance.now() - pressedAt > DRAIN_MS / 2;
    if (again === 1 && isLate) {
      await outcome;
      unfinished.destroy();
      return false;
    }
    if (again === 1) expect(child.exitCode).toBeNull();
    child.kill("SIGINT");
  }
  expect(await outcome).toMatchObject({ code: 130 });
  unfinished.destroy();
  await until(() => !isAlive(postmaster), PROCESS);
  return true;
}

test("runs the API alone with serve, and the jobs beside it with work", async () => {
  const { child, outcome, banner } = await start("serve");
  const url = /listens on (\S+)/.exec(banner)![1]!;
  expect(await ask(new URL(url).origin, "{ prompts(first: 1) { totalCount } }")).toMatchObject({
    data: { prompts: { totalCount: 12 } },
  });

  const worker = startCli(["work"], env);
  const worked = outcomeOf(worker);
  // It has started, so that Ctrl-C ends it in order.
  await new Promise((resolve) => worker.stderr!.once("data", resolve));
  await until(async () => {
    const { findings } = JSON.parse((await cli(["doctor", "--json"], { env })).stdout);
    return findings.some(
      ({ check, status }: { check: string; status: string }) => check === "worker" && status === "ok",
    );
  }, PROCESS);
  worker.kill("SIGINT");
  child.kill("SIGINT");
  for (const ended of [await worked, await outcome]) {
    expect(ended).toMatchObject({ code: 0 });
    // Each line of the log is JSON, for programs that read it.
    for (const line of ended.stdout.split("\n").filter(Boolean))
      expect(JSON.parse(line)).toHaveProperty("level");
  }
});

describe("an obstacle is reported in a sentence", () => {
  test("reports a port in use and names the variable to set", async () => {
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(0, "127.0.0.1", resolve));
    const { port } = blocker.address() as { port: number };
    const { code, stderr } = await cli(["start"], { env: { ...env, PLINTH_PORT: String(port) } });
    blocker.close();
    expect(code).toBe(1);
    expect(stderr).toMatch(/error: .*\nhint: .*PLINTH_PORT.*\n$/);
  });

  test.each(["serve", "work", "migrate status", "keys status", "doctor"])(
    "reports that %s found no database, and creates none",
    async (command) => {
      const wrong = join(folder, "wrong");
      const { code, stdout, stderr } = await cli(command.split(" "), { env: { ...env, PLINTH_DATA: wrong } });
      expect(code).toBe(1);
      expect(stdout + stderr).toContain(`${wrong} contains no database.`);
      expect(stdout + stderr).toMatch(/PLINTH_DATA.*plinth start/);
      expect(existsSync(wrong)).toBe(false);
    },
  );
});
