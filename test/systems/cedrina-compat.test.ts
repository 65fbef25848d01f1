import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type pg from "pg";
import { roleName } from "../../src/config/roles.ts";
import { type Api, signIn, startApi } from "../support/api.ts";
import { enableSystems } from "../support/compat.ts";
import { type CompatCaller, callerOf } from "../support/compat-callers.ts";
import {
  createTestDatabase,
  expectSqlState,
  inTransaction,
  rowsAs,
  type TestDatabase,
} from "../support/database.ts";

// Cedrina's document on compat_cedrina. The statements are the document's own; its writes are those of a backend that has its tables.

/** "Query Optimization". */
const USER_LOOKUP = `SELECT id, username, email, role, tier, is_active
FROM users 
WHERE username = $1 AND is_active = true;`;
const SESSION_CLEANUP = `DELETE FROM sessions 
WHERE expires_at < NOW() AND is_active = true;`;
const AUDIT_RANGE = `SELECT event_type, event_data, created_at
FROM audit_logs 
WHERE user_id = $1 
  AND created_at >= $2 
  AND created_at <= $3
ORDER BY created_at DESC;`;
/** "Health Checks". */
const HEALTH = [
  "SELECT COUNT(*) FROM users WHERE is_active = true;",
  "SELECT COUNT(*) FROM sessions WHERE expires_at > NOW();",
  "SELECT COUNT(*) FROM audit_logs WHERE created_at > NOW() - INTERVAL '1 hour';",
];

const TABLES = [
  "users",
  "oauth_profiles",
  "sessions",
  "password_reset_tokens",
  "casbin_rules",
  "audit_logs",
  "rate_limit_records",
];
const DOCUMENT = readFileSync(join(import.meta.dirname, "fixtures/cedrina/schema.sql"), "utf8");
/** bcrypt of the password "correct horse battery staple". */
const HASH = "$2b$10$BYSsqG9mVy3VZvEAGSZf6ONO5R8untTFFSrEHgZXBQ8ljNaDV7Z72";
const MODEL = `[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act
`;

let db: TestDatabase;
let api: Api;
/** Their numbers in the views, and their ids. */
const ada = { number: 0, id: "" };
const bob = { number: 0, id: "" };
beforeAll(async () => {
  db = await createTestDatabase();
  await enableSystems(db, ["cedrina"]);
  // Another system beside it changes nothing.
  await enableSystems(db, ["headphone"]);
  for (const [name, person] of Object.entries({ ada, bob })) {
    const [row] = await committed(
      "INSERT INTO users (username, email, hashed_password, is_verified, role, tier) VALUES ($1, $2, $3, TRUE, $4, $5) RETURNING id",
      name,
      `${name}@example.org`,
      HASH,
      name === "ada" ? "ADMIN" : "USER",
      name === "ada" ? "PREMIUM" : "FREE",
    );
    person.number = row!.id;
    person.id = (await asOwner("select id from identity.users where username = $1", [name]))[0]!.id;
  }
  api = await startApi(db);
});
afterAll(async () => {
  await api?.close();
  await db?.drop();
});

const asOwner = rowsAs("owner", () => db);

type Query = (sql: string, ...values: unknown[]) => Promise<pg.QueryResult>;

/** Runs in a rolled-back transaction as a caller, with the schema alone in the search path. */
const as = <T>(caller: CompatCaller, use: (query: Query) => Promise<T>): Promise<T> =>
  callerOf(db, "compat_cedrina", caller, (client) => use((sql, ...values) => client.query(sql, values)));

/** Runs as the document's backend and commits. */
async function committed(sql: string, ...values: unknown[]): Promise<pg.QueryResultRow[]> {
  return inTransaction(db.url("application"), async (client) => {
    await client.query("set local search_path = compat_cedrina");
    return (await client.query(sql, values)).rows;
  });
}

const rowsOf = async (caller: CompatCaller, sql: string, ...values: unknown[]) =>
  (await as(caller, (query) => query(sql, ...values))).rows;

