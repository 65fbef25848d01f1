import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { addModel, grantRole, registerUser } from "../support/accounts.ts";
import {
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
} from "../support/database.ts";

// Reads of operators: counts of all accounts' rows, and one account with a record of each look.

let db: TestDatabase;
let admin: string;
let ada: string;
let bob: string;
beforeAll(async () => {
  db = await createTestDatabase();
  [admin, ada, bob] = [
    await registerUser(db, "admin"),
    await registerUser(db, "ada"),
    await registerUser(db, "bob"),
  ];
  await grantRole(db, admin, "admin");
});
afterAll(() => db.drop());

/** Creates a role with these permissions only, and gives it to an account. */
async function permit(tx: Transaction, userId: string, ...permissions: string[]): Promise<void> {
  await tx.asOwner();
  await tx.rows(
    `with r as (insert into access.roles (role_name) values ('some_permissions') returning id),
     p as (
       insert into access.role_permissions (role_id, permission_id)
       select r.id, p.id from r, access.permissions p where p.permission_name = any ($2)
     )
     insert into access.user_roles (user_id, role_id) select $1, r.id from r`,
    [userId, permissions],
  );
}

const HISTORIES = ["sign_in_counts", "activity_counts", "token_use_counts", "revenue_counts", "error_counts"];

test("every number needs read_operations, and an account needs manage_users", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await permit(tx, bob, "read_operations");
    const calls = [
      ...HISTORIES.map((name) => `select security.${name}(30)`),
      "select security.system_state()",
    ];
    for (const [user, state] of [
      [null, "PL401"],
      [ada, "PL403"],
    ] as const) {
      await tx.asUser(user);
      for (const call of calls) await expectSqlState(tx.attempt(call), state);
    }
    await tx.asUser(bob);
    for (const call of calls) await tx.attempt(call);
    await expectSqlState(tx.attempt("select identity.inspect_account('ada')"), "PL403");
    await permitMore(tx, bob);
    await tx.asUser(bob);
    await tx.attempt("select identity.inspect_account('ada')");
  });

  async function permitMore(tx: Transaction, userId: string): Promise<void> {
    await tx.asOwner();
    await tx.rows(
      `insert into access.role_permissions (role_id, permission_id)
       select ur.role_id, p.id from access.user_roles ur join access.roles r on r.id = ur.role_id, access.permissions p
       where ur.user_id = $1 and r.role_name = 'some_permissions' and p.permission_name = 'manage_users'`,
      [userId],
    );
  }
});

test("a history has 1 to 90 days, each without a gap and in UTC, or 25 hours for one day", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.rows("set local timezone = 'America/New_York'");
    await tx.asUser(admin);
    for (const history of HISTORIES)
      for (const days of ["0", "91", "-1", "null"])
        await expectSqlState(tx.attempt(`select security.${history}(${days})`), "PL422");
    for (const [days, buckets, step] of [
      [1, 25, "1 hour"],
      [2, 2, "24 hours"],
      [90, 90, "24 hours"],
    ] as const) {
      const [row] = await tx.rows<{ n: string; first: Date; last: Date; steps: number }>(
        `select count(*) as n, count(distinct step)::integer as steps, bool_and(step = $2::interval) as same
         from (select starts_at - lag(starts_at) over (order by starts_at) as step from security.sign_in_counts($1)) s`,
        [days, step],
      );
      expect(row).toEqual({ n: String(buckets), steps: 1, same: true });
    }
    const [{ last } = { last: undefined }] = await tx.rows(
      "select max(starts_at) = date_trunc('day', now(), 'UTC') as last from security.activity_counts(90)",
    );
    expect(last).toBe(true);
  });
});

