import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { headphone } from "../../src/import/system/headphone/index.ts";
import { openSource } from "../../src/import/system/sources/open.ts";
import { databaseEnv, type Outcome } from "../cli/run-cli.ts";
import { runHere } from "../cli/run-here.ts";
import { type Api, MASTER_KEYS, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { unseenChanges } from "../support/unseen-changes.ts";
import { untilMonthGoesOn } from "../support/waiting.ts";
import { hashesOfTables } from "../support/whole-database.ts";
import { sqliteFixture } from "./fixtures/sqlite.ts";

// Headphone Mode moves in: its SQLite database, written from its document, with every case that hurts. The tests run in order.

let db: TestDatabase;
let source: ReturnType<typeof sqliteFixture>;
let api: Api | undefined;
beforeAll(async () => {
  await untilMonthGoesOn();
  db = await createTestDatabase();
  source = sqliteFixture("headphone");
});
afterAll(async () => {
  await api?.close();
  await db.drop();
  source.remove();
});

const PASSWORD = "seven quiet lamps burn";

function importIt(...flags: string[]): Promise<Outcome> {
  return runHere(
    [
      "import",
      "system",
      "headphone-mode",
      "--from",
      source.path,
      "--salt-order",
      "salt-password",
      "--json",
      ...flags,
    ],
    {
      env: { ...databaseEnv(db), PLINTH_MASTER_KEYS: MASTER_KEYS },
    },
  );
}

async function rows<R extends object>(sql: string): Promise<R[]> {
  return withClient(db.url("owner"), async (client) => (await client.query<R>(sql)).rows);
}

/** Tables of the report with their numbers of rows: in all, imported, already here and left out. */
function numbers(outcome: Outcome): Record<string, number[]> {
  expect({ code: outcome.code, stderr: outcome.stderr }).toEqual({ code: 0, stderr: "" });
  const { tables, isVerified } = JSON.parse(outcome.stdout);
  expect(isVerified).toBe(true);
  return Object.fromEntries(
    tables.map((table: Record<string, number> & { relation: string }) => {
      expect(table.storedChecksum).toBe(table.expectedChecksum);
      return [table.relation, [table.rows, table.imported, table.present, table.omitted]];
    }),
  );
}

const FIRST = {
  users: [8, 8, 0, 0],
  preferences: [4, 3, 0, 1],
  roles: [4, 0, 3, 1],
  permissions: [3, 0, 2, 1],
  role_permissions: [4, 0, 2, 2],
  user_roles: [5, 1, 3, 1],
  subscriptions: [6, 6, 0, 0],
  usage_tracking: [4, 2, 0, 2],
  prompts: [3, 2, 0, 1],
  user_prompts: [4, 3, 0, 1],
};

test("a dry run imports and verifies everything and changes nothing", async () => {
  const before = await hashesOfTables(db);
  expect(numbers(await importIt("--dry-run"))).toEqual(FIRST);
  expect(await hashesOfTables(db)).toEqual(before);
});

test("an import brings every table and reports each row and column that was left out", async () => {
  const report = join(source.path, "..", "left-out.csv");
  const outcome = await importIt("--report", report);
  expect(numbers(outcome)).toEqual(FIRST);
  const { reasons } = JSON.parse(outcome.stdout);
  expect(
    reasons.map(({ relation, column, count }: Record<string, unknown>) => [relation, column, count]),
  ).toEqual(
    expect.arrayContaining([
      ["users", "username", 6],
      ["users", "email", 1],
      ["users", "password_hash", 1],
      ["users", "created_at", 1],
      ["preferences", undefined, 1],
      ["roles", undefined, 1],
      ["permissions", undefined, 1],
      ["usage_tracking", undefined, 2],
      ["prompts", undefined, 1],
      ["user_prompts", undefined, 1],
      ["sessions", undefined, 1],
    ]),
  );
  const lines = readFileSync(report, "utf8").trim().split("\n");
  expect(lines).toContain(
    '"users","3","username","is not allowed or taken: the user signs in with another name","bob-muller"',
  );
  expect(lines).toContain(
    '"roles","4","","the role does not exist here: create it, and import again","night_owl"',
  );
  expect(lines.filter((line) => line.startsWith('"role_permissions"'))).toEqual([
    '"role_permissions","3:2","","the role does not have the permission here: grant it if that is intended, and import again",""',
    '"role_permissions","4:3","","its row of roles was not imported",""',
  ]);
  expect(lines).toHaveLength(
    1 + reasons.reduce((sum: number, reason: { count: number }) => sum + reason.count, 0),
  );
  // Neither a password's hash nor an address is in what the command prints or writes.
  expect(`${outcome.stdout}${lines}`).not.toMatch(/\$2b\$|\$argon2|example\.com/i);
});

test("people keep their names, addresses, times and settings [H1] [H3]", async () => {
  expect(
    await rows(
      `select e.number::int as id, u.username, u.email, s.display_name, u.created_at::text as created_at,
         s.preferences, u.hashed_email is not null as is_hashed, p.user_id is not null as has_password
       from plinth.external_ids e
       join identity.users u on u.id = e.row_id
       join identity.user_settings s on s.user_id = u.id
       left join private.user_passwords p on p.user_id = u.id
       where e.system = 'headphone' and e.relation = 'users' and e.user_id = u.id and e.number not in (5, 6)
       order by e.number`,
    ),
  ).toMatchObject([
    {
      id: 1,
      username: "ada",
      email: "ada@example.com",
      display_name: null,
      preferences: { theme: "dark", volume: 7 },
    },
    {
      id: 2,
      username: "ada-2",
      email: "ada.byron@example.com",
      display_name: "Ada",
      created_at: "2024-03-01 10:00:00.123456+00",
      preferences: { preferences_data: "loud and dark" },
    },
    { id: 3, username: "bob-muller", display_name: "Bob Müller", preferences: {}, is_hashed: true },
    { id: 4, username: "user-4", display_name: "李雷", created_at: "2023-01-01 00:00:00+00" },
    { id: 7, username: "dave", email: null, is_hashed: false, has_password: true },
    { id: 8, username: "user-8", display_name: "x", has_password: false },
  ]);
  expect(
    await rows(
      `select u.username, u.email from plinth.external_ids e join identity.users u on u.id = e.row_id
       where e.relation = 'users' and e.number in (5, 6) order by e.number`,
    ),
  ).toEqual([
    { username: "user-5", email: "maria@example.ru" },
    { username: "carol", email: null },
  ]);
  expect(
    await rows(
      `select s.updated_at::text as at from plinth.external_ids e join identity.user_settings s on s.user_id = e.row_id
       where e.relation = 'preferences' and e.number = 1`,
    ),
  ).toEqual([{ at: "2024-06-02 10:00:00+00" }]);
});

/** In the source, whose days are of the moment when the fixture was made. */
const renewalOf = (id: number) =>
  source.rows<{ day: string }>(`select renewal_date as day from subscriptions where id = ${id}`)[0]!.day;

test("subscriptions renew when they would have, and the month's quota continues [H5] [H6]", async () => {
  expect(
    await rows(
      `select e.number::int as id, p.code, s.status, s.cancel_at_period_end as ends,
         to_char(s.current_period_end at time zone 'UTC', 'YYYY-MM-DD') as until
       from plinth.external_ids e
       join billing.user_subscriptions s on s.id = e.row_id
       join billing.subscription_plans p on p.id = s.plan_id
       where e.relation = 'subscriptions' and e.number <> 2 order by e.number`,
    ),
  ).toEqual([
    { id: 1, code: "premium", status: "active", ends: false, until: renewalOf(1) },
    { id: 3, code: "premium", status: "expired", ends: false, until: expect.any(String) },
    { id: 4, code: "premium", status: "active", ends: true, until: renewalOf(4) },
    { id: 5, code: "premium", status: "canceled", ends: false, until: expect.any(String) },
    { id: 6, code: "premium", status: "active", ends: false, until: renewalOf(6) },
  ]);
  // The hourly job does the same.
  expect(
    await rows(
      `select private.advance_subscription(e.row_id, now()) as steps from plinth.external_ids e
       where e.relation = 'subscriptions' and e.number = 6`,
    ),
  ).toEqual([{ steps: 1 }]);
  expect(
    await rows(
      `select s.status from plinth.external_ids e join billing.user_subscriptions s on s.id = e.row_id
       where e.relation = 'subscriptions' and e.number = 6`,
    ),
  ).toEqual([{ status: "past_due" }]);
  expect(
    await rows(
      `select t.token_count::int as used, sum(g.consumed)::int as consumed, bool_or(g.source_id = s.id) as is_of_plan
       from billing.usage_tracking t
       join identity.users u on u.id = t.user_id
       join billing.user_subscriptions s on s.user_id = u.id
       join billing.token_grants g on g.user_id = u.id
       where u.username = 'ada' group by 1`,
    ),
  ).toEqual([{ used: 1200, consumed: 1200, is_of_plan: true }]);
});

test("roles and prompts come along, and no role gains a permission [H7] [H8]", async () => {
  expect(
    await rows(
      `select u.username, r.role_name from access.user_roles ur
       join identity.users u on u.id = ur.user_id join access.roles r on r.id = ur.role_id
       where r.role_name <> 'user' order by 1`,
    ),
  ).toEqual([{ username: "ada-2", role_name: "moderator" }]);
  expect(
    await rows(
      `select p.name, p.created_at::text as at, u.username, up.usage_count::int as count
       from llm.prompts p join llm.user_prompts up on up.prompt_id = p.id join identity.users u on u.id = up.user_id
       where p.user_id is null order by p.created_at, u.username`,
    ),
  ).toEqual([
    { name: "Focus 集中", at: "2023-12-01 08:00:00+00", username: "ada-2", count: 0 },
    { name: "Calm", at: "2024-02-01 08:00:00+00", username: "ada", count: 3 },
    { name: "Calm", at: "2024-02-01 08:00:00+00", username: "ada-2", count: 1 },
  ]);
  expect(
    await rows(
      `select r.role_name from access.role_permissions rp join access.roles r on r.id = rp.role_id
       join access.permissions p on p.id = rp.permission_id where p.permission_name = 'delete_user'`,
    ),
  ).toEqual([{ role_name: "admin" }]);
});

test("a single event names the system and its numbers, and no mail is sent", async () => {
  expect(
    await rows(
      "select event_data, severity from security.security_audit_log where event_type = 'system_imported'",
    ),
  ).toEqual([
    {
      severity: "warning",
      event_data: {
        system: "headphone",
        is_verified: true,
        rows: {
          users: 8,
          preferences: 3,
          roles: 3,
          permissions: 2,
          role_permissions: 2,
          user_roles: 4,
          subscriptions: 6,
          usage_tracking: 2,
          prompts: 2,
          user_prompts: 3,
        },
      },
    },
  ]);
  expect(await rows("select template from private.mail_outbox")).toEqual([]);
  // The audit trail has the rows of each account, as from any other writer.
  expect(
    await rows(
      `select a.table_name, a.operation from security.audit_trail a join identity.users u on u.id = a.user_id
       where u.username = 'dave' order by 1, 2`,
    ),
  ).toEqual([
    { table_name: "access.user_roles", operation: "INSERT" },
    { table_name: "identity.user_security_settings", operation: "INSERT" },
    { table_name: "identity.user_settings", operation: "INSERT" },
    { table_name: "identity.user_settings", operation: "UPDATE" },
    { table_name: "identity.users", operation: "INSERT" },
  ]);
});

test("a second import changes nothing", async () => {
  const before = await hashesOfTables(db);
  const again = numbers(await importIt());
  for (const [relation, [count, imported, present, omitted]] of Object.entries(FIRST))
    expect([relation, again[relation]]).toEqual([relation, [count, 0, imported! + present!, omitted]]);
  expect(await hashesOfTables(db)).toEqual(before);
});

test("the verification finds a change of each column, and each missing row, of an import", async () => {
  const opened = await openSource(source.path, () => {});
  const seen = await unseenChanges(db, opened, headphone, {
    hasHasher: true,
    salt: { order: "salt-password" },
  });
  await opened.close();
  expect(seen).toEqual({ unseen: [], untested: [] });
});

test("people sign in with their passwords, and resolve their old ids", async () => {
  api = await startApi(db);
  for (const identifier of ["ada", "ada-2", "Ada.Byron@example.com", "bob-muller", "user-4", "carol"]) {
    const { data, errors } = await api.ask(
      "mutation ($identifier: String!, $password: String!) { login(input: { identifier: $identifier, password: $password }) { accessToken user { id } } }",
      { variables: { identifier, password: PASSWORD } },
    );
    expect([identifier, errors]).toEqual([identifier, undefined]);
    const { accessToken: token } = data.login;
    const own = await api.ask(
      '{ externalIds(filter: { relation: { equalTo: "users" } }) { nodes { system externalId rowId } } }',
      { token },
    );
    expect(own.errors).toBeUndefined();
    expect(own.data.externalIds.nodes).toEqual([
      { system: "headphone", externalId: expect.any(String), rowId: data.login.user.id },
    ]);
  }
});

test("a person without a password gets a new one by mail", async () => {
  await rows("select private.request_password_reset('x@example.com', sha256('token'), 'sealed')");
  expect(
    await rows(
      "select m.template, u.username from private.mail_outbox m join identity.users u on u.id = m.user_id where m.template = 'password-reset'",
    ),
  ).toEqual([{ template: "password-reset", username: "user-8" }]);
});

test("a row that changed here after the import is counted, and is no error", async () => {
  await rows("update llm.user_prompts set usage_count = usage_count + 1");
  const outcome = await importIt();
  expect(
    numbers({
      ...outcome,
      stdout: outcome.stdout.replace(/"(expected|stored)Checksum": "\w+"/g, '"$1Checksum": ""'),
    }),
  ).toBeDefined();
  const { tables } = JSON.parse(outcome.stdout);
  expect(tables.at(-1)).toMatchObject({
    relation: "user_prompts",
    imported: 0,
    changedSince: 3,
    mismatches: 0,
  });
});
