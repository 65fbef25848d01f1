import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { verifyAudit } from "../../src/audit/verify.ts";
import { dropDatabase } from "../../src/database/drop-database.ts";
import { databaseUrl } from "../../src/database/scratch-database.ts";
import { aiTraining } from "../../src/import/system/ai_training/index.ts";
import { importSystem } from "../../src/import/system/import-system.ts";
import type { ImportReport } from "../../src/import/system/report.ts";
import { openSource } from "../../src/import/system/sources/open.ts";
import { databaseEnv } from "../cli/run-cli.ts";
import { runHere } from "../cli/run-here.ts";
import { type Api, codeOf, MASTER_KEYS, signIn, startApi } from "../support/api.ts";
import { enableSystems } from "../support/compat.ts";
import { type CompatCaller, callerOf } from "../support/compat-callers.ts";
import { createTestDatabase, rowsAs, type TestDatabase, testSetup, withClient } from "../support/database.ts";
import { unseenChanges } from "../support/unseen-changes.ts";
import { hashesOfTables, tablesWith } from "../support/whole-database.ts";

// The fixture database of the AI training platform moves in. Each test continues where the one before it ended.

const FIXTURE = join(import.meta.dirname, "fixtures/ai-training");
const [ada, bob, zoe, other, liLei, newcomer, gone, reviewed] = [1, 2, 3, 4, 5, 6, 7, 8].map(
  (n) => `a0000000-0000-4000-8000-00000000000${n}`,
) as [string, string, string, string, string, string, string, string];
const item = (n: number): string => `e1000000-0000-4000-8000-00000000000${n}`;

let db: TestDatabase;
let source: pg.Client;
let sourceUrl: string;
let api: Api;

