import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { registerUser } from "../support/accounts.ts";
import { createTestDatabase, inRolledBackTransaction, type TestDatabase } from "../support/database.ts";

// Queries of the other systems' documents on the existing tables, run as written except for the columns that the table of
// promises renames.

let db: TestDatabase;
let ada: string;
beforeAll(async () => {
  db = await createTestDatabase();
  ada = await registerUser(db, "ada");
});
afterAll(async () => {
  await db.drop();
});

test("keeps revoked tokens in token_blacklist until they expire, then deletes them by the job's function [S2]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    await tx.rows(
      "insert into token_blacklist (kind, subject_id, reason) values ('token', uuid_v7(), 'logout')",
    );
    await tx.rows(
      "insert into token_blacklist (kind, subject_id, reason, expires_at) values ('token', uuid_v7(), 'logout', now())",
    );
    expect(await tx.rows("select delete_expired_sign_in_data(100) as n")).toEqual([{ n: 1 }]);
    expect(await tx.rows("select from token_blacklist")).toHaveLength(1);
  });
});

test("keeps user_preferences unique by user, type and key with a JSON value and a confidence [S5]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    const add =
      "insert into user_preferences (user_id, preference_type, preference_key, preference_value, confidence) values ($1, 'topic', 'music', '{\"likes\": true}', $2)";
    await tx.rows(add, [ada, 0.9]);
    await expect(tx.attempt(add, [ada, 0.1])).rejects.toMatchObject({ code: "23505" });
    await expect(tx.attempt(add.replace("music", "film"), [ada, 1.1])).rejects.toMatchObject({
      code: "23514",
    });
  });
});

test("counts sessions for the health check and deletes expired ones in batches [C3, C9]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    await tx.rows(
      "insert into user_sessions (user_id, ip_address, user_agent, device_info, security_context) values ($1, '192.0.2.1', 'curl', '{}', '{}')",
      [ada],
    );
    await tx.rows(
      "insert into user_sessions (user_id, created_at, expires_at) values ($1, now() - interval '91 days', now() - interval '1 day')",
      [ada],
    );
    await tx.rows(
      "insert into user_sessions (user_id, last_activity_at) values ($1, now() - interval '31 days')",
      [ada],
    );
    await tx.rows(
      "insert into user_sessions (user_id, ended_at, end_reason) values ($1, now() - interval '91 days', 'logout')",
      [ada],
    );
    expect(await tx.rows("SELECT COUNT(*)::integer FROM user_sessions WHERE expires_at > NOW()")).toEqual([
      { count: 3 },
    ]);
    expect(await tx.rows("select end_expired_sessions(2) as n")).toEqual([{ n: 2 }]);
    expect(await tx.rows("select end_expired_sessions(100) as n")).toEqual([{ n: 1 }]);
    expect(await tx.rows("SELECT COUNT(*)::integer FROM user_sessions WHERE is_active = true")).toEqual([
      { count: 1 },
    ]);
    expect(await tx.rows("select end_reason from user_sessions where not is_active")).toEqual([
      { end_reason: "expired" },
      { end_reason: "expired" },
    ]);
  });
});

test("returns a user's state, verification, failures, lock and times in one row with the derived role [C1]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    for (let n = 0; n < 5; n++)
      await tx.rows("select track_login_attempt($1, 'ada', null, null, 'failed', 'wrong_password')", [ada]);
    await tx.rows("update users set email_verified_at = now() where id = $1", [ada]);
    expect(
      await tx.rows(
        `select username, is_active, is_verified, users_role(u) as role, failed_login_attempts,
           locked_until > now() as is_locked, password_changed_at is not null as has_password_date,
           email_verified_at is not null as has_email_date, last_login_at, profile_data, metadata, preferences,
           u.updated_at >= u.created_at as is_touched
         from users u join user_settings s on s.user_id = u.id where u.id = $1`,
        [ada],
      ),
    ).toEqual([
      {
        username: "ada",
        is_active: true,
        is_verified: true,
        role: "user",
        failed_login_attempts: 5,
        is_locked: true,
        has_password_date: true,
        has_email_date: true,
        last_login_at: null,
        profile_data: {},
        metadata: {},
        preferences: {},
        is_touched: true,
      },
    ]);
  });
});

