import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { addModel, registerUser } from "../support/accounts.ts";
import { connect, connectAs, type Message, startChat, type UserConnection } from "../support/chat.ts";
import { createTestDatabase, expectSqlState, type TestDatabase, withClient } from "../support/database.ts";
import { makeRandom, SEED } from "../support/random.ts";

// A chat is a tree with one active path: edits and further answers stand beside the messages that they replace.

let db: TestDatabase;
let ada: UserConnection;
let bob: UserConnection;
let adaId: string;
let model: string;
let owner: Awaited<ReturnType<typeof connect>>;
beforeAll(async () => {
  db = await createTestDatabase();
  adaId = await registerUser(db, "ada");
  ada = await connectAs(db, adaId);
  bob = await connectAs(db, await registerUser(db, "bob"));
  model = await addModel(db, { isPublic: true });
  owner = await connect(db, "owner");
  await withClient(db.url("service"), (client) =>
    client.query("select private.grant_tokens($1, 100000000, 'purchase', null, 100, null, null, 'enough')", [
      adaId,
    ]),
  );
});
afterAll(async () => {
  for (const connection of [ada, bob, owner]) await connection.end();
  await db.drop();
});

const path = async (chat: string, args = "") =>
  (
    await ada.rows<Message>(
      `select p.* from llm.chats c, llm.chats_active_path(c${args}) p where c.id = $1`,
      [chat],
    )
  ).map(({ content }) => content);
const send = async (chat: string, content: string, parent: string | null = null) =>
  (await ada.rows<Message>("select * from llm.send_chat_message($1, $2, $3)", [chat, content, parent]))[0]!;
const edit = async (message: string, content: string) =>
  (await ada.rows<Message>("select * from llm.edit_chat_message($1, $2)", [message, content]))[0]!;
const select = (message: string) => ada.rows("select llm.select_branch($1)", [message]);
const answer = async (chat: string, content: string, parent: string | null = null) => {
  const [turn] = await ada.rows<Message>("select * from llm.start_turn($1, $2, $3)", [chat, model, parent]);
  await ada.rows("select llm.append_delta($1, 1, $2)", [turn!.id, content]);
  return (await ada.rows<Message>("select * from llm.finish_turn($1)", [turn!.id]))[0]!;
};

