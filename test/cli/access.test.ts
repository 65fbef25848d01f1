import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { makeFolder } from "../import/files.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { databaseEnv } from "./run-cli.ts";
import { runHere } from "./run-here.ts";

const MODEL = join(PACKAGE_ROOT, "test", "casbin", "examples", "rbac_model.conf");
const DEFINITION = readFileSync(MODEL, "utf8");
const POLICY = `p, alice, data1, read
p, data2_admin, data2, read
g, alice, data2_admin
p, bob, "data,2", write
`;

let db: TestDatabase;
let env: Record<string, string>;
let folder: Awaited<ReturnType<typeof makeFolder>>;
let policy: string;
beforeAll(async () => {
  db = await createTestDatabase();
  env = databaseEnv(db);
  folder = await makeFolder();
  policy = await folder.write("policy.csv", POLICY);
});
afterAll(async () => {
  await db.drop();
  await folder.remove();
});
const asOwner = rowsAs("owner", () => db);
beforeEach(async () => {
  await asOwner("delete from access.casbin_rules");
  await asOwner("delete from access.casbin_models");
});

const access = async (...args: string[]) => {
  const { code, stdout, stderr } = await runHere(["access", ...args], { env });
  return { code, stdout, stderr: stderr.replaceAll(`${folder.path}/`, "") };
};
const importBoth = () => access("import", "--model", MODEL, "--policy", policy);
const may = async (sub: string, obj: string, act: string) =>
  (await asOwner("select access.enforce($1::text, $2::text, $3) as may", [sub, obj, act]))[0].may;

test("import stores a model and its rules, which apply at once, and changes nothing the second time [C5]", async () => {
  expect(await importBoth()).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^Model default: 4 added, 0 removed; version \d+\n$/),
    stderr: "",
  });
  expect(await may("alice", "data2", "read")).toBe(true);
  expect(await may("alice", "data2", "write")).toBe(false);
  const before = await asOwner("select * from access.casbin_rules order by id");
  const versions = await asOwner("select * from access.casbin_versions");
  expect((await importBoth()).stdout).toBe("Model default: unchanged\n");
  expect(await asOwner("select * from access.casbin_rules order by id")).toEqual(before);
  expect(await asOwner("select * from access.casbin_versions")).toEqual(versions);
});

test("import replaces the rules, or adds to them with --append", async () => {
  await importBoth();
  await asOwner("update access.casbin_rules set is_active = false where v0 = 'bob'");
  const more = await folder.write("more.csv", "p, carol, data1, read\ng, alice, data2_admin\n");
  expect((await access("import", "--policy", more, "--append")).stdout).toMatch(
    /^Model default: 1 added, 0 removed; version \d+\n$/,
  );
  expect(await may("carol", "data1", "read")).toBe(true);
  expect(await asOwner("select v0 from access.casbin_rules where not is_active")).toEqual([{ v0: "bob" }]);
  const fewer = await folder.write("fewer.csv", "p, alice, data1, read\np, dave, data1, read\n");
  expect((await access("import", "--policy", fewer)).stdout).toMatch(
    /^Model default: 1 added, 4 removed; version \d+\n$/,
  );
  expect((await access("export")).stdout).toBe("p, alice, data1, read\np, dave, data1, read\n");
});

test("import keeps the order of the rules", async () => {
  await importBoth();
  const swapped = POLICY.split("\n").reverse().filter(Boolean).join("\n");
  await access("import", "--policy", await folder.write("swapped.csv", swapped));
  expect((await access("export")).stdout).toBe(`${swapped}\n`);
});

test("import reports each rejected line with its place and reason, and writes nothing [C5]", async () => {
  await importBoth();
  const bad = await folder.write(
    "bad.csv",
    "# rules\np, dave, data1, read\np, dave, (data1\np, dave\nq, dave, data1, read\np, a, b, c, d, e, f, g\n",
  );
  const { code, stdout, stderr } = await access("import", "--policy", bad);
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr.split("\n")).toEqual([
    "rejected: bad.csv:3: The parentheses of the line are not balanced.",
    "rejected: bad.csv:4: v1: p takes 3 values, not 1.",
    "rejected: bad.csv:5: ptype: the model defines no q.",
    "rejected: bad.csv:6: ptype: a rule is a type and one to six values of up to 256 characters.",
    "error: Nothing was imported, because 4 lines were rejected.",
    "hint: docs/access.md lists the supported parts of Casbin.",
    "",
  ]);
  expect((await access("export")).stdout).toBe(POLICY);
});

test("import refuses a model outside the grammar with line, column and reason [C5]", async () => {
  const model = await folder.write("model.conf", DEFINITION.replace("g(r.sub, p.sub)", "h(r.sub, p.sub)"));
  const { code, stderr } = await access("import", "--model", model, "--policy", policy);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^rejected: model\.conf:14:5: matchers: the function h is not supported\.\n/);
  expect(await asOwner("select * from access.casbin_models")).toEqual([]);
});

