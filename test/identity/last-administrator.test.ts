import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type pg from "pg";
import { registerUser } from "../support/accounts.ts";
import {
  asRole,
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  rowsAs,
  type TestDatabase,
  withClient,
} from "../support/database.ts";
import { untilWaiting } from "../support/waiting.ts";

// At least one administrator without an expiry remains, by whichever path the others are lost, and in every race of two.

let db: TestDatabase;
let other: string;
const asOwner = rowsAs("owner", () => db);
beforeAll(async () => {
  db = await createTestDatabase();
  other = await registerUser(db, "other");
});
afterAll(() => db.drop());

const ADMINS = "role_id = (select id from access.roles where role_name = 'admin')";

/** Ways to take the role from an administrator, by their own hand through the API or by the owner of the database. */
const PATHS: readonly (readonly [name: string, by: "self" | "owner", sql: string])[] = [
  ["revokeRole", "self", "select access.revoke_role($1, 'admin')"],
  ["a renewal with an expiry", "self", "select access.grant_role($1, 'admin', now() + interval '1 hour')"],
  ["a disabled account", "self", "select identity.set_account_status($1, 'disabled')"],
  ["a deleted account", "self", "delete from identity.users where id = $1"],
  ["a deleted row", "owner", `delete from access.user_roles where user_id = $1 and ${ADMINS}`],
  [
    "an expiry in the past",
    "owner",
    `update access.user_roles set granted_at = now() - interval '2 days', expires_at = now() - interval '1 day'
     where user_id = $1 and ${ADMINS}`,
  ],
  [
    "another role in the row",
    "owner",
    `update access.user_roles set role_id = (select id from access.roles where role_name = 'moderator')
     where user_id = $1 and ${ADMINS}`,
  ],
  ["plain SQL on the status", "owner", "update identity.users set account_status = 'deleted' where id = $1"],
  [
    "a requested deletion",
    "owner",
    `insert into identity.account_deletions (user_id, due_at, next_attempt_at)
     values ($1, now() + interval '1 day', now() + interval '1 day')`,
  ],
  ["plain SQL on the account", "owner", "delete from identity.users where id = $1"],
];

let counter = 0;
/** Makes the only administrators of the database. */
async function administrators(number: number): Promise<string[]> {
  const ids = await Promise.all(Array.from({ length: number }, () => registerUser(db, `admin${++counter}`)));
  for (const id of ids) await asOwner("select access.grant_role($1, 'admin')", [id]);
  await asOwner(`delete from access.user_roles where ${ADMINS} and user_id <> all ($1)`, [ids]);
  return ids;
}

const remaining = async (): Promise<number> =>
  (
    await asOwner<{ user_id: string }>(
      `select ur.user_id from access.user_roles ur join identity.users u on u.id = ur.user_id and u.is_active
       where ${ADMINS} and ur.expires_at is null
         and not exists (select from identity.account_deletions d where d.user_id = ur.user_id)`,
    )
  ).length;

/** Opens a transaction that acts as the administrator or as the owner. */
async function inSession<T>(
  by: "self" | "owner",
  id: string,
  use: (client: pg.Client) => Promise<T>,
  isolation = "read committed",
): Promise<T> {
  return withClient(db.url(by === "self" ? "authenticator" : "owner"), async (client) => {
    await client.query(`begin isolation level ${isolation}`);
    if (by === "self") {
      // Deleting an account needs a recent sign-in.
      const [session] = await asOwner<{ id: string }>(
        "insert into identity.user_sessions (user_id) values ($1) returning id",
        [id],
      );
      await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: id, session_id: session!.id });
    }
    return use(client);
  });
}

describe.each(PATHS)("%s", (_, by, sql) => {
  test("does not take the last administrator", async () => {
    const [id] = await administrators(1);
    await expectSqlState(
      inSession(by, id!, (client) => client.query(sql, [id])),
      "PL409",
    );
    expect(await remaining()).toBe(1);
  });
});

test.each(PATHS.map((path, i) => [path[0], PATHS[(i + 1) % PATHS.length]![0], i] as const))(
  "%s and %s of the last two at the same moment: the second is rejected",
  async (_first, _second, index) => {
    const [one, two] = (await administrators(2)) as [string, string];
    const [, firstBy, firstSql] = PATHS[index]!;
    const [, secondBy, secondSql] = PATHS[(index + 1) % PATHS.length]!;
    await inSession(firstBy, one, async (first) => {
      await first.query(firstSql, [one]);
      await inSession(secondBy, two, async (second) => {
        const late = expectSqlState(second.query(secondSql, [two]), "PL409");
        await untilWaiting(db);
        await first.query("commit");
        await late;
      });
    });
    expect(await remaining()).toBe(1);
  },
);

