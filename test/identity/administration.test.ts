import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { grantRole, registerUser } from "../support/accounts.ts";
import {
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
} from "../support/database.ts";

// Actions of an account manager on another account; none reaches an account with more permissions.

let db: TestDatabase;
let ada: string;
let admin: string;
let keeper: string;
beforeAll(async () => {
  db = await createTestDatabase();
  [ada, admin, keeper] = (await Promise.all(
    ["ada", "admin", "keeper"].map((name) => registerUser(db, name)),
  )) as [string, string, string];
  await grantRole(db, admin, "admin");
});
afterAll(async () => {
  await db.drop();
});

/** Two of the administrator's many permissions. */
async function makeKeeper(tx: Transaction): Promise<void> {
  await tx.asOwner();
  await tx.rows("insert into access.roles (role_name) values ('keeper')");
  await tx.rows(
    `insert into access.role_permissions (role_id, permission_id)
     select r.id, p.id from access.roles r, access.permissions p
     where r.role_name = 'keeper' and p.permission_name in ('manage_users', 'delete_user')`,
  );
  await tx.rows("select access.grant_role($1, 'keeper')", [keeper]);
}

const ACTIONS = [
  ["disable", "select from identity.set_account_status($1, 'disabled')"],
  ["unlock", "select from identity.unlock_account($1)"],
  ["end the sessions of", "select from identity.end_user_sessions($1)"],
] as const;

describe.each(ACTIONS)("to %s an account", (_, sql) => {
  test("needs manage_users", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      await expectSqlState(tx.attempt(sql, [keeper]), "PL403");
      await tx.asAnonymous();
      await expectSqlState(tx.attempt(sql, [keeper]), "42501");
    });
  });

  test("fails if the account has more permissions, and succeeds if it has the same", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await makeKeeper(tx);
      await tx.asUser(keeper);
      await expectSqlState(tx.attempt(sql, [admin]), "PL403");
      await tx.rows(sql, [ada]);
      await tx.asUser(admin);
      await tx.rows(sql, [keeper]);
      await expectSqlState(tx.attempt(sql, ["00000000-0000-7000-8000-000000000000"]), "PL404");
    });
  });

  test("counts only the account's current permissions", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await makeKeeper(tx);
      await tx.rows("select access.grant_role($1, 'admin')", [ada]); // because one must remain
      await tx.rows(
        `update access.user_roles ur set granted_at = now() - interval '2 days', expires_at = now() - interval '1 day'
         from access.roles r where r.id = ur.role_id and r.role_name = 'admin' and ur.user_id = $1`,
        [admin],
      );
      await tx.asUser(keeper);
      await tx.rows(sql, [admin]);
    });
  });
});

test("rejects deleting an administrator with delete_user alone", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await makeKeeper(tx);
    await tx.asOwner();
    const [session] = await tx.rows<{ id: string }>(
      "insert into identity.user_sessions (user_id) values ($1) returning id",
      [keeper],
    );
    await tx.asUser(keeper, session!.id);
    expect(await tx.rows("delete from identity.users where id = $1 returning id", [admin])).toEqual([]);
    expect(await tx.rows("delete from identity.users where id = $1 returning id", [ada])).toEqual([
      { id: ada },
    ]);
    await tx.asOwner();
    expect(await tx.rows("select from identity.users where id = $1", [admin])).toHaveLength(1);
  });
});

test("unlocks the account and records it in the audit log", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    await tx.rows(
      "update identity.users set failed_login_attempts = 9, locked_until = now() + interval '1 hour' where id = $1",
      [ada],
    );
    await tx.asUser(admin);
    await tx.rows("select from identity.unlock_account($1)", [ada]);
    await tx.asOwner();
    expect(
      await tx.rows("select failed_login_attempts, locked_until from identity.users where id = $1", [ada]),
    ).toEqual([{ failed_login_attempts: 0, locked_until: null }]);
    expect(
      await tx.rows(
        "select user_id, actor_id from security.security_audit_log where event_type = 'account_unlocked'",
      ),
    ).toEqual([{ user_id: ada, actor_id: admin }]);
  });
});

test("ends all sessions of another account and every access token with them", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    await tx.rows("insert into identity.user_sessions (user_id) values ($1), ($1)", [ada]);
    await tx.asUser(admin);
    expect(await tx.rows("select identity.end_user_sessions($1) as ended", [ada])).toEqual([{ ended: 2 }]);
    await tx.asOwner();
    expect(
      await tx.rows("select distinct end_reason from identity.user_sessions where user_id = $1", [ada]),
    ).toEqual([{ end_reason: "ended_by_administrator" }]);
    expect(
      await tx.rows(
        "select token_version from private.token_blacklist where kind = 'user' and subject_id = $1",
        [ada],
      ),
    ).toEqual([{ token_version: 2 }]);
  });
});

test("reports an administrator's actions to the account's owner without the administrator's address", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    await tx.rows("update identity.users set email = 'ada@example.com' where id = $1", [ada]);
    await tx.asUser(admin);
    await tx.rows(
      "select set_config('plinth.client_ip', '198.51.100.7', true), set_config('plinth.user_agent', 'Firefox/140.0 (staff browser)', true)",
    );
    await tx.rows("select from identity.end_user_sessions($1)", [ada]);
    const addresses =
      "select host(ip_address) as ip_address, user_agent from security.security_audit_log where user_id = $1";
    expect(await tx.rows(addresses, [ada])).toContainEqual({
      ip_address: "198.51.100.7",
      user_agent: "Firefox/140.0 (staff browser)",
    });
    await tx.asUser(ada);
    expect(JSON.stringify(await tx.rows(addresses, [ada]))).not.toMatch(/198.51.100.7|staff browser/);
    await tx.asOwner();
    const emails = await tx.rows(
      "select template, variables from private.mail_outbox where user_id = $1 order by created_at desc limit 1",
      [ada],
    );
    expect(emails).toMatchObject([{ template: "session-ended" }]);
    expect(JSON.stringify(emails)).not.toMatch(/198.51.100.7|staff browser|Firefox/);
  });
});