test("the histories count what a plain query of the rows counts", async () => {
  const model = await addModel(db, { isPublic: true });
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    // Every three hours for ten days, one row of each kind, of three accounts in turn.
    await tx.rows(
      `insert into security.login_attempts (user_id, status, created_at)
       select (array[$1, $2, $3]::uuid[])[1 + n % 3], (array['success', 'failed', 'locked', 'success', 'challenged'])[1 + n % 5],
         now() - n * interval '3 hours'
       from generate_series(0, 79) n`,
      [admin, ada, bob],
    );
    await tx.rows(
      `insert into billing.payments (user_id, provider, provider_payment_id, amount_cents, refunded_cents, currency, paid_at, disputed_at)
       select $1, 'x', n::text, 1000 + n, n % 7, (array['EUR', 'JPY', 'HUF'])[1 + n % 3], now() - n * interval '3 hours',
         case when n % 5 = 0 then now() end
       from generate_series(0, 79) n`,
      [ada],
    );
    await tx.rows(
      `with c as (insert into llm.chats (user_id) values ($1) returning id)
       insert into llm.messages (chat_id, user_id, role, content) select c.id, $1, 'user', 'x' from c`,
      [bob],
    );
    await tx.rows(
      `insert into security.error_logs (id, message, error_code, source, created_at)
       select plinth.uuid_v7(), 'm', (array['57014', '40001'])[1 + n % 2], 'x', now() - n * interval '3 hours'
       from generate_series(0, 79) n`,
    );
    await tx.rows(
      `insert into billing.model_prices (model_id, currency, input_price_per_million_tokens, output_price_per_million_tokens)
       values ($1, 'USD', 3, 7)`,
      [model],
    );
    for (let n = 0; n < 10; n++)
      await tx.rows(
        "select private.record_usage($1, $2, 100, $3, $4, 0, 0, now() - $5 * interval '7 hours')",
        [n % 2 ? ada : bob, model, n, `k${n}`, n],
      );
    await tx.asUser(admin);
    for (const [days, unit] of [
      [1, "hour"],
      [7, "day"],
    ] as const) {
      // The first whole bucket of the history, from which the rows are counted by hand.
      const since = `(select min(starts_at) from security.sign_in_counts(${days}))`;
      const both = async (history: string, plain: string) => {
        const shown = await tx.rows(history);
        await tx.asOwner();
        await tx.rows("select set_config('test.since', $1, true)", [start]);
        const counted = await tx.rows(plain);
        await tx.asUser(admin);
        expect(shown.length).toBeGreaterThan(0);
        expect(shown).toEqual(counted);
      };
      const [{ start } = { start: "" }] = await tx.rows<{ start: string }>(`select ${since}::text as start`);
      const at = (column: string) => `date_trunc('${unit}', ${column}, 'UTC')`;
      const from = "current_setting('test.since')::timestamptz";
      await both(
        `select * from security.sign_in_counts(${days}) where succeeded + failed + locked > 0`,
        `select ${at("created_at")} as starts_at, count(*) filter (where status = 'success') as succeeded,
           count(*) filter (where status = 'failed') as failed, count(*) filter (where status = 'locked') as locked,
           count(distinct user_id) filter (where status = 'success') as accounts
         from security.login_attempts where created_at >= ${from} and status <> 'challenged' group by 1 order by 1`,
      );
      await both(
        `select * from security.revenue_counts(${days})`,
        `select ${at("paid_at")} as starts_at, currency, count(*) as payments, sum(amount_cents)::bigint as paid_cents,
           sum(refunded_cents)::bigint as refunded_cents,
           sum(amount_cents * case currency when 'JPY' then 1 else 0.01 end) as paid,
           sum(refunded_cents * case currency when 'JPY' then 1 else 0.01 end) as refunded,
           coalesce(sum(amount_cents - refunded_cents) filter (where status = 'disputed'), 0)::bigint as disputed_cents,
           sum(case status when 'disputed' then amount_cents - refunded_cents else 0 end * case currency when 'JPY' then 1 else 0.01 end)
             as disputed,
           sum(case status when 'disputed' then 0 else amount_cents - refunded_cents end * case currency when 'JPY' then 1 else 0.01 end)
             as net
         from billing.payments where paid_at >= ${from} group by 1, 2 order by 1, 2`,
      );
      await both(
        `select * from security.error_counts(${days})`,
        `select ${at("created_at")} as starts_at, error_code, count(*) as errors
         from security.error_logs where created_at >= ${from} group by 1, 2 order by 1, 2`,
      );
      await both(
        `select starts_at, currency, tokens, cost from security.token_use_counts(${days})`,
        `select ${at("occurred_at")} as starts_at, currency, sum(total_tokens)::bigint as tokens, sum(cost) as cost
         from billing.usage_events where occurred_at >= ${from} group by 1, 2 order by 1, 2`,
      );
      await both(
        `select starts_at, active_accounts from security.activity_counts(${days}) where active_accounts > 0`,
        `select ${at("at")} as starts_at, count(distinct user_id) as active_accounts
         from (
           select user_id, created_at as at from security.login_attempts where status = 'success'
           union all select user_id, occurred_at from billing.usage_events
           union all select user_id, created_at from llm.messages where role = 'user'
         ) a
         where at >= ${from} group by 1 order by 1`,
      );
      await both(
        `select starts_at, new_accounts from security.activity_counts(${days}) where new_accounts > 0`,
        `select ${at("created_at")} as starts_at, count(*) as new_accounts
         from identity.users where created_at >= ${from} group by 1 order by 1`,
      );
    }
    const [created] = await tx.rows(
      "select sum(new_accounts)::integer as new_accounts from security.activity_counts(2)",
    );
    expect(created).toEqual({ new_accounts: 3 });
  });
});

