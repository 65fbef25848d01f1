import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { listFixtures, runFixtures, unusedFixtures } from "../../src/database/fixtures.ts";
import { SCHEMAS } from "../../src/database/schemas.ts";
import { dumpSchema } from "../../src/schema-dump/dump.ts";
import { MIGRATIONS_FOLDER } from "../../src/support/paths.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});

test("every fixture is included in a migration", async () => {
  expect(await listFixtures(MIGRATIONS_FOLDER)).not.toEqual([]);
  expect(await unusedFixtures(MIGRATIONS_FOLDER)).toEqual([]);
});

/** The objects that a fixture may define, by its folder: their schemas and names. */
const DEFINES: Record<string, RegExp> = {
  functions: /^ *create or replace function (?!private\.)\w+\.(\w+)/gm,
  private: /^ *create or replace function private\.(\w+)/gm,
  policies: /^create policy \w+ on \w+\.(\w+)/gm,
  triggers: /^create or replace (?:constraint )?trigger (?:_\d+_)?(\w+)\s[^;]*?\son \w+\.(\w+)/gm,
  views: /^create (?:or replace |materialized )view \w+\.(\w+)/gm,
};

test("a fixture is in its domain and in the folder of its kind, and is named after the object it defines", async () => {
  const domains = SCHEMAS.filter((schema) => schema !== "private");
  for (const path of await listFixtures(MIGRATIONS_FOLDER)) {
    const [domain, kind, file] = path.split("/") as [string, string, string];
    expect({ path, known: domains.some((each) => each === domain) }).toEqual({ path, known: true });
    const name = file.replace(/\.sql$/, "");
    const text = await readFile(join(MIGRATIONS_FOLDER, "fixtures", path), "utf8");
    const found = [...text.matchAll(DEFINES[kind] ?? /$^/g)];
    const others = found.filter((match) => !match.slice(1).includes(name)).map(([line]) => line);
    expect({ path, others }).toEqual({ path, others: [] });
    // A table that no role may access needs no policy.
    if (kind !== "policies") expect({ path, count: found.length }).not.toEqual({ path, count: 0 });
    if (kind !== "triggers" && kind !== "policies")
      expect({ path, kinds: text.match(/^ *create (?!unique|index)(?:or replace )?\w+/gm)?.length }).toEqual({
        path,
        kinds: found.length,
      });
  }
});

test("the fixtures change nothing when run again on a migrated database, so none was edited without being committed", async () => {
  const { rolePrefix } = db;
  const before = await withClient(db.url("owner"), (client) => dumpSchema(client, { rolePrefix }));
  let after: Map<string, string> | undefined;
  const names = await runFixtures({
    ownerUrl: db.url("owner"),
    rolePrefix,
    use: async (client) => {
      after = await dumpSchema(client, { rolePrefix });
    },
  });
  expect(names).toEqual(await listFixtures(MIGRATIONS_FOLDER));
  expect(after).toEqual(before);
});

test("no text has the escape \\v, which PostgreSQL 15 reads as the letter", async () => {
  for (const path of await listFixtures(MIGRATIONS_FOLDER)) {
    const text = await readFile(join(MIGRATIONS_FOLDER, "fixtures", path), "utf8");
    expect({ path, found: text.match(/\bE'(?:[^'\\]|\\[^v])*\\v/g) ?? [] }).toEqual({ path, found: [] });
  }
});