test("has each table and column of the document, with its type and in its order [C1, C2, C3, C4, C5, C6, C7]", async () => {
  const columns = `select table_name, column_name, data_type from information_schema.columns
    where table_schema = $1 order by table_name, ordinal_position`;
  const documented = await inTransaction(db.url("owner"), async (client) => {
    await client.query("create schema document; set local search_path = document");
    await client.query(DOCUMENT);
    const { rows } = await client.query(columns, ["document"]);
    await client.query("rollback; begin");
    return rows;
  });
  expect(documented).toHaveLength(18 + 10 + 12 + 10 + 13 + 11 + 10);
  expect(await rowsOf("application", columns, "compat_cedrina")).toEqual(documented);
});

describe("users", () => {
  test("are found by name, with role and tier, by the backend and by the user, and without a name by analysts [C9]", async () => {
    const found = {
      id: ada.number,
      username: "ada",
      email: "ada@example.org",
      role: "ADMIN",
      tier: "PREMIUM",
      is_active: true,
    };
    for (const caller of ["application", { application: ada.id }, { user: ada.id }] as const)
      expect(await rowsOf(caller, USER_LOOKUP, "ada")).toEqual([found]);
    for (const caller of [{ application: bob.id }, { user: bob.id }, "analyst"] as const)
      expect(await rowsOf(caller, USER_LOOKUP, "ada")).toEqual([]);
    expect(await rowsOf("analyst", "SELECT id, username, role, tier FROM users ORDER BY id")).toEqual([
      { id: ada.number, username: null, role: "ADMIN", tier: "PREMIUM" },
      { id: bob.number, username: null, role: "USER", tier: "FREE" },
    ]);
  });

  test("that the backend inserts sign in with their bcrypt hash, which no caller reads", async () => {
    const { userId, token } = await signIn(api, "ada");
    expect(userId).toBe(ada.id);
    const answer = await api.ask("{ currentUser { username role tier isVerified } }", { token });
    expect(answer.data).toEqual({
      currentUser: { username: "ada", role: "admin", tier: "premium", isVerified: true },
    });
    for (const caller of ["application", "analyst", { user: ada.id }] as const)
      expect(await rowsOf(caller, "SELECT 1 FROM users WHERE hashed_password IS NOT NULL")).toEqual([]);
    expect(
      await asOwner("select hash_algorithm from private.user_passwords where user_id = $1", [bob.id]),
    ).toEqual([{ hash_algorithm: "bcrypt" }]);
  });

  test("get the document's defaults, their own numbers and values, and a NOTICE for a text that is no hash [C1]", async () => {
    await callerOf(db, "compat_cedrina", "application", async (client) => {
      const notices: (string | undefined)[] = [];
      client.on("notice", ({ message }) => notices.push(message));
      const [eve] = (
        await client.query(
          "INSERT INTO users (username, email, hashed_password) VALUES ('eve', 'eve@example.org', 'hashed_pw') RETURNING *",
        )
      ).rows;
      expect(eve).toMatchObject({
        username: "eve",
        hashed_password: null,
        is_active: true,
        is_verified: false,
        role: "USER",
        tier: "FREE",
        failed_login_attempts: 0,
        locked_until: null,
        preferences: {},
        metadata: {},
      });
      expect(notices).toEqual([expect.stringContaining("unknown format")]);
      const values = {
        id: 4711,
        is_active: false,
        failed_login_attempts: 3,
        locked_until: new Date("2123-01-01T00:00:00Z"),
        last_login_at: new Date("2024-01-01T00:00:00Z"),
        created_at: new Date("2023-01-01T00:00:00Z"),
        email_verified_at: new Date("2023-01-02T00:00:00Z"),
        profile_data: { name: "Fay", nothing: null },
        preferences: { theme: "dark" },
        metadata: { source: "web" },
      };
      const names = Object.keys(values);
      const { rows } = await client.query(
        `INSERT INTO users (username, email, hashed_password, ${names.join(", ")})
         VALUES ('fay', 'fay@example.org', '', ${names.map((_, n) => `$${n + 1}`).join(", ")}) RETURNING *`,
        Object.values(values),
      );
      expect(rows[0]).toMatchObject({ ...values, is_verified: true });
    });
  });

  test("are changed and erased by the backend, by Plinth's rules [C1, C11]", async () => {
    await as("application", async (query) => {
      const { rows } = await query(
        `UPDATE users SET username = 'bobby', email = 'bobby@example.org', role = 'MODERATOR', tier = 'PREMIUM', is_active = FALSE,
           failed_login_attempts = 5, locked_until = '2123-01-01', profile_data = '{"city": "Rome"}', preferences = '{"theme": "light"}',
           metadata = '{"a": 1}', updated_at = NOW()
         WHERE id = $1 RETURNING *`,
        bob.number,
      );
      expect(rows[0]).toMatchObject({
        username: "bobby",
        // A new address is not verified.
        is_verified: false,
        role: "MODERATOR",
        tier: "PREMIUM",
        is_active: false,
        failed_login_attempts: 5,
        preferences: { theme: "light" },
      });
      expect(
        (
          await query(
            "UPDATE users SET tier = 'FREE', role = 'USER', is_active = TRUE WHERE id = $1 RETURNING role, tier",
            bob.number,
          )
        ).rows,
      ).toEqual([{ role: "USER", tier: "FREE" }]);
      expect((await query("DELETE FROM users WHERE id = $1", bob.number)).rowCount).toBe(1);
      expect((await query("SELECT 1 FROM users WHERE id = $1", bob.number)).rows).toEqual([]);
    });
    // Another spelling of the same role and tier changes nothing: no period is added.
    await as("application", async (query) => {
      const periods = "SELECT current_period_end FROM billing.user_subscriptions";
      const before = (await query(periods)).rows;
      expect(before).toHaveLength(1);
      await query("UPDATE users SET role = 'admin', tier = 'premium' WHERE username = 'ada'");
      expect((await query("SELECT role, tier FROM users WHERE username = 'ada'")).rows).toEqual([
        { role: "ADMIN", tier: "PREMIUM" },
      ]);
      expect((await query(periods)).rows).toEqual(before);
    });
    for (const [sql, code] of [
      ["UPDATE users SET role = 'OWNER' WHERE username = 'bob'", "PL404"],
      ["UPDATE users SET tier = 'PLATINUM' WHERE username = 'bob'", "PL404"],
      ["UPDATE users SET username = 'ada' WHERE username = 'bob'", "23505"],
      // An administrator must remain.
      ["UPDATE users SET role = 'USER' WHERE username = 'ada'", "PL409"],
      ["INSERT INTO users (username, email, hashed_password) VALUES ('bob', 'b@example.org', 'x')", "23505"],
    ] as const)
      await as("application", (query) => expectSqlState(query(sql), code));
  });

  test("change their own profile and settings, and nothing else", async () => {
    await as({ user: bob.id }, async (query) => {
      const { rowCount } = await query(
        `UPDATE users SET profile_data = '{"city": "Rome"}', preferences = '{"theme": "dark"}'`,
      );
      expect(rowCount).toBe(1);
      expect((await query("SELECT preferences FROM users")).rows).toEqual([
        { preferences: { theme: "dark" } },
      ]);
    });
    for (const sql of [
      "UPDATE users SET role = 'ADMIN'",
      "UPDATE users SET failed_login_attempts = 0",
      "DELETE FROM users",
      "INSERT INTO users (username, email, hashed_password) VALUES ('x1', 'x@example.org', 'x')",
    ])
      await as({ user: bob.id }, (query) => expectSqlState(query(sql), "42501"));
    for (const [sql, code] of [
      ["UPDATE users SET tier = 'PREMIUM'", "PL403"],
      ["UPDATE users SET is_verified = FALSE", "PL403"],
      ["UPDATE users SET failed_login_attempts = 7", "PL403"],
      ["UPDATE users SET role = 'ADMIN'", "42501"],
      ["INSERT INTO users (username, email, hashed_password) VALUES ('x1', 'x@example.org', 'x')", "PL403"],
    ] as const)
      await as({ application: bob.id }, (query) => expectSqlState(query(sql), code));
  });
});