const REPLACE = [
  "select access.grant_role($1, 'admin')",
  `delete from access.user_roles where user_id <> $1 and ${ADMINS}`,
] as const;

test.each([
  ["disabled", "owner", "update identity.users set account_status = 'disabled' where id = $1"],
  ["deleted", "owner", "delete from identity.users where id = $1"],
  ["deleting itself", "self", "select identity.delete_my_account()"],
] as const)(
  "an account that replaces the last administrator is not %s at the same moment",
  async (_, by, sql) => {
    for (const isFirst of [true, false]) {
      await administrators(1);
      const heir = await registerUser(db, `heir${++counter}`);
      await inSession(by, heir, async (leaving) => {
        const leave = () => leaving.query(sql, by === "self" ? [] : [heir]);
        await inSession("owner", heir, async (granting) => {
          const replace = async () => {
            for (const statement of REPLACE) await granting.query(statement, [heir]);
          };
          const [first, second] = isFirst ? [replace, leave] : [leave, replace];
          await first();
          const late = expect(second()).rejects.toMatchObject({
            code: expect.stringMatching(/^(PL409|23503)$/),
          });
          await untilWaiting(db);
          await (isFirst ? granting : leaving).query("commit");
          await late;
        });
      });
      expect(await remaining()).toBe(1);
    }
  },
);

test("a transaction with an older snapshot does not take the last administrator", async () => {
  const [one, two] = (await administrators(2)) as [string, string];
  const [, , sql] = PATHS.find(([name]) => name === "a deleted row")!;
  await inSession(
    "owner",
    one,
    async (late) => {
      await late.query("select from access.user_roles");
      await asOwner(sql, [two]);
      await expectSqlState(late.query(sql, [one]), "40001");
    },
    "repeatable read",
  );
  expect(await remaining()).toBe(1);
});

test("an administrator may leave when another one remains, also in one statement", async () => {
  const [one] = (await administrators(1)) as [string];
  await asOwner(
    `with left_role as (delete from access.user_roles where user_id = $1 and ${ADMINS} returning role_id)
     insert into access.user_roles (user_id, role_id) select $2, role_id from left_role`,
    [one, other],
  );
  expect(await remaining()).toBe(1);
  await asOwner("delete from identity.users where id = $1", [one]);
  await administrators(1);
});

test("the first administrator has no expiry", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.rows("alter table access.user_roles disable trigger _300_keep_last_administrator");
    await tx.rows(`delete from access.user_roles where ${ADMINS}`);
    await tx.rows("alter table access.user_roles enable trigger _300_keep_last_administrator");
    const grant = "select access.grant_role($1, 'admin', $2)";
    await expectSqlState(tx.attempt(grant, [other, new Date(Date.now() + 3_600_000)]), "PL409");
    await tx.rows(grant, [other, null]);
  });
});

test.each([
  ["the role deleted", "delete from access.roles where role_name = 'admin'"],
  ["the role renamed", "update access.roles set role_name = 'boss' where role_name = 'admin'"],
  [
    "manage_roles removed from the role",
    `delete from access.role_permissions where ${ADMINS}
     and permission_id = (select id from access.permissions where permission_name = 'manage_roles')`,
  ],
  [
    "manage_roles moved to another role",
    `update access.role_permissions set role_id = (select id from access.roles where role_name = 'user')
     where ${ADMINS} and permission_id = (select id from access.permissions where permission_name = 'manage_roles')`,
  ],
  ["manage_roles deleted", "delete from access.permissions where permission_name = 'manage_roles'"],
  [
    "manage_roles renamed",
    "update access.permissions set permission_name = 'rule' where permission_name = 'manage_roles'",
  ],
  ["all roles of users truncated", "truncate access.user_roles"],
])("administration is not lost with %s, even by the owner", async (_, sql) => {
  const [admin] = (await administrators(1)) as [string];
  await expectSqlState(asOwner(sql), "PL409");
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asUser(admin);
    expect(await tx.rows("select access.has_permission('manage_roles') as ok")).toEqual([{ ok: true }]);
  });
});

test("a role that begins to require a second factor is reported with its holders who have none", async () => {
  const [admin] = (await administrators(1)) as [string];
  await inRolledBackTransaction(db, async (tx) => {
    const warnings: string[] = [];
    tx.client.on("notice", ({ message }) => warnings.push(message ?? ""));
    await tx.asUser(admin);
    await tx.rows("update access.roles set requires_mfa = true where role_name = 'admin'");
    await tx.asOwner();
    expect(warnings).toEqual(["1 of 1 holders of the role admin have no second factor."]);
    expect(
      await tx.rows(
        `select severity, event_data ->> 'holders_without_factor' as without, actor_id
         from security.security_audit_log where event_type = 'role_requires_second_factor'`,
      ),
    ).toEqual([{ severity: "warning", without: "1", actor_id: admin }]);
  });
});
