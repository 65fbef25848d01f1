import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { CLIENT_SCHEMA_FOLDER } from "../../src/support/paths.ts";
import { makeFolder } from "../import/files.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { cli, databaseEnv } from "./run-cli.ts";

// The command of docs/client.md.

let db: TestDatabase;
let folder: Awaited<ReturnType<typeof makeFolder>>;
beforeAll(async () => {
  db = await createTestDatabase();
  folder = await makeFolder();
});
afterAll(async () => {
  await db.drop();
  await folder.remove();
});
const asOwner = rowsAs("owner", () => db);

test("writes the types of the configured database, with changes of its own", async () => {
  await asOwner("comment on column llm.chats.title is E'@name headline\\nTitle.'");
  const file = await folder.write("schema.ts", "");
  const outcome = await cli(["schema", "types", "--out", file], { env: databaseEnv(db) });
  expect(outcome).toEqual({ code: 0, stdout: `Wrote ${file}.\n`, stderr: "" });
  const text = await readFile(file, "utf8");
  const own = await readFile(join(CLIENT_SCHEMA_FOLDER, "introspection.ts"), "utf8");
  const chat = (types: string) => types.match(/\n {4}Chat: \{[^}]*\}/)?.[0] ?? "";
  expect(chat(text)).toContain('headline: Field<"headline", NonNull<Named<"String">>>;');
  expect(chat(own)).toBe(
    chat(text)
      .replace(/\n +headline: .*/, "")
      .replace(/(?=\n +updatedAt)/, '\n      title: Field<"title", NonNull<Named<"String">>>;'),
  );
});