test("import refuses a model that does not take the stored rules", async () => {
  await importBoth();
  const model = await folder.write(
    "no-roles.conf",
    DEFINITION.replace("[role_definition]\ng = _, _", "").replace("g(r.sub, p.sub)", "r.sub == p.sub"),
  );
  const { code, stderr } = await access("import", "--model", model);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^rejected: stored rule \d+: ptype: the model defines no g\.\nerror: /);
});

test("check and --dry-run report without changing anything", async () => {
  const before = await asOwner("select * from access.casbin_versions");
  expect(await access("check", "--model", MODEL, "--policy", policy)).toEqual({
    code: 0,
    stdout: "All lines are accepted.\n",
    stderr: "",
  });
  expect((await access("import", "--model", MODEL, "--policy", policy, "--dry-run")).stdout).toBe(
    "Model default: 4 added, 0 removed; nothing was written\n",
  );
  const bad = await folder.write("short.csv", "p, dave\n");
  const { code, stdout, stderr } = await access("check", "--model", MODEL, "--policy", bad, "--json");
  expect([code, JSON.parse(stdout)]).toEqual([
    1,
    { faults: [{ file: bad, line: 1, reason: expect.any(String) }] },
  ]);
  expect(stderr).toMatch(/\nerror: A line was rejected\.\n/);
  expect(await asOwner("select * from access.casbin_models")).toEqual([]);
  expect(await asOwner("select * from access.casbin_versions")).toEqual(before);
});

test("export writes the files that were imported, byte for byte [C5]", async () => {
  await importBoth();
  const [model, rules] = [join(folder.path, "out.conf"), join(folder.path, "out.csv")];
  expect((await access("export", "--model", model, "--policy", rules)).stdout).toMatch(
    /^4 rules written to /,
  );
  expect(readFileSync(model, "utf8")).toBe(DEFINITION);
  expect(readFileSync(rules, "utf8")).toBe(POLICY);
  expect(JSON.parse((await access("export", "--json")).stdout)).toEqual({
    name: "default",
    definition: DEFINITION,
    policy: POLICY,
    rules: 4,
    inactive: 0,
  });
});

test("export omits inactive rules with a warning, and names a rule that the format cannot hold", async () => {
  await importBoth();
  await asOwner("update access.casbin_rules set is_active = false where v0 = 'bob'");
  const { stdout, stderr } = await access("export");
  expect(stdout).toBe(POLICY.replace('p, bob, "data,2", write\n', ""));
  expect(stderr).toMatch(/^warning: 1 inactive rule is omitted/);
  const [{ id }] = await asOwner(
    "update access.casbin_rules set v1 = '(' where v0 = 'alice' and ptype = 'p' returning id",
  );
  const second = await access("export");
  expect([second.code, second.stdout]).toEqual([1, ""]);
  expect(second.stderr).toMatch(new RegExp(`^error: Casbin's CSV format cannot hold rule ${id}\\.`));
});

test("history lists versions, and restore brings a version back as a new one [C5]", async () => {
  await importBoth();
  const [imported] = JSON.parse((await access("history", "--limit", "1", "--json")).stdout).versions;
  expect(imported).toMatchObject({ models: ["default"], removed: 0 });
  expect(imported.added).toBeGreaterThanOrEqual(4);
  await access("import", "--policy", await folder.write("one.csv", "p, alice, data1, read\n"));
  expect(await may("alice", "data2", "read")).toBe(false);
  expect((await access("restore", String(imported.version))).stdout).toMatch(
    new RegExp(`^Restored version ${imported.version} as version \\d+\\.\n$`),
  );
  expect(await may("alice", "data2", "read")).toBe(true);
  expect((await access("export")).stdout).toBe(POLICY);
  const { stdout } = await access("history", "--limit", "2");
  expect(stdout.trim().split("\n")).toHaveLength(2);
  const unknown = await access("restore", "999999");
  expect(unknown).toEqual({
    code: 1,
    stdout: "",
    stderr: "error: Unknown version: 999999.\nhint: plinth access history lists the versions.\n",
  });
});

test("import without a model, and export, name the stored models if theirs is unknown", async () => {
  for (const args of [["import", "--policy", policy], ["export"]]) {
    const { code, stderr } = await access(...args);
    expect([code, stderr]).toEqual([
      1,
      "error: Unknown model: default.\nhint: Import one with plinth access import --model model.conf.\n",
    ]);
  }
  await importBoth();
  expect((await access("export", "--name", "other")).stderr).toBe(
    "error: Unknown model: other.\nhint: The models are default.\n",
  );
});

test("import names what a model's name may have", async () => {
  const { code, stderr } = await access("import", "--name", "a b", "--model", MODEL);
  expect([code, stderr]).toEqual([
    1,
    "error: A model's name has at most 100 letters, digits, dots, hyphens and underscores, and begins with a letter or digit.\n",
  ]);
});

test.each([[["import"]], [["check"]], [["restore"]], [["restore", "none"]]])(
  "%j is wrong usage",
  async (args) => {
    expect((await access(...args)).code).toBe(2);
  },
);
