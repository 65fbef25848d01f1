import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import pg from "pg";
import { writeChats } from "../../src/export/chats.ts";
import { importChats } from "../../src/import/chats/import-chats.ts";
import { registerUser } from "../support/accounts.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { CHAT_FIXTURES, makeFolder } from "./files.ts";

let db: TestDatabase;
let client: pg.Client;
let folder: Awaited<ReturnType<typeof makeFolder>>;
beforeAll(async () => {
  db = await createTestDatabase();
  await registerUser(db, "ada");
  client = new pg.Client(db.url("owner"));
  await client.connect();
  folder = await makeFolder();
});
afterAll(async () => {
  await client.end();
  await db.drop();
  await folder.remove();
});
beforeEach(async () => {
  await client.query("delete from llm.chats");
});

const load = (file: string) => importChats(join(CHAT_FIXTURES, file), { client, username: "ada" });
const rowsOf = async (sql: string, values: unknown[] = []) => (await client.query(sql, values)).rows;
const messagesOf = async (title: string) =>
  (
    await rowsOf(
      `select m.role, m.content, m.thinking, m.tool_calls -> 0 -> 'function' ->> 'name' as call,
         m.extended_metadata - 'source' as metadata, p.content as parent
       from llm.messages m join llm.chats c on c.id = m.chat_id left join llm.messages p on p.id = m.parent_id
       where c.title = $1 order by m.id`,
      [title],
    )
  ).map(({ role, content, thinking, call, metadata, parent }) => [
    role,
    content,
    thinking,
    call,
    metadata,
    parent,
  ]);
const pathOf = async (title: string) =>
  (
    await rowsOf(
      "select p.content from llm.chats c, llm.chats_active_path(c) p where c.title = $1 order by p.depth",
      [title],
    )
  ).map(({ content }) => content);

/** The chats of each product's own list: the one used last comes first. */
const LISTS: [string, string[]][] = [
  ["chatgpt.json", ["Older, but used last 2024-07-03T09:46:40.250Z", "Newer 2024-03-09T16:00:05.000Z"]],
  ["claude.json", ["Weather für Zürich ☂ 2025-06-10T18:30:00.250Z", "Untitled 2023-08-01T10:00:30.000Z"]],
  ["librechat.json", ["Recipes: schnell & gut 2024-05-29T07:00:00.000Z"]],
  ["librechat-flat.json", ["Flat 2024-06-01T08:00:04.000Z"]],
  ["open-webui.json", ["掛け算 2023-11-14T22:18:20.000Z", "With output 2023-07-22T04:43:40.000Z"]],
];
const list = async () =>
  (await rowsOf("select title, updated_at from llm.chats order by updated_at desc")).map(
    ({ title, updated_at }) => `${title} ${updated_at.toISOString()}`,
  );

test.each(LISTS)(
  "%s: keeps the order by last activity, and changes nothing when imported again",
  async (file, chats) => {
    expect(await load(file)).toMatchObject({ inserted: chats.length, rejected: 0, kept: true });
    expect(await list()).toEqual(chats);
    const dump = () =>
      rowsOf(
        "select to_jsonb(c), to_jsonb(m) from llm.chats c join llm.messages m on m.chat_id = c.id order by m.id",
      );
    const before = await dump();
    expect(await load(file)).toMatchObject({ inserted: 0, updated: 0, unchanged: chats.length });
    expect(await dump()).toEqual(before);
  },
);

