import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { withIds } from "../support/access-probes/ids.ts";
import { SEED } from "../support/access-probes/seed.ts";
import { CANARY } from "../support/canaries.ts";
import { CANARY_ADDRESSES, plantCanariesEverywhere } from "../support/canaries-everywhere.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { addManyRows } from "../support/many-rows.ts";
import { rowsRead } from "../support/rows-read.ts";

// The views of analytics agree with the views that applications read, contain no names, addresses, texts or tokens, and answer
// questions about an account or a time without reading everything. In this order: each test needs more of the database changed.

/** Columns that show words of the product, by where those come from. */
const WORDS_OF_THE_PRODUCT: Readonly<Record<string, readonly string[]>> = {
  "the price list, which every visitor reads": [
    "active_user_subscriptions.plan_name",
    "subscription_plans.plan_name",
  ],
  "the catalogue of models": [
    "daily_model_usage.model_name",
    "daily_model_usage.provider_name",
    "daily_token_usage.model_name",
    "daily_token_usage.provider_name",
    "daily_usage_by_plan.model_name",
    "daily_usage_by_plan.provider_name",
    "daily_usage_cost.model_name",
    "daily_usage_cost.provider_name",
    "model_catalogue.display_name",
    "model_catalogue.model_name",
    "model_catalogue.provider_name",
  ],
  "the prices of models": [
    "daily_usage_by_plan.currency",
    "daily_usage_cost.currency",
    "revenue_and_cost.currency",
  ],
  "roles and permissions, which administrators name": ["permission_holders.permission_name", "users.role"],
  "keys of skills": ["skills.skill_name"],
  "types of events, which the code names": [
    "audit_logs.event_type",
    "security_audit_log.event_type",
    "security_events_hourly.event_type",
  ],
};

/** Columns that show where a client is, as a network. */
const NETWORKS = [
  "audit_logs.client_ip",
  "failed_logins_by_network.network",
  "login_attempts.ip_address",
  "security_audit_log.ip_address",
  "sessions.client_ip",
  "user_sessions.ip_address",
];

/** Rows that SEED lacks, so that each view shows one. */
const MORE_ROWS = `
  update llm.messages set model_id = :shown;
  update billing.payments set paid_at = now(), failed_at = null;
  insert into security.login_attempts (user_id, status, failure_reason) select :ada, 'failed', 'x' from generate_series(1, 4);
  insert into identity.user_sessions (user_id, ended_at, end_reason) values (:ada, now(), 'logout');`;

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
  await withClient(db.url("owner"), async (client) => {
    await client.query(withIds(SEED));
    await client.query(withIds(MORE_ROWS));
  });
});
afterAll(() => db.drop());

/** Views that applications read in other schemas, and how analysts read the same; `user_id` and whatever follows. */
const SAME: Readonly<Record<string, readonly [theirs: string, analysts: string]>> = {
  active_user_subscriptions: [
    "select * from billing.active_user_subscriptions",
    "select * from analytics.active_user_subscriptions",
  ],
  user_security_status: [
    "select * from identity.user_security_status",
    `select user_id, account_status, is_verified, is_locked, locked_until, failed_login_attempts, last_login_at,
       password_changed_at, password_age_days, live_sessions, mfa_enabled from analytics.user_security_status`,
  ],
  user_content_access: [
    "select * from learning.user_content_access",
    "select * from analytics.user_content_access",
  ],
  users: [
    "select id, identity.users_role(u) as role, identity.users_tier(u) as tier from identity.users u",
    "select id, role, tier from analytics.users",
  ],
};

