import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { makeUsers } from "../rooms/support.ts";
import { createTestDatabase, inRolledBackTransaction, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let ada: string;
let bob: string;
beforeAll(async () => {
  db = await createTestDatabase();
  // In one statement, so that no hour ends between the two.
  [ada, bob] = (await makeUsers(db, ["ada", "bob"])) as [string, string];
});
afterAll(async () => {
  await db.drop();
});

test("shows users their own row of user_security_status, correct in every column, and the owner all rows [A9]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.rows(
      `update identity.users set failed_login_attempts = 6, locked_until = now() + interval '1 minute',
         password_changed_at = now() - interval '40 days', email_verified_at = now() where id = $1`,
      [ada],
    );
    await tx.rows(
      `insert into identity.mfa_factors (user_id, kind, name, confirmed_at)
       values ($1, 'totp', 'app', now()), ($2, 'totp', 'begun', null)`,
      [ada, bob],
    );
    for (const set of [
      "now() + interval '1 day', null, null",
      "now() + interval '1 day', now(), 'logout'",
      "now() - interval '1 s', null, null",
    ])
      await tx.rows(
        `insert into identity.user_sessions (user_id, expires_at, ended_at, end_reason) values ($1, ${set})`,
        [ada],
      );
    const expected = {
      user_id: ada,
      account_status: "active",
      is_verified: true,
      is_locked: true,
      failed_login_attempts: 6,
      password_age_days: 40,
      live_sessions: "1",
      mfa_enabled: true,
    };
    await tx.asUser(ada);
    expect(await tx.rows("select * from identity.user_security_status")).toEqual([
      expect.objectContaining(expected),
    ]);
    await tx.asUser(null);
    expect(await tx.rows("select * from identity.user_security_status")).toEqual([]);
    await tx.asAnonymous();
    await expect(tx.attempt("select from identity.user_security_status")).rejects.toMatchObject({
      code: "42501",
    });
    await tx.asOwner();
    const all = await tx.rows<{ user_id: string; mfa_enabled: boolean }>(
      "select * from user_security_status",
    );
    expect(Object.fromEntries(all.map((row) => [row.user_id, row.mfa_enabled]))).toEqual({
      [ada]: true,
      [bob]: false,
    });
    await tx.asAnalyst();
    const { user_id: _, ...facts } = expected;
    expect(await tx.rows("select * from account_security where user_id = $1", [ada])).toEqual([
      expect.objectContaining(facts),
    ]);
  });
});

test("counts events in the security monitoring views without names or whole addresses [A11]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.rows("delete from security.login_attempts");
    for (const [user, ip, status, reason] of [
      [ada, "192.0.2.17", "failed", "wrong_password"],
      [null, "192.0.2.99", "failed", "unknown_account"],
      [bob, "192.0.2.99", "locked", "account_locked"],
      [ada, "192.0.2.17", "success", null],
    ])
      await tx.rows("select security.track_login_attempt($1, 'ada@example.com', $2, 'curl', $3, $4)", [
        user,
        ip,
        status,
        reason,
      ]);
    await tx.rows("insert into identity.user_sessions (user_id, ip_address) values ($1, '192.0.2.17')", [
      ada,
    ]);
    await tx.rows(
      "insert into identity.user_sessions (user_id, last_activity_at) values ($1, now() - interval '2 days')",
      [bob],
    );
    await tx.rows(
      "insert into identity.user_sessions (user_id, ended_at, end_reason) values ($1, now(), 'token_reuse')",
      [bob],
    );
    await tx.asAnalyst();
    expect(await tx.rows("select * from failed_logins_by_network")).toEqual([
      expect.objectContaining({
        network: "192.0.2.0/24",
        failed_attempts: "3",
        users: "2",
        unknown_account_attempts: "1",
      }),
    ]);
    expect(
      await tx.rows(
        "select event_type, severity, events, users from security_events_hourly where event_type = 'user_registered'",
      ),
    ).toEqual([{ event_type: "user_registered", severity: "info", events: "2", users: "2" }]);
    expect(await tx.rows("select state, sessions, users from sessions_by_state order by state")).toEqual([
      { state: "active_last_hour", sessions: "1", users: "1" },
      { state: "open", sessions: "1", users: "1" },
      { state: "token_reuse", sessions: "1", users: "1" },
    ]);
    for (const view of [
      "account_security",
      "security_events_hourly",
      "failed_logins_by_network",
      "sessions_by_state",
    ]) {
      const rows = await tx.rows(`select * from ${view}`);
      expect(rows.length).toBeGreaterThan(0);
      expect(JSON.stringify(rows)).not.toMatch(/example\.com|192\.0\.2\.(17|99)|"ada"|"bob"/);
    }
  });
});
