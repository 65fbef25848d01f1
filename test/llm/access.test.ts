import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { addModel, grantRole, registerUser } from "../support/accounts.ts";
import {
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  type TestDatabase,
} from "../support/database.ts";

// Access rights in schema llm. Each denial is proven twice: the role gets nothing, and the row existed.

let db: TestDatabase;
let ada: string;
let bob: string;
let editor: string;
let manager: string;
let publicModel: string;
let grantedModel: string;
let inactiveModel: string;
beforeAll(async () => {
  db = await createTestDatabase();
  [ada, bob, editor, manager] = (await Promise.all(
    ["ada", "bob", "editor", "manager"].map((name) => registerUser(db, name)),
  )) as [string, string, string, string];
  await grantRole(db, editor, "moderator");
  await grantRole(db, manager, "admin");
  publicModel = await addModel(db, { isPublic: true });
  grantedModel = await addModel(db, { isPublic: false });
  inactiveModel = await addModel(db, { isPublic: true, isActive: false });
});
afterAll(async () => {
  await db.drop();
});

describe("chats and messages", () => {
  test("are visible only to their owner, not even to administrators", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      const [chat] = await tx.rows<{ id: string }>(
        "insert into llm.chats (title) values ('secret plan') returning id",
      );
      await tx.rows("insert into llm.messages (chat_id, role, content) values ($1, 'user', 'psst')", [
        chat!.id,
      ]);
      for (const other of [bob, manager]) {
        await tx.asUser(other);
        expect(await tx.rows("select from llm.chats")).toEqual([]);
        expect(await tx.rows("select from llm.messages")).toEqual([]);
        expect(await tx.rows("update llm.chats set title = 'mine' returning id")).toEqual([]);
        expect(await tx.rows("delete from llm.chats returning id")).toEqual([]);
      }
      await tx.asOwner();
      expect(await tx.rows("select title from llm.chats where id = $1", [chat!.id])).toEqual([
        { title: "secret plan" },
      ]);
    });
  });

  test("reject a message in another user's chat", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      const [chat] = await tx.rows<{ id: string }>("insert into llm.chats default values returning id");
      await tx.asUser(bob);
      // The same error as for a chat that does not exist.
      for (const id of [chat!.id, randomUUID()])
        await expectSqlState(
          tx.attempt("insert into llm.messages (chat_id, role) values ($1, 'user')", [id]),
          "23503",
        );
    });
  });

  test("reject a message with a model that its author may not use", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      const [chat] = await tx.rows<{ id: string }>("insert into llm.chats default values returning id");
      const say = "insert into llm.messages (chat_id, role, model_id) values ($1, 'assistant', $2)";
      await tx.rows(say, [chat!.id, publicModel]);
      for (const model of [grantedModel, inactiveModel, randomUUID()])
        await expectSqlState(tx.attempt(say, [chat!.id, model]), "42501");
      await tx.asOwner();
      await tx.rows("insert into access.user_model_access (user_id, model_id) values ($1, $2)", [
        ada,
        grantedModel,
      ]);
      await tx.asUser(ada);
      await tx.rows(say, [chat!.id, grantedModel]);
    });
  });

  test("reject changing or deleting a message and choosing its owner", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await expectSqlState(tx.attempt("update llm.messages set content = 'x'"), "42501");
      await expectSqlState(tx.attempt("delete from llm.messages"), "42501");
      await expectSqlState(tx.attempt("insert into llm.chats (user_id) values ($1)", [bob]), "42501");
    });
  });

  test.each([
    ["role", "insert into llm.messages (chat_id, role) values ($1, 'robot')", "messages_role_check"],
    [
      "model on a user message",
      `insert into llm.messages (chat_id, role, model_id) select $1, 'user', id from llm.models limit 1`,
      "messages_model_id_only_for_assistant",
    ],
    [
      "tool calls that are not an array",
      `insert into llm.messages (chat_id, role, tool_calls) values ($1, 'assistant', '{}')`,
      "messages_tool_calls_check",
    ],
    [
      "images that are no array",
      `insert into llm.messages (chat_id, role, images) values ($1, 'user', '"x"')`,
      "messages_images_check",
    ],
    [
      "negative tokens",
      `insert into llm.messages (chat_id, role, tokens_used) values ($1, 'user', -1)`,
      "messages_tokens_used_is_not_negative",
    ],
    [
      "oversized content",
      `insert into llm.messages (chat_id, role, content) values ($1, 'user', repeat('x', 1000001))`,
      "messages_content_check",
    ],
  ])("reject a wrong %s by constraint name", async (_, sql, constraint) => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      const [chat] = await tx.rows<{ id: string }>("insert into llm.chats default values returning id");
      await expect(tx.attempt(sql, [chat!.id])).rejects.toMatchObject({ code: "23514", constraint });
    });
  });

  test("count a message as activity of its chat and keep it when the chat is archived", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      const [chat] = await tx.rows<{ id: string }>("insert into llm.chats default values returning id");
      const [before] = await tx.rows<{ at: string }>(
        "select updated_at::text as at from llm.chats where id = $1",
        [chat!.id],
      );
      await tx.rows("insert into llm.messages (chat_id, role) values ($1, 'user')", [chat!.id]);
      const [after] = await tx.rows<{ later: boolean }>(
        "select updated_at > $2::timestamptz as later from llm.chats where id = $1",
        [chat!.id, before!.at],
      );
      expect(after!.later).toBe(true);
      await tx.rows("update llm.chats set is_archived = true where id = $1", [chat!.id]);
      expect(await tx.rows("select from llm.messages where chat_id = $1", [chat!.id])).toHaveLength(1);
      await tx.rows("delete from llm.chats where id = $1", [chat!.id]);
      expect(await tx.rows("select from llm.messages where chat_id = $1", [chat!.id])).toHaveLength(0);
    });
  });
});

