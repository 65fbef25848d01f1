import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from "@jest/globals";
import { commit as graphileCommit, status as graphileStatus, Logger } from "graphile-migrate";
import pg from "pg";
import { roleName, rolePlaceholders } from "../../src/config/roles.ts";
import { commitCurrent } from "../../src/database/commit-migration.ts";
import { BLANK_MIGRATION, SESSION_SETTINGS } from "../../src/database/graphile-migrate.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { recommit } from "../../src/database/recommit.ts";
import { databaseUrl } from "../../src/database/scratch-database.ts";
import { until } from "../support/api.ts";
import { createEmptyTestDatabase, testSetup, withClient } from "../support/database.ts";
import {
  type FolderContents,
  type MigrationsFolder,
  makeMigrationsFolder,
} from "../support/migrations-folder.ts";

const folders: MigrationsFolder[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.remove();
});

const FIXTURES = {
  "one/functions/answer.sql":
    "create or replace function one.answer() returns integer language sql as $$ select 42 $$;\n--!include one/functions/grant.sql\n",
  "one/functions/grant.sql": "grant execute on function one.answer() to :PLINTH_USER;\n",
};
const CONTENTS: FolderContents = {
  committed: { "000001-foundation.sql": "create schema one;" },
  fixtures: FIXTURES,
  current: "create table one.t (id integer);\n--!include one/functions/answer.sql\n",
};

const make = async (contents: FolderContents) => {
  const folder = await makeMigrationsFolder(contents);
  folders.push(folder);
  return folder;
};
const rootUrl = () => testSetup().adminUrl;
/** The scratch databases of this process. Other test files make theirs on the same server at the same time. */
const scratch = new Set<string>();
beforeAll(() => {
  const { query } = pg.Client.prototype;
  jest.spyOn(pg.Client.prototype, "query").mockImplementation(function (this: pg.Client, ...args: unknown[]) {
    for (const [name] of String(args[0]).matchAll(/plinth_scratch_[0-9a-f]+/g)) scratch.add(name);
    return (query as (...args: unknown[]) => unknown).apply(this, args);
  } as never);
});
afterAll(() => {
  jest.restoreAllMocks();
});
/** Databases and roles that an attempt left behind. */
const leftovers = () =>
  withClient(rootUrl(), async (client) => {
    expect(scratch.size).toBeGreaterThan(0);
    const { rows } = await client.query<{ name: string }>(
      `select found.name
       from (select datname from pg_database union all select rolname from pg_roles) found (name), unnest($1::text[]) own
       where starts_with(found.name, own)`,
      [[...scratch]],
    );
    return rows;
  });

describe("commitCurrent", () => {
  test("freezes current.sql and its includes under a number and the message", async () => {
    const folder = await make(CONTENTS);
    const options = { rootUrl: rootUrl(), migrationsFolder: folder.path, message: "Answers, to questions" };
    expect(await commitCurrent(options)).toEqual({ file: "000002-answers-to-questions.sql" });
    const text = await folder.read("committed/000002-answers-to-questions.sql");
    expect(text).toMatch(
      /^--! Previous: sha1:[0-9a-f]{40}\n--! Hash: sha1:[0-9a-f]{40}\n--! Message: Answers, to questions\n\n/,
    );
    expect(text).toContain(
      "--! Included one/functions/grant.sql\ngrant execute on function one.answer() to :PLINTH_USER;",
    );
    expect(await folder.read("current.sql")).toBe(BLANK_MIGRATION);
    await expect(commitCurrent(options)).rejects.toMatchObject({ code: "NOTHING_TO_COMMIT" });
    expect(await leftovers()).toEqual([]);
  });

  test("changes no file when the history fails", async () => {
    const folder = await make({ ...CONTENTS, current: "select * from missing;\n" });
    await expect(
      commitCurrent({ rootUrl: rootUrl(), migrationsFolder: folder.path, message: "broken" }),
    ).rejects.toMatchObject({
      code: "MIGRATION_FAILED",
      message: expect.stringContaining("000002-broken.sql"),
    });
    expect(await folder.read("current.sql")).toBe("select * from missing;\n");
    await expect(folder.read("committed/000002-broken.sql")).rejects.toMatchObject({ code: "ENOENT" });
    expect(await leftovers()).toEqual([]);
  });

  test.each(["", "…", "two\nlines", "x".repeat(513)])("rejects the message %j", async (message) => {
    const folder = await make(CONTENTS);
    await expect(
      commitCurrent({ rootUrl: rootUrl(), migrationsFolder: folder.path, message }),
    ).rejects.toMatchObject({ code: "INVALID_MESSAGE" });
  });

  test("writes the same file as graphile-migrate's own commit, and its status agrees", async () => {
    const ours = await make(CONTENTS);
    await commitCurrent({ rootUrl: rootUrl(), migrationsFolder: ours.path, message: "answers" });

    const theirs = await make(CONTENTS);
    const db = await createEmptyTestDatabase();
    const shadow = `${db.rolePrefix}_shadow`;
    try {
      const settings = {
        connectionString: db.url("owner"),
        shadowConnectionString: databaseUrl(db.url("owner"), shadow),
        rootConnectionString: rootUrl(),
        databaseOwner: roleName(db.rolePrefix, "owner"),
        migrationsFolder: theirs.path,
        placeholders: rolePlaceholders(db.rolePrefix, roleName(db.rolePrefix, "owner")),
        pgSettings: { ...SESSION_SETTINGS },
        logger: new Logger(() => () => {}),
      };
      await graphileCommit(settings, "answers");
      const name = "committed/000002-answers.sql";
      expect(await ours.read(name)).toBe(await theirs.read(name));
      expect(await graphileStatus(settings)).toEqual({ remainingMigrations: [], hasCurrentMigration: false });
      // Migrations that its command ran are not pending for `plinth migrate`.
      expect(
        await migrateDatabase({
          ownerUrl: db.url("owner"),
          rolePrefix: db.rolePrefix,
          migrationsFolder: theirs.path,
        }),
      ).toEqual({ applied: [] });
    } finally {
      // Its idle connections live 200 ms longer, and one that is cut off ends the process.
      await until(() =>
        withClient(rootUrl(), async (client) => {
          const { rowCount } = await client.query(
            "select from pg_stat_activity where datname = any ($1) and application_name = ''",
            [[shadow, db.name]],
          );
          return rowCount === 0;
        }),
      );
      await withClient(rootUrl(), (client) => client.query(`drop database if exists ${shadow} with (force)`));
      await db.drop();
    }
  });
});

