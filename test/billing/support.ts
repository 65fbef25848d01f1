import {
  createTestDatabase,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
} from "../support/database.ts";
import { recordLedgerCalls } from "../support/ledger-recorder.ts";

export interface Subscription {
  readonly id: string;
  readonly status: string;
  readonly plan: string;
  readonly start: string;
  readonly end: string | null;
}

/** A database that records the calls of plans to the ledger. */
export async function billingDatabase(): Promise<TestDatabase> {
  const db = await createTestDatabase();
  await recordLedgerCalls(db);
  return db;
}

const PLANS = `
  insert into subscription_plans (code, plan_name, billing_cycle, price_cents, currency, trial_days, token_quota, rollover_limit, access_level)
  values
    ('basic', 'Basic', 'monthly', 1000, 'USD', 14, 1000, 100, 5),
    ('pro', 'Pro', 'monthly', 3000, 'USD', 14, 4000, 500, 20),
    ('basic', 'Basic', 'yearly', 10000, 'USD', 0, 12000, 0, 5),
    ('euro', 'Euro', 'monthly', 3000, 'EUR', 0, 4000, 0, 20),
    ('forever', 'Forever', 'lifetime', 50000, 'USD', 0, 500, 0, 30),
    ('endless', 'Endless', 'monthly', 9000, 'USD', 0, null, 0, 40),
    ('gift', 'Gift', 'monthly', 0, 'USD', 0, 10, 0, 1)`;

/** A rolled-back transaction of the owner with plans, one user, and helpers for billing tests. */
export async function withBilling<T>(
  db: TestDatabase,
  use: (billing: {
    tx: Transaction;
    user: string;
    plan(name: string): Promise<string>;
    /** The user's latest subscription. */
    latest(): Promise<Subscription | undefined>;
    /** Starts a paid subscription, or a trial. */
    start(plan: string, at: string, trial?: boolean): Promise<string>;
    advance(id: string, at: string): Promise<number>;
    events(): Promise<string[]>;
    /** Calls of the ledger: call, amount, start, end. */
    ledger(): Promise<string[]>;
  }) => Promise<T>,
): Promise<T> {
  return inRolledBackTransaction(db, async (tx) => {
    await tx.rows("set local timezone = 'Pacific/Auckland'");
    const [added] = await tx.rows<{ id: string }>(
      "insert into users (username) values ('subscriber') returning id",
    );
    const user = added!.id;
    await tx.rows(PLANS);
    const plan = async (name: string) => {
      const [code, cycle = "monthly"] = name.split(" ");
      const [row] = await tx.rows<{ id: string }>(
        "select id from subscription_plans where code = $1 and billing_cycle = coalesce($2, billing_cycle) and superseded_at is null",
        [code, code === "forever" ? null : cycle],
      );
      return row!.id;
    };
    return use({
      tx,
      user,
      plan,
      latest: async () => (await tx.rows<Subscription>(LATEST, [user]))[0],
      start: async (name, at, trial = false) =>
        (
          await tx.rows<{ id: string }>("select id from start_subscription($1, $2, $3, $4)", [
            user,
            await plan(name),
            trial,
            at,
          ])
        )[0]!.id,
      advance: async (id, at) =>
        (await tx.rows<{ n: number }>("select advance_subscription($1, $2) as n", [id, at]))[0]!.n,
      events: async () =>
        (
          await tx.rows<{ event: string }>(
            "select event from subscription_changes where user_id = $1 order by id",
            [user],
          )
        ).map(({ event }) => event),
      ledger: async () =>
        (
          await tx.rows<{ line: string }>(
            `select concat_ws(' ', call, coalesce(amount::text, 'unlimited'), to_char(starts_at at time zone 'UTC', 'YYYY-MM-DD'),
               to_char(expires_at at time zone 'UTC', 'YYYY-MM-DD')) as line
             from ledger_calls where user_id = $1 order by id`,
            [user],
          )
        ).map(({ line }) => line),
    });
  });
}

const DAY = `'YYYY-MM-DD HH24:MI'`;
const LATEST = `
  select s.id, s.status, p.code || case p.billing_cycle when 'yearly' then ' yearly' else '' end as plan,
    to_char(s.current_period_start at time zone 'UTC', ${DAY}) as start,
    to_char(s.current_period_end at time zone 'UTC', ${DAY}) as end
  from user_subscriptions s join subscription_plans p on p.id = s.plan_id
  where s.user_id = $1 order by s.id desc limit 1`;
