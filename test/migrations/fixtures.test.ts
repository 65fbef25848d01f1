import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { listFixtures, runFixtures, unusedFixtures } from "../../src/database/fixtures.ts";
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

test("every fixture reaches databases through a migration", async () => {
  expect(await listFixtures(MIGRATIONS_FOLDER)).not.toEqual([]);
  expect(await unusedFixtures(MIGRATIONS_FOLDER)).toEqual([]);
});

test("run again on a migrated database, the fixtures change nothing: none was edited without being committed", async () => {
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
