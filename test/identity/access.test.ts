import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { grantRole, registerUser } from "../support/accounts.ts";
import {
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  type TestDatabase,
} from "../support/database.ts";

// Read and write access in schemas identity, access and security.

let db: TestDatabase;
let ada: string;
let bob: string;
let admin: string;
let moderator: string;
beforeAll(async () => {
  db = await createTestDatabase();
  [ada, bob, admin, moderator] = (await Promise.all(
    ["ada", "bob", "admin", "moderator"].map((name) => registerUser(db, name)),
  )) as [string, string, string, string];
  await grantRole(db, admin, "admin");
  await grantRole(db, moderator, "moderator");
});
afterAll(async () => {
  await db.drop();
});

const OWN_TABLES = ["users", "user_settings", "user_security_settings"];

describe("an account", () => {
  test.each(OWN_TABLES)("sees only itself in %s", async (table) => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      const key = table === "users" ? "id" : "user_id";
      expect(await tx.rows(`select ${key} as id from identity.${table}`)).toEqual([{ id: ada }]);
      await tx.asOwner();
      expect((await tx.rows(`select from identity.${table}`)).length).toBe(4);
    });
  });

  test("is visible to others through its public profile while it is active", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      expect(await tx.rows("select username from identity.profiles where id = $1", [bob])).toEqual([
        { username: "bob" },
      ]);
      const columns = Object.keys((await tx.rows<object>("select * from identity.profiles limit 1"))[0]!);
      expect(columns.sort()).toEqual(["avatar_url", "created_at", "display_name", "id", "username"]);
      await tx.asOwner();
      await tx.rows("update identity.users set account_status = 'disabled' where id = $1", [bob]);
      await tx.asUser(ada);
      expect(await tx.rows("select from identity.profiles where id = $1", [bob])).toEqual([]);
      await tx.asAnonymous();
      await expectSqlState(tx.attempt("select from identity.profiles"), "42501");
      expect(await tx.rows("select from identity.users")).toEqual([]);
    });
  });

  test("changes its own name and settings, but no other account, nor its status, address or counters", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      expect(await tx.rows("update identity.users set username = 'Ada.L' returning username")).toEqual([
        { username: "ada.l" },
      ]);
      expect(
        await tx.rows("update identity.users set username = 'x1' where id = $1 returning id", [bob]),
      ).toEqual([]);
      for (const column of [
        "account_status = 'active'",
        "email = 'a@b'",
        "token_version = 9",
        "failed_login_attempts = 0",
        "metadata = '{}'",
      ])
        await expectSqlState(tx.attempt(`update identity.users set ${column}`), "42501");
      await tx.rows("update identity.user_settings set display_name = 'Ada'");
      await expectSqlState(tx.attempt("insert into identity.users (username) values ('new')"), "42501");
    });
  });

  test.each(["a", "-ada", "ada-", "a da", "ädа", "ada@x", "x".repeat(101), ""])(
    "cannot be named %j",
    async (username) => {
      await inRolledBackTransaction(db, async (tx) => {
        await tx.asUser(ada);
        await expect(tx.attempt("update identity.users set username = $1", [username])).rejects.toMatchObject(
          { constraint: "users_username_check" },
        );
      });
    },
  );

  test("keeps learned preferences private, with a confidence from 0 to 1", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const learn =
        "insert into identity.user_preferences (preference_type, preference_key, preference_value, confidence) values ('tone', 'humour', '\"dry\"', $1)";
      await tx.asUser(ada);
      await tx.rows(learn, [0.5]);
      await expectSqlState(tx.attempt(learn, [0.6]), "23505");
      await expectSqlState(tx.attempt(learn.replace("humour", "other"), [1.5]), "23514");
      await tx.asUser(bob);
      expect(await tx.rows("delete from identity.user_preferences returning id")).toEqual([]);
      await tx.rows(learn, [0.5]);
      expect(await tx.rows("select from identity.user_preferences")).toHaveLength(1);
    });
  });
});