describe("oauth_profiles", () => {
  const INSERT = `INSERT INTO oauth_profiles (user_id, provider, provider_user_id, access_token, refresh_token, token_expires_at, user_info)
    VALUES ($1, 'Google', 'sub-1', 'access', 'refresh', NOW() + INTERVAL '1 hour', '{"name": "Bob"}')`;

  test("are linked, changed and unlinked by the backend, without the tokens [C2]", async () => {
    await as("application", async (query) => {
      const { rows } = await query(`${INSERT} RETURNING *`, bob.number);
      expect(rows[0]).toMatchObject({
        user_id: bob.number,
        provider: "google",
        provider_user_id: "sub-1",
        access_token: null,
        refresh_token: null,
        user_info: { name: "Bob" },
      });
      expect(
        (await query('UPDATE oauth_profiles SET user_info = \'{"name": "B."}\' RETURNING id, user_info'))
          .rows,
      ).toEqual([{ id: rows[0].id, user_info: { name: "B." } }]);
      await query("SAVEPOINT linked");
      // Both unique constraints of the document.
      await expectSqlState(query(INSERT.replace("sub-1", "sub-2"), bob.number), "23505");
      await query("ROLLBACK TO linked");
      await expectSqlState(query(INSERT, ada.number), "23505");
      await query("ROLLBACK TO linked");
      expect((await query("DELETE FROM oauth_profiles")).rowCount).toBe(1);
    });
  });

  test("show users their own, analysts no person, and let no user link one", async () => {
    await committed(INSERT, bob.number);
    const sql = "SELECT user_id, provider, provider_user_id, user_info FROM oauth_profiles";
    const own = {
      user_id: bob.number,
      provider: "google",
      provider_user_id: "sub-1",
      user_info: { name: "Bob" },
    };
    expect(await rowsOf({ user: bob.id }, sql)).toEqual([own]);
    for (const other of [{ user: ada.id }, { application: ada.id }])
      expect(await rowsOf(other, sql)).toEqual([]);
    expect(await rowsOf("analyst", sql)).toEqual([{ ...own, provider_user_id: null, user_info: null }]);
    await as({ user: ada.id }, (query) => expectSqlState(query(INSERT, ada.number), "42501"));
    for (const number of [ada.number, bob.number])
      await as({ application: ada.id }, (query) =>
        expectSqlState(query(INSERT.replaceAll("oogle", "itlab"), number), "42501"),
      );
  });
});

