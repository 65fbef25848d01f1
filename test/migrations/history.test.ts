import { cp, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { rollback } from "../../src/database/rollback.ts";
import type { ScratchDatabase } from "../../src/database/scratch-database.ts";
import { dumpSchema } from "../../src/schema-dump/dump.ts";
import { MIGRATIONS_FOLDER } from "../../src/support/paths.ts";
import { createEmptyTestDatabase, withClient } from "../support/database.ts";

// Every committed migration, applied and rolled back one by one.

const sqlFiles = async (folder: string): Promise<string[]> =>
  (await readdir(join(MIGRATIONS_FOLDER, folder)).catch(() => []))
    .filter((name) => name.endsWith(".sql"))
    .sort();

let names: string[];
let db: ScratchDatabase;
let folder: string;
beforeAll(async () => {
  names = await sqlFiles("committed");
  db = await createEmptyTestDatabase();
  folder = await mkdtemp(join(tmpdir(), "plinth-test-history-"));
  await mkdir(join(folder, "committed"));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await db.drop();
});

test("committed migrations exist, so that the rules below check something", () => {
  expect(names).not.toEqual([]);
});

test("every committed migration has a rollback with the same name, and no other rollback exists", async () => {
  expect(await sqlFiles("rollback")).toEqual(names);
});

test("each rollback restores the previous schema, and applying the migration again restores the current one [C8]", async () => {
  const options = { ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, migrationsFolder: folder };
  const dump = () =>
    withClient(db.url("owner"), (client) => dumpSchema(client, { rolePrefix: db.rolePrefix }));

  await cp(join(MIGRATIONS_FOLDER, "rollback"), join(folder, "rollback"), { recursive: true });
  const dumps = [await dump()];
  for (const name of names) {
    await cp(join(MIGRATIONS_FOLDER, "committed", name), join(folder, "committed", name));
    expect(await migrateDatabase(options)).toEqual({ applied: [name] });
    dumps.push(await dump());
  }
  for (let applied = names.length; applied > 0; applied--) {
    expect(await rollback({ ...options, steps: 1 })).toEqual({ rolledBack: [names[applied - 1]] });
    expect(await dump()).toEqual(dumps[applied - 1]);
  }
  expect(await migrateDatabase(options)).toEqual({ applied: names });
  expect(await dump()).toEqual(dumps.at(-1));
  // All at once in one transaction.
  await rollback({ ...options, steps: names.length });
  expect(await dump()).toEqual(dumps[0]);
});
