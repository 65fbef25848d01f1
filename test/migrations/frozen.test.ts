import { execFile } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { commitUntried } from "../../src/database/commit-migration.ts";
import {
  CHECKSUMS,
  freezeMigrations,
  frozenMigrationFaults,
  listUnreleased,
} from "../../src/database/frozen-migrations.ts";
import { recommit } from "../../src/database/recommit.ts";
import { MIGRATIONS_FOLDER } from "../../src/support/paths.ts";
import { testSetup } from "../support/database.ts";
import { type MigrationsFolder, makeMigrationsFolder } from "../support/migrations-folder.ts";

let folder: MigrationsFolder;
beforeEach(async () => {
  folder = await makeMigrationsFolder({
    committed: { "000001-one.sql": "create schema one;", "000002-two.sql": "create schema two;" },
    rollback: { "000001-one.sql": "drop schema one;", "000002-two.sql": "drop schema two;" },
    current: "create schema three;\n--!include three/functions/answer.sql\n",
    fixtures: {
      "three/functions/answer.sql":
        "create or replace function three.answer() returns integer language sql as $$ select 42 $$;\n",
    },
  });
  await freezeMigrations(folder.path, "1.0.0");
});
afterEach(() => folder.remove());

const faults = () => frozenMigrationFaults(folder.path);
const recommitFrom = (from: number) =>
  recommit({ rootUrl: testSetup().adminUrl, migrationsFolder: folder.path, from });

test("the committed migrations and rollbacks are those of the list", async () => {
  expect(await frozenMigrationFaults(MIGRATIONS_FOLDER)).toEqual([]);
});

test("sha256sum reads the list", async () => {
  await expect(
    promisify(execFile)("sha256sum", ["--check", "--strict", "--quiet", CHECKSUMS], {
      cwd: MIGRATIONS_FOLDER,
    }),
  ).resolves.toMatchObject({ stdout: "" });
});

test("a released migration or rollback that changes or is missing is a fault", async () => {
  expect(await faults()).toEqual([]);
  await folder.write("committed/000001-one.sql", "create schema other;\n");
  await folder.write("rollback/000001-one.sql", "drop schema one cascade;\n");
  await rm(join(folder.path, "committed/000002-two.sql"));
  await rm(join(folder.path, "rollback/000002-two.sql"));
  const restore = "Restore it, and put the change into a new migration.";
  expect(await faults()).toEqual([
    `committed/000001-one.sql was released with 1.0.0, but it has been changed. ${restore}`,
    `rollback/000001-one.sql was released with 1.0.0, but it has been changed. ${restore}`,
    `committed/000002-two.sql was released with 1.0.0, but it is missing. ${restore}`,
    `rollback/000002-two.sql was released with 1.0.0, but it is missing. ${restore}`,
  ]);
});

test("a commit adds its migration, which may be committed again until a release freezes it", async () => {
  const { file } = await commitUntried({ migrationsFolder: folder.path, message: "three" });
  expect(await folder.read(CHECKSUMS)).toMatch(
    /\n## unreleased\n[0-9a-f]{64} {2}committed\/000003-three.sql\n$/,
  );
  await folder.write("rollback/000003-three.sql", "drop schema three cascade;\n");
  await folder.write(
    "fixtures/three/functions/answer.sql",
    "create or replace function three.answer() returns integer language sql as $$ select 43 $$;\n",
  );
  expect(await recommitFrom(3)).toMatchObject({ changed: [file] });
  expect(await faults()).toEqual([]);

  expect(await freezeMigrations(folder.path, "1.1.0")).toEqual([file]);
  expect(await folder.read(CHECKSUMS)).toMatch(/## 1\.1\.0\n.*committed\/000003.*\n.*rollback\/000003.*\n$/);
  await folder.write("fixtures/three/functions/answer.sql", "select 1;\n");
  const before = await folder.read(`committed/${file}`);
  await expect(recommitFrom(3)).rejects.toMatchObject({
    code: "MIGRATION_FROZEN",
    message: `${file} was released with 1.1.0, so databases have run it: it no longer changes.`,
  });
  expect(await folder.read(`committed/${file}`)).toBe(before);
});

test("a migration that came without a commit of its own is not listed until it is committed again", async () => {
  await folder.write("committed/000003-three.sql", "create schema three;\n");
  expect(await faults()).toEqual([
    "committed/000003-three.sql is not listed in CHECKSUMS. Run plinth migrate recommit --from 3.",
  ]);
  await listUnreleased(folder.path);
  expect(await faults()).toEqual([]);
});

test("a line of the list that is no checksum is an error that shows it", async () => {
  await folder.write(CHECKSUMS, `${await readFile(join(folder.path, CHECKSUMS), "utf8")}<<<<<<< HEAD\n`);
  await expect(faults()).rejects.toMatchObject({
    code: "MIGRATIONS_INVALID",
    message: "CHECKSUMS has a line that is not a checksum: <<<<<<< HEAD",
  });
});