describe("sessions", () => {
  const INSERT = `INSERT INTO sessions (user_id, session_token, refresh_token, expires_at, client_ip, user_agent, device_info)
    VALUES ($1, $2, $3, $4, '192.0.2.7', 'curl/8', '{"os": "Linux"}')`;
  const EXPIRED = "2024-01-01T00:00:00Z";
  const LIVE = "2123-01-01T00:00:00Z";

  test("are opened with a token that is stored as a hash, used and closed by the backend [C3]", async () => {
    await as("application", async (query) => {
      const { rows } = await query(
        `${INSERT} RETURNING *`,
        bob.number,
        "secret-session",
        "secret-refresh",
        LIVE,
      );
      expect(rows[0]).toMatchObject({
        user_id: bob.number,
        session_token: null,
        refresh_token: null,
        is_active: true,
        expires_at: new Date(LIVE),
        client_ip: "192.0.2.7",
        user_agent: "curl/8",
        device_info: { os: "Linux" },
      });
      const found = "SELECT id FROM compat_cedrina.find_session('secret-session')";
      expect((await query(found)).rows).toEqual([{ id: rows[0].id }]);
      await query(
        "UPDATE sessions SET last_activity_at = NOW(), client_ip = '192.0.2.8' WHERE id = $1",
        rows[0].id,
      );
      expect(
        (
          await query(
            "UPDATE sessions SET is_active = FALSE WHERE id = $1 RETURNING is_active, client_ip",
            rows[0].id,
          )
        ).rows,
      ).toEqual([{ is_active: false, client_ip: "192.0.2.8" }]);
      expect((await query(found)).rows).toEqual([]);
      await query("SAVEPOINT closed");
      await expectSqlState(query("UPDATE sessions SET is_active = TRUE WHERE id = $1", rows[0].id), "PL409");
      await query("ROLLBACK TO closed");
      expect((await query("DELETE FROM sessions WHERE id = $1", rows[0].id)).rowCount).toBe(1);
    });
  });

  test("end by the document's cleanup as by Plinth's job, with their number returned [C3, C9, C13]", async () => {
    await committed(INSERT, bob.number, "s1", "r1", EXPIRED);
    await committed(INSERT, bob.number, "s2", "r2", LIVE);
    await committed(INSERT, ada.number, "s3", "r3", EXPIRED);
    await committed(INSERT, ada.number, "s4", "r4", EXPIRED);
    const ended = `select count(*)::int as n from identity.user_sessions where end_reason = 'expired' and ended_at is not null`;
    // A user ends the own sessions only.
    for (const caller of [{ user: bob.id }, { application: bob.id }] as const)
      expect((await as(caller, (query) => query(SESSION_CLEANUP))).rowCount).toBe(1);
    await as("analyst", (query) => expectSqlState(query(SESSION_CLEANUP), "42501"));
    const { rowCount } = await as("application", (query) => query(SESSION_CLEANUP));
    expect(rowCount).toBe(3);
    expect(await asOwner(ended)).toEqual([{ n: 0 }]);
    await committed(SESSION_CLEANUP);
    expect(await asOwner(ended)).toEqual([{ n: 3 }]);
    expect((await as("application", (query) => query(SESSION_CLEANUP))).rowCount).toBe(0);
    expect(await asOwner("select private.end_expired_sessions(100) as n")).toEqual([{ n: 0 }]);
    // The list of the user's sessions in the API shows the end.
    const { token } = await signIn(api, "bob");
    const answer = await api.ask("{ userSessions { nodes { userAgent isActive endReason } } }", { token });
    expect(
      answer.data.userSessions.nodes.filter((node: { userAgent: string }) => node.userAgent === "curl/8"),
    ).toEqual([
      { userAgent: "curl/8", isActive: false, endReason: "expired" },
      { userAgent: "curl/8", isActive: true, endReason: null },
    ]);
  });

  test("show users their own, and analysts no address, device or token", async () => {
    const mine = await rowsOf({ user: ada.id }, "SELECT DISTINCT user_id FROM sessions");
    expect(mine).toEqual([{ user_id: ada.number }]);
    const [row] = await rowsOf("analyst", "SELECT * FROM sessions WHERE user_id = $1", bob.number);
    expect(row).toMatchObject({
      session_token: null,
      refresh_token: null,
      client_ip: null,
      user_agent: null,
      device_info: null,
      security_context: null,
    });
    // Another user's session cannot be ended.
    for (const caller of [{ user: bob.id }, { application: bob.id }] as const)
      expect(
        (await as(caller, (query) => query("DELETE FROM sessions WHERE user_id = $1", ada.number))).rowCount,
      ).toBe(0);
    await as({ application: bob.id }, (query) =>
      expectSqlState(query(INSERT, ada.number, "s9", "r9", LIVE), "PL403"),
    );
  });
});

