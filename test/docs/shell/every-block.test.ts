import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { loadConfig } from "../../../src/config/config.ts";
import { PACKAGE_ROOT } from "../../../src/support/paths.ts";
import { isWhole, pagesOfTheRepository, shellBlocks } from "../../support/shell/pages.ts";
import { DATABASE } from "./database.ts";
import { ELSEWHERE } from "./elsewhere.ts";
import { MACHINE, START } from "./machine.ts";
import { isElsewhere } from "./recipe.ts";
import { EXCUSED } from "./rules.ts";

// Each command of each shell block runs in database.test.ts, machine.test.ts or another test that is named, or has a reason why it
// does not.

const RECIPES = [...DATABASE, ...MACHINE];
const commands = pagesOfTheRepository().flatMap((page) =>
  shellBlocks(page).flatMap((block) => block.commands.map(({ text }) => ({ page, text, line: block.line }))),
);
const started = new Set(MACHINE.map(({ page }) => page));

const isRun = (page: string, text: string) =>
  (START.test(text) && started.has(page)) ||
  isElsewhere(page, text) ||
  RECIPES.some((recipe) => recipe.page === page && (recipe.commands?.test(text) ?? true));

test("each command runs, or has a reason", () => {
  expect(commands.length).toBeGreaterThan(200);
  const others = commands
    .filter(({ page, text }) => !isRun(page, text))
    .map(({ page, line, text }) => `${page}, block of line ${line}: ${text}`);
  expect(others).toEqual([]);
});

test("a command of several lines is one", () => {
  expect(isWhole("ask '{\n")).toBe(false);
  expect(isWhole(`ask '{\n}' | sed 's/"\\([^"]*\\)"/'"'"'/'\n`)).toBe(true);
  expect(isWhole("f() {\n  one\n")).toBe(false);
  expect(isWhole("f() {\n  one\n}\n")).toBe(true);
  expect(isWhole('A=$(one "$(two")\n')).toBe(false);
  expect(isWhole("one # it's a comment\n")).toBe(true);
});

test("a command that nothing runs is found", () => {
  expect(isRun("docs/new.md", "npx plinth doctor")).toBe(false);
});

test("each reason and each named test is of a command of a page, and each recipe too", () => {
  const unused = [
    ...EXCUSED.filter((excuse) => !commands.some(({ text }) => excuse.commands.test(text))),
    ...ELSEWHERE.filter(
      (each) => !commands.some(({ page, text }) => page === each.page && (each.commands?.test(text) ?? true)),
    ),
    ...RECIPES.filter(
      (recipe) =>
        !commands.some(({ page, text }) => page === recipe.page && (recipe.commands?.test(text) ?? true)),
    ),
  ];
  expect(unused).toEqual([]);
});

test("the other tests name their pages", () => {
  const silent = ELSEWHERE.filter(
    ({ page, test }) => !readFileSync(join(PACKAGE_ROOT, test), "utf8").includes(page.split("/").at(-1)!),
  );
  expect(silent).toEqual([]);
});

const excused = commands.flatMap(({ page, text }) => {
  const excuse = EXCUSED.find((each) => each.commands.test(text));
  return excuse ? [{ page, text }] : [];
});

test("the shell can read the commands that do not run, and the files that they name exist", () => {
  const { status, stderr } = spawnSync("sh", ["-n"], {
    input: excused.map(({ text }) => text).join("\n"),
    encoding: "utf8",
  });
  expect([status, stderr]).toEqual([0, ""]);
  const files = excused.flatMap(({ page, text }) =>
    [...text.matchAll(/(?<![\w/])((?:deploy|test|examples)\/[\w./-]+)/g)].map(([, path]) => ({
      page,
      path: path!,
    })),
  );
  expect(files.length).toBeGreaterThan(5);
  // create-secrets.sh writes the folder.
  const missing = files.filter(
    ({ path }) => path !== "deploy/secrets/" && !existsSync(join(PACKAGE_ROOT, path)),
  );
  expect(missing).toEqual([]);
});

test("Plinth accepts the settings of the servers that the pages invent", () => {
  const settings = excused
    .map(({ text }) => text.replaceAll("…", "secret").replace(/\s#\s.*$/gm, ""))
    .flatMap((text) => [...text.matchAll(/\b(PLINTH_[A-Z_]+)=('[^']*'|"[^"]*"|\S+)/g)])
    .map(([, name, value]) => [name!, value!.replace(/^(['"])(.*)\1$/, "$2")] as const)
    // Computed by the shell, or the name of a file of the reader.
    .filter(([name, value]) => !value.includes("$(") && !name.endsWith("_FILE"));
  expect(settings.length).toBeGreaterThan(15);
  const needed = new Map<string, string>();
  for (const [name, value] of settings) needed.set(name, value);
  for (const [name, value] of settings)
    expect(() => loadConfig({ ...Object.fromEntries(needed), [name]: value })).not.toThrow();
});