describe("sessions", () => {
  test("are listed and ended by their owner only; ending the current one is a logout", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asOwner();
      const [here] = await tx.rows<{ id: string }>(
        "insert into identity.user_sessions (user_id) values ($1) returning id",
        [ada],
      );
      const [there] = await tx.rows<{ id: string }>(
        "insert into identity.user_sessions (user_id) values ($1) returning id",
        [ada],
      );
      await tx.asUser(bob);
      expect(await tx.rows("select from identity.user_sessions")).toEqual([]);
      await expectSqlState(tx.attempt("select identity.end_session($1)", [there!.id]), "PL404");
      await tx.asUser(ada, here!.id);
      await expectSqlState(tx.attempt("update identity.user_sessions set ended_at = now()"), "42501");
      expect(
        await tx.rows(
          "select id, identity.user_sessions_is_current(s) as current from identity.user_sessions s order by id",
        ),
      ).toEqual([
        { id: here!.id, current: true },
        { id: there!.id, current: false },
      ]);
      await tx.rows("select identity.end_session($1)", [there!.id]);
      await expectSqlState(tx.attempt("select identity.end_session($1)", [there!.id]), "PL404");
      expect(await tx.rows("select identity.logout() as done")).toEqual([{ done: true }]);
      expect(await tx.rows("select identity.logout() as done")).toEqual([{ done: false }]);
      expect(await tx.rows("select end_reason from identity.user_sessions order by id")).toEqual([
        { end_reason: "logout" },
        { end_reason: "ended_by_user" },
      ]);
    });
  });

  test("all end with logout_everywhere, which needs an account", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asOwner();
      await tx.rows("insert into identity.user_sessions (user_id) values ($1), ($1), ($2)", [ada, bob]);
      await tx.asUser(ada);
      expect(await tx.rows("select identity.logout_everywhere() as n")).toEqual([{ n: 2 }]);
      await tx.asOwner();
      expect(await tx.rows("select user_id from identity.user_sessions where is_active")).toEqual([
        { user_id: bob },
      ]);
      await tx.asUser(null);
      await expectSqlState(tx.attempt("select identity.logout_everywhere()"), "PL401");
    });
  });
});

describe("roles and permissions", () => {
  test.each([
    [
      "admin",
      [
        "edit_content",
        "delete_user",
        "manage_users",
        "manage_roles",
        "manage_models",
        "manage_plans",
        "manage_subscriptions",
        "grant_model_access",
        "manage_security",
        "view_audit_log",
        "manage_consents",
        "manage_access_rules",
        "moderate_general_chat",
        "manage_content_access",
        "manage_skills",
        "explain_access",
        "use_own_model",
        "read_operations",
      ],
    ],
    ["moderator", ["edit_content", "moderate_general_chat"]],
    ["ada", []],
  ])("give %s the permissions of its role", async (name, permissions) => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser({ admin, moderator, ada }[name]!);
      const all = await tx.rows<{ p: string }>(
        "select permission_name as p from access.permissions where access.has_permission(permission_name)",
      );
      expect(all.map((row) => row.p).sort()).toEqual([...permissions].sort());
    });
  });

  test("end when the role expires", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asOwner();
      await tx.rows("select access.grant_role($1, 'admin')", [bob]); // because one must remain
      await tx.rows(
        "update access.user_roles set granted_at = now() - interval '2 days', expires_at = now() - interval '1 day' where user_id = $1",
        [admin],
      );
      await tx.asUser(admin);
      expect(await tx.rows("select access.has_permission('manage_users') as ok")).toEqual([{ ok: false }]);
      expect(await tx.rows("select identity.users_role(u) as role from identity.users u")).toEqual([
        { role: "guest" },
      ]);
    });
  });

  test("prevent deleting or renaming the roles admin and user", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(admin);
      for (const role of ["admin", "user"]) {
        expect(await tx.rows("delete from access.roles where role_name = $1 returning id", [role])).toEqual(
          [],
        );
        await expectSqlState(
          tx.attempt("update access.roles set role_name = 'other' where role_name = $1", [role]),
          "PL409",
        );
      }
      expect(
        await tx.rows(
          "update access.roles set description = 'x' where role_name = 'user' returning role_name",
        ),
      ).toEqual([{ role_name: "user" }]);
      await tx.rows("update access.roles set role_name = 'other' where role_name = 'moderator'");
    });
  });

  test("let only an administrator grant and revoke roles, both audited; users cannot promote themselves", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      for (const user of [ada, moderator]) {
        await tx.asUser(user);
        await expectSqlState(tx.attempt("select access.grant_role($1, 'admin')", [user]), "42501");
        await expectSqlState(tx.attempt("insert into access.roles (role_name) values ('x')"), "42501");
        expect(await tx.rows("update access.roles set rank = 1000 returning id")).toEqual([]);
        await expectSqlState(tx.attempt("select access.revoke_role($1, 'admin')", [admin]), "PL404");
      }
      await tx.asUser(admin);
      await tx.rows("select access.grant_role($1, 'moderator')", [ada]);
      await expectSqlState(tx.attempt("select access.grant_role($1, 'nonsense')", [ada]), "PL404");
      await tx.rows("select access.revoke_role($1, 'moderator')", [ada]);
      expect(
        await tx.rows(
          "select event_type, actor_id, event_data ->> 'role_name' as role from security.security_audit_log where user_id = $1 and actor_id = $2 order by id",
          [ada, admin],
        ),
      ).toEqual([
        { event_type: "role_granted", actor_id: admin, role: "moderator" },
        { event_type: "role_revoked", actor_id: admin, role: "moderator" },
      ]);
    });
  });

  test("are not held by a disabled administrator", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.rows("select access.grant_role($1, 'admin')", [bob]); // because one must remain
      await tx.rows("update identity.users set account_status = 'disabled' where id = $1", [admin]);
      await tx.asUser(admin);
      expect(await tx.rows("select access.has_permission('manage_users') as ok")).toEqual([{ ok: false }]);
    });
  });

  test("reject deleting a built-in role, and audit changes of a role's permissions", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(admin);
      const gone = await tx.rows<{ role_name: string }>("delete from access.roles returning role_name");
      expect(gone.map((row) => row.role_name)).toEqual(["moderator"]);
      await tx.rows(
        `insert into access.role_permissions (role_id, permission_id)
         select r.id, p.id from access.roles r, access.permissions p where r.role_name = 'user' and p.permission_name = 'edit_content'`,
      );
      const events = await tx.rows<{ event_type: string; name: string }>(
        `select event_type, event_data ->> 'role_name' as name from security.security_audit_log
         where actor_id = $1 and event_type in ('role_deleted', 'role_permission_added') order by id`,
        [admin],
      );
      expect(events).toEqual([
        { event_type: "role_deleted", name: "moderator" },
        { event_type: "role_permission_added", name: "user" },
      ]);
    });
  });

  test("an update that changes nothing leaves updated_at unchanged", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(ada);
      const touch = (sql: string) => tx.rows(`${sql} returning updated_at > created_at as touched`);
      expect(await touch("update identity.users set username = username")).toEqual([{ touched: false }]);
      expect(await touch("update identity.users set username = 'ada.b'")).toEqual([{ touched: true }]);
      expect(await touch("update identity.user_settings set preferences = preferences")).toEqual([
        { touched: false },
      ]);
    });
  });

  test("need manage_users to disable an account, and delete_user to delete one", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(moderator);
      await expectSqlState(tx.attempt("select identity.set_account_status($1, 'disabled')", [ada]), "PL403");
      expect(await tx.rows("delete from identity.users returning id")).toEqual([]);
      await tx.asOwner();
      const [session] = await tx.rows<{ id: string }>(
        "insert into identity.user_sessions (user_id) values ($1) returning id",
        [admin],
      );
      await tx.asUser(admin, session!.id);
      await tx.rows("select identity.set_account_status($1, 'disabled')", [ada]);
      await expectSqlState(tx.attempt("select identity.set_account_status($1, 'angry')", [ada]), "23514");
      expect(await tx.rows("delete from identity.users where id = $1 returning username", [ada])).toEqual([
        { username: "ada" },
      ]);
    });
  });
});

