import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { splitStatements } from "../../src/migration-plan/statements.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { codeOf, PAGES } from "../support/pages.ts";

// Each statement that a page shows as SQL is one that the database understands: it runs on an empty database and is rolled back. A
// missing row or privilege is no fault of the page; a name or a syntax that does not exist is.

/** Pages whose SQL runs elsewhere, or is of an application's own tables. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  "docs/analytics.md": "test/docs/analytics.test.ts runs it and compares the results.",
  "docs/compatibility.md": "test/systems/compat.test.ts runs it in schemas that are off by default.",
  "docs/extend.md": "It is of an application's tables; test/package follows the first half.",
};

const FAULTS = /^42(601|P01|P02|703|704|883|P10)$|^3F000$/;

/** The tables of an application that some pages name. */
const APPLICATION = "create schema app; create schema shop; create table shop.orders (note text)";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

const pages = PAGES.filter((page) => !(page in ELSEWHERE))
  .map((page) => [page, codeOf(page).blocks.filter(({ language }) => language === "sql")] as const)
  .filter(([, blocks]) => blocks.length > 0);

test("pages have SQL", () => {
  expect(pages.length).toBeGreaterThan(5);
});

/** With the names of this database's roles, and without psql's variables. */
const prepared = (sql: string) =>
  sql
    .replace(/\bplinth_(user|anonymous|worker|service|analyst|owner)\b/g, `${db.rolePrefix}_$1`)
    .replace(/(?<!:):[a-z]\w*/g, "null");

/** The faults of all statements of a page, which run one after the other. */
async function faultsOf(client: pg.ClientBase, statements: readonly string[]): Promise<string[]> {
  const faults: string[] = [];
  await client.query("begin");
  await client.query(APPLICATION);
  for (const sql of statements.filter((each) => !/^(begin|commit|rollback)$/i.test(each))) {
    await client.query("savepoint statement");
    const error = await client.query(sql).catch((cause: unknown) => cause);
    if (!(error instanceof pg.DatabaseError)) continue;
    await client.query("rollback to statement");
    // Roles such as otherapp are the reader's.
    const isFault = FAULTS.test(error.code ?? "") && !/^role "/.test(error.message);
    if (isFault) faults.push(`${error.message}: ${sql}`);
  }
  await client.query("rollback");
  return faults;
}

test.each(pages)("the database understands each statement of %s", async (page, blocks) => {
  const statements = blocks
    .flatMap(({ text }) => splitStatements(prepared(text), page))
    .map(({ sql }) => sql);
  expect(statements.length).toBeGreaterThan(0);
  expect(await withClient(db.url("owner"), (client) => faultsOf(client, statements))).toEqual([]);
});

test("a name that does not exist is a fault", async () => {
  const faults = await withClient(db.url("owner"), (client) =>
    faultsOf(client, ["select 1", "select usernames from users", "selec 1", "delete from identity.people"]),
  );
  expect(faults).toEqual([
    'column "usernames" does not exist: select usernames from users',
    'syntax error at or near "selec": selec 1',
    'relation "identity.people" does not exist: delete from identity.people',
  ]);
});