describe("models", () => {
  test("are visible to visitors if public, to users also if granted, to managers always", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asOwner();
      await tx.rows("insert into access.user_model_access (user_id, model_id) values ($1, $2)", [
        ada,
        grantedModel,
      ]);
      const seen = async () =>
        (await tx.rows<{ id: string }>("select id from llm.models order by id")).map((row) => row.id);
      await tx.asAnonymous();
      expect(await seen()).toEqual([publicModel]);
      await tx.asUser(bob);
      expect(await seen()).toEqual([publicModel]);
      await tx.asUser(ada);
      expect(await seen()).toEqual([publicModel, grantedModel]);
      expect(await tx.rows("select from llm.model_providers")).toHaveLength(2);
      await tx.asUser(manager);
      expect(await seen()).toEqual([publicModel, grantedModel, inactiveModel]);
    });
  });

  test("are not usable with a suspended grant", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(manager);
      await tx.rows("insert into access.user_model_access (user_id, model_id) values ($1, $2)", [
        ada,
        grantedModel,
      ]);
      await tx.asUser(ada);
      expect(await tx.rows("select granted_by from access.user_model_access")).toEqual([
        { granted_by: manager },
      ]);
      await tx.asUser(manager);
      await tx.rows("update access.user_model_access set is_active = false");
      await tx.asUser(ada);
      expect(await tx.rows("select access.can_use_model($1) as ok", [grantedModel])).toEqual([{ ok: false }]);
    });
  });

  test("are writable only by managers, grants included", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      for (const user of [ada, editor]) {
        await tx.asUser(user);
        await expectSqlState(tx.attempt("insert into llm.model_providers (name) values ('x')"), "42501");
        await expectSqlState(
          tx.attempt("insert into access.user_model_access (user_id, model_id) values ($1, $2)", [
            user,
            grantedModel,
          ]),
          "42501",
        );
        expect(await tx.rows("update llm.models set is_public = true returning id")).toEqual([]);
      }
      await tx.asAnonymous();
      await expectSqlState(tx.attempt("insert into llm.model_providers (name) values ('x')"), "42501");
      await tx.asUser(manager);
      await tx.rows("insert into llm.model_providers (name) values ('x')");
    });
  });

  test("are accepted as default only if the user may use them", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      for (const model of [grantedModel, randomUUID()])
        await expectSqlState(
          tx.attempt("update identity.user_settings set default_model_id = $1", [model]),
          "PL404",
        );
      await tx.rows("update identity.user_settings set default_model_id = $1", [publicModel]);
    });
  });
});

describe("prompts", () => {
  test("in the library are readable by all and writable only by editors", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const add = "insert into llm.prompts (user_id, name, content) values (null, 'Library', 'text')";
      for (const user of [ada, bob]) {
        await tx.asUser(user);
        await expectSqlState(tx.attempt(add), "42501");
      }
      await tx.asUser(editor);
      await tx.rows(add);
      await tx.asAnonymous();
      expect(await tx.rows("select name from llm.prompts")).toEqual([{ name: "Library" }]);
      await tx.asUser(ada);
      expect(await tx.rows("update llm.prompts set content = 'x' returning id")).toEqual([]);
      expect(await tx.rows("delete from llm.prompts returning id")).toEqual([]);
    });
  });

  test("of a user are private, and their names stay free for others", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const add = "insert into llm.prompts (name, content) values ('Mine', 'text')";
      await tx.asUser(ada);
      await tx.rows(add);
      await expectSqlState(tx.attempt(add), "23505");
      await tx.asUser(bob);
      expect(await tx.rows("select from llm.prompts")).toEqual([]);
      await tx.rows(add);
      await expectSqlState(
        tx.attempt("insert into llm.prompts (user_id, name, content) values ($1, 'x', 'y')", [ada]),
        "42501",
      );
      await tx.asAnonymous();
      expect(await tx.rows("select from llm.prompts")).toEqual([]);
    });
  });

  test("count their uses exactly and only for users who see them", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      const [prompt] = await tx.rows<{ id: string }>(
        "insert into llm.prompts (name, content) values ('Mine', 'text') returning id",
      );
      await tx.rows("select llm.use_prompt($1)", [prompt!.id]);
      await tx.rows("select llm.use_prompt($1)", [prompt!.id]);
      expect(await tx.rows("select usage_count::integer as n from llm.user_prompts")).toEqual([{ n: 2 }]);
      await expectSqlState(tx.attempt("update llm.user_prompts set usage_count = 99"), "42501");
      await tx.asUser(bob);
      for (const id of [prompt!.id, randomUUID()])
        await expectSqlState(tx.attempt("select llm.use_prompt($1)", [id]), "PL404");
      expect(await tx.rows("select from llm.user_prompts")).toEqual([]);
    });
  });
});
