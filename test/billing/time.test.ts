import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { registerUser } from "../support/accounts.ts";
import { type TestDatabase, withClient } from "../support/database.ts";
import { makeRandom } from "../support/random.ts";
import { billingDatabase, withBilling } from "./support.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await billingDatabase();
});
afterAll(async () => {
  await db.drop();
});

const rowsAs = async (role: "owner" | "worker", sql: string, values: unknown[] = []) =>
  withClient(db.url(role), async (client) => (await client.query(sql, values)).rows);

test("advances a hundred subscriptions once each with two workers at once [A3]", async () => {
  await withClient(db.url("owner"), async (client) => {
    await client.query(`
      insert into subscription_plans (code, plan_name, price_cents, token_quota) values ('gift', 'Gift', 0, 10);
      insert into users (username) select 'worker-' || n from generate_series(100, 199) n`);
    await client.query(
      `select start_subscription(u.id, p.id, false, date_trunc('day', now()) - interval '40 days')
       from users u, subscription_plans p where u.username like 'worker-%' and p.code = 'gift'`,
    );
  });
  const work = async () => {
    let handled = 0;
    for (;;) {
      const [row] = await rowsAs("worker", "select private.advance_subscriptions(10) as n");
      if (row.n === 0) return handled;
      handled += row.n;
    }
  };
  const handled = await Promise.all([work(), work(), work()]);
  expect(handled.reduce((sum, n) => sum + n, 0)).toBe(100);
  expect(
    await rowsAs(
      "owner",
      "select count(*)::integer as n, count(distinct subscription_id)::integer as subscriptions from subscription_changes where event = 'renewed'",
    ),
  ).toEqual([{ n: 100, subscriptions: 100 }]);
  expect(await rowsAs("worker", "select private.advance_subscriptions(10) as n")).toEqual([{ n: 0 }]);
});

test("grants the free plan's tokens once a calendar month, by the job or at the first use [H5]", async () => {
  const ids = await Promise.all(["free-1", "free-2", "free-3"].map((name) => registerUser(db, name)));
  await rowsAs("owner", "update users set last_login_at = now() where id = any ($1)", [ids.slice(0, 2)]);
  const ensure = () =>
    rowsAs("owner", "select ensure_current_grants(id) from users where username like 'free-_'");
  await Promise.all([ensure(), rowsAs("worker", "select private.grant_free_quotas(100)"), ensure()]);
  // A month may begin during the test: then it has grants of its own.
  expect(
    await rowsAs(
      "owner",
      `select count(distinct user_id)::integer as users, max(n)::integer as most, min(amount)::integer as amount
       from (select user_id, starts_at, count(*) as n, min(amount) as amount from ledger_calls where user_id = any ($1) group by 1, 2)`,
      [ids],
    ),
  ).toEqual([{ users: 3, most: 1, amount: 50000 }]);
  // A later month, with a job that was down for the one between.
  const [{ later }] = await rowsAs("owner", "select now() + interval '45 days' as later");
  await rowsAs("owner", "select grant_free_quotas_at(100, $1)", [later]);
  await rowsAs("owner", "select grant_free_quotas_at(100, $1)", [later]);
  expect(
    await rowsAs(
      "owner",
      `select username, count(*)::integer as n from ledger_calls c join users u on u.id = c.user_id
       where username like 'free-_' and starts_at = date_trunc('month', $1::timestamptz, 'UTC') group by 1 order by 1`,
      [later],
    ),
  ).toEqual([
    { username: "free-1", n: 1 },
    { username: "free-2", n: 1 },
  ]);
});

test("grants a new period's tokens at the first use before the job does, and the free plan's after a plan that ended", async () => {
  await withBilling(db, async ({ tx, user, start, ledger, latest }) => {
    const ensure = (at: string) => tx.rows("select ensure_grants_at($1, $2)", [user, at]);
    await ensure("2026-01-05Z");
    await start("basic", "2026-01-10Z", true);
    await ensure("2026-01-20Z");
    expect(await ledger()).toEqual(["grant 50000 2026-01-01 2026-02-01", "grant 1000 2026-01-10 2026-01-24"]);
    await ensure("2026-02-03Z");
    expect((await latest())!.status).toBe("expired");
    expect((await ledger()).slice(2)).toEqual([
      "close 0 2026-01-24 2026-01-24",
      "grant 50000 2026-02-01 2026-03-01",
    ]);
  });
});