test("returns audit entries by user and time range [C6, C9]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    expect(
      await tx.rows(
        `SELECT event_type, event_data, created_at FROM security_audit_log
         WHERE user_id = $1 AND created_at >= $2 AND created_at <= $3 ORDER BY created_at DESC`,
        [ada, new Date(Date.now() - 3_600_000), new Date(Date.now() + 60_000)],
      ),
    ).toHaveLength(2);
    expect(await tx.rows("SELECT COUNT(*)::integer FROM users WHERE is_active = true")).toEqual([
      { count: 1 },
    ]);
  });
});

test("partitions login_attempts and security_audit_log by month [A8]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    expect(
      await tx.rows(
        "select partrelid::regclass::text as name, pg_get_partkeydef(partrelid) as key from pg_partitioned_table order by 1",
      ),
    ).toEqual(
      expect.arrayContaining([
        { name: expect.stringContaining("login_attempts"), key: "RANGE (created_at)" },
        { name: expect.stringContaining("security_audit_log"), key: "RANGE (created_at)" },
      ]),
    );
    await tx.rows("select track_login_attempt($1, 'ada', null, null, 'success', null)", [ada]);
    expect(
      await tx.rows(
        `select tableoid::regclass::text = 'login_attempts_' || to_char(now() at time zone 'UTC', 'YYYY_MM') as ok
         from login_attempts`,
      ),
    ).toEqual([{ ok: true }]);
  });
});

test("counts and clears failures by track_login_attempt with six arguments [A10]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    const track = (status: string, reason: string | null) =>
      tx.rows("SELECT track_login_attempt($1, $2, $3, $4, $5, $6)", [
        ada,
        "ADA@example.com",
        "192.0.2.7",
        "curl/8",
        status,
        reason,
      ]);
    const failures = () => tx.rows("select failed_login_attempts as n from users where id = $1", [ada]);
    await track("failed", "Invalid password");
    await track("failed", null);
    expect(await failures()).toEqual([{ n: 2 }]);
    await track("success", null);
    expect(await failures()).toEqual([{ n: 0 }]);
    expect(
      await tx.rows(
        "select email, host(ip_address) as ip, user_agent, status from login_attempts order by id limit 1",
      ),
    ).toEqual([{ email: "ada@example.com", ip: "192.0.2.7", user_agent: "curl/8", status: "failed" }]);
    await expect(
      tx.attempt("SELECT track_login_attempt($1, '', null, null, 'odd', null)", [ada]),
    ).rejects.toMatchObject({ code: "23514" });
  });
});

test("runs login validation, system health and security monitoring as written [A11]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    expect(
      await tx.rows(
        `SELECT u.*, uss.* FROM users u
         LEFT JOIN user_security_settings uss ON u.id = uss.user_id
         WHERE u.email = $1 AND u.account_status = 'active'`,
        ["ada@example.com"],
      ),
    ).toHaveLength(1);
    await tx.rows(
      "select track_login_attempt($1, 'ada', null, null, 'failed', 'wrong_password') from generate_series(1, 5)",
      [ada],
    );
    expect(
      await tx.rows(
        "SELECT COUNT(*)::integer FROM login_attempts WHERE created_at > NOW() - INTERVAL '1 hour'",
      ),
    ).toEqual([{ count: 5 }]);
    expect(
      await tx.rows(
        "SELECT COUNT(*)::integer FROM login_attempts WHERE status = 'failed' AND created_at > NOW() - INTERVAL '1 hour'",
      ),
    ).toEqual([{ count: 5 }]);
    const warnings = await tx.rows<{ event_type: string; user_id: string | null }>(
      `SELECT * FROM security_audit_log
       WHERE severity IN ('warning', 'error', 'critical') AND created_at > NOW() - INTERVAL '1 day'`,
    );
    // Permissions that migrations grant to roles are audited, too, and have no user.
    expect(warnings.filter(({ user_id }) => user_id !== null)).toMatchObject([
      { event_type: "account_locked" },
    ]);
  });
});
