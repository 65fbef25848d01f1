import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { addModel, registerUser } from "../support/accounts.ts";
import { connectAs, type Message, startChat, type UserConnection } from "../support/chat.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let ada: UserConnection;
let bob: UserConnection;
let model: string;
beforeAll(async () => {
  db = await createTestDatabase();
  ada = await connectAs(db, await registerUser(db, "ada"));
  bob = await connectAs(db, await registerUser(db, "bob"));
  model = await addModel(db, { isPublic: true });
});
afterAll(async () => {
  for (const connection of [ada, bob]) await connection.end();
  await db.drop();
});

test("exports a chat's active path as Markdown and the whole chat as JSON", async () => {
  const { chat, question } = await startChat(ada, "What is\na plinth?");
  const [turn] = await ada.rows<Message>("select * from llm.start_turn($1, $2)", [chat, model]);
  await ada.rows("select llm.append_delta($1, 1, $2)", [turn!.id, "The base of a column.\n"]);
  await ada.rows("select llm.finish_turn($1)", [turn!.id]);
  await ada.rows("select llm.rate_message($1, 'up', 'short')", [turn!.id]);
  const [other] = await ada.rows<Message>("select * from llm.start_turn($1, $2, $3)", [
    chat,
    model,
    question,
  ]);
  await ada.rows("select llm.append_delta($1, 1, 'A ba')", [other!.id]);
  await ada.rows("select llm.cancel_turn($1)", [other!.id]);
  await ada.rows(
    `select llm.send_chat_message($1, 'See this', null, '[{"url": "https://x.example/a_(1)>.png", "mimeType": "image/png", "sizeBytes": 7, "name": "a_[1].png"}]')`,
    [chat],
  );
  await ada.rows("update llm.chats set title = '*Plinths* # and <b>' where id = $1", [chat]);
  const [{ markdown, json }] = (await ada.rows(
    "select llm.chats_export_markdown(c) as markdown, llm.chats_export_json(c) as json from llm.chats c where id = $1",
    [chat],
  )) as unknown as [
    { markdown: string; json: { messages: Record<string, unknown>[]; activePath: string[] } },
  ];
  expect(markdown.replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d/g, "<time>")).toBe(`# \\*Plinths\\* \\# and \\<b\\>

## User, <time> UTC

What is
a plinth?

## Assistant, <time> UTC

A ba

*(cancelled)*

## User, <time> UTC

See this

- [a\\_\\[1\\].png](<https://x.example/a_(1)%3E.png>) (image/png, 7 bytes)
`);
  expect(json).toMatchObject({ format: "plinth-chat", version: 1, id: chat, isArchived: false });
  expect(json.messages).toHaveLength(4);
  expect(json.activePath).toHaveLength(3);
  expect(json.messages[0]).toMatchObject({ id: question, role: "user", content: "What is\na plinth?" });
  expect(json.messages[1]).toMatchObject({
    parentId: question,
    content: "The base of a column.\n",
    feedback: { rating: "up", comment: "short" },
    finishReason: "stop",
  });
  expect(json.messages[3]).toMatchObject({ attachments: [{ name: "a_[1].png", sizeBytes: 7 }] });
  expect(await bob.rows("select llm.chats_export_json(c) from llm.chats c")).toEqual([]);
});

test("exports nothing for a forged row of another user's chat", async () => {
  const { chat } = await startChat(ada, "secret");
  const [row] = await ada.rows<{ user_id: string }>("select user_id from llm.chats where id = $1", [chat]);
  const forged = `jsonb_populate_record(null::llm.chats, '{"id": "${chat}", "user_id": "${row!.user_id}", "title": "x"}')`;
  const [answer] = await bob.rows<{ markdown: string; n: string }>(
    `select llm.chats_export_markdown(c) as markdown, jsonb_array_length(llm.chats_export_json(c) -> 'messages')::text as n
     from ${forged} c`,
  );
  expect(answer).toEqual({ markdown: "# x\n", n: "0" });
  expect(await bob.rows(`select from llm.chats_active_path(${forged})`)).toEqual([]);
});