describe("password_reset_tokens", () => {
  test("are recorded, used up and deleted by the backend, and their hash is read by no caller [C4]", async () => {
    const token = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    await as("application", async (query) => {
      const { rows } = await query(
        `INSERT INTO password_reset_tokens (user_id, token_hash, expires_at, client_ip) VALUES ($1, $2, $3, '192.0.2.7') RETURNING *`,
        bob.number,
        token,
        "2123-01-01T00:00:00Z",
      );
      expect(rows[0]).toMatchObject({
        user_id: bob.number,
        token_hash: null,
        is_used: false,
        used_at: null,
        client_ip: "192.0.2.7",
      });
      expect(
        (
          await query(
            "UPDATE password_reset_tokens SET is_used = TRUE WHERE id = $1 RETURNING is_used, used_at",
            rows[0].id,
          )
        ).rows,
      ).toEqual([{ is_used: true, used_at: expect.any(Date) }]);
      expect(
        (await query("UPDATE password_reset_tokens SET is_used = FALSE, used_at = NULL RETURNING is_used"))
          .rows,
      ).toEqual([{ is_used: true }]);
      expect((await query("SELECT token_hash FROM password_reset_tokens")).rows).toEqual([
        { token_hash: null },
      ]);
      expect((await query("DELETE FROM password_reset_tokens")).rowCount).toBe(1);
    });
    await committed(
      "INSERT INTO password_reset_tokens (user_id, token_hash, expires_at, user_agent) VALUES ($1, 'not a SHA-256', NOW(), 'curl')",
      bob.number,
    );
    expect(await asOwner("select octet_length(token_hash) as n from private.password_reset_tokens")).toEqual([
      { n: 32 },
    ]);
    const sql = "SELECT user_id, user_agent FROM password_reset_tokens";
    expect(await rowsOf({ user: bob.id }, sql)).toEqual([{ user_id: bob.number, user_agent: "curl" }]);
    expect(await rowsOf({ user: ada.id }, sql)).toEqual([]);
    expect(await rowsOf("analyst", sql)).toEqual([{ user_id: bob.number, user_agent: null }]);
    const add = "INSERT INTO password_reset_tokens (user_id, token_hash, expires_at) VALUES ($1, 'x', NOW())";
    await as({ user: bob.id }, (query) => expectSqlState(query(add, bob.number), "42501"));
    await as({ application: ada.id }, (query) => expectSqlState(query(add, bob.number), "PL403"));
  });
});

