import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { addModel, grantRole, registerUser } from "../support/accounts.ts";
import { createTestDatabase, inRolledBackTransaction, type TestDatabase } from "../support/database.ts";

// rovertChat's document, row by row. R9 (JWT authentication) is tested over HTTP in test/server.

let db: TestDatabase;
let ada: string;
let admin: string;
let model: string;
beforeAll(async () => {
  db = await createTestDatabase();
  ada = await registerUser(db, "ada");
  admin = await registerUser(db, "admin");
  await grantRole(db, admin, "admin");
  model = await addModel(db, { isPublic: false });
});
afterAll(async () => {
  await db.drop();
});

test("stores a user's role, last login and is_active, and invalidates all tokens by token_version [R1]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    await tx.rows("select * from finish_login($1, 'ada', true, 1, $2)", [ada, Buffer.alloc(32, 1)]);
    expect(
      await tx.rows(
        "select users_role(u) as role, is_active, token_version, last_login_at is not null as seen from users u where id in ($1, $2) order by username",
        [ada, admin],
      ),
    ).toEqual([
      { role: "user", is_active: true, token_version: 1, seen: true },
      { role: "admin", is_active: true, token_version: 1, seen: false },
    ]);
    await tx.rows("update users set token_version = token_version + 1 where id = $1", [ada]);
    expect(await tx.rows("select kind, token_version from list_revocations()")).toEqual([
      { kind: "user", token_version: 2 },
    ]);
  });
});

test("stores an administrator's providers, and models with config and updated_at [R2, R3]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asUser(admin);
    const [provider] = await tx.rows<{ id: string; created_by: string }>(
      "insert into llm.model_providers (name, api_url, auth_type) values ('Ollama', 'http://localhost:11434', 'none') returning *",
    );
    expect(provider).toMatchObject({ created_by: admin, is_active: true });
    const [made] = await tx.rows<{ id: string }>(
      `insert into llm.models (provider_id, name, display_name, description, config) values ($1, 'llama3', 'Llama 3', 'Local', '{"temperature": 0.2}') returning *`,
      [provider!.id],
    );
    expect(made).toMatchObject({ config: { temperature: 0.2 }, is_active: true });
    expect(
      await tx.rows(
        "update llm.models set is_active = false where id = $1 returning updated_at > created_at as touched",
        [made!.id],
      ),
    ).toEqual([{ touched: true }]);
  });
});

test("stores chats and messages with every documented column [R4, R5]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    await tx.rows("insert into user_model_access (user_id, model_id, granted_by) values ($1, $2, $3)", [
      ada,
      model,
      admin,
    ]);
    await tx.asUser(ada);
    const [chat] = await tx.rows<{ id: string }>("insert into llm.chats (title) values ('Hi') returning *");
    expect(chat).toMatchObject({ title: "Hi", is_archived: false });
    for (const role of ["user", "system", "tool"])
      await tx.rows("insert into llm.messages (chat_id, role, content) values ($1, $2, 'x')", [
        chat!.id,
        role,
      ]);
    const [answer] = await tx.rows(
      `insert into llm.messages (chat_id, role, content, thinking, tool_calls, images, model_id, tokens_used, extended_metadata)
       values ($1, 'assistant', 'x', 'hm', '[{"name": "f"}]', '["aGk="]', $2, 42, '{"finish": "stop"}') returning *`,
      [chat!.id, model],
    );
    expect(answer).toMatchObject({
      thinking: "hm",
      tool_calls: [{ name: "f" }],
      images: ["aGk="],
      model_id: model,
      tokens_used: 42,
      extended_metadata: { finish: "stop" },
    });
  });
});

