import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { cli, databaseEnv, type Outcome } from "../cli/run-cli.ts";
import { SHOP_CONFIG, SHOP_FOLDER } from "../support/application/shop.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// The commands in the order in which an author uses them, on one database: each test starts from the state of the one before.

let db: TestDatabase;
let folder: string;
let config: string;
beforeAll(async () => {
  db = await createTestDatabase();
  folder = await mkdtemp(join(tmpdir(), "plinth-test-shop-"));
  await cp(join(SHOP_FOLDER, "migrations"), join(folder, "migrations"), { recursive: true });
  await writeFile(
    join(folder, "plinth.config.ts"),
    `import shop from ${JSON.stringify(SHOP_CONFIG)};\nexport default { ...shop, migrations: "./migrations" };\n`,
  );
  config = join(folder, "plinth.config.ts");
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  await db.drop();
});

/** The environment names the file for people, … */
const plinth = (...args: string[]): Promise<Outcome> =>
  cli(args, { env: { ...databaseEnv(db), PLINTH_CONFIG: config } });

/** … and the command line for scripts. */
async function json(...args: string[]) {
  const { code, stdout, stderr } = await cli(["--config", config, ...args, "--json"], {
    env: databaseEnv(db),
  });
  if (!stdout) throw new Error(`${args.join(" ")} ended with ${code}: ${stderr}`);
  return JSON.parse(stdout);
}

const owner = async <T = Record<string, unknown>>(sql: string): Promise<T[]> =>
  withClient(db.url("owner"), async (client) => (await client.query(sql)).rows as T[]);

test("migrate commit writes the next migration of the application, and status lists it as pending", async () => {
  await writeFile(
    join(folder, "migrations/current.sql"),
    "alter table shop.products add column weight_grams integer;\n",
  );
  expect(await json("migrate", "commit", "--message", "weights")).toEqual({ file: "000002-weights.sql" });
  await writeFile(
    join(folder, "migrations/rollback/000002-weights.sql"),
    "alter table shop.products drop column weight_grams;\n",
  );
  const { application, applied, pending } = await json("migrate", "status");
  expect(application).toEqual({
    applied: [],
    pending: ["000001-shop.sql", "000002-weights.sql"],
    currentIsBlank: true,
  });
  expect([applied.length > 0, pending]).toEqual([true, []]);
});

test("schema dump writes the files of the application's own schemas, and check finds them stale after a change", async () => {
  expect(await json("schema", "dump")).toEqual({
    changed: ["catalogue.json", "database.sql", "schema.graphql", "shop.sql"],
  });
  const read = (name: string) => readFile(join(folder, "migrations/schema", name), "utf8");
  const dump = await read("shop.sql");
  expect(dump).toContain("using (user_id = (select plinth.current_user_id()))");
  expect(dump).toContain("comment on policy select_own on shop.orders is 'Users read their own orders.'");
  expect(dump).toContain("weight_grams integer");
  expect(await read("schema.graphql")).toContain("weightGrams: Int");
  const objects = JSON.parse(await read("catalogue.json")) as { name: string; on?: string }[];
  expect(objects.length).toBeGreaterThan(30);
  expect(objects.filter(({ name, on }) => !/\bshop\b/.test(on ?? name))).toEqual([]);

  await writeFile(join(folder, "migrations/schema/shop.sql"), dump.replace("weight_grams", "weight"));
  const stale = await plinth("schema", "check");
  expect([stale.code, stale.stdout]).toEqual([1, expect.stringContaining("shop.sql")]);
  await writeFile(join(folder, "migrations/schema/shop.sql"), dump);
});

test("migrate runs the application's migrations in its own history, once", async () => {
  expect(await json("migrate")).toEqual({
    applied: [],
    application: ["000001-shop.sql", "000002-weights.sql"],
  });
  expect(await json("migrate")).toEqual({ applied: [], application: [] });
  expect(await owner("select filename from plinth_app_migrate.migrations order by 1")).toEqual([
    { filename: "000001.sql" },
    { filename: "000002.sql" },
  ]);
});

