import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { registerUser } from "../support/accounts.ts";
import { asRole, createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { openSchema, type SchemaInProcess, type Statement } from "../support/schema-in-process.ts";

// Pages far into a long list cost no more than the first one: PostgreSQL continues in an index from the cursor.

let db: TestDatabase;
let api: SchemaInProcess;
let ada: string;
let chatId: string;
beforeAll(async () => {
  db = await createTestDatabase();
  ada = await registerUser(db, "ada");
  await withClient(db.url("owner"), async (client) => {
    const chat = await client.query(
      "insert into llm.chats (user_id, title) values ($1, 'Columns') returning id",
      [ada],
    );
    chatId = chat.rows[0].id;
    await client.query(
      `insert into llm.messages (chat_id, user_id, role, content)
       select $1, $2, 'system', 'Message ' || n from generate_series(1, 9) n`,
      [chatId, ada],
    );
  });
  api = await openSchema(db, { role: "user", userId: ada });
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

/** The plan of the statement that reads the page after the cursor, as the user's role runs it. */
async function explain({ text, values }: Statement): Promise<string> {
  return withClient(db.url("authenticator"), async (client) => {
    await client.query("begin");
    await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: ada });
    // PostgreSQL would read a small table completely. Rows that need sorting are sorted in any case.
    await client.query("set local enable_seqscan = off; set local enable_bitmapscan = off");
    const { rows } = await client.query(`explain (costs off) ${text}`, [...values]);
    return rows.map((row) => row["QUERY PLAN"]).join("\n");
  });
}

test.each([
  ["chats without an order", "", "chats", ""],
  ["chats by change", "", "chats", "orderBy: UPDATED_AT_DESC"],
  ["messages without an order", "", "messages", ""],
  ["messages of a chat", "chat(id: $chat)", "messages", ""],
])("%s continue in an index from the cursor", async (_, parent, list, order) => {
  const page = async (cursor: string) => {
    const selection = `list: ${list}(first: 3 ${order} ${cursor}) { edges { cursor } }`;
    const query = parent ? `query ($chat: UUID!) { parent: ${parent} { ${selection} } }` : `{ ${selection} }`;
    const data = await api.ask(query, { chat: chatId });
    return (parent ? data.parent : data).list.edges;
  };
  const [first] = await page("");
  api.statements.length = 0;
  await page(`after: "${first.cursor}"`);
  const plan = await explain(api.statements.find(({ text }) => text.includes("order by"))!);
  expect(plan).not.toMatch(/Seq Scan|-> {2}Sort/);
  const place = JSON.parse(Buffer.from(first.cursor, "base64").toString()).slice(1);
  const [value] = Object.values(place[0]) as [string];
  const conditions = plan.split("\n").filter((line) => line.includes("Index Cond"));
  expect(conditions.join()).toMatch(value.replace(/\+.*/, ""));
});
