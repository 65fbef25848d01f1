import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { functionFixtures } from "../../src/database/fixtures.ts";
import { dumpSchema } from "../../src/schema-dump/dump.ts";
import { checkSchemaFiles, dumpFiles } from "../../src/schema-dump/schema-files.ts";
import { MIGRATIONS_FOLDER, SCHEMA_FOLDER } from "../../src/support/paths.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// The committed files are those of PostgreSQL 18, the embedded server's version. Other versions print views and versioned
// functions differently; the parts before them (schema, types, tables with policies and grants) are the same from 15 on.
const FILES_MAJOR = 18;

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});

test("migrations/schema matches the schema after all migrations (otherwise: plinth schema dump)", async () => {
  const { files, major } = await withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query<{ major: number }>(
      "select current_setting('server_version_num')::integer / 10000 as major",
    );
    return {
      files: dumpFiles(
        await dumpSchema(client, {
          rolePrefix: db.rolePrefix,
          fixtures: await functionFixtures(MIGRATIONS_FOLDER),
        }),
      ),
      major: rows[0]!.major,
    };
  });
  expect(files.size).toBeGreaterThan(1);
  if (major === FILES_MAJOR) expect(await checkSchemaFiles(SCHEMA_FOLDER, files)).toEqual([]);
  const tables = (text: string) => text.split(/^-- (?:Views|Functions) -/m)[0];
  for (const [name, text] of files)
    expect(tables(await readFile(join(SCHEMA_FOLDER, name), "utf8"))).toBe(tables(text));
});
