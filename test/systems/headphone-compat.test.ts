import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type pg from "pg";
import { roleName } from "../../src/config/roles.ts";
import { cli, databaseEnv } from "../cli/run-cli.ts";
import { registerUser, SOME_HASH } from "../support/accounts.ts";
import { MASTER_KEYS } from "../support/api.ts";
import { enableSystems } from "../support/compat.ts";
import { type CompatCaller, callerOf } from "../support/compat-callers.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { untilMonthGoesOn } from "../support/waiting.ts";
import { sqliteFixture } from "./fixtures/sqlite.ts";

// Headphone Mode's twelve tables on compat_headphone. Its document has no statements of its own, so these are the ones that its words
// call for, in the form of SQLite, for each of the three callers.

let db: TestDatabase;
let ada: string;
let bob: string;
beforeAll(async () => {
  db = await createTestDatabase();
  ada = await registerUser(db, "ada");
  bob = await registerUser(db, "bob");
  await enableSystems(db, ["headphone"]);
});
afterAll(async () => {
  await db.drop();
});

const ADA = "1";
const BOB = "2";

const asOwner = rowsAs("owner", () => db);

type Query = (sql: string, ...values: unknown[]) => Promise<pg.QueryResultRow[]>;
/** Runs in a rolled-back transaction as a caller, with the schema alone in the search path. */
const as = <T>(caller: CompatCaller, use: (query: Query, attempt: Query) => Promise<T>) =>
  callerOf(db, "compat_headphone", caller, (client) => {
    const query: Query = async (sql, ...values) => (await client.query(numbered(sql), values)).rows;
    const attempt: Query = async (sql, ...values) => {
      await client.query("savepoint attempt");
      try {
        return await query(sql, ...values);
      } finally {
        await client.query("rollback to savepoint attempt");
      }
    };
    return use(query, attempt);
  });

/** SQLite's placeholders in PostgreSQL's form. */
function numbered(sql: string): string {
  let count = 0;
  return sql.replaceAll("?", () => `$${++count}`);
}

test("shows accounts that existed before, with a number and without secrets", async () => {
  expect(await as("application", (query) => query("SELECT * FROM users WHERE username = ?", "ada"))).toEqual([
    {
      id: ADA,
      username: "ada",
      email: "ada@example.com",
      password_hash: null,
      salt: null,
      created_at: expect.any(Date),
    },
  ]);
  expect(
    await asOwner(
      "select number, row_id from plinth.external_ids where system = 'headphone' and relation = 'users' order by 1",
    ),
  ).toEqual([
    { number: ADA, row_id: ada },
    { number: BOB, row_id: bob },
  ]);
});

test("finds accounts by their number, name and address with an index", async () => {
  await withClient(db.adminUrl, async (client) => {
    await client.query("begin");
    await client.query(
      `insert into plinth.external_ids (system, relation, external_id, row_id)
       select 'headphone', 'users', n::text, gen_random_uuid() from generate_series(1000, 5000) n`,
    );
    await client.query("analyze plinth.external_ids");
    await client.query(`set local role ${roleName(db.rolePrefix, "application")}`);
    await client.query("set local enable_seqscan = off; set local search_path = compat_headphone");
    for (const [condition, index] of [
      ["id = 1", "external_ids_system_relation_number_key"],
      ["username = 'ada'", "users_username_key"],
      ["email = 'ada@example.com'", "users_email_key"],
    ]) {
      const { rows } = await client.query(`EXPLAIN SELECT * FROM users WHERE ${condition}`);
      expect(rows.map((line) => line["QUERY PLAN"]).join("\n")).toContain(`Scan using ${index}`);
    }
    await client.query("rollback");
  });
});