describe("casbin_rules", () => {
  const INSERT = "INSERT INTO casbin_rules (ptype, v0, v1, v2, created_by) VALUES ($1, $2, $3, $4, 'system')";

  test("are written by the backend, checked by the model, and decide at once [C5]", async () => {
    await as("application", (query) =>
      expectSqlState(query(INSERT, "p", "USER", "/profile", "GET"), "23503"),
    );
    await asOwner("select access.replace_casbin_policy('default', $1, '[]')", [MODEL]);
    const isAllowed = async (query: Query) =>
      (await query("SELECT access.enforce('bob', '/profile', 'GET') AS allowed")).rows[0].allowed;
    await as("application", async (query) => {
      const { rows } = await query(`${INSERT} RETURNING *`, "p", "USER", "/profile", "GET");
      expect(rows[0]).toMatchObject({ ptype: "p", v0: "USER", v2: "GET", v3: null, is_active: true });
      await query(INSERT, "g", "bob", "USER", null);
      expect(await isAllowed(query)).toBe(true);
      await query(
        "UPDATE casbin_rules SET is_active = FALSE, updated_by = 'system', updated_at = NOW() WHERE id = $1",
        rows[0].id,
      );
      expect(await isAllowed(query)).toBe(false);
      await query("UPDATE casbin_rules SET is_active = TRUE WHERE id = $1", rows[0].id);
      expect(await isAllowed(query)).toBe(true);
      expect((await query("DELETE FROM casbin_rules WHERE ptype = 'p'")).rowCount).toBe(1);
      expect(await isAllowed(query)).toBe(false);
      await expectSqlState(query(INSERT, "p2", "USER", "/x", "GET"), "PL422");
    });
  });

  test("are shown to users who may manage them, and to analysts without their values", async () => {
    await committed(INSERT, "p", "USER", "/profile", "GET");
    const sql = "SELECT ptype, v0 FROM casbin_rules";
    expect(await rowsOf({ user: ada.id }, sql)).toEqual([{ ptype: "p", v0: "USER" }]);
    expect(await rowsOf({ user: bob.id }, sql)).toEqual([]);
    expect(await rowsOf("analyst", sql)).toEqual([{ ptype: "p", v0: null }]);
    await as({ user: ada.id }, (query) => expectSqlState(query(INSERT, "g", "ada", "USER", null), "42501"));
    await as({ application: bob.id }, (query) =>
      expectSqlState(query(INSERT, "g", "bob", "ADMIN", null), "42501"),
    );
  });
});