describe("security records", () => {
  test("are read by their account and by auditors, and are not writable", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asOwner();
      await tx.rows(
        "select security.track_login_attempt($1, 'ada', null, null, 'failed', 'wrong_password')",
        [ada],
      );
      for (const table of ["login_attempts", "security_audit_log"]) {
        await tx.asUser(ada);
        const own = await tx.rows<{ user_id: string }>(`select user_id from security.${table}`);
        expect(own.length).toBeGreaterThan(0);
        expect(new Set(own.map((row) => row.user_id))).toEqual(new Set([ada]));
        for (const sql of [
          `insert into security.${table} default values`,
          `update security.${table} set metadata = '{}'`,
          `delete from security.${table}`,
        ])
          await expectSqlState(tx.attempt(sql.replace("metadata = '{}'", "user_agent = ''")), "42501");
        await tx.asUser(moderator);
        expect(
          await tx.rows<{ user_id: string }>(`select user_id from security.${table} where user_id <> $1`, [
            moderator,
          ]),
        ).toEqual([]);
        await tx.asUser(admin);
        expect(
          (await tx.rows(`select from security.${table} where user_id = $1`, [ada])).length,
        ).toBeGreaterThan(0);
      }
    });
  });

  test("show nothing through a partition", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asUser(admin);
      await expectSqlState(tx.attempt("select from security.login_attempts_default"), "42501");
    });
  });

  test("are kept in a month without a partition, and move when it is created", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.asOwner();
      // The template may be of last month.
      await tx.rows("select private.ensure_partitions(3)");
      await tx.rows(
        `insert into security.login_attempts (status, created_at) values ('success', date_trunc('month', now(), 'UTC') + interval '5 months 3 days')`,
      );
      const where = () =>
        tx.rows<{ table: string }>(
          "select tableoid::regclass::text as table from security.login_attempts where created_at > now() + interval '4 months'",
        );
      expect((await where())[0]!.table).toBe("login_attempts_default");
      const made = await tx.rows("select * from private.ensure_partitions(5)");
      const logs = await tx.rows(
        `select from pg_partitioned_table p
         join pg_attribute a on a.attrelid = p.partrelid and a.attnum = p.partattrs[0] and a.attname = 'created_at'`,
      );
      expect(made).toHaveLength(2 * logs.length);
      expect((await where())[0]!.table).not.toBe("login_attempts_default");
      expect(await tx.rows("select * from private.ensure_partitions(5)")).toEqual([]);
    });
  });
});