test("creates, changes and erases accounts", async () => {
  await as("application", async (query, attempt) => {
    const insert =
      "INSERT INTO users (username, email, password_hash, salt) VALUES (?, ?, ?, ?) RETURNING id, username, password_hash";
    expect(await query(insert, "eve", "eve@example.com", SOME_HASH, "salt")).toEqual([
      { id: "3", username: "eve", password_hash: null },
    ]);
    expect(await query("SELECT hash_algorithm, salt FROM security WHERE user_id = ?", 3)).toEqual([
      { hash_algorithm: "argon2id", salt: null },
    ]);
    await expect(attempt(insert, "EVE", "other@example.com", SOME_HASH, "salt")).rejects.toMatchObject({
      constraint: "users_username_key",
    });
    await query("UPDATE users SET email = ? WHERE id = ?", "eve2@example.com", 3);
    expect(await query("SELECT username FROM users WHERE email = ?", "eve2@example.com")).toEqual([
      { username: "eve" },
    ]);
    await query("INSERT INTO users (id, username, email) VALUES (?, ?, ?)", 70, "dan", "dan@example.com");
    expect(await query("SELECT id FROM users WHERE username = ?", "dan")).toEqual([{ id: "70" }]);
    await query("DELETE FROM users WHERE id = ?", 3);
    await query("DELETE FROM users WHERE id = ?", 70);
    expect(await query("SELECT id FROM users ORDER BY id")).toEqual([{ id: ADA }, { id: BOB }]);
    expect(await query("SELECT user_id FROM preferences ORDER BY user_id")).toEqual([
      { user_id: ADA },
      { user_id: BOB },
    ]);
  });
});

test("erases a deleted account as Plinth does, with a certificate", async () => {
  const carl = await registerUser(db, "carl");
  const client = await callerOf(db, "compat_headphone", "application", async (application) => {
    await application.query("DELETE FROM users WHERE username = 'carl'");
    await application.query("commit");
    return application.query("begin");
  });
  expect(client.command).toBe("BEGIN");
  expect(await asOwner("select requested_by from security.erasure_certificates")).toEqual([
    { requested_by: "database_role" },
  ]);
  expect(await asOwner("select from plinth.external_ids where row_id = $1 or user_id = $1", [carl])).toEqual(
    [],
  );
});

test("gives an account with an unknown hash no usable password, and says so", async () => {
  const notices: (string | undefined)[] = [];
  await callerOf(db, "compat_headphone", "application", async (client) => {
    client.on("notice", ({ message }) => notices.push(message));
    await client.query("INSERT INTO users (username, password_hash) VALUES ('eve', 'md5:1234')");
    const { rows } = await client.query("SELECT * FROM security WHERE user_id > 2");
    expect(rows).toEqual([]);
  });
  expect(notices).toEqual([expect.stringContaining("requestPasswordReset")]);
});

test("keeps sessions, and finds the one of a token", async () => {
  await as("application", async (query) => {
    const expiry = new Date(Date.now() + 3_600_000);
    const [session] = await query(
      "INSERT INTO sessions (user_id, session_token, expires_at) VALUES (?, ?, ?) RETURNING *",
      ADA,
      "a token",
      expiry,
    );
    expect(session).toEqual({
      id: "1",
      user_id: ADA,
      session_token: null,
      created_at: expect.any(Date),
      expires_at: expiry,
    });
    expect(await query("SELECT user_id FROM find_session(?)", "a token")).toEqual([{ user_id: ADA }]);
    expect(await query("SELECT user_id FROM find_session(?)", "another")).toEqual([]);
    expect(
      await query("SELECT id FROM sessions WHERE user_id = ? AND expires_at > CURRENT_TIMESTAMP", ADA),
    ).toEqual([{ id: "1" }]);
    const later = new Date(expiry.getTime() + 1_000);
    expect(
      await query("UPDATE sessions SET expires_at = ? WHERE id = ? RETURNING expires_at", later, 1),
    ).toEqual([{ expires_at: later }]);
    await query("DELETE FROM sessions WHERE id = ?", 1);
    expect(await query("SELECT * FROM sessions")).toEqual([]);
    expect(await query("SELECT user_id FROM find_session(?)", "a token")).toEqual([]);
  });
});