/** Accounts, subscriptions, sessions, roles and progress in every state, and a course that is required as a whole. */
const MANY_STATES = `
  insert into identity.users (username, account_status, email_verified_at, locked_until, password_changed_at, failed_login_attempts)
    select 'state-' || n, (array['active', 'active', 'disabled', 'deleted'])[1 + n % 4], case when n % 2 = 0 then now() end,
      case when n % 3 = 0 then now() + (n - 10) * interval '1 hour' end, case when n % 2 = 1 then now() - n * interval '1 day' end, n % 7
    from generate_series(1, 40) n;
  create temporary table people as
    select id, row_number() over (order by username) as n from identity.users where username like 'state-%';
  insert into access.user_roles (user_id, role_id, granted_at, expires_at)
    select p.id, r.id, now() - interval '2 days', case when p.n % 3 = 0 then now() + (p.n - 20) * interval '1 hour' end
    from people p
    join access.roles r on r.role_name = 'user' and p.n % 5 > 0 or r.role_name = 'moderator' and p.n % 4 = 0
      or r.role_name = 'edit_content' and p.n % 11 = 0;
  insert into billing.user_subscriptions
    (user_id, plan_id, status, started_at, anchor_at, current_period_start, quota_period_start, quota_period_end, trial_end,
      past_due_since, paused_at, ended_at)
    select p.id, plan.id, s.status, now(), now(), now(), now(), now() + interval '1 month',
      case when s.status = 'trialing' then now() end, case when s.status = 'past_due' then now() end,
      case when s.status = 'paused' then now() end, case when s.status in ('canceled', 'expired') then now() end
    from people p
    cross join lateral (
      select (array['trialing', 'active', 'past_due', 'paused', 'canceled', 'expired'])[1 + p.n % 6] as status
    ) s
    join billing.subscription_plans plan on plan.code = 'premium' and plan.superseded_at is null
      and plan.billing_cycle = 'monthly' and plan.currency = 'USD'
    where p.n % 7 > 0;
  insert into identity.user_sessions (user_id, expires_at, ended_at, end_reason)
    select p.id, now() + (k - 2) * interval '1 day', case when p.n % 3 = k then now() end, case when p.n % 3 = k then 'logout' end
    from people p, generate_series(0, 3) k where p.n % 2 = 0;
  insert into identity.mfa_factors (user_id, kind, name, confirmed_at)
    select id, 'totp', 'x', case when n % 4 = 0 then now() end from people where n % 2 = 0;
  insert into learning.content_items (id, category_id, course_id, slug, content_type, title, required_access_level)
    select ('00000000-0000-7000-8000-0000000001' || to_char(n, 'FM00'))::uuid, :shown,
      case when n in (1, 2) then '00000000-0000-7000-8000-000000000100'::uuid end, 'course-' || n,
      case when n = 0 then 'course' else 'lesson' end, 'x', case when n = 4 then 1 end
    from generate_series(0, 5) n;
  insert into learning.content_versions (item_id, version) select id, 1 from learning.content_items where slug like 'course-%';
  insert into learning.content_bodies (item_id, version, body) select id, 1, 'x' from learning.content_items where slug like 'course-%';
  update learning.content_versions v set published_at = now() from learning.content_items i
    where i.id = v.item_id and i.slug like 'course-%';
  update learning.content_items set current_version = 1, publish_from = now() where slug like 'course-%';
  insert into learning.content_prerequisites (item_id, required_item_id)
    select i.id, '00000000-0000-7000-8000-000000000100' from learning.content_items i where i.slug in ('course-3', 'course-4');
  insert into learning.content_progress (user_id, item_id, version, completed_version, completed_at, started_at, last_activity_at)
    select p.id, i.id, 1, case when done then 1 end, case when done then now() end, now(), now()
    from people p
    join learning.content_items i on i.slug in ('course-1', 'course-2') and p.n % 5 > 0
    cross join lateral (select p.n % 3 > 0 or i.slug = 'course-1' as done) d;
  insert into learning.user_content_permissions (user_id, item_id, permission, granted_at, expires_at)
    select p.id, i.id, case when p.n % 4 = 0 then 'deny' else 'allow' end, now() - interval '2 days', case when p.n % 3 = 0 then now() - interval '1 day' end
    from people p join learning.content_items i on i.slug in ('course-0', 'course-5') and p.n % 2 = 0`;