describe("a chat", () => {
  test("is a single path without edits, for any way of writing", async () => {
    const { chat, question } = await startChat(ada, "q1");
    const first = await answer(chat, "a1");
    expect(first.parent_id).toBe(question);
    // A plain insert, as before chats were trees; several at once too.
    await ada.rows(
      "insert into llm.messages (chat_id, role, content) select $1, 'user', 'p' || n from generate_series(1, 3) n",
      [chat],
    );
    expect(await path(chat)).toEqual(["q1", "a1", "p1", "p2", "p3"]);
    expect(await ada.rows("select depth from llm.messages where chat_id = $1 order by id", [chat])).toEqual(
      [1, 2, 3, 4, 5].map((depth) => ({ depth })),
    );
  });

  test("keeps an edit and another answer beside the original and returns to either", async () => {
    const { chat, question } = await startChat(ada, "q");
    const a1 = await answer(chat, "a1");
    await send(chat, "thanks");
    // Regenerate: the same parent.
    const a2 = await answer(chat, "a2", question);
    expect(await path(chat)).toEqual(["q", "a2"]);
    expect(
      await ada.rows("select a.content from llm.messages m, llm.messages_alternatives(m) a where m.id = $1", [
        a2.id,
      ]),
    ).toEqual([{ content: "a1" }, { content: "a2" }]);
    await select(a1.id);
    expect(await path(chat)).toEqual(["q", "a1", "thanks"]);
    // Continues at the selected message.
    await send(chat, "more");
    expect(await path(chat)).toEqual(["q", "a1", "thanks", "more"]);
    // Also the first message.
    const other = await edit(question, "Q");
    expect(other).toMatchObject({ parent_id: null, depth: 1 });
    expect(await path(chat)).toEqual(["Q"]);
    await answer(chat, "A");
    expect(await path(chat)).toEqual(["Q", "A"]);
    await select(a2.id);
    expect(await path(chat)).toEqual(["q", "a2"]);
    await select(question);
    expect(await path(chat)).toEqual(["q", "a1", "thanks", "more"]);
  });

  test("returns its path page by page from the end", async () => {
    const { chat } = await startChat(ada, "1");
    for (const content of ["2", "3", "4", "5"]) await send(chat, content);
    expect(await path(chat, ", 2")).toEqual(["4", "5"]);
    expect(await path(chat, ", 2, 4")).toEqual(["2", "3"]);
    expect(await path(chat, ", 2, 2")).toEqual(["1"]);
    expect(await path(chat, ", 9")).toHaveLength(5);
    expect(await path(chat, ", null, 3")).toEqual(["1", "2"]);
    expect(await path(chat, ", 2, -2147483648")).toEqual([]);
    expect(await path(chat, ", 2147483647, 2147483647")).toHaveLength(5);
    const [empty] = await ada.rows<{ id: string }>("insert into llm.chats default values returning id");
    expect(await path(empty!.id)).toEqual([]);
  });

  test("rejects foreign messages and reveals nothing", async () => {
    const { chat, question } = await startChat(ada);
    const other = await startChat(ada);
    await expectSqlState(send(chat, "x", other.question), "PL404");
    await expectSqlState(
      ada.rows("insert into llm.messages (chat_id, parent_id, role) values ($1, $2, 'user')", [
        chat,
        other.question,
      ]),
      "PL404",
    );
    for (const id of [question, randomUUID()]) {
      await expectSqlState(bob.rows("select llm.edit_chat_message($1, 'x')", [id]), "PL404");
      await expectSqlState(bob.rows("select llm.select_branch($1)", [id]), "PL404");
      await expectSqlState(bob.rows("select llm.rate_message($1, 'up')", [id]), "PL404");
    }
    await expectSqlState(bob.rows("select llm.send_chat_message($1, 'x')", [chat]), "PL404");
    expect(
      await bob.rows("select from llm.chats c, llm.chats_active_path(c) where c.id = $1", [chat]),
    ).toEqual([]);
    await expectSqlState(
      owner.rows("update llm.messages set parent_id = $2, depth = 2 where id = $1", [
        question,
        other.question,
      ]),
      "23503",
    );
  });

  test("does not branch while a turn is running", async () => {
    const { chat, question } = await startChat(ada);
    const [turn] = await ada.rows<Message>("select * from llm.start_turn($1, $2, lease_seconds => 3600)", [
      chat,
      model,
    ]);
    await expectSqlState(edit(question, "x"), "PL409");
    await expectSqlState(select(question), "PL409");
    await ada.rows("select llm.cancel_turn($1)", [turn!.id]);
    await edit(question, "x");
  });

  test("is deleted as a whole", async () => {
    const { chat, question } = await startChat(ada);
    const a1 = await answer(chat, "a1");
    await answer(chat, "a2", question);
    await select(a1.id);
    await ada.rows("select llm.rate_message($1, 'down', 'no')", [a1.id]);
    await ada.rows("delete from llm.chats where id = $1", [chat]);
    expect(await owner.rows("select from llm.messages where chat_id = $1", [chat])).toEqual([]);
    expect(await owner.rows("select from llm.message_feedback where chat_id = $1", [chat])).toEqual([]);
  });
});

test("stores a message once per key, also concurrently", async () => {
  const { chat } = await startChat(ada);
  const connections = await Promise.all(Array.from({ length: 6 }, () => connectAs(db, adaId)));
  const sql = `select (llm.send_chat_message($1, 'once', null, '[{"url": "https://x.example/a.pdf", "mimeType": "application/pdf", "sizeBytes": 9, "name": "a.pdf"}]', 'key')).id`;
  const made = await Promise.all(connections.map((one) => one.rows<{ id: string }>(sql, [chat])));
  expect(new Set(made.map(([row]) => row!.id)).size).toBe(1);
  expect(await ada.rows("select from llm.messages where content = 'once'")).toHaveLength(1);
  expect(await ada.rows("select from llm.message_attachments where chat_id = $1", [chat])).toHaveLength(1);
  await expectSqlState(
    ada.rows("select llm.send_chat_message($1, 'else', null, '[]', 'key')", [chat]),
    "PL409",
  );
  await Promise.all(connections.map((one) => one.end()));
});

test("keeps one path without a fork for concurrent writers", async () => {
  const { chat } = await startChat(ada, "0");
  const connections = await Promise.all(Array.from({ length: 10 }, () => connectAs(db, adaId)));
  await Promise.all(
    connections.map(async (one, n) => {
      for (let i = 0; i < 5; i++)
        await one.rows(
          i % 2
            ? "insert into llm.messages (chat_id, role, content) values ($1, 'user', $2)"
            : "select llm.send_chat_message($1, $2)",
          [chat, `${n}.${i}`],
        );
    }),
  );
  await Promise.all(connections.map((one) => one.end()));
  expect(await path(chat)).toHaveLength(51);
});

