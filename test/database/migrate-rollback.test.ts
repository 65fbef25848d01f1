import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { migrateDatabase, migrationStatus } from "../../src/database/migrate.ts";
import { rollback } from "../../src/database/rollback.ts";
import type { ScratchDatabase } from "../../src/database/scratch-database.ts";
import { createEmptyTestDatabase, withClient } from "../support/database.ts";
import { type MigrationsFolder, makeMigrationsFolder } from "../support/migrations-folder.ts";

const NAMES = ["000001-one.sql", "000002-two.sql", "000003-three.sql"];
const SCHEMAS = ["one", "two", "three"];

let db: ScratchDatabase;
let folder: MigrationsFolder;
beforeEach(async () => {
  db = await createEmptyTestDatabase();
  folder = await makeMigrationsFolder({
    committed: Object.fromEntries(
      NAMES.map((name, i) => [
        name,
        `create schema ${SCHEMAS[i]};\ngrant usage on schema ${SCHEMAS[i]} to :PLINTH_USER;`,
      ]),
    ),
    rollback: Object.fromEntries(
      NAMES.map((name, i) => [
        name,
        `revoke usage on schema ${SCHEMAS[i]} from :PLINTH_USER;\ndrop schema ${SCHEMAS[i]};`,
      ]),
    ),
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
const schemas = () =>
  withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query<{ name: string }>(
      "select nspname as name from pg_namespace where nspname = any ($1)",
      [SCHEMAS],
    );
    return SCHEMAS.filter((schema) => rows.some((row) => row.name === schema));
  });

test("rolls back the latest migrations, which are then pending and can run again", async () => {
  const lines: string[] = [];
  expect(await rollback({ ...options(), steps: 2, log: (line) => lines.push(line) })).toEqual({
    rolledBack: [NAMES[2], NAMES[1]],
  });
  // Others tell what was in the way, such as an autovacuum.
  expect(lines.filter((line) => NAMES.some((name) => line.includes(name)))).toHaveLength(2);
  expect(await schemas()).toEqual(["one"]);
  expect(await migrationStatus(options())).toMatchObject({
    applied: [NAMES[0]],
    pending: [NAMES[1], NAMES[2]],
  });
  expect(await migrateDatabase(options())).toEqual({ applied: [NAMES[1], NAMES[2]] });
  expect(await schemas()).toEqual(SCHEMAS);
});

test("rolls back to an empty database", async () => {
  await rollback({ ...options(), steps: 3 });
  expect(await schemas()).toEqual([]);
  expect((await migrationStatus(options())).applied).toEqual([]);
});

const SECOND = () => join(folder.path, "rollback", NAMES[1]!);
test.each([
  ["has no rollback", () => rm(SECOND()), "ROLLBACK_MISSING"],
  ["has a rollback with an error", () => writeFile(SECOND(), "drop schema missing;"), "ROLLBACK_FAILED"],
  ["includes the current text", () => writeFile(SECOND(), "--!include f.sql"), "ROLLBACK_INVALID"],
  ["restores a text that never was", () => writeFile(SECOND(), "--!restore f.sql"), "ROLLBACK_INVALID"],
])("changes nothing when one of several %s", async (_, spoil, code) => {
  await spoil();
  await expect(rollback({ ...options(), steps: 3 })).rejects.toMatchObject({ name: "PlinthError", code });
  expect(await schemas()).toEqual(SCHEMAS);
  expect((await migrationStatus(options())).applied).toEqual(NAMES);
});

test("names the file and the line of a failure", async () => {
  await folder.write(`rollback/${NAMES[2]}`, "select 1;\n\nselect * from missing;");
  await expect(rollback({ ...options(), steps: 1 })).rejects.toMatchObject({
    message: expect.stringMatching(/rollback\/000003-three\.sql .*line 3\b.*42P01/),
  });
});

test("rejects more migrations than there are, and an invalid number", async () => {
  await expect(rollback({ ...options(), steps: 4 })).rejects.toMatchObject({ code: "NOTHING_TO_ROLL_BACK" });
  for (const steps of [0, -1, 1.5, Number.NaN])
    await expect(rollback({ ...options(), steps })).rejects.toMatchObject({ code: "INVALID_STEPS" });
  expect(await schemas()).toEqual(SCHEMAS);
});

test("--!restore restores a fixture's text from its last inclusion, not its current text", async () => {
  const answer = (text: string) =>
    `create or replace function one.answer() returns integer language sql as 'select ${text}';`;
  const fixture = "one/answer.sql";
  const included = (text: string) => `--! Included ${fixture}\n${answer(text)}\n--! EndIncluded ${fixture}\n`;
  const other = await makeMigrationsFolder({
    committed: {
      "000001-one.sql": `create schema one;\n${included("1")}`,
      "000002-two.sql": included("2"),
      "000003-three.sql": included("3"),
    },
    rollback: {
      "000001-one.sql": "drop schema one cascade;",
      "000002-two.sql": `--!restore ${fixture}`,
      "000003-three.sql": `--!restore ${fixture}\ncomment on function one.answer() is 'back';`,
    },
  });
  const scratch = await createEmptyTestDatabase();
  const otherOptions = {
    ownerUrl: scratch.url("owner"),
    rolePrefix: scratch.rolePrefix,
    migrationsFolder: other.path,
  };
  const current = () =>
    withClient(scratch.url("owner"), async (client) => {
      const { rows } = await client.query<{ answer: number }>("select one.answer()");
      return rows[0]?.answer;
    });
  try {
    await migrateDatabase(otherOptions);
    expect(await current()).toBe(3);
    await rollback({ ...otherOptions, steps: 1 });
    expect(await current()).toBe(2);
    await rollback({ ...otherOptions, steps: 1 });
    expect(await current()).toBe(1);
  } finally {
    await other.remove();
    await scratch.drop();
  }
});