test("views of analytics agree with the views and functions of applications, for accounts in every state [A9, C9]", async () => {
  await withClient(db.url("owner"), async (client) => {
    await client.query(`begin; ${withIds(MANY_STATES)}`);
    for (const [view, [theirs, analysts]] of Object.entries(SAME)) {
      const { rows } = await client.query(
        `with theirs as (${theirs}), analysts as (${analysts})
         select (select count(*)::integer from theirs) as rows,
           array(select t::text from (table theirs except all table analysts) t limit 3) as missing,
           array(select a::text from (table analysts except all table theirs) a limit 3) as extra`,
      );
      expect({ view, ...rows[0] }).toEqual({ view, rows: expect.any(Number), missing: [], extra: [] });
      expect(rows[0].rows).toBeGreaterThan(15);
    }
    const { rows: reasons } = await client.query<{ reason: string }>(
      "select distinct reason from analytics.user_content_access order by 1",
    );
    expect(reasons.map(({ reason }) => reason)).toEqual([
      "account_inactive",
      "author",
      "denied",
      "editor",
      "not_available",
      "permission",
      "plan",
      "plan_required",
      "prerequisites_missing",
      "preview",
    ]);
    await client.query("rollback");
  });
});

/** Every column of every view, as the analyst reads it, by `view.column`; null where a view has no row. */
async function everythingToAnalysts(): Promise<Map<string, string>> {
  return withClient(db.url("analyst"), async (client) => {
    const { rows: views } = await client.query<{ name: string; columns: string[] }>(
      `select relname as name, array(select attname::text from pg_attribute where attrelid = c.oid and attnum > 0) as columns
       from pg_class c where relnamespace = 'analytics'::regnamespace and relkind in ('v', 'm')`,
    );
    const found = new Map<string, string>();
    for (const { name, columns } of views)
      for (const column of columns) {
        const { rows } = await client.query<{ value: string }>(
          `select coalesce(${column}::text, '') as value from ${name}`,
        );
        expect({ name, isEmpty: rows.length === 0 }).toEqual({ name, isEmpty: false });
        found.set(`${name}.${column}`, rows.map(({ value }) => value).join("\n"));
      }
    return found;
  });
}

test("views of analytics show no text, name, token or whole address of any table [A9, A11, C9, S11]", async () => {
  const planted = await withClient(db.url("owner"), async (client) => {
    const columns = await plantCanariesEverywhere(client);
    await client.query("select private.find_days_to_roll_up()");
    while ((await client.query("select private.roll_up_day() as day")).rows[0].day !== null);
    await client.query("refresh materialized view analytics.content_popularity");
    await client.query("refresh materialized view analytics.subscription_metrics");
    return columns;
  });
  expect(planted).toEqual(
    expect.arrayContaining([
      "identity.users.username",
      "identity.users.email",
      "identity.user_security_settings.allowed_networks",
      "identity.user_sessions.device_name",
      "identity.user_sessions.ip_address",
      "identity.user_sessions.user_agent",
      "learning.content_items.title",
      "llm.messages.content",
      "rooms.chat_rooms.name",
      "rooms.room_invites.message",
      "rooms.room_messages.content",
      "security.login_attempts.email",
      "security.login_attempts.failure_reason",
      "security.login_attempts.ip_address",
      "security.security_audit_log.event_data",
      "security.security_audit_log.user_agent",
    ]),
  );
  const shown = await everythingToAnalysts();
  const columnsWith = (text: string) =>
    [...shown.keys()].filter((column) => shown.get(column)!.includes(text)).sort();
  expect(columnsWith(CANARY)).toEqual(Object.values(WORDS_OF_THE_PRODUCT).flat().sort());
  for (const address of CANARY_ADDRESSES) expect(columnsWith(address)).toEqual([]);
  // The networks show that the addresses were read.
  for (const network of ["203.0.113.0/24", "2001:db8:7::/48"]) expect(columnsWith(network)).toEqual(NETWORKS);
});