describe("audit_logs", () => {
  const INSERT = `INSERT INTO audit_logs (user_id, event_type, event_data, client_ip, user_agent, correlation_id, severity, source, metadata)
    VALUES ($1, $2, $3, '192.0.2.7', 'curl/8', 'c-1', 'WARNING', 'auth', '{"ticket": 7}')`;

  test("are found by user and time, with the event as the backend wrote it [C6, C9]", async () => {
    await committed(INSERT, bob.number, "LOGIN.FAILED", { reason: "wrong password" });
    await committed(INSERT, bob.number, "export", JSON.stringify(["a", "b"]));
    const range = [bob.number, new Date(Date.now() - 3_600_000), new Date(Date.now() + 3_600_000)];
    const events = [
      { event_type: "export", event_data: ["a", "b"], created_at: expect.any(Date) },
      { event_type: "LOGIN.FAILED", event_data: { reason: "wrong password" }, created_at: expect.any(Date) },
    ];
    for (const caller of ["application", { application: bob.id }, { user: bob.id }] as const)
      expect((await rowsOf(caller, AUDIT_RANGE, ...range)).slice(0, 2)).toEqual(events);
    for (const caller of [{ application: ada.id }, { user: ada.id }] as const) {
      // An administrator may read all events in the API, and so here.
      const rows = await rowsOf(caller, AUDIT_RANGE, ...range);
      expect(rows.length > 0).toBe(true);
    }
    const [first, second] = await rowsOf("analyst", AUDIT_RANGE, ...range);
    expect([first, second]).toEqual([
      { event_type: "export", event_data: null, created_at: expect.any(Date) },
      { event_type: "login_failed", event_data: null, created_at: expect.any(Date) },
    ]);
    const { token } = await signIn(api, "bob");
    const answer = await api.ask(
      '{ securityAuditLogs(filter: { eventType: { equalTo: "login_failed" }, correlationId: { equalTo: "c-1" } }) { nodes { severity eventData ipAddress } } }',
      { token },
    );
    expect(answer.data?.securityAuditLogs.nodes).toEqual([
      { severity: "warning", eventData: { reason: "wrong password" }, ipAddress: "192.0.2.7" },
    ]);
  });

  test("name the role that wrote them, stay as they are and stay when the account goes [C6]", async () => {
    expect(
      await asOwner(
        "select distinct source, actor_kind from security.security_audit_log where correlation_id = 'c-1'",
      ),
    ).toEqual([{ source: `${db.rolePrefix}_application`, actor_kind: "database_role" }]);
    await as("application", async (query) => {
      const { rows } = await query(`${INSERT} RETURNING *`, null, "startup", {});
      expect(rows[0]).toMatchObject({
        user_id: null,
        severity: "WARNING",
        source: "auth",
        metadata: { ticket: 7 },
      });
      await query("SAVEPOINT written");
      for (const sql of ["UPDATE audit_logs SET severity = 'INFO'", "DELETE FROM audit_logs"]) {
        await expectSqlState(query(sql), "PL403");
        await query("ROLLBACK TO written");
      }
      const [before] = (await query("SELECT id FROM audit_logs WHERE event_type = 'LOGIN.FAILED'")).rows;
      await query("DELETE FROM users WHERE id = $1", bob.number);
      expect((await query("SELECT user_id FROM audit_logs WHERE id = $1", before.id)).rows).toEqual([
        { user_id: null },
      ]);
    });
    await as({ user: bob.id }, (query) => expectSqlState(query(INSERT, bob.number, "x", {}), "42501"));
    await as({ application: bob.id }, (query) => expectSqlState(query(INSERT, ada.number, "x", {}), "PL403"));
  });
});

