import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { buildSchema, parse, validate } from "graphql";
import { cli, databaseEnv } from "../cli/run-cli.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { sqliteFixture } from "../systems/fixtures/sqlite.ts";

// The commands of docs/moving-in.md, in its order, with its files.

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const page = read("docs/moving-in.md");
const blocks = (language: string) =>
  [...page.matchAll(new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``, "g"))].map(([, text]) => text!);

let db: TestDatabase;
let product: ReturnType<typeof sqliteFixture>;
beforeAll(async () => {
  db = await createTestDatabase();
  product = sqliteFixture("headphone");
  writeFileSync(join(dirname(product.path), "users.csv"), blocks("csv")[0]!);
});
afterAll(async () => {
  await db.drop();
  product.remove();
});

test("each command runs as written, and prints what the page shows", async () => {
  const commands = [...page.matchAll(/^npx plinth (import .*)$/gm)].map(([, command]) => command!);
  expect(commands).toHaveLength(4);
  for (const command of commands) {
    const args = command.split(" ").map((word) => word.replace(/^\.\/app\.db$/, product.path));
    const paths = args.map((word) =>
      /^(\.\/)?[\w-]+\.csv$/.test(word) ? join(dirname(product.path), word) : word,
    );
    const { code, stdout, stderr } = await cli(paths, { env: databaseEnv(db) });
    expect({ command, code, stderr }).toEqual({ command, code: 0, stderr: "" });
    expect(stdout).toContain("verified");
    if (command.includes("headphone-mode") && command.includes("--dry-run"))
      for (const line of blocks("text")[0]!.trim().split("\n")) expect(stdout.split("\n")).toContain(line);
  }
});

test("the query of old ids is valid", () => {
  const schema = buildSchema(read("migrations/schema/schema.graphql"));
  const [query] = blocks("graphql");
  expect(validate(schema, parse(query!))).toEqual([]);
});

test("the messages in the table are those of the code", () => {
  const code = [
    ...["import-lock.ts", "read-rows.ts", "row-error.ts", "references.ts"].map(
      (file) => `src/import/system/${file}`,
    ),
    "src/cli/import/run-system-import.ts",
    "migrations/optional/compat/mechanism/02-numbers.sql",
  ]
    .map(read)
    .join();
  for (const words of [
    "The source lacks ",
    "the column ",
    "Another import of a system is running on this database.",
    "The compatibility schema of this system is enabled, and numbers rows.",
    "Some imported rows differ from their source.",
    "already has such a row",
    "does not allow it",
    "its row of ",
    " was not imported",
  ]) {
    expect(page).toContain(words);
    expect(code).toContain(words);
  }
});
