import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// In a Turkish or Azerbaijani database, lower('INSERT') is ınsert. So functions change the case of words in collation "C", unless they
// are listed here. test/versions/odd-settings.test.ts uses such a database.

/** Functions that change the case of texts of users, in the letters of the database's language on both sides of a comparison. */
const TEXTS_OF_USERS = [
  "learning.content_search_facets",
  "learning.search_content",
  "learning.settle_content_item",
  "plinth.normalize_email",
  "plinth.search_headline",
  "plinth.search_query",
  "plinth.search_text",
  "private.begin_erasure",
  "private.erase_jobs",
  "private.import_content_item",
];

/** Functions in which `lower` and `upper` are the bounds of ranges. */
const BOUNDS = [
  "learning.time_spent",
  "private.bounded_stretches",
  "private.count_seconds",
  "private.covered_seconds",
];

/** Functions that change the first letter of words that have no i there: roles of messages. */
const WITHOUT_I = ["llm.chats_export_markdown"];

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

test("functions change the case of Plinth's own words in collation C", async () => {
  const { rows } = await withClient(db.url("owner"), (client) =>
    client.query<{ name: string; text: string }>(
      `select n.nspname || '.' || p.proname as name, coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) as text
       from pg_proc p join pg_namespace n on n.oid = p.pronamespace
       where n.nspname in ('plinth', 'identity', 'access', 'billing', 'llm', 'rooms', 'learning', 'security', 'analytics', 'private')
         and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')`,
    ),
  );
  const found = rows
    .filter(({ text }) => callsIn(text).some((call) => !call.includes('COLLATE "C"')))
    .map(({ name }) => name);
  expect([...new Set(found)].sort()).toEqual([...TEXTS_OF_USERS, ...BOUNDS, ...WITHOUT_I].sort());
});

test("so do the views and functions of compatibility schemas", () => {
  const folder = join(PACKAGE_ROOT, "migrations/optional/compat");
  const found = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".sql"))
    .flatMap((file) => callsIn(readFileSync(join(folder, file), "utf8")).map((call) => `${file}: ${call}`))
    .filter((call) => !call.includes('COLLATE "C"'));
  expect(found).toEqual(["ai_training/04-content.sql: upper(c.covered)"]); // the bound of a range
});

/** The calls in SQL that change the case of a text, with their arguments. */
function callsIn(sql: string): string[] {
  const text = sql.replaceAll(/--.*/g, "").replaceAll(/\bcollate (pg_catalog\.)?/gi, "COLLATE ");
  return [...text.matchAll(/\b(lower|upper|initcap)\(/gi)].map(({ index }) => {
    let depth = 0;
    for (let at = text.indexOf("(", index); at < text.length; at++) {
      if (text[at] === "(") depth++;
      if (text[at] === ")" && --depth === 0) return text.slice(index, at + 1);
    }
    return text.slice(index);
  });
}
