import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { writeChats } from "../../src/export/chats.ts";
import { importChats } from "../../src/import/chats/import-chats.ts";
import { registerUser } from "../support/accounts.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { makeFolder } from "./files.ts";

let db: TestDatabase;
let client: pg.Client;
let folder: Awaited<ReturnType<typeof makeFolder>>;
beforeAll(async () => {
  db = await createTestDatabase();
  await registerUser(db, "ada");
  await registerUser(db, "bob");
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

interface RawNode {
  id: string;
  parent: string | null;
  message: object | null;
}
const node = (
  id: string,
  parent: string | null,
  role: string,
  text: string,
  time: number,
  extra: object = {},
): RawNode => ({
  id,
  parent,
  message: {
    author: { role },
    create_time: time,
    content: { content_type: "text", parts: [text] },
    metadata: {},
    ...extra,
  },
});
/** A conversation as ChatGPT exports it: an empty root, a hidden prompt, an edit, two answers. */
const conversation = (id = "c1", more: RawNode[] = [], current = "a2") => {
  const nodes: RawNode[] = [
    { id: "root", parent: null, message: null },
    node("hidden", "root", "system", "", 0),
    node("profile", "hidden", "user", "be brief", 1, {
      metadata: { is_visually_hidden_from_conversation: true },
    }),
    node("q1", "profile", "user", "frist question", 1_700_000_000),
    node("a1", "q1", "assistant", "first answer", 1_700_000_010, { metadata: { model_slug: "gpt-4o" } }),
    node("q2", "profile", "user", "first question", 1_700_000_020.5),
    node("t2", "q2", "assistant", "", 1_700_000_025, {
      content: { content_type: "thoughts", thoughts: [{ summary: "s", content: "let me think" }] },
    }),
    node("a2", "t2", "assistant", "better answer", 1_700_000_030),
    node("a3", "t2", "assistant", "worse answer", 1_700_000_040),
    ...more,
  ];
  return {
    conversation_id: id,
    title: "On questions",
    create_time: 1_700_000_000,
    update_time: 1_700_000_050,
    current_node: current,
    mapping: Object.fromEntries(nodes.map((one) => [one.id, one])),
  };
};
const write = (conversations: unknown) => folder.write("conversations.json", JSON.stringify(conversations));
const path = async () =>
  (
    await client.query<{ content: string }>(
      "select p.content from llm.chats c, llm.chats_active_path(c) p order by c.id, p.depth",
    )
  ).rows.map(({ content }) => content);
const load = (file: string, keepGoing = false) => importChats(file, { client, username: "ada", keepGoing });

test("imports a conversation as a chat with its tree, times and active path", async () => {
  const summary = await load(await write([conversation()]));
  expect(summary.rejections).toEqual([]);
  expect(summary).toMatchObject({ inserted: 1, rejected: 0, kept: true });
  const { rows } = await client.query(
    `select c.title, extract(epoch from c.created_at)::integer as created, extract(epoch from c.updated_at)::integer as updated,
       u.username, c.is_archived from llm.chats c join identity.users u on u.id = c.user_id`,
  );
  expect(rows).toEqual([
    {
      title: "On questions",
      created: 1_700_000_000,
      updated: 1_700_000_050,
      username: "ada",
      is_archived: false,
    },
  ]);
  const messages = await client.query(
    `select m.role, m.content, m.thinking, m.depth, p.content as parent, m.extended_metadata as meta, m.state
     from llm.messages m left join llm.messages p on p.id = m.parent_id order by m.id`,
  );
  const meta = { source: "chatgpt" };
  expect(messages.rows).toEqual(
    [
      { role: "user", content: "frist question", thinking: null, depth: 1, parent: null, meta },
      {
        role: "assistant",
        content: "first answer",
        thinking: null,
        depth: 2,
        parent: "frist question",
        meta: { ...meta, model: "gpt-4o" },
      },
      { role: "user", content: "first question", thinking: null, depth: 1, parent: null, meta },
      { role: "assistant", content: "", thinking: "let me think", depth: 2, parent: "first question", meta },
      { role: "assistant", content: "better answer", thinking: null, depth: 3, parent: "", meta },
      { role: "assistant", content: "worse answer", thinking: null, depth: 3, parent: "", meta },
    ].map((row) => ({ ...row, state: "complete" })),
  );
  // The path shown last, not the last message.
  expect(await path()).toEqual(["first question", "", "better answer"]);
});

test("changes nothing when run again, and adds the new messages of a newer export", async () => {
  await load(await write([conversation()]));
  const dump = async () =>
    (await client.query("select * from llm.chats c join llm.messages m on m.chat_id = c.id order by m.id"))
      .rows;
  const before = await dump();
  expect(await load(await write([conversation()]))).toMatchObject({ unchanged: 1, inserted: 0, updated: 0 });
  expect(await dump()).toEqual(before);
  const newer = conversation("c1", [node("q4", "a2", "user", "and then?", 1_700_000_060)], "q4");
  expect(await load(await write([newer]))).toMatchObject({ updated: 1 });
  expect(await path()).toEqual(["first question", "", "better answer", "and then?"]);
  expect(await load(await write([newer]))).toMatchObject({ unchanged: 1 });
  // Another user's import of the same file creates that user's own chat.
  expect(await importChats(await write([newer]), { client, username: "bob" })).toMatchObject({ inserted: 1 });
});

const BROKEN: [string, unknown][] = [
  ["a number in place of an object", 1],
  ["no id", { ...conversation(), conversation_id: undefined }],
  ["no mapping", { ...conversation(), mapping: [] }],
  ["a missing parent", conversation("c2", [node("x", "nobody", "user", "x", 1)])],
  ["a circle", conversation("c2", [node("x", "y", "user", "x", 1), node("y", "x", "user", "y", 1)])],
  ["a NUL", conversation("c2", [node("x", "a2", "user", "a\0b", 1)])],
  ["half a surrogate pair", conversation("c2", [node("x", "a2", "user", "\ud800", 1)])],
  ["a NUL in the title", { ...conversation("c2"), title: "\0" }],
  ["a message that is too long", conversation("c2", [node("x", "a2", "user", "x".repeat(1_000_001), 1)])],
  ["a node that is a number", { ...conversation("c2"), mapping: { a: 1 } }],
];

describe.each(BROKEN)("a conversation with %s", (_, broken) => {
  test("is named, and rejects the whole file, or only itself with --keep-going", async () => {
    const file = await write([conversation("good"), broken, conversation("good too")]);
    const summary = await load(file);
    expect(summary).toMatchObject({ rejected: 1, kept: false });
    expect(summary.rejections[0]!.name).toMatch(/^conversations\[1\]|^chatgpt/);
    expect((await client.query("select from llm.chats")).rowCount).toBe(0);
    expect(await load(file, true)).toMatchObject({ inserted: 2, rejected: 1, kept: true });
    expect((await client.query("select from llm.chats")).rowCount).toBe(2);
    expect((await client.query("select from llm.messages")).rowCount).toBe(12);
  });
});

test("reports in one sentence that a file is not an export", async () => {
  for (const [text, message] of [
    ["", "is empty"],
    ["oops", "must contain a list or an object"],
    ['[{"id": "c1"', "ends in the middle of its JSON"],
    [
      "{}",
      'is not a chat in a known format: Plinth (format "plinth-chat"), ChatGPT (mapping), Claude (chat_messages), ' +
        "LibreChat (conversationId with messages) or Open WebUI (chat.history)",
    ],
  ] as const) {
    const summary = await load(await folder.write("x.json", text));
    expect(summary).toMatchObject({ rejected: 1, kept: false, rejections: [{ message }] });
  }
  await expect(load(await folder.write("x.json", Buffer.from([0xff])))).rejects.toMatchObject({
    code: "FILE_NOT_TEXT",
  });
  await expect(load(join(folder.path, "nowhere.json"))).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  await expect(importChats("x", { client, username: "nobody" })).rejects.toMatchObject({
    code: "USER_NOT_FOUND",
  });
});

test("imports picture parts as images, and words of tools and code as text", async () => {
  await load(
    await write([
      conversation(
        "c1",
        [
          node("p", "a2", "user", "", 1_700_000_100, {
            content: {
              content_type: "multimodal_text",
              parts: [
                {
                  content_type: "image_asset_pointer",
                  asset_pointer: "file-service://file-1",
                  width: 4,
                  height: 3,
                },
                "see",
              ],
            },
          }),
          node("code", "p", "assistant", "", 1_700_000_101, {
            content: { content_type: "code", text: "print(1)" },
          }),
          node("out", "code", "tool", "", 1_700_000_102, {
            content: { content_type: "execution_output", text: "1" },
          }),
        ],
        "out",
      ),
    ]),
  );
  const { rows } = await client.query(
    "select role, content, images from llm.messages order by id desc limit 3",
  );
  expect(rows).toEqual([
    { role: "tool", content: "1", images: null },
    { role: "assistant", content: "print(1)", images: null },
    {
      role: "user",
      content: "see",
      images: [{ asset_pointer: "file-service://file-1", width: 4, height: 3 }],
    },
  ]);
});

test("writes each chat to its own file, whatever its title", async () => {
  await load(await write([{ ...conversation(), title: "../../Où est-il? <b>" }]));
  const target = join(folder.path, "out");
  for (const format of ["markdown", "json"] as const)
    expect(await writeChats(target, { client, username: "ada", format })).toHaveLength(1);
  const files = (await readdir(target)).sort();
  expect(files).toEqual([
    expect.stringMatching(/^2023-11-14-où-est-il-b-[0-9a-f-]{36}\.json$/),
    expect.stringMatching(/^2023-11-14-où-est-il-b-[0-9a-f-]{36}\.md$/),
  ]);
  expect(JSON.parse(await readFile(join(target, files[0]!), "utf8")).messages).toHaveLength(6);
  expect(await readFile(join(target, files[1]!), "utf8")).toContain("\nbetter answer\n");
});

describe("no content is dropped without a warning", () => {
  const warningsOf = async (more: RawNode[], change: object = {}) => {
    const summary = await load(await write([{ ...conversation("c1", more), ...change }]));
    expect(summary).toMatchObject({ inserted: 1, rejected: 0 });
    expect(summary.warned).toBe(summary.warnings.length);
    return summary.warnings
      .filter(({ message }) => !message.startsWith("node profile"))
      .map(({ name, message }) => `${name}: ${message}`);
  };
  test.each<[string, object, string]>([
    ["an author who is null", { author: null }, "node x: has no author and was skipped"],
    [
      "an unknown role",
      { author: { role: "critic" } },
      'node x: has an author with the unknown role "critic" and was skipped',
    ],
    [
      "an unknown kind of content",
      { content: { content_type: "hologram", scene: { caption: "words" } } },
      'node x: contains content of the unknown kind "hologram", which was skipped',
    ],
    [
      "an unknown part",
      { content: { content_type: "multimodal_text", parts: [{ content_type: "smell", note: "roses" }] } },
      'node x: contains content of the unknown kind "smell", which was skipped',
    ],
    [
      "a sound",
      { content: { parts: [{ content_type: "audio_asset_pointer", asset_pointer: "sediment://1" }] } },
      'node x: contains content of the unknown kind "audio_asset_pointer", which was skipped',
    ],
    [
      "hidden content",
      { metadata: { is_visually_hidden_from_conversation: true } },
      "node x: is hidden in ChatGPT and was skipped",
    ],
  ])("names %s with conversation and node", async (_, change, message) => {
    expect(await warningsOf([node("x", "a2", "user", "words", 1_700_000_060, change)])).toEqual([
      `conversations[0] c1: ${message}`,
    ]);
  });

  test("keeps the words beside an unknown part, and names the part", async () => {
    const parts = ["kept", { content_type: "smell", note: "roses" }];
    expect(await warningsOf([node("x", "a2", "user", "", 1_700_000_060, { content: { parts } })])).toEqual([
      expect.stringContaining('"smell"'),
    ]);
    expect((await client.query("select from llm.messages where content = 'kept'")).rowCount).toBe(1);
  });

  test("cuts a title that is too long with a warning, and imports the summary of a thought without content", async () => {
    const thoughts = [{ summary: "only a summary", content: "" }];
    const more = [
      node("x", "a2", "assistant", "", 1_700_000_060, { content: { content_type: "thoughts", thoughts } }),
    ];
    expect(await warningsOf(more, { title: "t".repeat(300) })).toEqual([
      expect.stringContaining("the title has 300 characters"),
    ]);
    expect((await client.query("select from llm.messages where thinking = 'only a summary'")).rowCount).toBe(
      1,
    );
  });

  test("drops nodes without words, without a warning", async () => {
    const silent = [
      node("x", "a2", "critic", "", 1_700_000_060),
      node("y", "x", "assistant", "", 1_700_000_061, {
        content: { content_type: "code", language: "python", text: "" },
      }),
      node("z", "y", "tool", "", 1_700_000_062, { content: { content_type: "hologram", scene: null } }),
    ];
    expect(await warningsOf(silent)).toEqual([]);
  });
});

test("names the node of a message that is too large in a sentence", async () => {
  const large = conversation("c2", [node("big", "a2", "user", "é".repeat(600_000), 1_700_000_060)]);
  expect((await load(await write([large]))).rejections).toEqual([
    {
      file: "conversations.json",
      name: "conversations[0] c2",
      message: "node big has 1,200,000 bytes of text; the limit is 1,000,000",
    },
  ]);
});

describe("the tree", () => {
  const treeOf = async () =>
    (
      await client.query(
        `select m.content, p.content as parent from llm.messages m left join llm.messages p on p.id = m.parent_id order by m.depth, m.id`,
      )
    ).rows.map(({ content, parent }) => [content, parent]);

  test.each<[string, object]>([
    ["lack", {}],
    ["are null", { parent: null }],
  ])("comes from the children if parents %s", async (_, parent) => {
    const make = (id: string, children: string[], role: string) => {
      const { parent: _parent, ...rest } = node(id, null, role, id, 1_700_000_000);
      return { ...rest, ...parent, children };
    };
    const nodes = [
      make("question", ["answer", "other"], "user"),
      make("answer", ["thanks"], "assistant"),
      make("other", [], "assistant"),
      make("thanks", [], "user"),
    ];
    const mapping = Object.fromEntries(nodes.map((one) => [one.id, one]));
    await load(await write([{ ...conversation("c3", [], "thanks"), mapping }]));
    expect(await treeOf()).toEqual([
      ["question", null],
      ["answer", "question"],
      ["other", "question"],
      ["thanks", "answer"],
    ]);
    expect(await path()).toEqual(["question", "answer", "thanks"]);
  });
});

describe("times", () => {
  const timesOf = async () =>
    (
      await client.query(
        `select to_char(c.created_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as created,
           to_char(c.updated_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as updated,
           array_agg(to_char(m.created_at at time zone 'UTC', 'HH24:MI:SS') order by m.id) as messages
         from llm.chats c join llm.messages m on m.chat_id = c.id group by c.id`,
      )
    ).rows;
  const timed = (create: unknown, update: unknown, ...messages: unknown[]) => {
    const nodes = messages.map((time, index) =>
      node(`n${index}`, index ? `n${index - 1}` : null, "user", `message ${index}`, 0, { create_time: time }),
    );
    const mapping = Object.fromEntries(nodes.map((one) => [one.id, one]));
    return { id: "timed", title: "t", create_time: create, update_time: update, mapping };
  };
  const WANTED = {
    created: "2023-11-14 22:13:20",
    updated: "2023-11-14 22:15:00",
    messages: ["22:13:20", "22:14:00"],
  };

  test.each<[string, object]>([
    ["seconds", timed(1_700_000_000, 1_700_000_100, 1_700_000_000, 1_700_000_040)],
    ["milliseconds", timed(1.7e12, 1_700_000_100_000, 1.7e12, 1_700_000_040_000)],
    ["numbers in quotes", timed("1700000000", "1700000100.0", "1700000000", "1700000040")],
    [
      "ISO 8601",
      timed(
        "2023-11-14T22:13:20Z",
        "2023-11-14T23:15:00.000+01:00",
        "2023-11-14T22:13:20.000Z",
        "2023-11-14T22:14:00",
      ),
    ],
    ["those of the messages alone", timed(null, undefined, 1_700_000_000, 1_700_000_040)],
  ])("may be %s", async (what, export_) => {
    await load(await write([export_]));
    const updated = what.startsWith("those") ? "2023-11-14 22:14:00" : WANTED.updated;
    expect(await timesOf()).toEqual([{ ...WANTED, updated }]);
  });

  test("are those of the first import if missing, and a second import changes nothing", async () => {
    const file = await write([timed(null, null, null, "soon")]);
    expect(await load(file)).toMatchObject({ inserted: 1 });
    const dump = async () => (await client.query("select * from llm.chats")).rows;
    const before = await dump();
    expect(await load(file)).toMatchObject({ unchanged: 1 });
    expect(await dump()).toEqual(before);
  });

  test("set the chat's last activity if messages with times of their own are added by SQL", async () => {
    const { rows } = await client.query<{ id: string; user_id: string }>(
      `insert into llm.chats (user_id, title, created_at, updated_at)
       select id, 'old', '2020-01-01', '2020-01-01' from identity.users where username = 'ada' returning id, user_id`,
    );
    await client.query(
      `insert into llm.messages (chat_id, user_id, role, content, created_at)
       values ($1, $2, 'user', 'first', '2020-01-02'), ($1, $2, 'user', 'last', '2020-03-04')`,
      [rows[0]!.id, rows[0]!.user_id],
    );
    const activity = async () =>
      (await client.query("select updated_at from llm.chats where id = $1", [rows[0]!.id])).rows[0]
        .updated_at;
    expect(await activity()).toEqual(new Date("2020-03-04T00:00:00Z"));
    await client.query(
      "insert into llm.messages (chat_id, user_id, role, content) values ($1, $2, 'user', 'now')",
      [rows[0]!.id, rows[0]!.user_id],
    );
    expect(await activity()).not.toEqual(new Date("2020-03-04T00:00:00Z"));
  });
});

test("keeps batches small in bytes, however large the chats are", async () => {
  const large = (id: string) =>
    conversation(
      id,
      Array.from({ length: 5 }, (_, index) =>
        node(`b${index}`, "a2", "user", "x".repeat(900_000), 1_700_000_060),
      ),
    );
  const file = await write(["c1", "c2", "c3", "c4"].map(large));
  const sizes: number[] = [];
  const counting = new Proxy(client, {
    get(target, property) {
      if (property !== "query") return Reflect.get(target, property);
      return (text: string, values?: unknown[]) => {
        if (/import_chats/.test(text)) sizes.push(Buffer.byteLength(values![0] as string));
        return target.query(text, values);
      };
    },
  });
  expect(await importChats(file, { client: counting, username: "ada" })).toMatchObject({ inserted: 4 });
  expect(sizes).toHaveLength(4);
  expect(Math.max(...sizes)).toBeLessThan(5_000_000);
});

describe("a JSON export", () => {
  const rows = async (username: string) =>
    (
      await client.query(
        `select c.title, c.is_archived, c.created_at, c.updated_at, m.role, m.content, m.thinking, m.images, m.tool_calls, m.depth,
           m.state, m.finish_reason, m.error_code, m.error_message, m.created_at as said_at, p.content as parent,
           f.rating, a.url
         from llm.chats c
         join identity.users u on u.id = c.user_id and u.username = $1
         join llm.messages m on m.chat_id = c.id
         left join llm.messages p on p.id = m.parent_id
         left join llm.message_feedback f on f.message_id = m.id
         left join llm.message_attachments a on a.message_id = m.id
         order by c.title, m.depth, m.content`,
        [username],
      )
    ).rows;

  async function exportOfAda(): Promise<string> {
    await load(
      await write([
        conversation("c1", [node("esc", "a1", "user", "what is \\u0000 in JSON?", 1_700_000_011)]),
        { ...conversation("c2"), title: "Archived", is_archived: true },
      ]),
    );
    await client.query(
      `update llm.messages set extended_metadata = '{"a": null}', finish_reason = 'stop',
         tool_calls = '[{"name": "search", "arguments": null}]'
       where content = 'first answer'`,
    );
    await client.query(
      `update llm.messages set state = 'broken_off', finish_reason = 'error', error_code = 'E1', error_message = 'lost'
       where content = 'worse answer'`,
    );
    await client.query(
      "insert into llm.message_feedback (message_id, user_id, chat_id, rating) select id, user_id, chat_id, 'up' from llm.messages where content = 'better answer'",
    );
    await client.query(
      `insert into llm.message_attachments (user_id, chat_id, message_id, position, url, mime_type, size_bytes, name)
       select user_id, chat_id, id, 1, 'https://x.example/a.png', 'image/png', 7, 'a.png' from llm.messages where content = 'first question'`,
    );
    const target = join(folder.path, `export-${Math.random()}`);
    await writeChats(target, { client, username: "ada", format: "json" });
    return target;
  }

  test("changes nothing when imported into its own account", async () => {
    const target = await exportOfAda();
    const before = await rows("ada");
    expect(await load(target)).toMatchObject({ unchanged: 2, inserted: 0, updated: 0, rejected: 0 });
    expect(await rows("ada")).toEqual(before);
  });

  test("creates the same chats with their active paths in another account, once", async () => {
    const target = await exportOfAda();
    const toBob = () => importChats(target, { client, username: "bob" });
    expect(await toBob()).toMatchObject({ inserted: 2, rejected: 0, rejections: [], warnings: [] });
    expect(await rows("bob")).toEqual(await rows("ada"));
    const paths = await client.query(
      `select u.username, array_agg(p.content order by c.title, p.depth) as path
       from llm.chats c join identity.users u on u.id = c.user_id, llm.chats_active_path(c) p group by u.username order by 1`,
    );
    expect(paths.rows[1].path).toEqual(paths.rows[0].path);
    expect(await toBob()).toMatchObject({ unchanged: 2, inserted: 0, updated: 0 });
  });

  test("restores deleted chats exactly, ids included", async () => {
    const target = await exportOfAda();
    const files = async (from: string) =>
      Promise.all(
        (await readdir(from))
          .sort()
          .map(async (name) => JSON.parse(await readFile(join(from, name), "utf8"))),
      );
    const before = await files(target);
    await client.query("delete from llm.chats");
    expect(await load(target)).toMatchObject({ inserted: 2 });
    const again = join(folder.path, "again");
    await writeChats(again, { client, username: "ada", format: "json" });
    const after = await files(again);
    expect(after).toEqual(before);
  });

  test("costs its new owner no tokens", async () => {
    const {
      rows: [chat],
    } = await client.query(
      "insert into llm.chats (user_id, title) select id, 'costly' from identity.users where username = 'ada' returning id, user_id",
    );
    await client.query(
      "insert into llm.messages (chat_id, user_id, role, content, tokens_used) values ($1, $2, 'assistant', 'dear', 50)",
      [chat.id, chat.user_id],
    );
    const target = join(folder.path, "costly");
    await writeChats(target, { client, username: "ada", format: "json" });
    const events = async () => (await client.query("select from billing.usage_events")).rowCount;
    const before = await events();
    await importChats(target, { client, username: "bob" });
    expect(await events()).toBe(before);
    const { rows: metadata } = await client.query(
      "select extended_metadata from llm.messages where content = 'dear' and user_id <> $1",
      [chat.user_id],
    );
    expect(metadata).toEqual([{ extended_metadata: { tokensUsed: 50 } }]);
  });

  test.each<[string, (chat: Record<string, unknown>) => void, RegExp]>([
    ["another version", (chat) => Object.assign(chat, { version: 2 }), /version 2/],
    ["no id", (chat) => Object.assign(chat, { id: 1 }), /no usable id/],
    ["no messages", (chat) => Object.assign(chat, { messages: null }), /no messages/],
    [
      "an unknown role",
      (chat) => changeFirst(chat, { role: "critic" }),
      /^message .* has the unknown role "critic"/,
    ],
    [
      "a message that is too large",
      (chat) => changeFirst(chat, { content: "x".repeat(1_000_001) }),
      /1,000,001 bytes/,
    ],
    ["a NUL", (chat) => changeFirst(chat, { metadata: { deep: ["a\0"] } }), /NUL/],
    [
      "a repeated message",
      (chat) => Object.assign(chat, { messages: [...list(chat), ...list(chat)] }),
      /twice/,
    ],
    [
      "an attachment from nowhere",
      (chat) => changeFirst(chat, { attachments: [{ url: "file:///etc/passwd" }] }),
      /holds a value that is not allowed/,
    ],
  ])("is rejected in a sentence if it has %s", async (_, spoil, message) => {
    const target = await exportOfAda();
    const [name] = await readdir(target);
    const chat = JSON.parse(await readFile(join(target, name!), "utf8"));
    spoil(chat);
    const summary = await importChats(await folder.write("spoiled.json", JSON.stringify(chat)), {
      client,
      username: "bob",
    });
    expect(summary.rejections).toEqual([
      expect.objectContaining({ message: expect.stringMatching(message) }),
    ]);
    expect(await rows("bob")).toEqual([]);
  });

  const list = (chat: Record<string, unknown>) => chat.messages as Record<string, unknown>[];
  const changeFirst = (chat: Record<string, unknown>, change: object) => {
    Object.assign(list(chat)[0]!, change);
  };
});
