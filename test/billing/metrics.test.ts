import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type TestDatabase, withClient } from "../support/database.ts";
import { billingDatabase } from "./support.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await billingDatabase();
});
afterAll(async () => {
  await db.drop();
});

test("computes MRR, churn and trial conversion by month in subscription_metrics, refreshed by the worker and read by analysts [A7]", async () => {
  await withClient(db.url("owner"), async (client) => {
    await client.query(`
      insert into subscription_plans (code, plan_name, billing_cycle, price_cents, trial_days)
      values ('basic', 'Basic', 'monthly', 1000, 14), ('basic', 'Basic', 'yearly', 10000, 0)`);
    const made: Record<string, string> = {};
    for (const [name, cycle, at, trial] of [
      ["ann", "monthly", "2026-01-10Z", false],
      ["ben", "yearly", "2026-01-20Z", false],
      ["cem", "monthly", "2026-02-01Z", true],
      ["dan", "monthly", "2026-02-02Z", true],
    ] as const) {
      const { rows: users } = await client.query<{ id: string }>(
        "insert into users (username) values ($1) returning id",
        [name],
      );
      const { rows } = await client.query<{ id: string }>(
        `select s.id from subscription_plans p, start_subscription($1, p.id, $2, $3) s where p.code = 'basic' and p.billing_cycle = $4`,
        [users[0]!.id, trial, at, cycle],
      );
      made[name] = rows[0]!.id;
    }
    await client.query("select renew_subscription($1, 'payment_succeeded', '2026-02-15Z')", [made.cem]);
    await client.query("select advance_subscription($1, '2026-03-01Z')", [made.dan]);
    // ann does not pay in February and expires on the 17th.
    await client.query("select advance_subscription($1, '2026-03-01Z')", [made.ann]);
  });
  await withClient(db.url("worker"), (client) =>
    client.query("select private.refresh_subscription_metrics()"),
  );
  await withClient(db.url("analyst"), async (client) => {
    const { rows } = await client.query(
      "SELECT * FROM subscription_metrics ORDER BY month, currency LIMIT 3",
    );
    expect(
      rows.map(({ month, ...row }) => ({ month: month.toDateString().slice(4, 7), ...row })),
    ).toMatchObject([
      // 1000 and a twelfth of 10000
      {
        month: "Jan",
        currency: "USD",
        mrr_cents: "1833",
        paying_subscriptions: "2",
        churned_subscriptions: "0",
        churn_rate: null,
        trials_started: "0",
      },
      // ben and, since its trial, cem, whose payment began its period on the 15th
      {
        month: "Feb",
        mrr_cents: "1833",
        paying_at_start: "2",
        churned_subscriptions: "1",
        churn_rate: "0.5000",
        trials_started: "2",
        trials_converted: "1",
        trial_conversion_rate: "0.5000",
        trialing_subscriptions: "0",
      },
      { month: "Mar", mrr_cents: "1833", paying_at_start: "2", trials_started: "0" },
    ]);
  });
});