test("a history of revenue reads the payments of its days by their index", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    await tx.rows("set local enable_seqscan = off");
    const scans = async () => {
      const [row] = await tx.rows<{ n: number }>(
        "select pg_stat_get_xact_numscans('billing.payments_paid_at_idx'::regclass)::integer as n",
      );
      return row!.n;
    };
    const before = await scans();
    await tx.asUser(admin);
    await tx.rows("select * from security.revenue_counts(90)");
    await tx.asOwner();
    expect(await scans()).toBeGreaterThan(before);
  });
});

test("the state says what is wrong and what to do, critical faults first", async () => {
  /** For the time of the transaction, which does not go on. */
  const healthyAt = (now: number) => ({
    queues: { "deliver-mail": { waiting: 0, active: 0, oldest: null, succeeded: now } },
    failed: {},
    mail: { waiting: 0, oldest: 0 },
    payment_events: { waiting: 0, oldest: 0 },
    partitions: { "security.login_attempts": 3 },
    default_partition_rows: 0,
    database: { bytes: 1, xid_age: 1 },
    sessions: { connections: 1, oldest_transaction: 0, waiting_for_locks: 0 },
    connections_limit: 100,
    replicas: [{ bytes: 0, seconds: 0 }],
    slots: { inactive: 0, bytes: 0 },
    archive: { failing: false },
  });
  type Fault = readonly [fault: object, severity: string, area: string, problem: string];
  const faultsOf = (
    healthy: ReturnType<typeof healthyAt>,
    queue = healthy.queues["deliver-mail"],
  ): Fault[] => [
    [{ queues: {} }, "warning", "jobs", "No job has run yet."],
    [
      { queues: { x: { ...queue, succeeded: queue.succeeded - 7_230 } } },
      "critical",
      "jobs",
      "The last job succeeded 120 minutes ago.",
    ],
    [
      { queues: { x: { ...queue, oldest: 1_000 } } },
      "critical",
      "jobs",
      "A job of x has been due for 16 minutes.",
    ],
    [{ failed: { x: 1 } }, "warning", "jobs", "The job x failed after all retries."],
    [{ mail: { waiting: 1, oldest: 901 } }, "critical", "mail", "A message has waited for 15 minutes."],
    [
      { payment_events: { waiting: 1, oldest: 3_601 } },
      "warning",
      "payments",
      "An event of the payment provider has waited for more than an hour.",
    ],
    [{ partitions: { l: 0 } }, "critical", "partitions", "l has no partition for next month."],
    [
      { default_partition_rows: 1 },
      "warning",
      "partitions",
      "Rows are in default partitions, because their month had none.",
    ],
    [
      { sessions: { ...healthy.sessions, connections: 81 } },
      "warning",
      "database",
      "81 of 100 connections are in use.",
    ],
    [
      { sessions: { ...healthy.sessions, oldest_transaction: 1_860 } },
      "warning",
      "database",
      "A transaction has been open for 31 minutes.",
    ],
    [
      { sessions: { ...healthy.sessions, waiting_for_locks: 6 } },
      "warning",
      "database",
      "6 sessions wait for locks.",
    ],
    [
      { database: { bytes: 1, xid_age: 1_600_000_000 } },
      "critical",
      "database",
      "The database has used most of its transaction ids.",
    ],
    [
      { replicas: [{ bytes: 9, seconds: 61.5 }] },
      "warning",
      "replication",
      "A replica is 61 seconds behind.",
    ],
    [
      { slots: { inactive: 1, bytes: 2e9 } },
      "critical",
      "replication",
      "A replication slot without a connection holds WAL, which fills the disk.",
    ],
    [
      { archive: { failing: true } },
      "critical",
      "backups",
      "WAL is not archived, so the newest backup grows older and the disk fills.",
    ],
  ];
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    const [clock] = await tx.rows<{ now: number }>("select extract(epoch from now())::float8 as now");
    const healthy = healthyAt(clock!.now);
    const findings = (state: object) =>
      tx.rows<{ severity: string; area: string; problem: string; remedy: string }>(
        "select * from private.system_findings($1)",
        [JSON.stringify(state)],
      );
    expect(await findings(healthy)).toEqual([]);
    for (const [fault, severity, area, problem] of faultsOf(healthy))
      expect(await findings({ ...healthy, ...fault })).toEqual([
        { severity, area, problem, remedy: expect.stringMatching(/^[A-Z_a-z].+\.$/) },
      ]);
    const all = await findings({
      ...healthy,
      failed: { x: 1 },
      mail: { waiting: 1, oldest: 901 },
      archive: { failing: true },
    });
    expect(all.map(({ severity, area }) => `${severity} ${area}`)).toEqual([
      "critical backups",
      "critical mail",
      "warning jobs",
    ]);

    // Of this database, which has no job queue.
    await tx.asUser(admin);
    const [state] = await tx.rows(
      `select s.observed_at = now() as is_now, s.connections > 0 as is_connected, s.database_bytes > 0 as has_size,
         (select array_agg(f.problem) from unnest(s.findings) f) as problems,
         (select bool_and(l.months_ahead between 1 and 12) from unnest(s.logs) l) as has_partitions,
         s.replicas, s.replica_lag_seconds
       from security.system_state() s`,
    );
    expect(state).toEqual({
      is_now: true,
      is_connected: true,
      has_size: true,
      problems: ["No job has run yet."],
      has_partitions: true,
      replicas: 0,
      replica_lag_seconds: null,
    });
  });
});

