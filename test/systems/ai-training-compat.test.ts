import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type pg from "pg";
import * as learning from "../learning/support.ts";
import { grantRole, registerUser, SOME_HASH } from "../support/accounts.ts";
import { type Api, type SignedIn, signUp, startApi } from "../support/api.ts";
import { enableSystems } from "../support/compat.ts";
import { type CompatCaller, callerOf } from "../support/compat-callers.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { untilMonthGoesOn } from "../support/waiting.ts";

// The SQL of the AI training platform's document, copied as it stands, on compat_ai_training. Only its placeholders are numbered.

const AUTHENTICATION = `
-- User login validation
SELECT u.*, uss.* FROM users u
LEFT JOIN user_security_settings uss ON u.id = uss.user_id
WHERE u.email = ? AND u.account_status = 'active';

-- Track login attempt
SELECT track_login_attempt(?, ?, ?, ?, ?, ?);
`;

const CONTENT_ACCESS = `
-- Check user content access
SELECT has_access FROM user_content_access
WHERE user_id = ? AND content_id = ?;

-- Get user's accessible content
SELECT * FROM content_items ci
JOIN user_content_access uca ON ci.id = uca.content_id
WHERE uca.user_id = ? AND uca.has_access = true;
`;

const SUBSCRIPTION = `
-- Get active subscription
SELECT * FROM active_user_subscriptions
WHERE user_id = ?;

-- Check subscription status
SELECT status, current_period_end FROM user_subscriptions
WHERE user_id = ? AND status = 'active';
`;

const SYSTEM_HEALTH = `
-- Check active sessions
SELECT COUNT(*) FROM user_sessions WHERE is_active = true;

-- Recent login attempts
SELECT COUNT(*) FROM login_attempts WHERE created_at > NOW() - INTERVAL '1 hour';

-- Subscription metrics
SELECT * FROM subscription_metrics;
`;

const SECURITY_MONITORING = `
-- Failed login attempts
SELECT COUNT(*) FROM login_attempts 
WHERE status = 'failed' AND created_at > NOW() - INTERVAL '1 hour';

-- Suspicious activity
SELECT * FROM security_audit_log 
WHERE severity IN ('warning', 'error', 'critical') 
AND created_at > NOW() - INTERVAL '1 day';
`;

/** The statements of a part of the document, with numbered placeholders. */
function statements(part: string): string[] {
  return part
    .split(";")
    .map((sql) => sql.trim())
    .filter((sql) => sql !== "")
    .map((sql) => {
      let n = 0;
      return sql.replace(/\?/g, () => `$${++n}`);
    });
}
const [LOGIN, TRACK] = statements(AUTHENTICATION) as [string, string];
const [HAS_ACCESS, ACCESSIBLE] = statements(CONTENT_ACCESS) as [string, string];
const [ACTIVE_SUBSCRIPTION, STATUS] = statements(SUBSCRIPTION) as [string, string];
const [SESSIONS, ATTEMPTS, METRICS] = statements(SYSTEM_HEALTH) as [string, string, string];
const [FAILED, SUSPICIOUS] = statements(SECURITY_MONITORING) as [string, string];

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let bob: string;
let paid: string;

