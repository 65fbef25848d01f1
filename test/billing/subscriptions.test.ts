import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { type TestDatabase, withClient } from "../support/database.ts";
import { untilWaiting, whileLocked } from "../support/waiting.ts";
import { billingDatabase, withBilling } from "./support.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await billingDatabase();
});
afterAll(async () => {
  await db.drop();
});

const refused = (code: string) => expect.objectContaining({ code });

describe("the state machine [H6, A3]", () => {
  const STATES = ["trialing", "active", "past_due", "paused", "canceled", "expired"] as const;
  // The result of each event, in the order of STATES; null is a rejection.
  const MACHINE: Record<string, (string | null)[]> = {
    payment_succeeded: ["active", "active", "active", null, null, "active"],
    payment_failed: ["past_due", "past_due", "past_due", null, null, null],
    trial_ended: ["expired", null, null, null, null, null],
    renewed: ["active", "active", null, null, null, null],
    grace_ended: [null, null, "expired", null, null, null],
    paused: [null, "paused", null, null, null, null],
    resumed: [null, null, null, "active", null, null],
    canceled: ["canceled", "canceled", "canceled", "canceled", null, "canceled"],
    revoked: ["expired", "expired", "expired", "expired", null, null],
    provider_trialing: ["trialing", "trialing", "trialing", "trialing", null, null],
    provider_active: ["active", "active", "active", "active", null, null],
    provider_past_due: ["past_due", "past_due", "past_due", "past_due", null, null],
    provider_paused: ["paused", "paused", "paused", "paused", null, null],
    unheard_of: [null, null, null, null, null, null],
  };

  test("knows only these events", async () => {
    await withBilling(db, async ({ tx }) => {
      const events = await tx.rows<{ event: string }>("select distinct event from subscription_transitions");
      expect([...events.map(({ event }) => event), "unheard_of"].sort()).toEqual(Object.keys(MACHINE).sort());
    });
  });

  /** A subscription in a state, created directly in it. */
  const INSERT = `
    insert into user_subscriptions (user_id, plan_id, status, started_at, anchor_at, current_period_start, current_period_end,
      trial_end, past_due_since, paused_at, ended_at, quota_period_start, quota_period_end)
    values ($1, $2, $3, '2026-01-01Z', '2026-01-01Z', '2026-01-01Z', '2026-02-01Z',
      timestamptz '2026-02-01Z', case when $3 = 'past_due' then timestamptz '2026-01-05Z' end,
      case when $3 = 'paused' then timestamptz '2026-01-05Z' end,
      case when $3 in ('canceled', 'expired') then timestamptz '2026-01-05Z' end, '2026-01-01Z', '2026-02-01Z')
    returning id`;

  const CASES = Object.entries(MACHINE).flatMap(([event, results]) =>
    STATES.map((state, index) => [state, event, results[index] ?? null] as const),
  );
  test.each(CASES)("%s on %s: %s", async (state, event, expected) => {
    await withBilling(db, async ({ tx, user, plan, events }) => {
      const [row] = await tx.rows<{ id: string }>(INSERT, [user, await plan("basic"), state]);
      const step = tx.attempt<{ status: string }>(
        "select status from transition_subscription($1, $2, '2026-01-10Z')",
        [row!.id, event],
      );
      if (expected === null) {
        await expect(step).rejects.toEqual(refused("PL409"));
        expect(await tx.rows("select status from user_subscriptions where id = $1", [row!.id])).toEqual([
          { status: state },
        ]);
        expect(await events()).toEqual([]);
      } else {
        expect(await step).toEqual([{ status: expected }]);
        expect(await events()).toEqual([event]);
        expect(
          await tx.rows(
            "select from security_audit_log where user_id = $1 and event_type = 'subscription_changed' and event_data ->> 'to_status' = $2",
            [user, expected],
          ),
        ).toHaveLength(1);
      }
    });
  });

  test("rejects every update in psql that takes an unlisted step", async () => {
    const allowed = new Set(CASES.filter(([, , to]) => to !== null).map(([from, , to]) => `${from}>${to}`));
    for (const from of STATES)
      for (const to of STATES)
        if (from !== to)
          await withBilling(db, async ({ tx, user, plan }) => {
            await tx.rows(INSERT, [user, await plan("basic"), from]);
            const step = tx.attempt(
              `update user_subscriptions set status = $2, trial_end = coalesce(trial_end, '2026-02-01Z'),
                 past_due_since = case when $2 = 'past_due' then now() end, paused_at = case when $2 = 'paused' then now() end,
                 ended_at = case when $2 in ('canceled', 'expired') then now() end
               where user_id = $1`,
              [user, to],
            );
            if (allowed.has(`${from}>${to}`)) await step;
            else await expect(step).rejects.toEqual(refused("PL409"));
          });
  });
});