test("all exports in one folder form one list by last activity, and so do they after an export of Plinth", async () => {
  expect(await importChats(CHAT_FIXTURES, { client, username: "ada" })).toMatchObject({
    inserted: 8,
    rejected: 0,
  });
  const chats = LISTS.flatMap(([, titles]) => titles);
  const sorted = chats.toSorted((a, b) => b.slice(-24).localeCompare(a.slice(-24)));
  expect(await list()).toEqual(sorted);
  expect(
    await writeChats(join(folder.path, "all"), { client, username: "ada", format: "json" }),
  ).toHaveLength(8);
  const messages = "select string_agg(content, '|' order by created_at, content) from llm.messages";
  const before = await rowsOf(messages);
  await client.query("delete from llm.chats");
  expect(await importChats(join(folder.path, "all"), { client, username: "ada" })).toMatchObject({
    inserted: 8,
  });
  expect(await list()).toEqual(sorted);
  expect(await rowsOf(messages)).toEqual(before);
});

test("Claude: keeps blocks in their order, tools, attachments and branches, and names unknown content", async () => {
  const { warnings } = await load("claude.json");
  expect(warnings.map(({ message }) => message)).toEqual([
    'node 7a1f3c52-1111-4a6e-9d0b-000000000002: contains content of the unknown kind "hologram", which was skipped',
  ]);
  const question = "Will it rain?\n\ntrip.txt:\n\nMonday: Zürich";
  expect(await messagesOf("Weather für Zürich ☂")).toEqual([
    ["user", question, null, null, { files: ["map.png"] }, null],
    ["assistant", "Let me look.", "The trip is on Monday.", "weather", {}, question],
    ["tool", "rain until 11", null, null, { toolCallId: "toolu_01" }, "Let me look."],
    ["assistant", "Yes, in the morning.", null, null, {}, "rain until 11"],
    ["assistant", "Probably.", null, null, {}, question],
  ]);
  expect(await pathOf("Weather für Zürich ☂")).toEqual([question, "Probably."]);
  // An older export has neither blocks nor parents.
  expect(await messagesOf("Untitled")).toEqual([
    ["user", "A pasted poem", null, null, {}, null],
    ["assistant", "A fine poem.", null, null, {}, "A pasted poem"],
  ]);
});

test("LibreChat: keeps nested and flat messages, thoughts, tools, models, ratings and unfinished answers", async () => {
  await load("librechat.json");
  await load("librechat-flat.json");
  const question = "Dinner in ten minutes?";
  expect(await messagesOf("Recipes: schnell & gut")).toEqual([
    ["user", question, null, null, { files: ["fridge.jpg"], tokensUsed: 6 }, null],
    ["assistant", "I search for eggs.", "Eggs are quick.", "search", { model: "gpt-4o-mini" }, question],
    ["tool", "omelette", null, null, { toolCallId: "call_1" }, "I search for eggs."],
    ["assistant", "Make an omelette.", null, null, { model: "gpt-4o-mini" }, "omelette"],
    ["assistant", "Sure, here is", null, null, { model: "gpt-4o" }, question],
  ]);
  expect(await rowsOf("select content, state from llm.messages where state <> 'complete'")).toEqual([
    { content: "Sure, here is", state: "broken_off" },
  ]);
  expect(
    await rowsOf(
      "select m.content, f.rating, f.comment from llm.message_feedback f join llm.messages m on m.id = f.message_id",
    ),
  ).toEqual([{ content: "Make an omelette.", rating: "up", comment: "tasty" }]);
  expect(await messagesOf("Flat")).toEqual([
    ["user", "One?", null, null, {}, null],
    ["assistant", "One.", null, null, { model: "gpt-4o" }, "One?"],
  ]);
});

