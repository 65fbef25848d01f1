import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { MODULE_NAMES, MODULES } from "../../src/application/modules.ts";
import { LOGIN_ROLES } from "../../src/config/roles.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { ask, MASTER_KEYS, SIGNING_KEYS, signUp, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { freePorts } from "../support/ports.ts";
import { openSocket } from "../support/socket.ts";

// The snippets of docs/mount.md are one program: the first starts Plinth, and the others are servers in front of it.

let db: TestDatabase;
let folder: string;
let page: string;

beforeAll(async () => {
  db = await createTestDatabase();
  // Inside the package, so that the program finds the same packages.
  folder = await mkdtemp(join(PACKAGE_ROOT, "node_modules", ".mount-"));
  page = await readFile(join(PACKAGE_ROOT, "docs/mount.md"), "utf8");
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  await db.drop();
});

/** A snippet inside a block: with dynamic imports, and on a port of its own. */
const inBlock = (snippet: string, port: number) =>
  snippet
    .replace(/^import (\w+) from ("[^"]+");$/gm, "const { default: $1 } = await import($2);")
    .replace(/^import (\{[^}]+\}) from ("[^"]+");$/gm, "const $1 = await import($2);")
    .replaceAll('"plinth"', JSON.stringify(new URL("../../src/index.ts", import.meta.url).href))
    .replaceAll("3000", String(port));

test("every snippet of docs/mount.md works", async () => {
  const snippets = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, snippet]) => snippet!);
  expect(snippets).toHaveLength(7);
  const ports = await freePorts(snippets.length);
  const blocks = snippets.map((snippet, i) => inBlock(snippet, ports[i]!));
  const [start, end] = [blocks.shift()!, blocks.pop()!];
  const servers = blocks.map((block) => `{\n${block}\n}`).join("\n");
  const stop = `process.stdin.once("data", async () => {\n${end}\nconsole.log("closed");\nprocess.exit();\n});`;
  const program = join(folder, "program.mjs");
  await writeFile(program, `${start}\n${servers}\n${stop}\nconsole.log("ready");\n`);
  const urls = LOGIN_ROLES.map((role) => [`PLINTH_${role.toUpperCase()}_URL`, db.url(role)]);
  const child = spawn(process.execPath, [program], {
    env: {
      ...Object.fromEntries(urls),
      PATH: process.env.PATH,
      PLINTH_ROLE_PREFIX: db.rolePrefix,
      PLINTH_JWT_KEYS: SIGNING_KEYS,
      PLINTH_MASTER_KEYS: MASTER_KEYS,
      PLINTH_DATA: join(tmpdir(), "plinth-mount-unused"),
      PLINTH_LOG_LEVEL: "silent",
    },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const closed = once(child, "close");
  const errors = text(child.stderr);
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
  });
  try {
    await until(() => output.includes("ready") || child.exitCode !== null, { timeoutMs: 240_000 });
    expect({ output, exitCode: child.exitCode }).toEqual({
      output: expect.stringContaining("200 { status: 'ok' }"),
      exitCode: null,
    });
    const root = (index: number) => `http://127.0.0.1:${ports[index]}`;
    const [expressServer, nodeServer, fastifyServer, routes] = [root(1), root(2), root(3), root(5)];
    const api = { ask: (query: string, options = {}) => ask(`${expressServer}/api`, query, options) };
    const ada = await signUp(api, "ada");
    for (const server of [expressServer, nodeServer, fastifyServer]) {
      expect((await ask(`${server}/api`, "{ currentUser { username } }", ada)).data).toEqual({
        currentUser: { username: "ada" },
      });
      const socket = await openSocket({ url: `${server}/api` }, ada.token);
      expect(await socket.ask("{ __typename }")).toEqual({ data: { __typename: "Query" } });
      await socket.dispose();
    }
    for (const server of [expressServer, fastifyServer])
      expect(await (await fetch(`${server}/hello`)).json()).toEqual({ hello: "world" });
    expect(await (await fetch(`${nodeServer}/hello`)).text()).toBe("hello");

    const route = (path: string, token?: string) =>
      fetch(routes + path, token ? { headers: { authorization: `Bearer ${token}` } } : {});
    await api.ask('mutation { createChat(input: { chat: { title: "Hi" } }) { clientMutationId } }', ada);
    expect(await (await route("/chats", ada.token)).json()).toMatchObject([{ title: "Hi" }]);
    expect((await route("/chats")).status).toBe(401);
    const refused = await route("/chats", "nonsense");
    expect([refused.status, refused.headers.has("www-authenticate")]).toEqual([401, true]);
    expect(await (await route("/me", ada.token)).json()).toEqual({
      data: { currentUser: { username: "ada" } },
    });
    child.stdin.end("stop\n");
    // Its last output may come after its end.
    await closed;
    expect(output).toContain("closed");
    expect(await errors).toBe("");
  } finally {
    child.kill("SIGKILL");
  }
});

test("lists exactly the modules, with what each requires", () => {
  const table = [...page.matchAll(/^\| `(\w+)` \| .*? \| (.*?)\|$/gm)].map(([, name, requires]) => [
    name,
    [...requires!.matchAll(/`(\w+)`/g)].map(([, required]) => required),
  ]);
  expect(table).toEqual(MODULE_NAMES.map((name) => [name, MODULES[name].requires]));
});