describe("the one current subscription [H6]", () => {
  test("excludes a second one in the database but not a past one", async () => {
    await withBilling(db, async ({ tx, start }) => {
      const id = await start("basic", "2026-01-10Z");
      await tx.rows("savepoint before");
      await expect(start("pro", "2026-01-11Z")).rejects.toEqual(refused("23505"));
      await tx.rows("rollback to savepoint before");
      await tx.rows("select transition_subscription($1, 'canceled', '2026-01-11Z')", [id]);
      await start("pro", "2026-01-11Z");
    });
  });
});

describe("a subscription over time [A3]", () => {
  test("renews a free plan automatically and grants each month's tokens, however late the job runs", async () => {
    const run = (moments: string[]) =>
      withBilling(db, async ({ start, advance, latest, ledger }) => {
        const id = await start("gift", "2026-01-31 10:00Z");
        for (const moment of moments) await advance(id, moment);
        const { status, start: from, end } = (await latest())!;
        return { status, from, end, ledger: await ledger() };
      });
    const late = await run(["2026-05-02Z"]);
    expect(late).toEqual({
      status: "active",
      from: "2026-04-30 10:00",
      end: "2026-05-31 10:00",
      ledger: [
        "grant 10 2026-01-31 2026-02-28",
        "close 0 2026-02-28 2026-03-31",
        "grant 10 2026-02-28 2026-03-31",
        "close 0 2026-03-31 2026-04-30",
        "grant 10 2026-03-31 2026-04-30",
        "close 0 2026-04-30 2026-05-31",
        "grant 10 2026-04-30 2026-05-31",
      ],
    });
    expect(
      await run([
        "2026-02-28 09:59Z",
        "2026-02-28 10:00Z",
        "2026-03-31 10:00Z",
        "2026-05-02Z",
        "2026-05-02Z",
      ]),
    ).toEqual(late);
  });

  test("sets an unpaid paid plan to past_due, then expires it after seven days", async () => {
    await withBilling(db, async ({ tx, start, advance, latest, events }) => {
      const id = await start("basic", "2026-01-31 10:00Z");
      expect(await advance(id, "2026-02-28 09:59Z")).toBe(0);
      expect(await advance(id, "2026-02-28 10:00Z")).toBe(1);
      expect((await latest())!.status).toBe("past_due");
      expect(await advance(id, "2026-03-07 09:59Z")).toBe(0);
      expect(await advance(id, "2026-03-07 10:00Z")).toBe(1);
      expect(
        await tx.rows(
          "select status, ended_at = '2026-03-07 10:00Z' as in_time from user_subscriptions where id = $1",
          [id],
        ),
      ).toEqual([{ status: "expired", in_time: true }]);
      expect(await advance(id, "2030-01-01Z")).toBe(0);
      expect(await events()).toEqual(["started", "payment_due", "grace_ended"]);
    });
  });

  test("applies a late payment to the period that was owed, with its tokens and those carried over", async () => {
    await withBilling(db, async ({ tx, user, plan, start, advance, latest, ledger }) => {
      const id = await start("basic", "2026-01-31 10:00Z");
      await advance(id, "2026-03-03Z");
      await tx.rows("select grant_subscription_at($1, $2, '2026-03-03Z')", [user, await plan("basic")]);
      expect(await latest()).toMatchObject({
        status: "active",
        start: "2026-02-28 10:00",
        end: "2026-03-31 10:00",
      });
      expect(await ledger()).toEqual([
        "grant 1000 2026-01-31 2026-02-28",
        "close 100 2026-02-28 2026-03-31",
        "grant 1000 2026-02-28 2026-03-31",
      ]);
    });
  });

  test("expires a trial without payment and rejects a second one in any plan", async () => {
    await withBilling(db, async ({ tx, user, plan, latest, advance }) => {
      const subscribe = async (name: string, at: string) =>
        tx.attempt<{ id: string; status: string }>("select id, status from subscribe_at($1, $2, $3)", [
          user,
          await plan(name),
          at,
        ]);
      const [trial] = await subscribe("basic", "2028-02-20 08:00Z");
      expect(await latest()).toMatchObject({ status: "trialing", end: "2028-03-05 08:00" });
      await advance(trial!.id, "2028-03-05 08:00Z");
      expect((await latest())!.status).toBe("expired");
      await expect(subscribe("pro", "2028-03-06Z")).rejects.toEqual(refused("PL402"));
      await expect(subscribe("basic", "2028-03-06Z")).rejects.toEqual(refused("PL402"));
      // A direct insert is rejected, too.
      await expect(
        tx.attempt("select start_subscription($1, $2, true, '2028-03-07Z')", [user, await plan("pro")]),
      ).rejects.toEqual(refused("23505"));
      // A trial that becomes a subscription begins its first period at its end.
      await tx.rows("select subscribe_at($1, $2, '2028-03-08Z')", [user, await plan("gift")]);
      expect(await latest()).toMatchObject({ status: "active", plan: "gift" });
    });
  });

  test("cancels at the period's end and resumes only before it", async () => {
    await withBilling(db, async ({ tx, user, start, advance, latest, events }) => {
      const set = (cancel: boolean, at: string) =>
        tx.attempt("select set_cancellation_at($1, $2, $3)", [user, cancel, at]);
      const id = await start("basic", "2026-04-30 12:00Z");
      await set(true, "2026-05-01Z");
      expect(
        await tx.rows("select renewal_date, status from user_subscriptions where id = $1", [id]),
      ).toEqual([{ renewal_date: null, status: "active" }]);
      await expect(set(true, "2026-05-02Z")).rejects.toEqual(refused("PL409"));
      await set(false, "2026-05-02Z");
      expect(await tx.rows("select renewal_date::text from user_subscriptions where id = $1", [id])).toEqual([
        { renewal_date: "2026-05-30" },
      ]);
      await set(true, "2026-05-03Z");
      await advance(id, "2026-06-03Z");
      expect(await latest()).toMatchObject({ status: "canceled", end: "2026-05-30 12:00" });
      await expect(set(false, "2026-06-04Z")).rejects.toEqual(refused("PL404"));
      expect(await events()).toEqual([
        "started",
        "cancellation_scheduled",
        "cancellation_withdrawn",
        "cancellation_scheduled",
        "canceled",
      ]);
    });
  });

  test("stops the clock and keeps the tokens during a pause", async () => {
    await withBilling(db, async ({ tx, user, start, advance, latest, ledger }) => {
      const id = await start("basic", "2026-03-01Z");
      await tx.rows("select pause_subscription($1, '2026-03-11Z')", [id]);
      expect(await tx.rows("select users_tier(u) as tier from users u where id = $1", [user])).toEqual([
        { tier: "free" },
      ]);
      expect(await advance(id, "2026-08-01Z")).toBe(0);
      await tx.rows("select set_cancellation_at($1, false, '2026-08-01 06:00Z')", [user]);
      expect(await latest()).toMatchObject({ status: "active", end: "2026-08-22 06:00" });
      expect((await ledger()).at(-1)).toBe("close 9223372036854775807 2026-03-11");
      await advance(id, "2026-08-22 06:00Z");
      expect((await latest())!.status).toBe("past_due");
    });
  });

  test("loses and gains no hour when clocks change during a pause", async () => {
    // In New Zealand the clocks change on 27 September 2026.
    await withBilling(db, async ({ tx, user, start, latest }) => {
      const id = await start("basic", "2026-08-20Z");
      await tx.rows("select pause_subscription($1, '2026-08-30Z')", [id]);
      await tx.rows("select set_cancellation_at($1, false, '2026-09-20Z')", [user]);
      expect(await latest()).toMatchObject({ status: "active", end: "2026-10-11 00:00" });
    });
  });

  test("grants a lifetime plan's tokens by the month without end", async () => {
    await withBilling(db, async ({ tx, start, advance, ledger }) => {
      const id = await start("forever", "2027-12-31Z");
      expect(await advance(id, "2028-03-01Z")).toBe(2);
      expect(await ledger()).toEqual([
        "grant 500 2027-12-31 2028-01-31",
        "close 0 2028-01-31 2028-02-29",
        "grant 500 2028-01-31 2028-02-29",
        "close 0 2028-02-29 2028-03-31",
        "grant 500 2028-02-29 2028-03-31",
      ]);
      await expect(
        tx.attempt(
          "select set_cancellation_at(user_id, true, '2028-03-01Z') from user_subscriptions where id = $1",
          [id],
        ),
      ).rejects.toEqual(refused("PL409"));
    });
  });
});

