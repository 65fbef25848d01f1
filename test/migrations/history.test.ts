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

// Every committed migration, forwards and back, one by one.

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

test("there are committed migrations, so that the rules below have something to hold for", () => {
  expect(names).not.toEqual([]);
});

test("every committed migration has a way back under the same name, and no way back is left over", async () => {
  expect(await sqlFiles("rollback")).toEqual(names);
});

test("C8 each way back restores the schema as it was, and the way forward again the schema as it is", async () => {
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
  // All at once is one transaction.
  await rollback({ ...options, steps: names.length });
  expect(await dump()).toEqual(dumps[0]);
}, 300_000);