test("an account is found by name, address or id, with its live sessions; each look is recorded, found or not", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await permit(tx, bob, "manage_users");
    await tx.rows(
      `insert into identity.user_sessions (user_id, device_name, ip_address, authentication_methods, expires_at, ended_at, end_reason)
       values ($1, 'laptop', '192.0.2.1', '{pwd}', now() + interval '1 day', null, null),
         ($1, 'expired', '192.0.2.2', '{pwd}', now(), null, null),
         ($1, 'ended', '192.0.2.3', '{pwd}', now() + interval '1 day', now(), 'logout')`,
      [ada],
    );
    await tx.rows(
      "update identity.users set failed_login_attempts = 5, locked_until = now() + interval '1 hour' where id = $1",
      [ada],
    );
    const inspect = async (by: string) =>
      (
        await tx.rows<{ account: Record<string, unknown> | null }>(
          "select to_jsonb(identity.inspect_account($1)) as account",
          [by],
        )
      )[0]!.account;
    for (const [reader, address] of [
      [admin, "192.0.2.1"],
      [bob, null],
    ] as const) {
      await tx.asUser(reader);
      for (const by of ["ada", " ADA@example.com", ada, ada.toUpperCase()])
        expect(await inspect(by)).toMatchObject({
          user_id: ada,
          username: "ada",
          email: "ada@example.com",
          account_status: "active",
          has_second_factor: false,
          failed_login_attempts: 5,
          locked_until: expect.any(String),
          roles: ["user"],
          can_be_administered: true,
          sessions: [{ device_name: "laptop", ip_address: address, authentication_methods: ["pwd"] }],
        });
    }
    expect(await inspect("admin")).toMatchObject({
      can_be_administered: false,
      sessions: [],
      locked_until: null,
    });
    for (const unknown of ["nobody@example.com", "", "00000000-0000-7000-8000-000000000000"])
      expect(await inspect(unknown)).toBeNull();
    await tx.asOwner();
    const looks = await tx.rows(
      `select actor_id = $1 as is_admin, user_id, event_data, count(*)::integer as n from security.security_audit_log
       where event_type = 'account_inspected' group by 1, 2, 3 order by 1 desc, 4 desc, 2`,
      [admin],
    );
    expect(looks).toEqual([
      { is_admin: true, user_id: ada, event_data: { found: true }, n: 4 },
      { is_admin: false, user_id: ada, event_data: { found: true }, n: 4 },
      { is_admin: false, user_id: null, event_data: { found: false }, n: 3 },
      { is_admin: false, user_id: admin, event_data: { found: true }, n: 1 },
    ]);
    expect(
      await tx.rows(
        `select user_id, relations, row_count::integer, count(*)::integer as looks from security.personal_data_reads
         where operation = 'inspectAccount' group by 1, 2, 3 order by 4 desc`,
      ),
    ).toEqual([
      { user_id: ada, relations: ["identity.user_sessions", "identity.users"], row_count: 2, looks: 8 },
      { user_id: admin, relations: ["identity.users"], row_count: 1, looks: 1 },
    ]);
    const [, sql] = /```sql\n(.*?)```/s.exec(readFileSync(join(PACKAGE_ROOT, "docs/console.md"), "utf8"))!;
    const documented = await tx.rows<{ actor: string; event_type: string }>(sql!);
    expect(documented.map(({ actor, event_type }) => `${actor} ${event_type}`).sort()).toEqual([
      ...Array(4).fill("admin account_inspected"),
      ...Array(8).fill("bob account_inspected"),
    ]);
  });
});
