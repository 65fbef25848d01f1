import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { listFixtures, runFixtures, unusedFixtures } from "../../src/database/fixtures.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import type { ScratchDatabase } from "../../src/database/scratch-database.ts";
import { createEmptyTestDatabase, withClient } from "../support/database.ts";
import { type MigrationsFolder, makeMigrationsFolder } from "../support/migrations-folder.ts";

const GRANT = "one/functions/grant.sql";
const ANSWER = "one/functions/answer.sql";
const LATER = "one/policies/later.sql";

let db: ScratchDatabase;
let folder: MigrationsFolder;
beforeEach(async () => {
  db = await createEmptyTestDatabase();
  folder = await makeMigrationsFolder({
    committed: { "000001-one.sql": `create schema one;\n--! Included ${ANSWER}\n--! EndIncluded ${ANSWER}` },
    fixtures: {
      [ANSWER]: `create or replace function one.answer() returns integer language sql as $$ select 42 $$;\n--!include ${GRANT}\n`,
      [GRANT]: "grant execute on function one.answer() to :PLINTH_USER;\n",
      [LATER]: "comment on schema one is 'later';\n",
    },
    current: `--!include ${LATER}\n`,
  });
  await migrateDatabase(options());
});
afterEach(async () => {
  await folder.remove();
  await db.drop();
});

const options = () => ({
  ownerUrl: db.url("owner"),
  rolePrefix: db.rolePrefix,
  migrationsFolder: folder.path,
});
const comment = () =>
  withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query<{ comment: string | null }>(
      "select obj_description('one'::regnamespace) as comment",
    );
    return rows[0]!.comment;
  });

test("runs all fixtures with includes and role names, for inspection and rollback", async () => {
  let seen: unknown;
  const names = await runFixtures({
    ...options(),
    use: async (client) => {
      seen = (
        await client.query(
          `select one.answer() as answer, has_function_privilege('${db.rolePrefix}_user', 'one.answer()', 'execute') as granted`,
        )
      ).rows;
    },
  });
  expect(seen).toEqual([{ answer: 42, granted: true }]);
  expect(names).toEqual([ANSWER, GRANT, LATER]);
  expect(await comment()).toBeNull();
  await runFixtures(options());
  expect(await comment()).toBe("later");
});

test("names the fixture and the line of a failure, and leaves nothing", async () => {
  await folder.write("fixtures/two.sql", "comment on schema one is 'half';\n\nselect * from missing;\n");
  await expect(runFixtures(options())).rejects.toMatchObject({
    code: "FIXTURE_FAILED",
    message: expect.stringMatching(/fixtures\/two\.sql .*line 3\b.*42P01/),
  });
  expect(await comment()).toBeNull();
});

test("finds a fixture that nothing includes, but not one included by a fixture or by current.sql", async () => {
  expect(await unusedFixtures(folder.path)).toEqual([]);
  await folder.write("fixtures/one/views/forgotten.sql", "select 1;\n");
  await folder.write("current.sql", "-- nothing\n");
  expect(await unusedFixtures(folder.path)).toEqual([LATER, "one/views/forgotten.sql"]);
  expect(await listFixtures(folder.path)).toHaveLength(4);
});
