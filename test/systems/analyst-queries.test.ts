import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type pg from "pg";
import { IDS, withIds } from "../support/access-probes/ids.ts";
import { SEED } from "../support/access-probes/seed.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { untilMonthGoesOn } from "../support/waiting.ts";

// The SQL of the five systems' documents, copied as it stands and run by the analyst over the safe views. Headphone Mode's and
// rovertChat's documents have none. Only placeholders change: the documents' ids are numbers, Plinth's are UUIDs.

const { ada, bob, own, asked, said, shown, granted, hidden } = IDS as Record<string, string>;

const AI_TRAINING = `
-- Check user content access
SELECT has_access FROM user_content_access
WHERE user_id = ? AND content_id = ?;

-- Get user's accessible content
SELECT * FROM content_items ci
JOIN user_content_access uca ON ci.id = uca.content_id
WHERE uca.user_id = ? AND uca.has_access = true;

-- Get active subscription
SELECT * FROM active_user_subscriptions
WHERE user_id = ?;

-- Check subscription status
SELECT status, current_period_end FROM user_subscriptions
WHERE user_id = ? AND status = 'active';

-- User login validation
SELECT u.*, uss.* FROM users u
LEFT JOIN user_security_settings uss ON u.id = uss.user_id
WHERE u.email = ? AND u.account_status = 'active';
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

const CEDRINA = `
-- Optimized user lookup with role and tier
SELECT id, username, email, role, tier, is_active
FROM users 
WHERE username = $1 AND is_active = true;

-- Fast audit log queries with time range
SELECT event_type, event_data, created_at
FROM audit_logs 
WHERE user_id = $1 
  AND created_at >= $2 
  AND created_at <= $3
ORDER BY created_at DESC;

-- Database health check queries
SELECT COUNT(*) FROM users WHERE is_active = true;
SELECT COUNT(*) FROM sessions WHERE expires_at > NOW();
SELECT COUNT(*) FROM audit_logs WHERE created_at > NOW() - INTERVAL '1 hour';
`;

const SOCIALIZER = `
SELECT 
  u.username,
  s.skill_name,
  t.progress,
  t.status,
  us.level as current_level
FROM training t
JOIN users u ON t.user_id = u.id
JOIN skills s ON t.skill_id = s.id
LEFT JOIN user_skills us ON us.user_id = t.user_id AND us.skill_id = t.skill_id
WHERE u.id = 1;

SELECT 
  rm.id,
  rm.content,
  rm.created_at,
  rm.sender_type,
  u.username as sender_name
FROM room_messages rm
LEFT JOIN users u ON rm.sender_id = u.id
WHERE rm.room_id = 1
  AND rm.is_deleted = false
ORDER BY rm.created_at DESC
LIMIT 50;

SELECT 
  ri.id,
  cr.name as room_name,
  u.username as inviter_name,
  ri.created_at
FROM room_invites ri
JOIN chat_rooms cr ON ri.room_id = cr.id
JOIN users u ON ri.inviter_id = u.id
WHERE ri.invitee_id = 1
  AND ri.status = 'pending';