describe("recommit", () => {
  test("replaces included fixtures with their current text, keeps names and messages, and chains the hashes", async () => {
    const folder = await make(CONTENTS);
    const options = { rootUrl: rootUrl(), migrationsFolder: folder.path };
    await commitCurrent({ ...options, message: "answers" });
    await folder.write("current.sql", "comment on schema one is 'later';");
    await commitCurrent({ ...options, message: "later" });
    const names = ["000001-foundation.sql", "000002-answers.sql", "000003-later.sql"];
    expect(await recommit(options)).toEqual({ changed: [], unchanged: names });

    const fixture = "one/functions/answer.sql";
    await folder.write(`fixtures/${fixture}`, FIXTURES[fixture].replace("42", "43"));
    expect(await recommit(options)).toEqual({ changed: names.slice(1), unchanged: names.slice(0, 1) });
    const text = await folder.read("committed/000002-answers.sql");
    expect(text).toContain("select 43");
    expect(text).not.toContain("select 42");
    expect(text).toContain("--! Message: answers");
    expect(await recommit(options)).toEqual({ changed: [], unchanged: names });

    const db = await createEmptyTestDatabase();
    const { applied } = await migrateDatabase({
      ownerUrl: db.url("owner"),
      rolePrefix: db.rolePrefix,
      migrationsFolder: folder.path,
    }).finally(() => db.drop());
    expect(applied).toEqual(names);
  });

  test("keeps everything before --from frozen, whatever its fixtures hold now", async () => {
    const folder = await make(CONTENTS);
    const options = { rootUrl: rootUrl(), migrationsFolder: folder.path };
    await commitCurrent({ ...options, message: "answers" });
    const fixture = "one/functions/answer.sql";
    await folder.write("current.sql", `--!include ${fixture}\n`);
    await commitCurrent({ ...options, message: "other answers" });
    await folder.write(`fixtures/${fixture}`, FIXTURES[fixture].replace("42", "43"));
    const before = await folder.read("committed/000002-answers.sql");
    expect(await recommit({ ...options, from: 3 })).toMatchObject({ changed: ["000003-other-answers.sql"] });
    expect(await folder.read("committed/000002-answers.sql")).toBe(before);
    expect(await folder.read("committed/000003-other-answers.sql")).toContain("select 43");
    expect(await recommit({ ...options, from: 3 })).toMatchObject({ changed: [] });
  });

  test("commits added files as they would stand in current.sql", async () => {
    const folder = await make({ fixtures: FIXTURES });
    await folder.write(
      "committed/000001-foundation.sql",
      "--! Message: The foundation\n\ncreate schema one;\n",
    );
    await folder.write("committed/000002-answers.sql", "-- Why.\n--!include one/functions/answer.sql\n");
    const { changed } = await recommit({ rootUrl: rootUrl(), migrationsFolder: folder.path });
    expect(changed).toHaveLength(2);
    expect(await folder.read("committed/000001-foundation.sql")).toMatch(
      /^--! Previous: -\n--! Hash: sha1:\w+\n--! Message: The foundation\n\ncreate schema one;\n$/,
    );
  });

  test.each([
    ["a fixture fails", "one/functions/answer.sql", "select * from missing;", "MIGRATION_FAILED"],
    [
      "a fixture includes a missing file",
      "one/functions/grant.sql",
      "--!include nothing.sql",
      "MIGRATIONS_INVALID",
    ],
  ])("changes no file when %s", async (_, fixture, text, code) => {
    const folder = await make(CONTENTS);
    const options = { rootUrl: rootUrl(), migrationsFolder: folder.path };
    await commitCurrent({ ...options, message: "answers" });
    const before = await folder.read("committed/000002-answers.sql");
    await folder.write(`fixtures/${fixture}`, text);
    await expect(recommit(options)).rejects.toMatchObject({ code });
    expect(await folder.read("committed/000002-answers.sql")).toBe(before);
    expect(await leftovers()).toEqual([]);
  });
});