test("stores preferences, also a text that is no JSON", async () => {
  for (const caller of ["application", { application: ada }, { user: ada }] as const)
    await as(caller, async (query) => {
      const update =
        "UPDATE preferences SET preferences_data = ?, updated_at = CURRENT_TIMESTAMP WHERE user_id = ?";
      const select = "SELECT preferences_data FROM preferences WHERE user_id = ?";
      await query(update, '{"theme": "dark"}', ADA);
      expect(await query(select, ADA)).toEqual([{ preferences_data: '{"theme": "dark"}' }]);
      await query(update, "dark", ADA);
      expect(await query(select, ADA)).toEqual([{ preferences_data: "dark" }]);
      await query("DELETE FROM preferences WHERE user_id = ?", ADA);
      expect(await query(select, ADA)).toEqual([{ preferences_data: "{}" }]);
      expect(
        await query(
          "INSERT INTO preferences (user_id, preferences_data) VALUES (?, ?) RETURNING id, preferences_data",
          ADA,
          '{"a": 1}',
        ),
      ).toEqual([{ id: "1", preferences_data: '{"a": 1}' }]);
    });
});

test("counts tokens in the ledger, and resets the count", async () => {
  await as("application", async (query, attempt) => {
    await query("INSERT INTO usage_tracking (user_id) VALUES (?)", ADA);
    await query("UPDATE usage_tracking SET token_count = token_count + ? WHERE user_id = ?", 120, ADA);
    await query("UPDATE usage_tracking SET token_count = token_count + ? WHERE user_id = ?", 30, ADA);
    expect(await query("SELECT token_count FROM usage_tracking WHERE user_id = ?", ADA)).toEqual([
      { token_count: "150" },
    ]);
    await expect(
      attempt("UPDATE usage_tracking SET token_count = ? WHERE user_id = ?", 149, ADA),
    ).rejects.toMatchObject({ code: "PL422" });
    expect(
      await query(
        "UPDATE usage_tracking SET token_count = 0, last_reset = CURRENT_TIMESTAMP WHERE user_id = ? RETURNING token_count, last_reset = CURRENT_TIMESTAMP AS is_now",
        ADA,
      ),
    ).toEqual([{ token_count: "0", is_now: true }]);
    await query("UPDATE usage_tracking SET token_count = token_count + ? WHERE user_id = ?", 7, ADA);
    expect(await query("SELECT token_count FROM usage_tracking")).toEqual([{ token_count: "7" }]);
    // The ledger has every token, and the API shows all of this month.
    await query("select set_config('jwt.claims.user_id', ?, true)", ada);
    expect(await query("SELECT sum(total_tokens)::text AS sum FROM billing.usage_events")).toEqual([
      { sum: "157" },
    ]);
    expect(await query("SELECT used_this_period, lifetime_tokens FROM billing.token_balance()")).toEqual([
      { used_this_period: "157", lifetime_tokens: "157" },
    ]);
  });
});

test("starts, cancels and ends subscriptions", async () => {
  await as("application", async (query, attempt) => {
    const renewal = new Date(Date.now() + 20 * 86_400_000);
    const [row] = await query(
      "INSERT INTO subscriptions (user_id, plan_type, renewal_date, status) VALUES (?, ?, ?, ?) RETURNING *",
      ADA,
      "premium",
      renewal,
      "active",
    );
    expect(row).toEqual({
      id: "1",
      user_id: ADA,
      plan_type: "premium",
      renewal_date: renewal,
      status: "active",
    });
    for (const status of ["canceled", "active", "canceled", "expired"]) {
      await query("UPDATE subscriptions SET status = ? WHERE user_id = ?", status, ADA);
      expect(await query("SELECT status FROM subscriptions WHERE user_id = ?", ADA)).toEqual([{ status }]);
    }
    await query(
      "UPDATE subscriptions SET plan_type = ?, status = ? WHERE user_id = ?",
      "free",
      "active",
      ADA,
    );
    expect(await query("SELECT plan_type, status FROM subscriptions WHERE user_id = ?", ADA)).toEqual([
      { plan_type: "free", status: "active" },
    ]);
    for (const [column, value] of [
      ["plan_type", "gold"],
      ["status", "unknown"],
    ])
      await expect(
        attempt(`UPDATE subscriptions SET ${column} = ? WHERE user_id = ?`, value, ADA),
      ).rejects.toMatchObject({ code: "23514" });
  });
});