// The rules again in the simplest form: days since 2026-01-01 on a calendar without SQL.
type Model = {
  status: string;
  plan: "gift" | "basic" | "pro";
  anchor: number;
  start: Date;
  end: Date;
  cancel: boolean;
  pending: string | null;
  owed: Date | null;
};
const monthsLater = (anchor: number, months: number) => {
  const first = new Date(Date.UTC(2026, months, 1));
  const last = new Date(Date.UTC(2026, months + 1, 0)).getUTCDate();
  first.setUTCDate(Math.min(anchor, last));
  return first;
};
const daysLater = (date: Date, days: number) => new Date(date.getTime() + days * 86_400_000);
const following = (model: Model) => {
  const month = (model.end.getUTCFullYear() - 2026) * 12 + model.end.getUTCMonth();
  return monthsLater(model.anchor, month + 1);
};
const pass = (model: Model, now: Date) => {
  for (;;) {
    if (model.status === "past_due" && daysLater(model.owed!, 7) <= now) model.status = "expired";
    else if (model.status === "active" && model.end <= now) {
      if (model.cancel) model.status = "canceled";
      else {
        if (model.pending) model.plan = model.pending as Model["plan"];
        model.pending = null;
        if (model.plan === "gift") [model.start, model.end] = [model.end, following(model)];
        else [model.status, model.owed] = ["past_due", model.end];
      }
    } else return;
  }
};

test("agrees with a model of the rules for random sequences of clock, users and payments [A3]", async () => {
  const random = makeRandom(7);
  const seen = new Set<string>();
  for (let round = 0; round < 40; round += 1)
    await withBilling(db, async ({ tx, user, plan, start }) => {
      let now = new Date(Date.UTC(2026, random(12), 1 + random(31)));
      const first = (["gift", "basic", "pro"] as const)[random(3)]!;
      const month = (now.getUTCFullYear() - 2026) * 12 + now.getUTCMonth();
      const model: Model = {
        status: "active",
        plan: first,
        anchor: now.getUTCDate(),
        start: now,
        end: monthsLater(now.getUTCDate(), month + 1),
        cancel: false,
        pending: null,
        owed: null,
      };
      await start(first, now.toISOString());
      /** The database's answer: done, or the code of its rejection. */
      const attempt = async (sql: string, values: unknown[]) =>
        tx.attempt(sql, values).then(
          () => "done",
          (error: { code: string }) => error.code,
        );
      for (let step = 0; step < 12 && !["expired", "canceled"].includes(model.status); step += 1) {
        now = daysLater(now, random(40));
        pass(model, now);
        const live = ["active", "past_due"].includes(model.status);
        const action = random(4);
        seen.add(`${action} ${model.status}`);
        if (action === 0) {
          await tx.rows("select advance_subscription(id, $2) from user_subscriptions where user_id = $1", [
            user,
            now,
          ]);
        } else if (action === 1 || action === 2) {
          const cancel = action === 1;
          const expected = !live
            ? "PL404"
            : model.status === "past_due"
              ? cancel
                ? "done"
                : model.cancel === cancel
                  ? "PL409"
                  : "done"
              : model.cancel === cancel
                ? "PL409"
                : "done";
          expect(await attempt("select set_cancellation_at($1, $2, $3)", [user, cancel, now])).toBe(expected);
          if (expected === "done") {
            if (model.status === "past_due" && cancel) model.status = "canceled";
            else model.cancel = cancel;
          }
        } else if (live) {
          // A payment for the current plan arrived.
          expect(
            await attempt("select grant_subscription_at($1, $2, $3)", [user, await plan(model.plan), now]),
          ).toBe("done");
          [model.status, model.owed, model.start, model.end] = ["active", null, model.end, following(model)];
        }
        if (action === 3 && model.status === "active" && model.plan !== "gift" && model.pending === null) {
          expect(await attempt("select schedule_plan_at($1, $2, $3)", [user, await plan("gift"), now])).toBe(
            "done",
          );
          model.pending = "gift";
        }
        // A payment for a period that has also ended leaves the next one owed.
        pass(model, now);
        await tx.rows("select advance_subscription(id, $2) from user_subscriptions where user_id = $1", [
          user,
          now,
        ]);
        const [row] = await tx.rows(
          `select s.status, p.code as plan, s.current_period_start as start, s.current_period_end as end, s.cancel_at_period_end as cancel
           from user_subscriptions s join subscription_plans p on p.id = s.plan_id where s.user_id = $1`,
          [user],
        );
        expect({ round, step, ...row }).toEqual({
          round,
          step,
          status: model.status,
          plan: model.plan,
          start: model.start,
          end: model.end,
          cancel: model.cancel,
        });
      }
    });
  expect(seen.size).toBeGreaterThanOrEqual(12);
});