beforeAll(async () => {
  await untilMonthGoesOn();
  db = await createTestDatabase();
  api = await startApi(db);
  ada = await signUp(api, "ada");
  bob = await registerUser(db, "bob");
  await withClient(db.url("owner"), async (client) => {
    await learning.addItem(client, { slug: "open", title: "Open to all", body: "Words" });
    paid = await learning.addItem(client, { slug: "paid", accessLevel: 5 });
    await learning.subscribe(client, ada.userId, 5);
  });
  await enableSystems(db, ["ai_training"]);
  // Apart from what it sums: the figures are of the time when a transaction begins.
  await withClient(db.url("owner"), (client) =>
    client.query(
      "refresh materialized view analytics.subscription_metrics; refresh materialized view analytics.content_popularity",
    ),
  );
});
afterAll(async () => {
  await api?.close();
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);
type Query = (sql: string, ...values: unknown[]) => Promise<pg.QueryResultRow[]>;
/** Runs as a caller in a transaction that is rolled back. */
const as = <T>(caller: CompatCaller, use: (query: Query) => Promise<T>) =>
  callerOf(db, "compat_ai_training", caller, (client) =>
    use(async (sql, ...values) => (await client.query(sql, values)).rows),
  );

test("validates a sign-in with the account and its security settings [A11]", async () => {
  for (const caller of ["application", { application: ada.userId }, { user: ada.userId }] as const)
    await as(caller, async (query) => {
      expect(await query(LOGIN, "ada@example.org")).toEqual([
        expect.objectContaining({
          username: "ada",
          account_status: "active",
          password_hash: null,
          two_factor_enabled: false,
          two_factor_secret: null,
        }),
      ]);
      expect(await query(LOGIN, "bob@example.com")).toHaveLength(caller === "application" ? 1 : 0);
    });
  await as("analyst", async (query) => {
    expect(await query(LOGIN, "ada@example.org")).toEqual([]);
    expect(await query("SELECT username, email FROM users WHERE id = $1", ada.userId)).toEqual([
      { username: null, email: null },
    ]);
  });
});

test("finds an account by its address in the index of addresses", async () => {
  const plan = await as("application", async (query) => {
    await query("SET LOCAL enable_seqscan = off");
    return query(`EXPLAIN ${LOGIN.replace("$1", "'ada@example.org'")}`);
  });
  expect(plan.map((row) => row["QUERY PLAN"]).join("\n")).toMatch(/Index Scan using users_email_key/);
});

test("tracks sign-in attempts for the application, and for no other caller [A10]", async () => {
  const attempt = [bob, "bob@example.com", "192.0.2.1", "curl", "failed", "wrong_password"];
  await as("application", async (query) => {
    for (let n = 0; n < 5; n++) await query(TRACK, ...attempt);
    expect(
      await query(
        "SELECT failed_login_attempts, is_locked FROM user_security_status WHERE user_id = $1",
        bob,
      ),
    ).toEqual([{ failed_login_attempts: 5, is_locked: true }]);
    expect(await query(FAILED)).toEqual([{ count: "5" }]);
    expect(await query(SUSPICIOUS)).toContainEqual(
      expect.objectContaining({ event_type: "account_locked", severity: "warning", user_id: bob }),
    );
    await query(
      "SELECT track_login_attempt($1, $2, $3::inet, $4, $5, $6)",
      ...attempt.slice(0, 4),
      "success",
      null,
    );
    expect(
      await query("SELECT ip_address FROM login_attempts WHERE status = 'success' AND user_id = $1", bob),
    ).toEqual([{ ip_address: "192.0.2.1" }]);
  });
  await expect(as({ application: ada.userId }, (query) => query(TRACK, ...attempt))).rejects.toMatchObject({
    code: "PL403",
  });
  for (const caller of [{ user: bob }, "analyst"] as const)
    await expect(as(caller, (query) => query(TRACK, ...attempt))).rejects.toMatchObject({ code: "42501" });
});

test("answers who may read which content, as the API does [A9, A11]", async () => {
  for (const caller of ["application", "analyst", { application: ada.userId }, { user: ada.userId }] as const)
    await as(caller, async (query) => {
      const seesBob = typeof caller === "string";
      expect(await query(HAS_ACCESS, ada.userId, paid)).toEqual([{ has_access: true }]);
      expect(await query(HAS_ACCESS, bob, paid)).toEqual(seesBob ? [{ has_access: false }] : []);
      const content = await query(ACCESSIBLE, ada.userId);
      expect(content.map(({ slug, reason }) => [slug, reason]).sort()).toEqual([
        ["open", "plan"],
        ["paid", "plan"],
      ]);
      expect(content.find(({ slug }) => slug === "open")).toMatchObject({
        title: "Open to all",
        body: caller === "analyst" ? null : "Words",
        content_type: "lesson",
        status: "published",
      });
    });
  const { data } = await api.ask(
    "query ($id: UUID!) { contentItem(id: $id) { title access { hasAccess } } }",
    { token: ada.token, variables: { id: paid } },
  );
  expect(data).toEqual({ contentItem: { title: "paid", access: { hasAccess: true } } });
  // The text of an item that the caller's plan does not include.
  expect(
    await as({ user: bob }, (query) => query("SELECT slug, body FROM content_items ORDER BY slug")),
  ).toEqual([
    { slug: "open", body: "Words" },
    { slug: "paid", body: null },
  ]);
});

test("returns the active subscription with its plan, and its status [A9, A11]", async () => {
  for (const caller of ["application", "analyst", { application: ada.userId }, { user: ada.userId }] as const)
    await as(caller, async (query) => {
      expect(await query(ACTIVE_SUBSCRIPTION, ada.userId)).toEqual([
        expect.objectContaining({ plan_code: "level5", price: "1.00", access_level: 5, status: "active" }),
      ]);
      expect(await query(STATUS, ada.userId)).toEqual([
        { status: "active", current_period_end: expect.any(Date) },
      ]);
      expect(await query(STATUS, bob)).toEqual([]);
    });
  expect(await as({ user: bob }, (query) => query(ACTIVE_SUBSCRIPTION, ada.userId))).toEqual([]);
});

test("monitors sessions, sign-ins and subscriptions, for a user only the user's own [A7, A11]", async () => {
  for (const caller of ["application", "analyst"] as const)
    await as(caller, async (query) => {
      expect(await query(SESSIONS)).toEqual([{ count: "1" }]);
      expect(await query(ATTEMPTS)).toEqual([{ count: "1" }]);
      expect(await query(METRICS)).toEqual([
        expect.objectContaining({ currency: "USD", active_subscriptions: "1", mrr: "1.00" }),
      ]);
      expect(await query("SELECT * FROM content_popularity")).toEqual([]);
      expect((await query(SUSPICIOUS)).map(({ event_type }) => event_type)).not.toContain("account_locked");
    });
  for (const caller of [{ user: bob }, { application: bob }])
    await as(caller, async (query) => {
      expect(await query(SESSIONS)).toEqual([{ count: "0" }]);
      expect(await query(ATTEMPTS)).toEqual([{ count: "0" }]);
      expect(await query(METRICS)).toEqual([]);
      expect(await query("SELECT * FROM content_popularity")).toEqual([]);
    });
  await expect(
    as({ user: bob }, (query) => query("SELECT * FROM content_access($1, $2)", ada.userId, paid)),
  ).resolves.toEqual([]);
});

test("records that a user played and rated an item, by the API's rules [A4]", async () => {
  const play =
    "INSERT INTO content_consumption (user_id, content_id, time_spent_seconds, last_position_seconds, rating, review) VALUES ($1, $2, $3, $4, $5, $6) RETURNING rating, time_spent_seconds";
  for (const caller of ["application", { application: ada.userId }, { user: ada.userId }] as const)
    await as(caller, async (query) => {
      expect(await query(play, ada.userId, paid, 60, 60, 5, "Good")).toEqual([
        { rating: 5, time_spent_seconds: 60 },
      ]);
      expect(
        await query("SELECT time_spent_seconds FROM learning_analytics WHERE user_id = $1", ada.userId),
      ).toEqual([{ time_spent_seconds: "60" }]);
      expect(
        await query(
          "SELECT sessions, items_started FROM user_activity_summary WHERE user_id = $1",
          ada.userId,
        ),
      ).toEqual([{ sessions: "1", items_started: "1" }]);
      await query("UPDATE content_consumption SET rating = 3 WHERE user_id = $1", ada.userId);
      expect(await query("SELECT average_rating FROM content_items WHERE id = $1", paid)).toEqual([
        { average_rating: "3.00" },
      ]);
      // A claim that the caller set for the call ends with it.
      expect(await query("SELECT count(*) FROM users")).toEqual([
        { count: caller === "application" ? "2" : "1" },
      ]);
    });
  await expect(
    as({ user: bob }, (query) => query(play, ada.userId, paid, 60, 60, null, null)),
  ).rejects.toMatchObject({
    code: "PL403",
  });
  // Bob's plan does not include it.
  await expect(
    as("application", (query) => query(play, bob, paid, 60, 60, null, null)),
  ).rejects.toMatchObject({
    code: "PL403",
  });
});

test("creates, changes and erases accounts for the application [A1]", async () => {
  await as("application", async (query) => {
    const add =
      "INSERT INTO users (username, email, password_hash, first_name, last_name) VALUES ($1, $2, $3, $4, $5) RETURNING id, first_name, password_hash";
    const [eve] = await query(add, "eve", "eve@example.com", SOME_HASH, "Eve", "Q");
    expect(eve).toMatchObject({ first_name: "Eve", password_hash: null });
    expect(
      await query(
        "INSERT INTO users (username, email, account_status) VALUES ('mal', 'mal@example.com', 'suspended') RETURNING account_status",
      ),
    ).toEqual([{ account_status: "disabled" }]);
    await query("UPDATE users SET account_status = 'disabled', last_name = 'R' WHERE id = $1", eve!.id);
    expect(await query("SELECT account_status, last_name FROM users WHERE id = $1", eve!.id)).toEqual([
      { account_status: "disabled", last_name: "R" },
    ]);
    const [{ id: role }] = (await query("SELECT id FROM roles WHERE name = 'moderator'")) as [{ id: string }];
    await query("INSERT INTO user_roles (user_id, role_id) VALUES ($1, $2)", eve!.id, role);
    await query("UPDATE user_security_settings SET session_timeout_minutes = 15 WHERE user_id = $1", eve!.id);
    await query(
      "INSERT INTO user_content_permissions (user_id, content_id, permission) VALUES ($1, $2, 'allow')",
      bob,
      paid,
    );
    expect(await query(HAS_ACCESS, bob, paid)).toEqual([{ has_access: true }]);
    expect(
      await query("SELECT session_timeout_minutes FROM user_security_settings WHERE user_id = $1", eve!.id),
    ).toEqual([{ session_timeout_minutes: 15 }]);
    await query("DELETE FROM user_roles WHERE user_id = $1 AND role_id = $2", eve!.id, role);
    await query("DELETE FROM users WHERE id = $1", eve!.id);
    expect(await query("SELECT FROM users WHERE id = $1", eve!.id)).toEqual([]);
  });
  await as({ user: ada.userId }, async (query) => {
    expect(await query("UPDATE users SET first_name = 'Ada' RETURNING first_name")).toEqual([
      { first_name: "Ada" },
    ]);
  });
  // Nothing of it reaches others.
  for (const sql of [
    "UPDATE users SET account_status = 'disabled'",
    "INSERT INTO users (username, email) VALUES ('x1', 'x1@example.com')",
    "DELETE FROM users",
  ])
    await expect(as({ user: ada.userId }, (query) => query(sql))).rejects.toMatchObject({ code: "42501" });
  await expect(
    as({ user: bob }, (query) =>
      query(
        "INSERT INTO user_content_permissions (user_id, content_id, permission) VALUES ($1, $2, 'allow')",
        bob,
        paid,
      ),
    ),
  ).rejects.toMatchObject({ code: "42501" });
  expect(await as({ user: bob }, (query) => query("SELECT id FROM users"))).toEqual([{ id: bob }]);
});

test("shows an administrator with claims what the API shows", async () => {
  await grantRole(db, bob, "admin");
  await as({ user: bob }, async (query) => {
    expect(await query("SELECT username FROM users ORDER BY 1")).toEqual([
      { username: "ada" },
      { username: "bob" },
    ]);
    // Names are their owners' to change.
    expect(await query("UPDATE users SET first_name = 'x' WHERE username = 'ada' RETURNING id")).toEqual([]);
  });
});

test("shows every table of the document to each caller", async () => {
  const tables = await asOwner(
    "select relname as name from pg_class where relnamespace = 'compat_ai_training'::regnamespace",
  );
  expect(tables.map(({ name }) => name).sort()).toEqual([
    ...[
      "active_user_subscriptions",
      "api_tokens",
      "audit_trail",
      "content_categories",
      "content_consumption",
    ],
    ...[
      "content_items",
      "content_popularity",
      "learning_analytics",
      "login_attempts",
      "password_history",
      "payments",
    ],
    ...["refresh_tokens", "roles", "security_audit_log", "subscription_changes", "subscription_metrics"],
    ...[
      "subscription_plans",
      "user_activity_summary",
      "user_content_access",
      "user_content_permissions",
      "user_roles",
    ],
    ...[
      "user_security_settings",
      "user_security_status",
      "user_sessions",
      "user_subscriptions",
      "user_verifications",
    ],
    "users",
  ]);
  // A change of a row whose key is no UUID.
  await asOwner(
    "update security.retention_policies set kept_for = kept_for + interval '1 day' where log = 'server_log'",
  );
  for (const caller of ["application", "analyst", { user: ada.userId }, { application: ada.userId }] as const)
    await as(caller, async (query) => {
      for (const { name } of tables) await query(`SELECT * FROM ${name}`);
      expect(await query("SELECT token_hash FROM refresh_tokens")).toEqual([{ token_hash: null }]);
    });
});
