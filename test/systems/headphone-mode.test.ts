import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { registerUser, SOME_HASH } from "../support/accounts.ts";
import {
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  type TestDatabase,
} from "../support/database.ts";

// Headphone Mode's document, row by row, as a DBA uses it: unqualified names, the owner's connection.

let db: TestDatabase;
let ada: string;
beforeAll(async () => {
  db = await createTestDatabase();
  ada = await registerUser(db, "ada");
});
afterAll(async () => {
  await db.drop();
});

test("stores users with unique username and email, a salted hash and created_at [H1]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    await expect(tx.attempt("insert into users (username) values ('ADA')")).rejects.toMatchObject({
      constraint: "users_username_key",
    });
    await expect(
      tx.attempt("insert into users (username, email) values ('eve', 'ADA@example.com')"),
    ).rejects.toMatchObject({ constraint: "users_email_key" });
    expect(
      await tx.rows(
        "select p.password_hash, u.created_at is not null as dated from users u join user_passwords p on p.user_id = u.id where u.id = $1",
        [ada],
      ),
    ).toEqual([{ password_hash: SOME_HASH, dated: true }]);
    await expectSqlState(tx.attempt("update user_passwords set password_hash = 'plain text'"), "23514");
  });
});

test("stores sessions with a unique token, created_at and expires_at [H2]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    const hash = Buffer.alloc(32, 7);
    await tx.rows("select * from finish_login($1, 'ada', true, 1, $2)", [ada, hash]);
    await expectSqlState(
      tx.attempt("select * from finish_login($1, 'ada', true, 1, $2)", [ada, hash]),
      "23505",
    );
    expect(
      await tx.rows("select expires_at > created_at as ends from user_sessions where user_id = $1", [ada]),
    ).toEqual([{ ends: true }]);
  });
});

test("stores preferences as JSON per user with updated_at [H3]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asUser(ada);
    const [row] = await tx.rows<{ preferences: object; touched: boolean }>(
      `update identity.user_settings set preferences = '{"theme": "dark"}' returning preferences, updated_at > created_at as touched`,
    );
    expect(row).toEqual({ preferences: { theme: "dark" }, touched: true });
    await expectSqlState(tx.attempt("update identity.user_settings set preferences = '[]'"), "23514");
  });
});

test("stores a hash algorithm per user, argon2id by default, and accepts others without schema changes [H4]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    expect(await tx.rows("select hash_algorithm from user_passwords where user_id = $1", [ada])).toEqual([
      { hash_algorithm: "argon2id" },
    ]);
    await tx.rows(
      "update user_passwords set hash_algorithm = 'bcrypt', password_hash = $2 where user_id = $1",
      [ada, "$2b$12$abcdefghijklmnopqrstuuO5c9VN8zFq9P1jFh1J6y3n8vQ9bK0aW"],
    );
  });
});

test("stores roles and permissions with composite keys and shipped rows [H7]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    expect(await tx.rows("select role_name from roles order by role_name")).toEqual([
      { role_name: "admin" },
      { role_name: "moderator" },
      { role_name: "user" },
    ]);
    expect(
      await tx.rows(
        "select permission_name from permissions where permission_name in ('edit_content', 'delete_user')",
      ),
    ).toHaveLength(2);
    expect(
      await tx.rows(
        `select r.role_name, p.permission_name from role_permissions rp
         join roles r on r.id = rp.role_id join permissions p on p.id = rp.permission_id
         where p.permission_name in ('edit_content', 'delete_user') order by 1, 2`,
      ),
    ).toEqual([
      { role_name: "admin", permission_name: "delete_user" },
      { role_name: "admin", permission_name: "edit_content" },
      { role_name: "moderator", permission_name: "edit_content" },
    ]);
    await expectSqlState(
      tx.attempt("insert into user_roles (user_id, role_id) select user_id, role_id from user_roles limit 1"),
      "23505",
    );
    await expectSqlState(
      tx.attempt("insert into role_permissions select * from role_permissions limit 1"),
      "23505",
    );
  });
});

test("stores prompts with unique name and content and a usage_count per user [H8]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    const add = "insert into prompts (name, content) values ('Poet', 'Write a poem.')";
    await tx.rows(add);
    await expectSqlState(tx.attempt(add), "23505");
    await tx.rows("insert into user_prompts (user_id, prompt_id) select $1, id from prompts", [ada]);
    expect(await tx.rows("select usage_count::integer from user_prompts")).toEqual([{ usage_count: 0 }]);
    await expectSqlState(tx.attempt("update user_prompts set usage_count = -1"), "23514");
  });
});

test("deletes a user's rows with the user [H9, S14]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    await tx.rows("select * from finish_login($1, 'ada', true, 1, $2)", [ada, Buffer.alloc(32, 1)]);
    const attempts = async () => (await tx.rows("select from login_attempts")).length;
    const before = await attempts();
    expect(before).toBeGreaterThan(0);
    await tx.rows("insert into chats (user_id) values ($1)", [ada]);
    await tx.rows("insert into messages (chat_id, user_id, role) select id, user_id, 'user' from chats");
    await tx.rows("insert into prompts (user_id, name, content) values ($1, 'Mine', 'x')", [ada]);
    await tx.rows(
      "insert into user_preferences (user_id, preference_type, preference_key, preference_value) values ($1, 'a', 'b', '1')",
      [ada],
    );
    await tx.rows("delete from users where id = $1", [ada]);
    const owned = await tx.rows<{ name: string; column: string }>(
      `select k.conrelid::regclass::text as name, a.attname as column from pg_constraint k
       join pg_attribute a on a.attrelid = k.conrelid and a.attnum = k.conkey[1]
       where k.contype = 'f' and k.confrelid = 'identity.users'::regclass and k.confdeltype = 'c' and k.conparentid = 0`,
    );
    expect(owned.length).toBeGreaterThan(7);
    const indirectly = ["private.refresh_tokens", "llm.messages"].map((name) => ({
      name,
      column: "user_id",
    }));
    for (const { name, column } of [...owned, ...indirectly])
      expect(await tx.rows(`select from ${name} where ${column} = $1`, [ada])).toEqual([]);
    // Rows that must outlive the account lose its name.
    expect(await attempts()).toBe(before);
    expect(await tx.rows("select from login_attempts where email = 'ada' or user_id = $1", [ada])).toEqual(
      [],
    );
  });
});

test("indexes email, user_id and prompt name [H10]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    const leading = (table: string, column: string) =>
      tx.rows(
        `select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
         where i.indrelid = $1::regclass and a.attname = $2`,
        [table, column],
      );
    for (const [table, column] of [
      ["users", "email"],
      ["users", "username"],
      ["user_sessions", "user_id"],
      ["user_settings", "user_id"],
      ["user_roles", "user_id"],
      ["user_prompts", "user_id"],
      ["chats", "user_id"],
      ["prompts", "name"],
    ])
      expect((await leading(table!, column!)).length).toBeGreaterThan(0);
  });
});
