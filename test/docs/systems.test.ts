import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { buildSchema, isObjectType } from "graphql";
import { buildProgram } from "../../src/cli/program.ts";
import { COMPAT_FOLDER, compatSystems, findSystem } from "../../src/database/compat/systems.ts";
import { SNAPSHOT_FILE } from "../../src/drift/snapshot.ts";
import { SYSTEMS } from "../../src/import/system/systems.ts";
import { TIMETABLE } from "../../src/jobs/index.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

// docs/systems.md maps each requirement of the five systems to relations, fields and tests. Each of these names must exist.

const read = (path: string) => readFileSync(join(PACKAGE_ROOT, path), "utf8");

const rows = read("docs/systems.md")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !/^\| (Code|Requirement|-)/.test(line))
  .map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
const mapped = rows.filter(([code]) => /^[HSRCA]\d+$/.test(code!));
const wishes = rows.filter((row) => !mapped.includes(row));

const CODES = Object.entries({ H: 11, S: 14, R: 9, C: 13, A: 15 }).flatMap(([system, count]) =>
  Array.from({ length: count }, (_, index) => `${system}${index + 1}`),
);

/** `test/file.test.ts`: title */
const REFERENCE = /`(test\/[^`]+\.ts)`: ([^<]+)/g;
const quotedIn = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name!);

const catalogue = JSON.parse(read("migrations/schema/catalogue.json")) as readonly {
  readonly kind: string;
  readonly name: string;
  readonly on?: string;
}[];
const relations = new Set(catalogue.filter(({ kind }) => /table|view/.test(kind)).map(({ name }) => name));
const columns = new Set(
  catalogue.filter(({ kind }) => kind === "column").map(({ on, name }) => `${on}.${name}`),
);
const functions = new Set(
  catalogue.filter(({ kind }) => kind === "function").map(({ name }) => `${name.split("(")[0]}()`),
);
const jobs = new Set(TIMETABLE.map(({ name }) => name));
const settings = new Set(quotedIn(read("docs/settings.md")));

const schema = buildSchema(read("migrations/schema/schema.graphql"));
const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()];

/** A root field, or `Type.field`. */
function isField(name: string): boolean {
  const [typeName, fieldName] = name.split(".");
  if (fieldName === undefined) return roots.some((root) => root!.getFields()[name] !== undefined);
  const type = schema.getType(typeName!);
  return isObjectType(type) && type.getFields()[fieldName] !== undefined;
}

function isCommand(words: readonly string[]): boolean {
  let command: { commands: readonly { name(): string }[] } | undefined = buildProgram();
  for (const word of words)
    command = command?.commands.find((one) => one.name() === word) as typeof command | undefined;
  return command !== undefined;
}

/** Anything that exists in the database, on the command line, as a setting or as a job. */
function exists(name: string): boolean {
  if (name.startsWith("npx plinth ")) return isCommand(name.split(" ").slice(2));
  return [relations, columns, functions, jobs, settings].some((known) => known.has(name));
}

/** Whether the file has a test or a group with the title, which is not skipped. */
function hasTest(file: string, title: string): boolean {
  const text = read(file);
  const at = ['"', "`"].map((quote) => text.indexOf(`${quote}${title}${quote}`)).find((index) => index >= 0);
  if (at === undefined) return false;
  const before = text.slice(0, at).split("\n").at(-1)!;
  return !/\b(skip|todo|xtest|xdescribe)\b\(/.test(before);
}

test("docs/systems.md has each code of the five systems once, with five filled cells", () => {
  expect(mapped.map(([code]) => code)).toEqual(CODES);
  for (const row of mapped) expect([row[0], row.length, row.includes("")]).toEqual([row[0], 5, false]);
  expect(wishes.length).toBeGreaterThan(8);
});

test.each(mapped)("%s: %s names only what exists", (_code, _promise, database, api) => {
  expect(quotedIn(database!).filter((name) => !exists(name))).toEqual([]);
  expect(quotedIn(api!).filter((name) => !isField(name))).toEqual([]);
  expect(`${database}${api}`).toContain("`");
});

test.each(wishes)("%s: %s names only what exists", (_wish, _state, where) => {
  expect(quotedIn(where!).filter((name) => !exists(name) && !isField(name))).toEqual([]);
});

test.each(rows.map((row) => [row[0]!, row.at(-1)!]))(
  "%s quotes tests that exist, one with its code",
  (name, cell) => {
    const references = [...cell.matchAll(REFERENCE)].map(
      ([, file, title]) => [file!, title!.trim()] as const,
    );
    expect(references.filter(([file, title]) => !hasTest(file, title))).toEqual([]);
    const code = CODES.includes(name) ? name : "A15";
    expect(references.some(([, title]) => hasCode(title, code))).toBe(true);
  },
);

/** The sentence above the table of each system: its command, its views, and the tests of both. */
const introductions = [
  ...read("docs/systems.md").matchAll(
    /^\[Move in\]\(moving-in\.md#(?<section>\S+)\) with `npx plinth import system (?<name>\S+)`: `(?<imports>\S+)`\.\n\[Keep the queries\]\(compatibility\.md#(?<same>\S+)\) with `npx plinth compat enable (?<enabled>\S+)`: `(?<queries>\S+)`\.\n`(?<schema>\S+)` has the views (?<views>[^.]+)\./gm,
  ),
].map(({ groups }) => groups!);

test("docs/systems.md says how each system moves in", () => {
  expect(introductions.map(({ name }) => name).sort()).toEqual(Object.keys(SYSTEMS).sort());
  expect(introductions.map(({ name }) => findSystem(name!)).sort()).toEqual(compatSystems());
});

test.each(introductions.map((each) => [each.name!, each] as const))(
  "%s: the views are those of its schema, and both tests exist",
  (name, { section, same, enabled, schema, views, imports, queries }) => {
    const system = findSystem(name);
    expect([same, enabled, schema]).toEqual([section, name, `compat_${system}`]);
    const expected = JSON.parse(readFileSync(join(COMPAT_FOLDER, system, SNAPSHOT_FILE), "utf8"));
    expect(quotedIn(views!).sort()).toEqual(
      expected
        .filter(({ kind }: { kind: string }) => kind === "view")
        .map((view: { name: string }) => view.name.split(".")[1]!.replaceAll('"', ""))
        .sort(),
    );
    for (const file of [imports!, queries!]) expect(read(file)).toMatch(/^test\(/m);
    for (const page of ["moving-in", "compatibility"])
      expect(sectionsOf(read(`docs/${page}.md`))).toContain(section);
  },
);

/** The sections of a page as links name them. */
function sectionsOf(page: string): string[] {
  return [...page.matchAll(/^#+ (.*)$/gm)].map(([, title]) => title!.toLowerCase().replaceAll(" ", "-"));
}

test("a test that is not skipped carries each code in its title", () => {
  const carried = new Set(
    readdirSync(join(PACKAGE_ROOT, "test"), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".test.ts"))
      .flatMap((file) => read(join("test", file)).split("\n"))
      .filter((line) => !/\b(skip|todo|xtest|xdescribe)\b/.test(line))
      .flatMap((line) => [...line.matchAll(/\[([HSRCA]\d+(?:, [HSRCA]\d+)*)\]["'`]/g)])
      .flatMap(([, codes]) => codes!.split(", ")),
  );
  expect(CODES.filter((code) => !carried.has(code))).toEqual([]);
});

function hasCode(title: string, code: string): boolean {
  return (/\[([^\]]+)\]$/.exec(title)?.[1] ?? "").split(", ").includes(code);
}
