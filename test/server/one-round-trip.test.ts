import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type Api, type SignedIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// PostGraphile would send begin, settings, statement and commit. The last statement of a connection tells whether it did.

let db: TestDatabase;
let api: Api;
let ada: SignedIn;

beforeAll(async () => {
  db = await createTestDatabase();
  // A compiled query of two fields is one statement.
  api = await startApi(db, { PLINTH_COMPILED_DOCUMENTS: "often" });
  ada = await signUp(api, "ada");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

async function lastStatements(): Promise<string[]> {
  return await withClient(db.url("authenticator"), async (client) => {
    const { rows } = await client.query<{ query: string }>(
      `select query from pg_stat_activity
       where datname = current_database() and usename = current_user and pid <> pg_backend_pid()`,
    );
    return rows.map(({ query }) => query);
  });
}

test.each([
  ["query of one field", "{ chats { nodes { title messages { nodes { content } } } } }"],
  ["mutation of a table", 'mutation { createChat(input: { chat: { title: "One" } }) { chat { title } } }'],
])("a %s needs no transaction around its statements", async (_kind, document) => {
  expect((await api.ask(document, { token: ada.token })).errors).toBeUndefined();
  const statements = await lastStatements();
  expect(statements.length).toBeGreaterThan(0);
  expect(statements.filter((text) => /^(begin|commit|rollback)/i.test(text))).toEqual([]);
  expect(statements.some((text) => /llm"?\."?chats/.test(text))).toBe(true);
});

test("a query of two fields has a transaction for their snapshot", async () => {
  const document = "{ chats { nodes { title } } currentUser { username } }";
  expect((await api.ask(document, { token: ada.token })).errors).toBeUndefined();
  // No answer waits for the end of its snapshot.
  await until(async () => (await lastStatements()).includes("commit"));
});
