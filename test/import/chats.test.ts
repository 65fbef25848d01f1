import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { writeChats } from "../../src/export/chats.ts";
import { parseChatgptExport } from "../../src/import/chatgpt-file.ts";
import { importChats } from "../../src/import/chats.ts";
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

test("a conversation becomes a chat: its tree, its times, its path", async () => {
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
  // What was shown last, and not what was said last.
  expect(await path()).toEqual(["first question", "", "better answer"]);
});

test("again changes nothing, and a newer export adds what was said since", async () => {
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
  // Somebody else's import of the same file is theirs.
  expect(await importChats(await write([newer]), { client, username: "bob" })).toMatchObject({ inserted: 1 });
});

const BROKEN: [string, unknown][] = [
  ["no object", 1],
  ["no id", { ...conversation(), conversation_id: undefined }],
  ["no mapping", { ...conversation(), mapping: [] }],
  ["a parent that is not there", conversation("c2", [node("x", "nobody", "user", "x", 1)])],
  ["a circle", conversation("c2", [node("x", "y", "user", "x", 1), node("y", "x", "user", "y", 1)])],
  ["a NUL", conversation("c2", [node("x", "a2", "user", "a\0b", 1)])],
  ["half a character", conversation("c2", [node("x", "a2", "user", "\ud800", 1)])],
  ["a NUL in the title", { ...conversation("c2"), title: "\0" }],
  ["more than a message holds", conversation("c2", [node("x", "a2", "user", "x".repeat(1_000_001), 1)])],
  ["a node that is a number", { ...conversation("c2"), mapping: { a: 1 } }],
];

describe.each(BROKEN)("a conversation with %s", (_, broken) => {
  test("is named, and takes all with it, or only itself with --keep-going", async () => {
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

test("what is no export at all is said in one sentence", async () => {
  expect(parseChatgptExport("{")).toBe("is not JSON");
  expect(parseChatgptExport("{}")).toBe("must hold a list of conversations");
  expect(await load(await folder.write("x.json", "{}"))).toMatchObject({ rejected: 1, kept: false });
  await expect(load(await folder.write("x.json", Buffer.from([0xff])))).rejects.toMatchObject({
    code: "FILE_NOT_TEXT",
  });
  await expect(load(join(folder.path, "nowhere.json"))).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  await expect(importChats("x", { client, username: "nobody" })).rejects.toMatchObject({
    code: "USER_NOT_FOUND",
  });
});

test("parts that are pictures become images, and words of tools and code stay words", async () => {
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

test("chats are written to files, one each, whatever their titles are", async () => {
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