test("appends after an id older than the chat's newest message", async () => {
  // The clocks of two servers differ, or one was set back.
  const { chat } = await startChat(ada, "first");
  await send(chat, "second");
  await owner.rows(
    "insert into llm.messages (id, chat_id, user_id, role, content) values ('00000000-0000-7000-8000-000000000001', $1, $2, 'user', 'third')",
    [chat, adaId],
  );
  expect(await path(chat)).toEqual(["first", "second", "third"]);
  await send(chat, "fourth");
  expect(await path(chat)).toEqual(["first", "second", "third", "fourth"]);
});

test("finds the end of a chat within the chat, not among newer messages of others", async () => {
  const { chat } = await startChat(ada, "old");
  await owner.rows(
    `insert into llm.chats (id, user_id) values ('cccccccc-0000-7000-8000-000000000001', '${adaId}');
     insert into llm.messages (chat_id, user_id, depth, role)
     select 'cccccccc-0000-7000-8000-000000000001', '${adaId}', 1, 'user' from generate_series(1, 5000);
     analyze llm.messages`,
  );
  const body = "select m.id from llm.messages m where (m.user_id, m.chat_id, m.id) between ";
  const [definition] = await owner.rows<{ source: string }>(
    "select prosrc as source from pg_proc where oid = 'llm.newest_message_id(uuid, uuid)'::regprocedure",
  );
  expect(definition!.source.replaceAll(/\s+/g, " ")).toContain(body);
  const plan = (sql: string) =>
    `explain ${sql.replaceAll("newest_message_id.user_id", `'${adaId}'::uuid`).replaceAll("newest_message_id.chat_id", `'${chat}'::uuid`)}`;
  // As the owner and under row security.
  for (const user of [owner, ada]) {
    const rows = await user.rows<Record<string, string>>(plan(definition!.source));
    const text = rows.map((row) => row["QUERY PLAN"]).join("\n");
    expect(text).toMatch(/Index Only Scan Backward using messages_user_id_chat_id_id_key/);
    expect(text).not.toMatch(/Sort/);
  }
});

// Any operations in any order against a tree in memory. PLINTH_SEED repeats a run.
test("keeps the path of a simple tree after random edits, answers and choices", async () => {
  const random = makeRandom(SEED);
  interface Node {
    readonly id: string;
    readonly content: string;
    readonly parent: Node | null;
    readonly role: string;
  }
  const { chat, question } = await startChat(ada, "0");
  const nodes: Node[] = [{ id: question, content: "0", parent: null, role: "user" }];
  let head = nodes[0]!;
  const pick = () => nodes[random(nodes.length)]!;
  const add = (message: Message, parent: Node | null) => {
    expect(message.parent_id).toBe(parent?.id ?? null);
    head = { id: message.id, content: message.content, parent, role: message.role };
    nodes.push(head);
  };
  for (let step = 1; step <= 60; step++) {
    const text = String(step);
    const at = pick();
    switch (random(6)) {
      case 0:
        add(await send(chat, text), head);
        break;
      case 1:
        add(await send(chat, text, at.id), at);
        break;
      case 2:
        add(await answer(chat, text), head);
        break;
      case 3:
        add(await answer(chat, text, at.id), at);
        break;
      case 4:
        if (at.role === "user") add(await edit(at.id, text), at.parent);
        break;
      default: {
        await select(at.id);
        const below = nodes.filter((node) => {
          for (let one: Node | null = node; one; one = one.parent) if (one === at) return true;
          return false;
        });
        // The newest end below it. Nodes are in order of creation.
        head = below.filter((node) => !nodes.some((child) => child.parent === node)).at(-1)!;
      }
    }
    const wanted: string[] = [];
    for (let one: Node | null = head; one; one = one.parent) wanted.unshift(one.content);
    expect({ seed: SEED, step, path: await path(chat) }).toEqual({ seed: SEED, step, path: wanted });
    const last = 1 + random(4);
    expect(await path(chat, `, ${last}`)).toEqual(wanted.slice(-last));
  }
});