describe("a change of plan [A3]", () => {
  const change =
    "select event, credit_cents::integer as credit, charge_cents::integer as charge, amount_cents::integer as amount, tokens_granted::integer as tokens from change_subscription_plan($1, $2, $3)";

  test("takes effect at once for an upgrade, prorated in money and tokens", async () => {
    await withBilling(db, async ({ tx, plan, start, latest, ledger }) => {
      const id = await start("basic", "2026-04-01Z");
      expect(await tx.rows(change, [id, await plan("pro"), "2026-04-21Z"])).toEqual([
        // 10 of 30 days: 333.33 and 1000; 1333 - 333 tokens
        { event: "upgraded", credit: -333, charge: 1000, amount: 667, tokens: 1000 },
      ]);
      expect(await latest()).toMatchObject({
        plan: "pro",
        start: "2026-04-01 00:00",
        end: "2026-05-01 00:00",
      });
      expect(await ledger()).toEqual([
        "grant 1000 2026-04-01 2026-05-01",
        "grant 1000 2026-04-21 2026-05-01",
      ]);
    });
  });

  test("adds a plan's tokens once a period when two plans alternate", async () => {
    await withBilling(db, async ({ tx, plan, start, ledger }) => {
      const id = await start("basic", "2026-04-01Z");
      for (const [name, day] of [
        ["pro", "02"],
        ["basic", "03"],
        ["pro", "04"],
        ["basic", "05"],
        ["pro", "06"],
      ])
        await tx.rows(change, [id, await plan(name!), `2026-04-${day}Z`]);
      expect(await ledger()).toEqual([
        "grant 1000 2026-04-01 2026-05-01",
        "grant 2900 2026-04-02 2026-05-01",
      ]);
    });
  });

  test("begins a new period, charged in full, for another cycle", async () => {
    await withBilling(db, async ({ tx, plan, start, latest, ledger }) => {
      const id = await start("basic", "2026-04-01Z");
      expect(await tx.rows(change, [id, await plan("basic yearly"), "2026-04-16Z"])).toEqual([
        { event: "upgraded", credit: -500, charge: 10000, amount: 9500, tokens: 0 },
      ]);
      expect(await latest()).toMatchObject({
        plan: "basic yearly",
        start: "2026-04-16 00:00",
        end: "2027-04-16 00:00",
      });
      expect(await ledger()).toEqual([
        "grant 1000 2026-04-01 2026-05-01",
        "close 0 2026-04-16 2027-04-16",
        "grant 12000 2026-04-16 2027-04-16",
      ]);
    });
  });

  test("costs nothing within a trial", async () => {
    await withBilling(db, async ({ tx, plan, start, latest }) => {
      const id = await start("basic", "2026-04-01Z", true);
      expect(await tx.rows(change, [id, await plan("pro"), "2026-04-05Z"])).toMatchObject([
        { credit: 0, charge: 0 },
      ]);
      expect(await latest()).toMatchObject({ status: "trialing", plan: "pro", end: "2026-04-15 00:00" });
    });
  });

  test.each([
    ["another currency", "euro", "PL422"],
    ["the same plan", "basic", "PL409"],
  ])("is rejected to %s", async (_name, target, code) => {
    await withBilling(db, async ({ tx, plan, start }) => {
      const id = await start("basic", "2026-04-01Z");
      await expect(tx.attempt(change, [id, await plan(target), "2026-04-02Z"])).rejects.toEqual(
        refused(code),
      );
    });
  });

  test("grants an unlimited plan's tokens only while the plan lasts", async () => {
    await withBilling(db, async ({ tx, plan, start, ledger }) => {
      const id = await start("basic", "2026-04-01Z");
      await tx.rows(change, [id, await plan("endless"), "2026-04-11Z"]);
      await tx.rows(change, [id, await plan("pro"), "2026-04-16Z"]);
      expect(await ledger()).toEqual([
        "grant 1000 2026-04-01 2026-05-01",
        "grant unlimited 2026-04-11 2026-05-01",
        "close 0 2026-04-16 2026-04-16",
        "grant 2000 2026-04-16 2026-05-01",
      ]);
    });
  });

  test("waits for the period's end for a downgrade, needs payment for an upgrade and can be withdrawn", async () => {
    await withBilling(db, async ({ tx, user, plan, start, advance, latest, events }) => {
      const schedule = async (name: string, at: string) =>
        tx.attempt("select schedule_plan_at($1, $2, $3)", [user, await plan(name), at]);
      const id = await start("basic", "2026-01-31Z");
      await expect(schedule("pro", "2026-02-01Z")).rejects.toEqual(refused("PL402"));
      await expect(schedule("euro", "2026-02-01Z")).rejects.toEqual(refused("PL422"));
      await schedule("gift", "2026-02-02Z");
      await expect(schedule("gift", "2026-02-02Z")).rejects.toEqual(refused("PL409"));
      await schedule("basic", "2026-02-03Z");
      await schedule("gift", "2026-02-04Z");
      expect((await latest())!.plan).toBe("basic");
      await advance(id, "2026-02-28Z");
      expect(await latest()).toMatchObject({
        plan: "gift",
        status: "active",
        start: "2026-02-28 00:00",
        end: "2026-03-31 00:00",
      });
      expect(await events()).toEqual([
        "started",
        "change_scheduled",
        "change_withdrawn",
        "change_scheduled",
        "downgraded",
        "renewed",
      ]);
    });
  });

  test("copies each column of an offer to its new version, with its change, and keeps it in the old one", async () => {
    await withBilling(db, async ({ tx, plan }) => {
      const columns = await tx.rows<{ name: string }>(
        `select attname as name from pg_attribute
         where attrelid = 'billing.subscription_plans'::regclass and attnum > 0 and not attisdropped
           and has_column_privilege($1, attrelid, attnum, 'insert')
           and attname <> all (array['code', 'billing_cycle', 'currency'])`,
        [`${db.rolePrefix}_user`],
      );
      expect(columns.length).toBeGreaterThan(7);
      const [{ row: current }] = (await tx.rows<{ row: Record<string, unknown> }>(
        "select to_jsonb(p) as row from subscription_plans p where id = $1",
        [await plan("basic")],
      )) as [{ row: Record<string, unknown> }];
      for (const { name } of columns) {
        const value = changed(current[name]);
        const old = await plan("basic");
        const [revised] = await tx.rows<{ row: Record<string, unknown> }>(
          "select to_jsonb(p) as row from revise_plan($1, $2) p",
          [old, { [name]: value }],
        );
        expect(revised!.row).toMatchObject({ [name]: value, code: "basic" });
        // The next change keeps this one.
        const [next] = await tx.rows<{ row: Record<string, unknown> }>(
          "select to_jsonb(p) as row from revise_plan($1, '{}') p",
          [revised!.row.id],
        );
        expect(next!.row).toMatchObject({ [name]: value });
        if (["plan_name", "is_active"].includes(name)) continue;
        await expect(
          tx.attempt(
            `update subscription_plans p set ${name} = (jsonb_populate_record(p, $2)).${name} where id = $1`,
            [next!.row.id, { [name]: current[name] }],
          ),
        ).rejects.toEqual(refused("PL409"));
      }
    });
  });

  test("leaves subscribers on the old version when a plan's terms are revised", async () => {
    await withBilling(db, async ({ tx, user, plan, start }) => {
      const old = await plan("basic");
      await start("basic", "2026-04-01Z");
      await expect(
        tx.attempt("update subscription_plans set price_cents = 1 where id = $1", [old]),
      ).rejects.toEqual(refused("PL409"));
      expect(
        await tx.rows(
          `select version, price_cents::integer as price, token_quota::integer as quota from revise_plan($1, '{"price_cents": 1200}')`,
          [old],
        ),
      ).toEqual([{ version: 2, price: 1200, quota: 1000 }]);
      expect(
        await tx.rows(
          "select event_data -> 'price_cents' as price from security_audit_log where event_type = 'plan_changed' and event_data ->> 'code' = 'basic' and event_data ->> 'version' = '2'",
        ),
      ).toEqual([{ price: 1200 }]);
      expect(
        await tx.rows(
          "select version, superseded_at is null as newest from subscription_plans where code = 'basic' and billing_cycle = 'monthly' order by 1",
        ),
      ).toEqual([
        { version: 1, newest: false },
        { version: 2, newest: true },
      ]);
      expect(
        await tx.rows(
          "select plan_version, price_cents::integer as price from active_user_subscriptions where user_id = $1",
          [user],
        ),
      ).toEqual([{ plan_version: 1, price: 1000 }]);
      await expect(tx.attempt("select revise_plan($1, '{}')", [old])).rejects.toEqual(refused("PL409"));
      await expect(
        tx.attempt(`select revise_plan($1, '{"code": "x"}')`, [await plan("basic")]),
      ).rejects.toEqual(refused("PL422"));
    });
  });
});