test("Open WebUI: reads thoughts and tools from the text or from the output, images, archived chats and the path shown", async () => {
  await load("open-webui.json");
  expect(await messagesOf("掛け算")).toEqual([
    ["user", "15 × 17?", null, null, { files: ["table.csv"] }, null],
    ["assistant", "", "15 < 17\nso multiply", "calculate", { model: "deepseek-r1" }, "15 × 17?"],
    ["tool", "255", null, null, { toolCallId: "call_1" }, ""],
    ["assistant", "It is 255.", null, null, { model: "deepseek-r1" }, "255"],
    ["assistant", "255, later", null, null, { model: "llama3.1:latest" }, "15 × 17?"],
  ]);
  // Shown last, although another answer is newer.
  expect(await pathOf("掛け算")).toEqual(["15 × 17?", "", "255", "It is 255."]);
  expect(
    await rowsOf(
      `select c.title, c.is_archived, m.images, m.state, f.rating from llm.chats c join llm.messages m on m.chat_id = c.id
       left join llm.message_feedback f on f.message_id = m.id
       where m.images is not null or m.state <> 'complete' or f.rating is not null order by m.id`,
    ),
  ).toEqual([
    {
      title: "掛け算",
      is_archived: true,
      images: ["data:image/png;base64,iVBORw0KGgo="],
      state: "complete",
      rating: null,
    },
    { title: "掛け算", is_archived: true, images: null, state: "complete", rating: "down" },
    { title: "掛け算", is_archived: true, images: null, state: "broken_off", rating: null },
  ]);
  expect(await messagesOf("With output")).toEqual([
    ["user", "Weather in Paris?", null, null, {}, null],
    ["assistant", "", "I ask the tool.", "get_weather", { model: "gpt-4o" }, "Weather in Paris?"],
    ["tool", "18C", null, null, { toolCallId: "call_2" }, ""],
    ["assistant", "It has 18C.", null, null, { model: "gpt-4o" }, "18C"],
  ]);
});

test("an answer with a tool becomes the input that a model expects", async () => {
  await load("claude.json");
  expect(await rowsOf("select tool_calls from llm.messages where tool_calls is not null")).toEqual([
    {
      tool_calls: [
        { id: "toolu_01", type: "function", function: { name: "weather", arguments: '{"city":"Zürich"}' } },
      ],
    },
  ]);
});

test("each format says what is wrong with a chat", async () => {
  const [claude] = JSON.parse(await readFile(join(CHAT_FIXTURES, "claude.json"), "utf8"));
  const libre = JSON.parse(await readFile(join(CHAT_FIXTURES, "librechat-flat.json"), "utf8"));
  const [webui] = JSON.parse(await readFile(join(CHAT_FIXTURES, "open-webui.json"), "utf8"));
  const [first, second] = claude.chat_messages;
  const broken: [unknown, string][] = [
    [{ ...claude, chat_messages: 1 }, "has no list chat_messages"],
    [{ ...claude, chat_messages: [1] }, "has a message without a uuid"],
    [{ ...claude, chat_messages: [first, first] }, `message ${first.uuid} appears twice`],
    [{ ...claude, chat_messages: [second] }, `node ${second.uuid} follows a node that does not exist`],
    [{ ...claude, uuid: null }, "has no usable id"],
    [{ ...libre, messages: {} }, "has no list messages"],
    [{ ...libre, messages: [{}] }, "has a message without a messageId"],
    [
      { ...libre, messages: [...libre.messages, libre.messages[0]] },
      `message ${libre.messages[0].messageId} appears twice`,
    ],
    [{ ...webui, chat: {} }, "has no messages in chat.history"],
    [{ ...webui, chat: { history: { messages: { x: 1 } } } }, "message x must be an object"],
    [
      { ...webui, chat: { history: { messages: { x: { role: "user", content: "a\0b" } } } } },
      "node x contains a NUL character in its text",
    ],
    [
      { title: "?", turns: [] },
      'is not a chat in a known format: Plinth (format "plinth-chat"), ChatGPT (mapping), Claude (chat_messages), ' +
        "LibreChat (conversationId with messages) or Open WebUI (chat.history)",
    ],
  ];
  const file = await folder.write("broken.json", JSON.stringify(broken.map(([chat]) => chat)));
  const summary = await importChats(file, { client, username: "ada" });
  expect(summary.rejections.map(({ message }) => message)).toEqual(broken.map(([, message]) => message));
  expect(summary).toMatchObject({ inserted: 0, rejected: broken.length, kept: false });
});