test("keeps roles and permissions, and grants them", async () => {
  await as("application", async (query) => {
    const [role] = await query("INSERT INTO roles (role_name) VALUES (?) RETURNING id", "dj");
    const [permission] = await query(
      "INSERT INTO permissions (permission_name) VALUES (?) RETURNING id",
      "mix",
    );
    await query(
      "INSERT INTO role_permissions (role_id, permission_id) VALUES (?, ?)",
      role!.id,
      permission!.id,
    );
    await query("INSERT INTO user_roles (user_id, role_id) VALUES (?, ?)", ADA, role!.id);
    const held =
      "SELECT p.permission_name FROM permissions p JOIN role_permissions rp ON rp.permission_id = p.id JOIN user_roles ur ON ur.role_id = rp.role_id WHERE ur.user_id = ? AND p.permission_name = ?";
    expect(await query(held, ADA, "mix")).toEqual([{ permission_name: "mix" }]);
    expect(await query(held, BOB, "mix")).toEqual([]);
    await query("UPDATE roles SET role_name = ? WHERE id = ?", "vj", role!.id);
    await query("DELETE FROM user_roles WHERE user_id = ? AND role_id = ?", ADA, role!.id);
    expect(await query(held, ADA, "mix")).toEqual([]);
    await query("DELETE FROM roles WHERE id = ?", role!.id);
    expect(await query("SELECT * FROM role_permissions WHERE role_id = ?", role!.id)).toEqual([]);
    await query("DELETE FROM permissions WHERE id = ?", permission!.id);
  });
});

test("keeps prompts, and counts their uses", async () => {
  const insert = "INSERT INTO prompts (name, content) VALUES (?, ?) RETURNING id";
  await as("application", async (query, attempt) => {
    const [prompt] = await query(insert, "greeting", "Say hello.");
    const use = "UPDATE user_prompts SET usage_count = usage_count + 1 WHERE user_id = ? AND prompt_id = ?";
    await query("INSERT INTO user_prompts (user_id, prompt_id) VALUES (?, ?)", ADA, prompt!.id);
    await query(use, ADA, prompt!.id);
    await query(use, ADA, prompt!.id);
    expect(await query("SELECT * FROM user_prompts WHERE user_id = ?", ADA)).toEqual([
      { user_id: ADA, prompt_id: prompt!.id, usage_count: "2" },
    ]);
    await expect(
      attempt("INSERT INTO user_prompts (user_id, prompt_id) VALUES (?, ?)", ADA, prompt!.id),
    ).rejects.toMatchObject({ code: "23505" });
    await query("UPDATE prompts SET content = ? WHERE id = ?", "Say hi.", prompt!.id);
    expect(await query("SELECT content FROM prompts WHERE name = ?", "greeting")).toEqual([
      { content: "Say hi." },
    ]);
    await query("DELETE FROM prompts WHERE id = ?", prompt!.id);
    expect(await query("SELECT * FROM user_prompts")).toEqual([]);
  });
  await as({ user: ada }, async (query, attempt) => {
    const [prompt] = await query(insert, "mine", "Say it.");
    await query(
      "INSERT INTO user_prompts (user_id, prompt_id, usage_count) VALUES (?, ?, 1)",
      ADA,
      prompt!.id,
    );
    expect(await query("SELECT usage_count FROM user_prompts")).toEqual([{ usage_count: "1" }]);
    await expect(
      attempt("UPDATE user_prompts SET usage_count = 100 WHERE user_id = ?", ADA),
    ).rejects.toMatchObject({ code: "PL422" });
  });
});

test("lets a user do no more than the API does", async () => {
  await as({ user: ada }, async (query, attempt) => {
    expect(await query("SELECT username FROM users")).toEqual([{ username: "ada" }]);
    expect(await query("UPDATE users SET username = ? RETURNING username", "ada2")).toEqual([
      { username: "ada2" },
    ]);
    for (const denied of [
      "UPDATE users SET email = 'x@example.com'",
      "DELETE FROM users",
      "UPDATE subscriptions SET status = 'active'",
      "UPDATE usage_tracking SET token_count = 0",
      "INSERT INTO sessions (user_id, session_token) VALUES (1, 'x')",
      "INSERT INTO roles (role_name) VALUES ('root')",
      "INSERT INTO user_roles SELECT 1, id FROM roles WHERE role_name = 'admin'",
    ])
      await expect(attempt(denied)).rejects.toMatchObject({ code: "42501" });
  });
});