`;

/** Statements that are not for analysts, with the reason that PostgreSQL gives. */
const WRITES: Readonly<Record<string, string>> = {
  "SELECT track_login_attempt(?, ?, ?, ?, ?, ?)": "42883", // not in a schema that analysts reach
  "DELETE FROM sessions \nWHERE expires_at < NOW() AND is_active = true": "42501",
  "INSERT INTO skills (skill_name) VALUES ('empathy'), ('active_listening')": "42501",
  "INSERT INTO user_skills (user_id, skill_id, level)\nVALUES (1, 1, 0), (1, 2, 0)": "42501",
  "INSERT INTO training (user_id, skill_id, status, progress)\nVALUES (1, 1, 'active', 0.0)": "42501",
  "INSERT INTO chat_rooms (creator_id, room_type, ai_enabled)\nVALUES (1, 'private', true)": "42501",
  "INSERT INTO room_members (room_id, user_id, role)\nVALUES (1, 1, 'creator'), (1, 2, 'member'), (1, NULL, 'ai')":
    "42P01",
  "INSERT INTO room_invites (room_id, inviter_id, invitee_id)\nVALUES (1, 1, 2)": "42501",
};

let db: TestDatabase;
let analyst: pg.Client;
let close: () => void;
let closed: Promise<void>;

beforeAll(async () => {
  await untilMonthGoesOn(1);
  db = await createTestDatabase();
  await withClient(db.url("owner"), async (client) => {
    await client.query(
      // Events of the migrations, which ran long before, are of the last hour, too.
      withIds(`${SEED};
        update security.security_audit_log set created_at = now();
        update learning.training set status = 'active', progress = 0.5, started_at = now();
        update security.suspicious_activity_rules set threshold = 2 where rule_name = 'many_accounts_from_one_address';
        insert into security.login_attempts (user_id, status, email, ip_address, user_agent)
          select u, 'success', 'ada@example.com', '2001:db8:1:2::7', 'curl' from unnest(array[:ada, :bob]::uuid[]) u;
        select security.track_login_attempt(:bob, 'bob@example.com', '192.0.2.17', 'curl', 'failed', 'Invalid password')
          from generate_series(1, 5)`),
    );
    // Apart: both regard what happened before their transaction.
    await client.query("select private.detect_suspicious_activity()");
    await client.query("refresh materialized view analytics.subscription_metrics");
  });
  const connected = new Promise<pg.Client>((resolve) => {
    closed = withClient(db.url("analyst"), async (client) => {
      resolve(client);
      await new Promise<void>((end) => {
        close = end;
      });
    });
  });
  analyst = await connected;
});
afterAll(async () => {
  close?.();
  await closed;
  await db.drop();
});

/** The statements of a text, each with numbered placeholders. */
const statements = (text: string): string[] =>
  text
    .split(";")
    .map((sql) => sql.trim())
    .filter((sql) => sql !== "")
    .map((sql) => {
      let n = 0;
      return sql.replace(/\?|(?<=id = )1\b/g, () => `$${++n}`);
    });

/** Runs the statements of a document with the values of each, and returns their rows. */
async function answers(document: string, ...values: unknown[][]) {
  const found = statements(document);
  expect(values).toHaveLength(found.length);
  const rows: Record<string, unknown>[][] = [];
  for (const [n, sql] of found.entries()) rows.push((await analyst.query(sql, values[n])).rows);
  return rows;
}

test("answers the queries on access, subscriptions and sign-in of the AI training platform's document [A9, A11]", async () => {
  const [access, content, subscription, status, account] = await answers(
    AI_TRAINING,
    [bob, granted],
    [ada],
    [ada],
    [ada],
    [`user-${ada}@hidden.invalid`],
  );
  expect(access).toEqual([{ has_access: false }]);
  expect(content!.map(({ content_id, reason }) => [content_id, reason]).sort()).toEqual([
    [shown, "preview"],
    [granted, "permission"],
    [hidden, "author"],
  ]);
  expect(content).toContainEqual(expect.objectContaining({ content_type: "lesson", category_id: shown }));
  expect(subscription).toEqual([
    expect.objectContaining({
      user_id: ada,
      plan_code: "premium",
      status: "active",
      billing_cycle: "monthly",
    }),
  ]);
  expect(status).toEqual([{ status: "active", current_period_end: null }]);
  expect(account).toEqual([
    expect.objectContaining({ username: `user-${ada}`, user_id: ada, has_allowed_networks: false }),
  ]);
});

test("answers the views by name that the AI training platform's document describes [A7, A9]", async () => {
  const one = async (view: string, id: string) =>
    (await analyst.query(`select * from ${view} where user_id = $1`, [id])).rows;
  expect(await one("user_security_status", bob!)).toEqual([
    expect.objectContaining({
      is_locked: true,
      failed_login_attempts: 5,
      live_sessions: "1",
      mfa_enabled: false,
    }),
  ]);
  expect(await one("user_activity_summary", bob!)).toEqual([
    expect.objectContaining({ sign_ins: "2", failed_sign_ins: "5", items_started: "1", sessions: "1" }),
  ]);
  await withClient(db.url("owner"), (client) =>
    client.query("refresh materialized view analytics.content_popularity"),
  );
  expect((await analyst.query("select * from content_popularity")).rows).toEqual([
    expect.objectContaining({ item_id: shown, users: "2", sessions: "2" }),
  ]);
});

test("answers the system health queries of the AI training platform's document [A7, A11]", async () => {
  const [sessions, attempts, metrics] = await answers(SYSTEM_HEALTH, [], [], []);
  expect(sessions).toEqual([{ count: "2" }]);
  expect(attempts).toEqual([{ count: "9" }]);
  expect(metrics).toEqual([expect.objectContaining({ currency: "USD", active_subscriptions: "2" })]);
});

test("answers the security monitoring queries with networks in place of addresses [A6, A11]", async () => {
  const [failed, suspicious] = await answers(SECURITY_MONITORING, [], []);
  expect(failed).toEqual([{ count: "5" }]);
  expect(suspicious).toContainEqual(
    expect.objectContaining({ event_type: "suspicious_activity", severity: "warning" }),
  );
  expect(suspicious).toContainEqual(expect.objectContaining({ event_type: "account_locked", user_id: bob }));
  const { rows } = await analyst.query(
    "select distinct ip_address, failure_reason from login_attempts where ip_address is not null order by 1",
  );
  expect(rows).toEqual([
    { ip_address: "192.0.2.0/24", failure_reason: "other" },
    { ip_address: "2001:db8:1::/48", failure_reason: null },
  ]);
});

test("answers the queries of Cedrina's document on users, audit and health [C9]", async () => {
  const hour = 3_600_000;
  const [user, audit, users, sessions, logs] = await answers(
    CEDRINA,
    [`user-${bob}`],
    [bob, new Date(Date.now() - hour), new Date(Date.now() + hour)],
    [],
    [],
    [],
  );
  expect(user).toEqual([
    {
      id: bob,
      username: `user-${bob}`,
      email: `user-${bob}@hidden.invalid`,
      role: "user",
      tier: "premium",
      is_active: true,
    },
  ]);
  expect(audit!.length).toBeGreaterThan(1);
  expect(audit![0]).toEqual({
    event_type: expect.any(String),
    event_data: null,
    created_at: expect.any(Date),
  });
  const counted = await withClient(db.url("owner"), (client) =>
    client.query(
      "select (select count(*) from users) as users, (select count(*) from security_audit_log) as logs",
    ),
  );
  expect(users).toEqual([{ count: counted.rows[0].users }]);
  expect(sessions).toEqual([{ count: "2" }]);
  expect(logs).toEqual([{ count: counted.rows[0].logs }]);
});

test("answers the queries of Socializer's document with labels in place of names, and without texts [S11]", async () => {
  const [training, messages, invites] = await answers(SOCIALIZER, [ada], [own], [ada]);
  expect(training).toEqual([
    {
      username: `user-${ada}`,
      skill_name: "shown",
      progress: "0.5000",
      status: "active",
      current_level: "1.00",
    },
  ]);
  expect(messages).toHaveLength(3);
  expect(messages).toContainEqual({
    id: said,
    content: null,
    created_at: expect.any(Date),
    sender_type: "user",
    sender_name: `user-${bob}`,
  });
  expect(invites).toEqual([
    {
      id: expect.any(String),
      room_name: `room-${asked}`,
      inviter_name: `user-${bob}`,
      created_at: expect.any(Date),
    },
  ]);
});

test("rejects the documents' statements that write, as the analyst [A10, C9, S12]", async () => {
  for (const [sql, code] of Object.entries(WRITES)) {
    const outcome = await analyst.query(sql.replaceAll("?", "null").replaceAll(/\b[12]\b/g, `'${ada}'`)).then(
      () => "succeeded",
      (error: { code: string }) => error.code,
    );
    expect({ sql, outcome }).toEqual({ sql, outcome: code });
  }
});
