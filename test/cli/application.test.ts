import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { frozen } from "../../src/database/commit-migration.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { SHOP } from "../support/shop.ts";
import { cli, databaseEnv } from "./run-cli.ts";

// The commands that read an application's tables: docs, access contract and schema check.

let folder: string;
let db: TestDatabase;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "plinth-application-"));
  await mkdir(join(folder, "migrations", "committed"), { recursive: true });
  await writeFile(join(folder, "migrations", "current.sql"), "");
  await writeFile(
    join(folder, "migrations", "committed", "000001-shop.sql"),
    frozen(
      `${SHOP.trim()}\ngrant usage on schema shop to :PLINTH_ANONYMOUS, :PLINTH_USER;\n`,
      { Message: "shop" },
      undefined,
    ).text,
  );
  await writeFile(
    join(folder, "plinth.config.mjs"),
    'export default { schemas: ["shop"], migrations: "./migrations" };',
  );
  db = await createTestDatabase();
  await withClient(db.url("owner"), (client) => client.query(SHOP));
});
afterAll(async () => {
  await db.drop();
  await rm(folder, { recursive: true });
});

const run = (...args: readonly string[]) =>
  cli(["--config", join(folder, "plinth.config.mjs"), ...args], { env: databaseEnv(db) });

test("docs draws the application's schemas of the live database, and checks the files", async () => {
  const dir = join(folder, "schema");
  expect(await run("docs", "--live", "--dir", dir)).toMatchObject({ code: 0, stderr: "" });
  expect((await readdir(dir)).sort()).toEqual([
    ...["README.md", "all-domains.svg", "application.dbml", "index.html", "shop.mmd", "shop.svg"],
  ]);
  expect(await run("docs", "--live", "--dir", dir, "--check")).toMatchObject({ code: 0 });
  await writeFile(join(dir, "shop.mmd"), "erDiagram");
  expect(await run("docs", "--live", "--dir", dir, "--check")).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("stale: shop.mmd"),
  });
});

test("access contract writes a page and a file for machines from the migrations, and --check names each change", async () => {
  const dir = join(folder, "docs");
  const written = await run("access", "contract", "--dir", dir, "--json");
  expect(written).toMatchObject({ code: 0, stderr: "" });
  expect(JSON.parse(written.stdout)).toMatchObject({
    changes: [],
    changed: ["access-contract.jsonl", "access-contract.md"],
    warnings: expect.arrayContaining([{ table: "shop.reviews", problem: "has no row-level security" }]),
  });
  const file = join(dir, "access-contract.jsonl");
  const text = await readFile(file, "utf8");
  expect(await readFile(join(dir, "access-contract.md"), "utf8")).toContain(
    "- `shop.reviews` has no row-level security.",
  );
  const line =
    '{"object":"table shop.orders","operations":["delete","insert","select","update"],"outcomes":{}}';
  expect(text).toContain(line);
  await writeFile(file, text.replace(line, line.replace("{}", '{"user":"own"}')));
  const checked = await run("access", "contract", "--dir", dir, "--check");
  expect(checked.code).toBe(1);
  expect(checked.stdout).toContain("user: select table shop.orders: own → -");
  expect(checked.stderr).toContain("Access has changed: access-contract.jsonl");
});

test("schema check fails for a foreign key that blocks deletions of accounts", async () => {
  const { code, stderr } = await run("schema", "check");
  expect(code).toBe(1);
  expect(stderr).toContain(
    'error: shop.parcels (blocks): parcels_line_id_fkey refers to shop.order_lines without "on delete cascade" or "on delete set null"',
  );
  expect(stderr).toContain("hint: Give each of these foreign keys on delete cascade or on delete set null.");
});