test("views of analytics have columns only of types whose contents the search above can see", async () => {
  const { rows } = await withClient(db.url("owner"), (client) =>
    client.query<{ type: string; columns: string[] }>(
      `select format_type(a.atttypid, null) as type, array_agg(c.relname || '.' || a.attname order by c.relname) as columns
       from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
       where c.relnamespace = 'analytics'::regnamespace and c.relkind in ('v', 'm') group by 1`,
    ),
  );
  const byType = new Map(rows.map(({ type, columns }) => [type, columns]));
  expect([...byType.keys()].sort()).toEqual([
    "bigint",
    "boolean",
    "cidr",
    "date",
    "integer",
    "jsonb",
    "numeric",
    "smallint",
    "text",
    "text[]",
    "timestamp with time zone",
    "uuid",
  ]);
  expect(byType.get("cidr")).toEqual(NETWORKS);
  expect(byType.get("jsonb")).toEqual([
    "active_user_subscriptions.features",
    "audit_logs.event_data", // always null
    "subscription_plans.features",
  ]);
  expect(byType.get("text[]")).toEqual(["user_sessions.authentication_methods"]);
});

/** Questions about an account, a row or a time, each of which finds its rows by an index. */
const NARROW: readonly (readonly [view: string, condition: string])[] = [
  ["active_user_subscriptions", "user_id = :ada"],
  ["audit_logs", "user_id = :ada and created_at >= now() - interval '1 hour' and created_at <= now()"],
  ["chat_rooms", "id = :own"],
  ["content_items", "id = :shown"],
  ["login_attempts", "status = 'failed' and created_at > now() - interval '10 seconds'"],
  ["login_attempts", "user_id = :ada"],
  // A comparison of a time with a date is not leakproof, so a security_barrier would hold it back.
  ["login_attempts", "created_at > current_date + 20"],
  ["room_invites", "invitee_id = :ada and status = 'pending'"],
  ["room_messages", "room_id = :own and is_deleted = false order by created_at desc limit 50"],
  ["security_audit_log", "severity in ('error', 'critical') and created_at > now() - interval '1 day'"],
  ["sessions", "user_id = :ada"],
  ["training", "user_id = :ada"],
  ["user_activity_summary", "user_id = :ada"],
  ["user_content_access", "user_id = :ada and content_id = :shown"],
  ["user_security_settings", "user_id = :ada"],
  ["user_security_status", "user_id = :ada"],
  ["user_sessions", "id = :ada"],
  ["user_skills", "user_id = :ada"],
  ["user_subscriptions", "user_id = :ada and status = 'active'"],
  ["users", "id = :ada"],
];

const ROWS = 3_000;

test("views of analytics, asked about an account or a time, read few rows of large tables [A13]", async () => {
  const tables = [
    "identity.users",
    "identity.user_security_settings",
    "identity.user_sessions",
    "billing.user_subscriptions",
    "learning.content_items",
    "learning.training",
    "learning.user_skills",
    "rooms.chat_rooms",
    "rooms.room_messages",
    "rooms.room_invites",
    "security.login_attempts",
    "security.security_audit_log",
  ];
  await withClient(db.url("owner"), async (client) => {
    await client.query("update identity.users set hashed_email = null");
    for (const table of tables) await addManyRows(client, table, { rows: ROWS, together: 20, like: "true" });
  });
  await withClient(db.url("analyst"), async (client) => {
    for (const [view, condition] of NARROW) {
      const read = await rowsRead(client, `select * from ${view} where ${withIds(condition)}`);
      const most = Math.max(0, ...read.values());
      expect({ view, condition, isNarrow: most < ROWS / 10, read: [...read] }).toEqual(
        expect.objectContaining({ view, condition, isNarrow: true }),
      );
    }
  });
});