describe("the documented queries [A9, A11, C1, H6]", () => {
  test("run as written [H6, A11]", async () => {
    await withBilling(db, async ({ tx, user, start }) => {
      await start("basic", "2026-04-01Z");
      expect(
        await tx.rows(
          "SELECT status, current_period_end FROM user_subscriptions WHERE user_id = $1 AND status = 'active'",
          [user],
        ),
      ).toEqual([{ status: "active", current_period_end: new Date("2026-05-01T00:00:00Z") }]);
      expect(
        await tx.rows("SELECT * FROM active_user_subscriptions WHERE user_id = $1", [user]),
      ).toMatchObject([{ plan_code: "basic", status: "active", access_level: 5 }]);
      expect(
        await tx.rows(
          "select code, price_cents > 0 as paid from subscription_plans where code in ('free', 'premium') order by 1",
        ),
      ).toEqual([
        { code: "free", paid: false },
        { code: "premium", paid: true },
      ]);
    });
  });

  test("return the plan's code as tier while it gives access, else free [C1]", async () => {
    await withBilling(db, async ({ tx, user, start, advance }) => {
      const lookup = async () =>
        (
          await tx.rows<{ tier: string }>(
            "SELECT id, username, email, users_role(users) AS role, users_tier(users) AS tier, is_active FROM users WHERE username = $1 AND is_active = true",
            ["subscriber"],
          )
        )[0]!.tier;
      expect(await lookup()).toBe("free");
      const id = await start("pro", "2026-04-01Z");
      expect(await lookup()).toBe("pro");
      await advance(id, "2026-05-02Z");
      expect(await lookup()).toBe("pro");
      await advance(id, "2026-05-09Z");
      expect(await lookup()).toBe("free");
      await tx.asUser(user);
      expect(await tx.rows("select identity.users_tier(u) as tier from identity.users u")).toEqual([
        { tier: "free" },
      ]);
    });
  });

  test("show users their own subscription only [A9]", async () => {
    await withBilling(db, async ({ tx, user, start }) => {
      const [other] = await tx.rows<{ id: string }>(
        "insert into users (username) values ('other') returning id",
      );
      await start("pro", "2026-04-01Z");
      await tx.asUser(user);
      expect(await tx.rows("select from billing.active_user_subscriptions")).toHaveLength(1);
      await tx.asUser(other!.id);
      expect(await tx.rows("select from billing.active_user_subscriptions")).toHaveLength(0);
      expect(
        await tx.rows("select from billing.current_subscription($1) s where s.id is not null", [user]),
      ).toHaveLength(0);
      for (const statement of [
        "update billing.user_subscriptions set status = 'active'",
        "insert into billing.payments (provider, provider_payment_id, amount_cents, currency) values ('x', 'x', 1, 'USD')",
        "select private.grant_subscription_at(null, null, now())",
      ])
        await expect(tx.attempt(statement)).rejects.toEqual(refused("42501"));
      for (const call of ["grant_subscription($1, $1)", "pause_subscription($1)", "end_subscription($1)"])
        await expect(tx.attempt(`select billing.${call}`, [user])).rejects.toEqual(refused("PL403"));
    });
  });

  test("reject the second of two concurrent plan versions, which would undo the first one's changes", async () => {
    const [{ id }] = (await withClient(db.url("owner"), async (client) => {
      const { rows } = await client.query(
        `insert into billing.subscription_plans (code, plan_name, billing_cycle, price_cents, currency, token_quota)
         values ('contested', 'Contested', 'monthly', 1000, 'USD', 1000) returning id`,
      );
      return rows;
    })) as [{ id: string }];
    const revise = "select billing.revise_plan($1, $2)";
    let second: Promise<unknown> = Promise.resolve();
    await whileLocked(db, [[revise, [id, { price_cents: 2000 }]]], async () => {
      second = withClient(db.url("owner"), (client) =>
        client.query(revise, [id, { token_quota: 2000 }]),
      ).catch((error: unknown) => error);
      await untilWaiting(db);
    });
    expect(await second).toMatchObject({ code: "PL409" });
    await withClient(db.url("owner"), async (client) => {
      const { rows } = await client.query(
        "select version, price_cents::integer as price from billing.subscription_plans where code = 'contested' order by 1",
      );
      expect(rows).toEqual([
        { version: 1, price: 1000 },
        { version: 2, price: 2000 },
      ]);
    });
  });
});

/** Another value of the same type. */
function changed(value: unknown): unknown {
  if (typeof value === "boolean") return !value;
  if (typeof value === "number") return value + 1;
  return typeof value === "string" ? `${value} 2` : { changed: true };
}