test("stores settings for each user from registration on [R6]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    await tx.rows("insert into user_model_access (user_id, model_id) values ($1, $2)", [ada, model]);
    await tx.asUser(ada);
    expect(
      await tx.rows(
        `update identity.user_settings set default_model_id = $1, display_name = 'Ada', avatar_url = 'https://example.com/a.png', preferences = '{"a": 1}'
         returning default_model_id, display_name, avatar_url, preferences`,
        [model],
      ),
    ).toEqual([
      {
        default_model_id: model,
        display_name: "Ada",
        avatar_url: "https://example.com/a.png",
        preferences: { a: 1 },
      },
    ]);
  });
});

test("allows only granted models and stores who granted them and when [R7]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asUser(ada);
    expect(await tx.rows("select from llm.models where id = $1", [model])).toEqual([]);
    await tx.asUser(admin);
    await tx.rows("insert into access.user_model_access (user_id, model_id) values ($1, $2)", [ada, model]);
    await tx.asUser(ada);
    expect(await tx.rows("select from llm.models where id = $1", [model])).toHaveLength(1);
    expect(
      await tx.rows(
        "select granted_by, granted_at is not null as dated, is_active from access.user_model_access",
      ),
    ).toEqual([{ granted_by: admin, dated: true, is_active: true }]);
  });
});

test("has the listed indexes [R8]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    for (const [table, column] of [
      ["users", "username"],
      ["users", "email"],
      ["messages", "chat_id"],
      ["messages", "created_at"],
      ["chats", "user_id"],
      ["user_model_access", "user_id"],
      ["user_model_access", "model_id"],
      ["models", "provider_id"],
      ["models", "is_active"],
    ])
      expect(
        (
          await tx.rows(
            `select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey::int2[])
             where i.indrelid = $1::regclass and a.attname = $2`,
            [table, column],
          )
        ).length,
      ).toBeGreaterThan(0);
  });
});

test("answers queries by messages.chat_id alone from an index, and their owner's queries from the owner's [R8]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    const one = async (sql: string) => Object.values((await tx.rows<Record<string, string>>(sql))[0]!)[0]!;
    // 400 chats of 20 users with 25 messages each, interleaved.
    await tx.rows(`insert into identity.users (username) select 'reader' || i from generate_series(1, 20) i`);
    await tx.rows(
      `insert into llm.chats (user_id) select u.id from identity.users u, generate_series(1, 20) where u.username like 'reader%'`,
    );
    await tx.rows(
      `insert into llm.messages (chat_id, user_id, depth, role, content)
       select c.id, c.user_id, 1, 'system', 'x' from generate_series(1, 25), llm.chats c`,
    );
    await tx.rows("analyze llm.messages, llm.chats");
    const chat = await one("select id from llm.chats where user_id is not null order by id desc limit 1");
    const user = await one(`select user_id from llm.chats where id = '${chat}'`);
    const plan = async (sql: string) =>
      (await tx.rows<Record<string, string>>(`explain ${sql}`)).map((row) => row["QUERY PLAN"]).join("\n");
    const byChat = /messages_chat_id_parent_id_idx.*\n.*Index Cond: \(chat_id = /;
    // The owner role and a DBA's join.
    expect(await plan(`select * from llm.messages where chat_id = '${chat}'`)).toMatch(byChat);
    expect(
      await plan(
        `select c.id, count(m.id) from llm.chats c join llm.messages m on m.chat_id = c.id where c.id = '${chat}' group by 1`,
      ),
    ).toMatch(byChat);
    // The foreign keys' cascades and the API's queries name the owner.
    const owned = await plan(`delete from llm.messages where chat_id = '${chat}' and user_id = '${user}'`);
    expect(owned).toMatch(/Index Cond: .*user_id.*chat_id|Index Cond: .*chat_id.*user_id/);
    const last = await plan(
      `select * from llm.messages where user_id = '${user}' and chat_id = '${chat}' order by id desc limit 20`,
    );
    for (const text of [owned, last]) expect(text).not.toMatch(/BitmapAnd|Seq Scan/);
    expect(last).toMatch(/messages_user_id_chat_id_id_key/);
  });
});