test("lets an analyst read each table, without names and texts", async () => {
  await as("application", async (query) => {
    await query("INSERT INTO prompts (name, content) VALUES ('greeting', 'Say hello.')");
    await query("commit");
  });
  await as("analyst", async (query, attempt) => {
    const tables = await query(
      "SELECT viewname FROM pg_catalog.pg_views WHERE schemaname = 'compat_headphone' ORDER BY 1",
    );
    expect(tables.map(({ viewname }) => viewname)).toEqual([
      "permissions",
      "preferences",
      "prompts",
      "role_permissions",
      "roles",
      "security",
      "sessions",
      "subscriptions",
      "usage_tracking",
      "user_prompts",
      "user_roles",
      "users",
    ]);
    for (const { viewname } of tables) await query(`SELECT * FROM ${viewname}`);
    expect(await query("SELECT id, username, email FROM users ORDER BY id")).toEqual([
      { id: ADA, username: null, email: null },
      { id: BOB, username: null, email: null },
    ]);
    expect(await query("SELECT DISTINCT name, content FROM prompts")).toEqual([
      { name: null, content: null },
    ]);
    await expect(attempt("DELETE FROM users")).rejects.toMatchObject({ code: "42501" });
  });
});

test("shows imported rows under the ids that they had, and rejects an import while it is enabled", async () => {
  await untilMonthGoesOn();
  const moved = await createTestDatabase();
  const source = sqliteFixture("headphone");
  try {
    const importIt = () =>
      cli(["import", "system", "headphone-mode", "--from", source.path, "--json"], {
        env: { ...databaseEnv(moved), PLINTH_MASTER_KEYS: MASTER_KEYS },
      });
    expect((await importIt()).code).toBe(0);
    await enableSystems(moved, ["headphone"]);
    await callerOf(moved, "compat_headphone", "application", async (client) => {
      const all = async (sql: string) => (await client.query(sql)).rows;
      expect(await all("SELECT id, username FROM users WHERE id <= 3 ORDER BY id")).toEqual([
        { id: "1", username: "ada" },
        { id: "2", username: "ada-2" },
        { id: "3", username: "bob-muller" },
      ]);
      expect(await all("SELECT preferences_data FROM preferences WHERE id = 3")).toEqual([
        { preferences_data: "loud and dark" },
      ]);
      expect(await all("SELECT id, user_id, token_count FROM usage_tracking WHERE id = 1")).toEqual([
        { id: "1", user_id: "1", token_count: "1200" },
      ]);
      expect(await all("SELECT id, plan_type, status FROM subscriptions ORDER BY id")).toEqual([
        { id: "1", plan_type: "premium", status: "active" },
        { id: "2", plan_type: "free", status: "active" },
        { id: "3", plan_type: "premium", status: "expired" },
        { id: "4", plan_type: "premium", status: "canceled" },
        { id: "5", plan_type: "premium", status: "canceled" },
        // Past due here, which the document does not know.
        { id: "6", plan_type: "premium", status: "active" },
      ]);
      expect(await all("SELECT id, name FROM prompts WHERE id <= 2 ORDER BY id")).toEqual([
        { id: "1", name: "Calm" },
        { id: "2", name: "Focus 集中" },
      ]);
      // A further row has the next number.
      expect(await all("INSERT INTO users (username) VALUES ('nina') RETURNING id")).toEqual([{ id: "9" }]);
    });
    await withClient(moved.url("owner"), (client) =>
      client.query("delete from identity.users where username = 'ada'"),
    );
    const again = await importIt();
    expect(again.code).toBe(1);
    expect(again.stderr).toContain("Run plinth compat disable headphone");
  } finally {
    source.remove();
    await moved.drop();
  }
});