beforeAll(async () => {
  db = await createTestDatabase();
  const name = `${db.name}_old`;
  await withClient(db.adminUrl, (client) => client.query(`create database ${pg.escapeIdentifier(name)}`));
  sourceUrl = databaseUrl(db.adminUrl, name);
  source = new pg.Client({ connectionString: sourceUrl });
  await source.connect();
  for (const file of ["schema.sql", "data.sql"])
    await source.query(readFileSync(join(FIXTURE, file), "utf8"));
  api = await startApi(db);
});
afterAll(async () => {
  await api?.close();
  await source?.end();
  await withClient(testSetup().adminUrl, (client) => dropDatabase(client, `${db.name}_old`));
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);

async function run(): Promise<ImportReport> {
  const from = await openSource(sourceUrl, () => {});
  try {
    return await withClient(db.url("owner"), (client) =>
      importSystem({ client, source: from, mapping: aiTraining }),
    );
  } finally {
    await from.close();
  }
}

/** Closes the chain of the audit logs and verifies it. */
const auditFaults = () =>
  withClient(db.url("owner"), async (client) => {
    await client.query("select private.close_audit_block(10000)");
    const { faults } = await verifyAudit(client, {
      anchors: [],
      folder: undefined,
      signal: new AbortController().signal,
      onProgress: () => {},
    });
    return faults;
  });

/** Rows of each table that came along now, were here, and did not come along. */
const counts = ({ tables }: ImportReport) =>
  Object.fromEntries(tables.map((t) => [t.relation, [t.imported, t.present, t.omitted]]));

/** Of the first run. */
const FIRST = {
  users: [8, 0, 0],
  roles: [0, 2, 1],
  user_roles: [1, 1, 1],
  password_history: [1, 0, 1],
  user_security_settings: [2, 0, 0],
  subscription_plans: [4, 0, 0],
  user_subscriptions: [5, 0, 1],
  payments: [6, 0, 0],
  subscription_changes: [2, 0, 1],
  content_categories: [3, 0, 0],
  content_items: [6, 0, 0],
  user_content_permissions: [3, 0, 0],
  content_consumption: [6, 0, 0],
  learning_analytics: [4, 0, 0],
  login_attempts: [4, 0, 0],
  security_audit_log: [3, 0, 0],
  audit_trail: [3, 0, 0],
};

test("a dry run reports everything and changes nothing; in privacy mode it stores no names or addresses", async () => {
  // The tables as files, which the later tests read from PostgreSQL.
  const folder = mkdtempSync(join(tmpdir(), "plinth-test-"));
  const { rows: tables } = await source.query<{ name: string }>(
    "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition",
  );
  for (const { name } of tables) {
    const { rows } = await source.query<{ line: string }>(
      `select row_to_json(t)::text as line from ${name} t`,
    );
    writeFileSync(join(folder, `${name}.ndjson`), rows.map(({ line }) => line).join("\n"));
  }
  const before = await hashesOfTables(db);
  const { code, stdout } = await runHere(
    ["import", "system", "ai-training", "--from", folder, "--dry-run", "--json"],
    { env: { ...databaseEnv(db), PLINTH_MASTER_KEYS: MASTER_KEYS, PLINTH_PRIVACY_MODE: "true" } },
  );
  rmSync(folder, { recursive: true });
  const report: ImportReport = JSON.parse(stdout);
  expect(code).toBe(0);
  expect(report).toMatchObject({ dryRun: true, isVerified: true, mismatches: [] });
  expect(counts(report)).toEqual(FIRST);
  expect(report.reasons).toEqual(
    expect.arrayContaining([
      { relation: "users", column: "first_name", reason: "this server stores no names", count: 5 },
      { relation: "login_attempts", column: "email", reason: "this server stores no addresses", count: 3 },
    ]),
  );
  expect(await hashesOfTables(db)).toEqual(before);
});

test("imports each table, and reports each row and column that cannot come along", async () => {
  const report = await run();
  expect(report).toMatchObject({ dryRun: false, isVerified: true, mismatches: [] });
  expect(counts(report)).toEqual(FIRST);
  expect(
    report.remarks.map(({ relation, row, column }) => [relation, row.slice(-2), column].join(" ")),
  ).toEqual([
    ...[
      "roles 03 ",
      "user_roles 03 ",
      "password_history 02 ",
      "user_subscriptions 06 ",
      "subscription_changes 01 ",
    ],
    ...["users 02 phone_number", "users 03 username", "users 04 username", "users 04 password_hash"],
    ...["users 05 username", "users 07 password_hash", "users 08 account_status"],
    ...["user_security_settings 01 two_factor_secret", "user_security_settings 02 session_timeout_minutes"],
    ...[
      "subscription_plans 03 code",
      "payments 06 status",
      "content_categories 02 slug",
      "content_items 03 content_type",
    ],
    ...[
      "content_consumption 06 completed_at",
      "content_consumption 04 rating",
      "learning_analytics 01 average_score",
      "audit_trail 03 new_values",
    ],
    ...["user_verifications  ", "user_sessions  ", "api_tokens  ", "refresh_tokens  "],
    "content_items  average_rating",
    ...["roles  description", "roles  created_at", "user_security_settings  two_factor_method"],
  ]);
  expect(report.remarks).toContainEqual({
    relation: "roles",
    row: expect.stringMatching(/03$/),
    reason: "the role does not exist here: create it, and import again",
    detail: "content_editor",
  });
  expect(report.remarks).toContainEqual({
    relation: "api_tokens",
    row: "",
    reason: "API tokens are not imported: users create new ones (1 row)",
  });
  // Reasons, not values: neither a password nor a token is in the report.
  expect(JSON.stringify(report)).not.toMatch(/hashed_pw|secret-in-the-old-trail|session-secret|gAAAAAB/);
});

test("the verification finds a change of each column, and each missing row, of an import", async () => {
  const opened = await openSource(sourceUrl, () => {});
  const seen = await unseenChanges(db, opened, aiTraining);
  await opened.close();
  expect(seen).toEqual({ unseen: [], untested: [] });
});

test("keeps accounts with their states, names, times and roles [A1]", async () => {
  expect(
    await asOwner(
      `select u.id, username, email, account_status, email_verified_at, phone_number, failed_login_attempts,
         last_login_at, u.created_at, u.updated_at, profile_data, display_name, identity.users_role(u) as role
       from identity.users u join identity.user_settings s on s.user_id = u.id order by u.id`,
    ),
  ).toEqual([
    expect.objectContaining({
      id: ada,
      username: "ada",
      email: "ada@example.com",
      email_verified_at: new Date("2024-11-02T09:15:00Z"),
      phone_number: "+441632960001",
      last_login_at: new Date("2025-02-20T07:00:00Z"),
      created_at: new Date("2024-11-02T09:00:00Z"),
      updated_at: new Date("2025-02-20T07:00:00Z"),
      profile_data: { first_name: "Ada", last_name: "Lovelace" },
      role: "admin",
    }),
    expect.objectContaining({
      id: bob,
      username: "bob",
      phone_number: null,
      failed_login_attempts: 2,
      role: "user",
    }),
    expect.objectContaining({
      id: zoe,
      username: "zoe-muller",
      email: "zoë.müller@example.com",
      display_name: "Zoë Müller",
      email_verified_at: null,
    }),
    expect.objectContaining({ id: other, username: "ada-2", display_name: "ADA" }),
    expect.objectContaining({
      id: liLei,
      username: `user-${liLei}`,
      display_name: "李雷",
      account_status: "disabled",
    }),
    expect.objectContaining({ id: newcomer, account_status: "active", email_verified_at: null }),
    expect.objectContaining({
      id: gone,
      account_status: "deleted",
      updated_at: new Date("2025-01-05T00:00:00Z"),
    }),
    expect.objectContaining({ id: reviewed, account_status: "disabled" }),
  ]);
});

test("lets people sign in with their passwords, as far as hash and state allow [A1, A2]", async () => {
  expect((await signIn(api, "ada", "ada reads papers at night")).userId).toBe(ada);
  expect((await signIn(api, "zoe-muller", "größer als früher 2025")).userId).toBe(zoe);
  for (const [identifier, password] of [
    ["ada-2", "hashed_pw"],
    ["reviewed", "ada had this one first"],
  ])
    expect(
      codeOf(
        await api.ask("mutation ($input: LoginInput!) { login(input: $input) { accessToken } }", {
          variables: { input: { identifier, password } },
        }),
      ),
    ).toBe("INVALID_CREDENTIALS");
  // An account without a usable hash sets its password by mail.
  await api.ask(
    "mutation ($input: RequestPasswordResetInput!) { requestPasswordReset(input: $input) { ok } }",
    {
      variables: { input: { identifier: "other.ada@example.com" } },
    },
  );
  expect(await asOwner("select user_id from private.password_reset_tokens")).toEqual([{ user_id: other }]);
});

test("keeps plans, subscriptions and exact amounts [A3]", async () => {
  expect(
    await asOwner(
      `select s.id::text as n, code, billing_cycle, price_cents, currency, status, trial_end is not null as is_trial, provider_subscription_id
       from billing.user_subscriptions s join billing.subscription_plans p on p.id = s.plan_id order by s.id`,
    ).then((rows) => rows.map(({ n, ...row }) => [Number(n.at(-1)), ...Object.values(row)])),
  ).toEqual([
    [1, "scholar", "monthly", "1999", "USD", "canceled", false, "sub_ada_1"],
    [2, "scholar", "yearly", "19900", "USD", "active", false, "sub_ada_2"],
    [3, "founder_edition", "lifetime", "99000", "EUR", "active", false, null],
    [4, "scholar", "monthly", "1999", "USD", "trialing", true, null],
    [5, "studio", "monthly", "4900", "JPY", "active", false, null],
  ]);
  expect(
    await asOwner(
      "select amount_cents, refunded_cents, currency, status, provider, provider_payment_id, failure_code from billing.payments order by id",
    ).then((rows) => rows.map((row) => Object.values(row))),
  ).toEqual([
    ["1999", "0", "USD", "succeeded", "stripe", "in_1", null],
    ["1999", "999", "USD", "partially_refunded", "stripe", "in_2", null],
    ["99000", "0", "EUR", "succeeded", "bank_transfer", "RF18 5390 0754 7034", null],
    ["4900", "0", "JPY", "failed", "stripe", "in_4", "card_declined"],
    ["1", "0", "USD", "pending", "stripe", "in_5", null],
    ["10050", "0", "USD", "pending", "stripe", "in_6", null],
  ]);
  // The provider's next event finds it, and waits for the plan's price there.
  expect(
    await asOwner("select private.apply_provider_subscription('stripe', 'sub_ada_2', now()) as outcome"),
  ).toEqual([{ outcome: "waiting_for_price" }]);
  expect(
    await asOwner(
      "select event, amount_cents from billing.subscription_changes where subscription_id = $1 order by effective_at",
      ["d1000000-0000-4000-8000-000000000001"],
    ),
  ).toEqual([
    { event: "started", amount_cents: "0" },
    { event: "upgraded", amount_cents: "15902" },
    { event: "downgraded", amount_cents: "-12050" },
    { event: "canceled", amount_cents: "0" },
  ]);
});

test("keeps content with its texts and states, and what people did with it [A4]", async () => {
  expect(
    await asOwner(
      `select i.slug, c.path, content_type, current_version, tags, body_format, body, available_from is not null as is_available, i.updated_at
       from learning.content_items i join learning.content_categories c on c.id = i.category_id
       left join learning.content_bodies b on b.item_id = i.id order by i.id`,
    ).then((rows) => rows.map((row) => Object.values(row))),
  ).toEqual([
    [
      "linear-regression",
      "machine-learning",
      "article",
      1,
      ["basics", "statistics"],
      "markdown",
      "A line through points.",
      true,
      new Date("2024-11-10T00:00:00Z"),
    ],
    [
      "attention",
      "machine-learning/grosse-sprachmodelle",
      "video",
      3,
      [],
      "url",
      "https://cdn.example.com/attention.mp4",
      true,
      new Date("2025-01-20T00:00:00Z"),
    ],
    [
      "feinabstimmung",
      "machine-learning/grosse-sprachmodelle",
      "article",
      null,
      ["daten"],
      "markdown",
      "Daten.",
      false,
      new Date("2024-11-21T00:00:00Z"),
    ],
    [
      "old-rules",
      "ethics",
      "lesson",
      null,
      [],
      "markdown",
      "Superseded.",
      false,
      new Date("2025-01-01T00:00:00Z"),
    ],
    ["removed", "ethics", "lesson", 1, [], "markdown", "Removed.", false, new Date("2025-01-02T00:00:00Z")],
    [
      "studio-notes",
      "machine-learning",
      "lesson",
      1,
      [],
      "markdown",
      "Behind the counter.",
      true,
      new Date("2024-11-25T00:00:00Z"),
    ],
  ]);
  expect(
    await asOwner("select user_id, rating, review from learning.content_ratings order by user_id"),
  ).toEqual([
    { user_id: bob, rating: 5, review: "Clear." },
    { user_id: zoe, rating: 4, review: "" },
  ]);
  expect(
    await asOwner(
      "select user_id, item_id, progress, active_seconds from learning.content_progress order by 1, 2",
    ),
  ).toEqual([
    { user_id: ada, item_id: item(3), progress: "0.2000", active_seconds: "60" },
    { user_id: bob, item_id: item(2), progress: "1.0000", active_seconds: "720" },
    { user_id: zoe, item_id: item(1), progress: "1.0000", active_seconds: "540" },
    { user_id: zoe, item_id: item(6), progress: "0.5000", active_seconds: "60" },
  ]);
});

test("keeps logs of past months in their months, and the chain of the audit logs whole [A5, A8]", async () => {
  // As the worker does.
  await asOwner("select private.ensure_partitions()");
  expect(
    await asOwner(
      `select tableoid::regclass::text as month, status, failure_reason from security.login_attempts where created_at < '2026-01-01' order by created_at`,
    ),
  ).toEqual([
    { month: expect.stringContaining("2025_01"), status: "success", failure_reason: null },
    { month: expect.stringContaining("2025_02"), status: "failed", failure_reason: "wrong_password" },
    { month: expect.stringContaining("2025_02"), status: "failed", failure_reason: "unknown_account" },
    { month: expect.stringContaining("2025_03"), status: "locked", failure_reason: "account_disabled" },
  ]);
  expect(
    await asOwner(
      "select event_type, severity, event_data, created_at from security.security_audit_log where source = 'ai_training' order by created_at",
    ),
  ).toEqual([
    {
      event_type: "password_changed",
      severity: "info",
      event_data: {},
      created_at: new Date("2025-01-10T12:00:00Z"),
    },
    {
      event_type: "account_locked",
      severity: "warning",
      event_data: { attempts: 7 },
      created_at: new Date("2025-02-01T00:00:00Z"),
    },
    {
      event_type: "backup_failed",
      severity: "critical",
      event_data: { value: ["disk full"] },
      created_at: new Date("2025-03-05T00:00:00Z"),
    },
  ]);
  expect(
    await asOwner(
      "select table_name, user_id, actor_id, old_values, new_values from security.audit_trail where source = 'ai_training' order by created_at",
    ),
  ).toEqual([
    {
      table_name: "ai_training.users",
      user_id: bob,
      actor_id: null,
      old_values: null,
      new_values: { username: "bob" },
    },
    {
      table_name: "ai_training.content_items",
      user_id: null,
      actor_id: null,
      old_values: { title: "Removed" },
      new_values: null,
    },
    {
      table_name: "ai_training.users",
      user_id: liLei,
      actor_id: ada,
      old_values: { account_status: "active" },
      new_values: { account_status: "suspended" },
    },
  ]);
  expect(await auditFaults()).toEqual([]);
});

test("has the figures of past days and months computed again", async () => {
  const days = await asOwner("select distinct day::text from private.days_to_roll_up order by 1");
  expect(days.map(({ day }) => day)).toEqual(
    expect.arrayContaining(["2024-11-02", "2024-11-05", "2025-01-10", "2025-01-15", "2025-02-28"]),
  );
  await asOwner("refresh materialized view analytics.subscription_metrics");
  expect(
    await asOwner(
      "select month::text, active_subscriptions, mrr from analytics.subscription_metrics where currency = 'USD' and month in ('2024-11-01', '2025-01-01') order by 1",
    ),
  ).toEqual([
    { month: "2024-11-01", active_subscriptions: "1", mrr: "19.99" },
    { month: "2025-01-01", active_subscriptions: "0", mrr: "0.00" },
  ]);
});

test("a second run changes nothing, and a later one brings what was added", async () => {
  const before = await hashesOfTables(db);
  const again = await run();
  expect(again).toMatchObject({ isVerified: true, mismatches: [] });
  expect(again.tables.map(({ imported }) => imported).filter(Boolean)).toEqual([]);
  expect(await hashesOfTables(db)).toEqual(before);

  await source.query(`
    insert into users (id, username, email, password_hash, account_status, created_at) values
      ('a0000000-0000-4000-8000-000000000009', 'late', 'late@example.com', '', 'active', '2025-03-06 00:00:00Z');
    insert into payments (user_id, amount, status, provider, provider_payment_id, paid_at)
      values ('a0000000-0000-4000-8000-000000000009', 5, 'completed', 'stripe', 'in_9', '2025-03-06 00:00:00Z');
    update content_items set title = 'Linear regression, revised' where slug = 'linear-regression'`);
  const later = await run();
  expect(later).toMatchObject({ isVerified: true, mismatches: [] });
  expect(counts(later)).toMatchObject({ users: [1, 8, 0], payments: [1, 6, 0] });
  // A row that changed there after a complete import is counted, and what was done here since is kept.
  expect(later.tables.find(({ relation }) => relation === "content_items")).toMatchObject({
    changedSince: 1,
  });
});

test("answers the document's statements with its own ids, for each caller [A9, A10, A11]", async () => {
  await enableSystems(db, ["ai_training"]);
  const as = (caller: CompatCaller, sql: string, ...values: unknown[]) =>
    callerOf(db, "compat_ai_training", caller, async (client) => (await client.query(sql, values)).rows);
  const access = "SELECT has_access FROM user_content_access WHERE user_id = $1 AND content_id = $2";
  for (const caller of ["application", "analyst"] as const) {
    expect(await as(caller, access, zoe, item(6))).toEqual([{ has_access: true }]);
    expect(await as(caller, access, bob, item(6))).toEqual([{ has_access: false }]);
    expect(await as(caller, access, ada, item(2))).toEqual([{ has_access: true }]);
    expect(
      await as(caller, "SELECT plan_code, price FROM active_user_subscriptions WHERE user_id = $1", bob),
    ).toEqual([{ plan_code: "founder_edition", price: "990.00" }]);
    expect(
      await as(
        caller,
        "SELECT status, current_period_end FROM user_subscriptions WHERE user_id = $1 AND status = 'active'",
        ada,
      ),
    ).toEqual([{ status: "active", current_period_end: expect.any(Date) }]);
    expect(await as(caller, "SELECT id FROM payments WHERE user_id = $1 ORDER BY id LIMIT 1", ada)).toEqual([
      { id: "d2000000-0000-4000-8000-000000000001" },
    ]);
  }
  expect(
    await as(
      "application",
      `SELECT u.*, uss.* FROM users u
LEFT JOIN user_security_settings uss ON u.id = uss.user_id
WHERE u.email = $1 AND u.account_status = 'active'`,
      "ada@example.com",
    ),
  ).toEqual([
    expect.objectContaining({
      username: "ada",
      first_name: "Ada",
      session_timeout_minutes: 30,
      password_hash: null,
    }),
  ]);
  expect(
    await as(
      "application",
      "SELECT track_login_attempt($1, $2, $3, $4, $5, $6)",
      bob,
      "bob@example.com",
      "192.0.2.9",
      "curl",
      "success",
      null,
    ),
  ).toEqual([{ track_login_attempt: expect.any(String) }]);
  expect(await as({ user: bob }, "SELECT DISTINCT user_id FROM login_attempts")).toEqual([{ user_id: bob }]);
  expect(await as({ user: bob }, access, zoe, item(6))).toEqual([]);

  const { token } = await signIn(api, "bob", "bob likes long passwords");
  const { data } = await api.ask(
    `query ($id: UUID!) {
       currentUser { username tier }
       contentItem(id: $id) { title access { hasAccess } }
       externalIds(filter: { relation: { equalTo: "users" } }) { nodes { system externalId } }
     }`,
    { token, variables: { id: item(2) } },
  );
  expect(data).toEqual({
    currentUser: { username: "bob", tier: "founder_edition" },
    contentItem: { title: "Attention, in full", access: { hasAccess: true } },
    externalIds: { nodes: [{ system: "ai_training", externalId: bob }] },
  });
});

test("erases an imported person with all that came along [S14]", async () => {
  const before = await tablesWith(db, "bob@example.com");
  expect(before).toEqual(expect.arrayContaining(["identity.users", "security.login_attempts_2025_02"]));
  await asOwner("delete from identity.users where id = $1", [bob]);
  expect(await tablesWith(db, "bob@example.com")).toEqual([]);
  expect(
    await asOwner(
      "select user_id, new_values from security.audit_trail where id = 'f7000000-0000-4000-8000-000000000003'",
    ),
  ).toEqual([{ user_id: null, new_values: null }]);
  expect(
    await asOwner("select from plinth.external_ids where user_id = $1 or external_id = $1::text", [bob]),
  ).toEqual([]);
  expect(await auditFaults()).toEqual([]);
});