test("doctor finds the application's schemas as its migrations make them, and names what was changed since", async () => {
  const trouble = async () =>
    (await json("doctor")).findings.filter(
      ({ check, status }: { check: string; status: string }) =>
        status !== "ok" && /^(drift|schema|migrations|application|row-security|ownership)/.test(check),
    );
  expect(await trouble()).toEqual([]);
  await owner(`
    alter table shop.orders disable row level security;
    drop policy update_own on shop.orders;
    alter table shop.products add column color text`);
  const found = await trouble();
  expect(found.map(({ check }: { check: string }) => check).sort()).toEqual([
    "drift-extra",
    "row-security",
    "schema",
  ]);
  const details = found.flatMap((finding: { details: string[] }) => finding.details);
  expect(details.sort()).toEqual([
    "column color of shop.products: not created by the migrations",
    "policy update_own on shop.orders",
    "shop.orders",
  ]);
});

test("schema check --live prints the SQL that mends the application's schemas", async () => {
  const { code, stdout } = await plinth("schema", "check", "--live");
  expect(code).toBe(1);
  expect(stdout).toContain("\nalter table shop.orders enable row level security;\n");
  expect(stdout).toContain("\ncomment on policy update_own on shop.orders is ");
  expect(stdout).toContain("\n--! alter table shop.products drop column if exists color;");
  await owner(stdout.replaceAll(/^--! /gm, ""));
  const { differences } = await json("schema", "check", "--live");
  expect(differences).toEqual([]);
});

test("rollback rolls back the application's migrations, and Plinth's only after those", async () => {
  const early = await plinth("rollback", "--of", "plinth", "--yes");
  expect(early.code).toBe(1);
  expect(early.stderr).toMatch(
    /The application has run 2 migrations since \d+-\S+ of Plinth\.\nhint: Roll back the application first: plinth rollback --of application --steps 2\./,
  );
  expect(await json("rollback", "--steps", "2", "--yes")).toEqual({
    rolledBack: ["000002-weights.sql", "000001-shop.sql"],
  });
  expect(await owner("select to_regnamespace('shop') as shop")).toEqual([{ shop: null }]);
  const none = await plinth("rollback", "--yes");
  expect([none.code, none.stderr]).toEqual([1, expect.stringContaining("has run only 0")]);
});

test("migrating again gives the same schemas as the first time", async () => {
  await json("migrate");
  const { findings } = await json("doctor");
  const drift = findings.filter(({ check }: { check: string }) => /^(drift|schema)/.test(check));
  expect(drift.length).toBeGreaterThan(4);
  expect(drift.filter(({ status }: { status: string }) => status !== "ok")).toEqual([]);
});

test("doctor says that the application's schemas are not compared without the files of schema dump", async () => {
  await rm(join(folder, "migrations/schema"), { recursive: true });
  const { findings } = await json("doctor");
  expect(findings).toContainEqual(
    expect.objectContaining({
      check: "drift-application",
      status: "warn",
      hint: expect.stringContaining("schema dump"),
    }),
  );
});

test("doctor reports an application that is not valid, and examines the rest", async () => {
  const wrong = join(folder, "wrong.config.ts");
  await writeFile(wrong, 'export default { schemas: ["llm"] };\n');
  const { findings } = await json("doctor", "--config", wrong);
  expect(findings).toContainEqual(
    expect.objectContaining({
      check: "application",
      status: "fail",
      message: expect.stringContaining("llm"),
    }),
  );
  expect(findings.length).toBeGreaterThan(10);
});

test("jobs lists the application's jobs with Plinth's", async () => {
  const { jobs } = await json("jobs");
  const own = jobs.filter(({ name }: { name: string }) => /order|customer/.test(name));
  expect(own).toEqual([
    {
      name: "close-old-orders",
      schedule: "0 0 29 2 *",
      lastRun: null,
      lastState: null,
      lastDurationMs: null,
      lastCounts: null,
      nextRun: expect.stringMatching(/-02-29T00:00:00\.000Z$/),
      overdueSince: null,
      waiting: 0,
      failures: 0,
      lastError: null,
    },
    expect.objectContaining({ name: "thank-customer", schedule: null, nextRun: null }),
  ]);
  expect(jobs.length).toBeGreaterThan(20);
  const { stdout } = await plinth("jobs");
  expect(stdout).toMatch(/^job +schedule +last run +took +changed +next run +waiting +failures\n/);
  expect(stdout).toMatch(/^thank-customer +on demand +never +0 +0$/m);
});
