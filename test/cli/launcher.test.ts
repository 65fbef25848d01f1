import { spawn } from "node:child_process";
import { chmod, copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { cleanEnv, LAUNCHER, type Outcome, outcomeOf } from "./run-cli.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "plinth-launcher-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

/** Makes Node report an old version before the launcher checks it. */
const PRETEND_NODE_20 =
  'data:text/javascript,Object.defineProperty(process,"versions",{value:{...process.versions,node:"20.11.0"}})';

async function launch(
  launcher: string,
  options: { oldNode?: boolean; args?: string[] } = {},
): Promise<Outcome> {
  const nodeOptions = options.oldNode ? ["--import", PRETEND_NODE_20] : [];
  const child = spawn(process.execPath, [...nodeOptions, launcher, ...(options.args ?? [])], {
    env: cleanEnv(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  return outcomeOf(child);
}

/** A package with the real launcher and stand-ins for what it may start. */
async function makePackage(root: string, files: Record<string, string>): Promise<string> {
  const launcher = join(root, "src", "cli", "plinth.js");
  await mkdir(dirname(launcher), { recursive: true });
  await copyFile(LAUNCHER, launcher);
  for (const [name, text] of Object.entries({ "package.json": '{"type": "module"}', ...files })) {
    const path = join(root, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
    if (name.endsWith("/node")) await chmod(path, 0o755);
  }
  return launcher;
}

const SAYS = (what: string): string =>
  `console.log(${JSON.stringify(what)}, process.argv.slice(2).join(" "));`;

test("runs the TypeScript in a checkout", async () => {
  const launcher = await makePackage(join(folder, "checkout"), {
    "src/cli/main.ts": `const what: string = "source"; ${SAYS("source")} void what;`,
    "dist/src/cli/main.js": SAYS("compiled"),
  });
  expect(await launch(launcher, { args: ["a", "b"] })).toEqual({
    code: 0,
    stdout: "source a b\n",
    stderr: "",
  });
});

test("runs the compiled files below node_modules, where Node does not strip types", async () => {
  const launcher = await makePackage(join(folder, "app", "node_modules", "plinth"), {
    "src/cli/main.ts": SAYS("source"),
    "dist/src/cli/main.js": SAYS("compiled"),
  });
  expect(await launch(launcher)).toEqual({ code: 0, stdout: "compiled \n", stderr: "" });
});

test("keeps compiled code in the package, for a faster start the next time", async () => {
  const root = join(folder, "cached");
  const launcher = await makePackage(root, { "src/cli/main.ts": SAYS("source") });
  await launch(launcher);
  const kept = await readdir(join(root, "node_modules/.cache/plinth"), { recursive: true });
  expect(kept.length).toBeGreaterThan(1);
  expect((await launch(launcher)).stdout).toBe("source \n");
});

test("starts without keeping compiled code if the package cannot be written to", async () => {
  // A file in place of the folder, because the superuser may write everywhere.
  const launcher = await makePackage(join(folder, "read-only"), {
    "src/cli/main.ts": SAYS("source"),
    "node_modules/.cache": "",
  });
  expect(await launch(launcher)).toEqual({ code: 0, stdout: "source \n", stderr: "" });
});

test("starts the package's own Node if started with an older one, and returns its exit code", async () => {
  const launcher = await makePackage(join(folder, "old"), {
    "node_modules/.bin/node": '#!/bin/sh\nshift\necho "newer node: $*"\nexit 7\n',
  });
  expect(await launch(launcher, { oldNode: true, args: ["start", "--demo"] })).toEqual({
    code: 7,
    stdout: "newer node: start --demo\n",
    stderr: "",
  });
});

test("names the Node version it needs if no newer one exists", async () => {
  const launcher = await makePackage(join(folder, "none"), {});
  const { code, stdout, stderr } = await launch(launcher, { oldNode: true });
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(/^error: .*Node 24.*20\.11\.0.*\nhint: .*\n$/);
});

test("reports in a sentence that Node is too old when loaded as a library", async () => {
  const program = `
    const { createPlinth } = await import(${JSON.stringify(new URL("../../src/index.ts", import.meta.url).href)});
    await createPlinth().catch(({ name, code, message, hint }) => console.log(JSON.stringify({ name, code, message, hint })));`;
  const child = spawn(
    process.execPath,
    ["--import", PRETEND_NODE_20, "--input-type=module", "--eval", program],
    { env: cleanEnv(), stdio: ["ignore", "pipe", "pipe"] },
  );
  expect(JSON.parse((await outcomeOf(child)).stdout)).toEqual({
    name: "PlinthError",
    code: "NODE_TOO_OLD",
    message: "Plinth needs Node 24 or newer, but this is Node 20.11.0.",
    hint: expect.stringContaining("nodejs.org"),
  });
});