describe("rate_limit_records", () => {
  const INSERT = `INSERT INTO rate_limit_records (key_hash, algorithm, window_start, window_end, limit_value, metadata)
    VALUES ($1, $2, '2024-01-01 10:00:00+00', '2024-01-01 10:01:00+00', 5, '{"endpoint": "/login"}')`;

  test("are counted by the backend under its own keys, once per key, algorithm and window [C7]", async () => {
    await as("application", async (query) => {
      for (const [key, algorithm] of [
        ["2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", "fixed_window"],
        ["d41d8cd98f00b204e9800998ecf8427e", "TOKEN_BUCKET"],
        ["login", "sliding-window"],
      ]) {
        const { rows } = await query(`${INSERT} RETURNING *`, key, algorithm);
        expect(rows[0]).toMatchObject({
          key_hash: key,
          algorithm,
          request_count: 1,
          limit_value: 5,
          metadata: { endpoint: "/login" },
        });
        expect(
          (
            await query(
              "UPDATE rate_limit_records SET request_count = request_count + 1 WHERE key_hash = $1 AND algorithm = $2 RETURNING request_count",
              key,
              algorithm,
            )
          ).rows,
        ).toEqual([{ request_count: 2 }]);
        await query("SAVEPOINT counted");
        await expectSqlState(query(INSERT, key, algorithm), "23505");
        await query("ROLLBACK TO counted");
      }
      await query("SAVEPOINT counted");
      await expectSqlState(query(INSERT, "key", "leaky_bucket"), "23514");
      await query("ROLLBACK TO counted");
      expect(
        (
          await query(
            "DELETE FROM rate_limit_records WHERE window_end < NOW() AND window_start = '2024-01-01 10:00:00+00'",
          )
        ).rowCount,
      ).toBe(3);
    });
    await committed(INSERT, "login", "fixed_window");
    for (const caller of [{ user: bob.id }, { application: bob.id }] as const)
      expect(await rowsOf(caller, "SELECT * FROM rate_limit_records")).toEqual([]);
    expect(
      await rowsOf(
        "analyst",
        "SELECT key_hash, algorithm, metadata FROM rate_limit_records WHERE window_start = '2024-01-01 10:00:00+00'",
      ),
    ).toEqual([{ key_hash: null, algorithm: "fixed_window", metadata: null }]);
    await as({ application: bob.id }, (query) => expectSqlState(query(INSERT, "x", "fixed_window"), "42501"));
  });
});

test("answers the health checks for the backend and analysts in whole, and for a user with the own rows [C9, C13]", async () => {
  const counts = async (caller: CompatCaller) => {
    const found: number[] = [];
    for (const sql of HEALTH) found.push(Number((await rowsOf(caller, sql))[0]!.count));
    return found;
  };
  // The events of the migrations, which ran long before, do not leave the last hour between two readings.
  await asOwner(
    "update security.security_audit_log set created_at = now() where created_at < now() - interval '10 minutes'",
  );
  const [owner] = await asOwner(
    `select
       (select count(*)::int from identity.users where is_active) as users,
       (select count(*)::int from identity.user_sessions where expires_at > now()) as sessions,
       (select count(*)::int from security.security_audit_log where created_at > now() - interval '1 hour') as events`,
  );
  const all = Object.values(owner!);
  expect(all[0]).toBe(2);
  expect(await counts("application")).toEqual(all);
  expect(await counts("analyst")).toEqual(all);
  const [users, sessions, events] = await counts({ user: bob.id });
  expect(users).toBe(1);
  expect(sessions).toBeLessThan(all[1] as number);
  expect(events).toBeLessThan(all[2] as number);
});

test("lets no visitor read a view, and no analyst write one", async () => {
  for (const table of TABLES) {
    await as("analyst", (query) => expectSqlState(query(`DELETE FROM ${table}`), "42501"));
    await as({ user: bob.id }, async (query) => {
      await query(`set local role ${roleName(db.rolePrefix, "anonymous")}`);
      await expectSqlState(query(`SELECT * FROM compat_cedrina.${table}`), "42501");
    });
  }
});

test("finds one of many accounts by its name and by its number with an index", async () => {
  await asOwner(
    `insert into identity.users (username, email) select 'many-' || n, 'many-' || n || '@example.org' from generate_series(1, 1000) n`,
  );
  await asOwner("analyze identity.users, plinth.external_ids, identity.user_settings");
  await as("application", async (query) => {
    for (const [sql, index] of [
      [USER_LOOKUP.replace("$1", "'ada'"), "users_username_key"],
      ["SELECT * FROM users WHERE id = 7", "external_ids_cedrina_number_idx"],
      ["SELECT * FROM sessions WHERE id = 7", "external_ids_cedrina_number_idx"],
    ]) {
      const plan = (await query(`explain ${sql}`)).rows.map((row) => row["QUERY PLAN"]).join("\n");
      expect(plan).toContain(index);
      expect(plan).not.toMatch(/Seq Scan on (users|external_ids)/);
    }
  });
});