describe("attachments", () => {
  const good = { url: "https://files.example/a.png", mimeType: "image/png", sizeBytes: 10, name: "a.png" };
  const attach = async (chat: string, attachments: unknown) =>
    ada.rows<Message>("select * from llm.send_chat_message($1, 'see', null, $2)", [
      chat,
      JSON.stringify(attachments),
    ]);

  test("are stored by reference, in order, and stay with an edit unless it replaces them", async () => {
    const { chat } = await startChat(ada);
    const [message] = await attach(chat, [good, { ...good, name: "b.png" }]);
    const names = (id: string) =>
      ada.rows("select name, position from llm.message_attachments where message_id = $1 order by position", [
        id,
      ]);
    expect(await names(message!.id)).toEqual([
      { name: "a.png", position: 1 },
      { name: "b.png", position: 2 },
    ]);
    expect(await names((await edit(message!.id, "look")).id)).toHaveLength(2);
    const [without] = await ada.rows<Message>("select * from llm.edit_chat_message($1, 'x', '[]')", [
      message!.id,
    ]);
    expect(await names(without!.id)).toEqual([]);
    expect(await bob.rows("select from llm.message_attachments")).toEqual([]);
  });

  test.each<[string, unknown]>([
    ["eleven attachments", Array.from({ length: 11 }, () => good)],
    ["an object", good],
    ["a name without a reference", [{ name: "a.png" }]],
    ["an http address", [{ ...good, url: "http://files.example/a.png" }]],
    ["a script address", [{ ...good, url: "javascript:alert(1)" }]],
    ["a data address", [{ ...good, url: "data:image/png;base64,AAAA" }]],
    ["a password in the address", [{ ...good, url: "https://me:secret@files.example/a.png" }]],
    ["a line break in the address", [{ ...good, url: "https://files.example/a\nb" }]],
    ["HTML", [{ ...good, mimeType: "text/html" }]],
    ["SVG", [{ ...good, mimeType: "image/svg+xml" }]],
    ["an empty file", [{ ...good, sizeBytes: 0 }]],
    ["more than 100 MiB", [{ ...good, sizeBytes: 104_857_601 }]],
    ["a size that is no number", [{ ...good, sizeBytes: "big" }]],
    ["a path", [{ ...good, name: "../../etc/passwd" }]],
  ])("are rejected as a whole for %s", async (_, attachments) => {
    const { chat } = await startChat(ada);
    await expect(attach(chat, attachments)).rejects.toMatchObject({ code: "PL422", column: "attachments" });
    expect(await ada.rows("select from llm.messages where chat_id = $1", [chat])).toHaveLength(1);
  });
});

test("rates answers only, replaces a rating and removes it", async () => {
  const { chat, question } = await startChat(ada);
  const { id } = await answer(chat, "a");
  const rate = (message: string, rating: string | null, comment = "") =>
    ada.rows("select rating, comment from llm.rate_message($1, $2, $3)", [message, rating, comment]);
  await rate(id, "up");
  expect(await rate(id, "down", "wrong")).toEqual([{ rating: "down", comment: "wrong" }]);
  expect(await ada.rows("select rating from llm.message_feedback where message_id = $1", [id])).toHaveLength(
    1,
  );
  expect(await bob.rows("select from llm.message_feedback")).toEqual([]);
  expect(await rate(id, null)).toEqual([{ rating: "down", comment: "wrong" }]);
  expect(await rate(id, null)).toEqual([{ rating: null, comment: null }]);
  expect(await ada.rows("select from llm.message_feedback where message_id = $1", [id])).toEqual([]);
  await expectSqlState(rate(id, "great"), "PL422");
  await expectSqlState(rate(question, "up"), "PL422");
});

describe("a chat's title", () => {
  const titled = async (text: string) => {
    const { chat } = await startChat(ada, text);
    return (await ada.rows<{ title: string }>("select title from llm.chats where id = $1", [chat]))[0]!.title;
  };

  test("is the first line of the first question, cut after a word", async () => {
    expect(await titled("\n  How do I\tbake bread?\nI have flour.")).toBe("How do I bake bread?");
    const long = await titled("word ".repeat(40));
    expect(long).toMatch(/^(word ){10,}word…$/);
    expect(long.length).toBeLessThanOrEqual(80);
    expect(await titled("x".repeat(300))).toBe(`${"x".repeat(79)}…`);
    expect(await titled(" \n ")).toBe("New chat");
  });

  test("stays unchanged when the user sets it", async () => {
    const [chat] = await ada.rows<{ id: string }>(
      "insert into llm.chats (title) values ('Mine') returning id",
    );
    await send(chat!.id, "a question");
    expect(await ada.rows("select title from llm.chats where id = $1", [chat!.id])).toEqual([
      { title: "Mine" },
    ]);
  });
});

test("counts the end of an answer but not a delta as last activity", async () => {
  const { chat } = await startChat(ada);
  const at = async () =>
    (await ada.rows<{ at: string }>("select updated_at::text as at from llm.chats where id = $1", [chat]))[0]!
      .at;
  const [turn] = await ada.rows<Message>("select * from llm.start_turn($1, $2)", [chat, model]);
  const started = await at();
  await ada.rows("select llm.append_delta($1, 1, 'x')", [turn!.id]);
  expect(await at()).toBe(started);
  await ada.rows("select llm.finish_turn($1)", [turn!.id]);
  expect((await at()) > started).toBe(true);
});
