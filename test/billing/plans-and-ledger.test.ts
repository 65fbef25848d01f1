import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { addModel, registerUser } from "../support/accounts.ts";
import { type TestDatabase, withClient } from "../support/database.ts";
import { brokenLaws, brokenLawsAt } from "../support/ledger.ts";
import { makeRandom, SEED } from "../support/random.ts";
import { billingDatabase, withBilling } from "./support.ts";

// Where plans and the ledger meet: how each change of a subscription affects the tokens, and that their locks never deadlock.

let db: TestDatabase;
beforeAll(async () => {
  db = await billingDatabase();
});
afterAll(async () => {
  await db.drop();
});

type Billing = Parameters<Parameters<typeof withBilling>[1]>[0];
/** What is left of each grant in force, by source. */
const left = async ({ tx, user }: Billing, at: string) =>
  (
    await tx.rows<{ line: string }>(
      "select concat_ws(' ', source, coalesce(available::text, 'unlimited')) as line from private.available_grants($1, $2) where grant_id is not null",
      [user, at],
    )
  ).map(({ line }) => line);
const use = ({ tx, user }: Billing, tokens: number, at: string) =>
  tx.rows("select private.record_usage($1, null, $2, 0, $3, 0, 0, null, null, $4)", [
    user,
    tokens,
    randomUUID(),
    at,
  ]);
const change = async ({ tx, plan }: Billing, id: string, to: string, at: string) =>
  (
    await tx.rows<{ n: number }>(
      "select tokens_granted::integer as n from private.change_subscription_plan($1, $2, $3)",
      [id, await plan(to), at],
    )
  )[0]!.n;

describe("tokens of a plan", () => {
  test("carry over up to the limit, those of an upgrade together with the first ones", async () => {
    await withBilling(db, async (billing) => {
      const { tx, start, plan } = billing;
      const id = await start("basic", "2030-04-01Z");
      expect(await change(billing, id, "pro", "2030-04-16Z")).toBe(1_500);
      expect(await left(billing, "2030-04-16Z")).toEqual(["plan 1000", "plan 1500"]);
      await use(billing, 2_200, "2030-04-17Z");
      await tx.rows("select private.grant_subscription_at($1, $2, $3)", [
        billing.user,
        await plan("pro"),
        "2030-04-30Z",
      ]);
      expect(await left(billing, "2030-05-01Z")).toEqual(["rollover 300", "plan 4000"]);
      expect(await brokenLaws(tx.client)).toEqual([]);
    });
  });

  test("are added once and never fail when two plans alternate", async () => {
    await withBilling(db, async (billing) => {
      const id = await billing.start("basic", "2030-04-01Z");
      expect(await change(billing, id, "pro", "2030-04-16Z")).toBe(1_500);
      expect(await change(billing, id, "basic", "2030-04-17Z")).toBe(0);
      expect(await change(billing, id, "pro", "2030-04-18Z")).toBe(0);
      expect(await left(billing, "2030-04-18Z")).toEqual(["plan 1000", "plan 1500"]);
    });
  });

  test("are unlimited only while the plan is, however often it changes", async () => {
    await withBilling(db, async (billing) => {
      const id = await billing.start("pro", "2030-04-01Z");
      await use(billing, 4_000, "2030-04-02Z");
      for (const day of ["10", "20"]) {
        await change(billing, id, "endless", `2030-04-${day}Z`);
        expect(await left(billing, `2030-04-${day}Z`)).toContain("plan unlimited");
        await use(billing, 9_000_000, `2030-04-${day}T12:00Z`);
        await change(billing, id, "pro", `2030-04-${Number(day) + 1}Z`);
        expect(await left(billing, `2030-04-${Number(day) + 1}Z`)).not.toContain("plan unlimited");
      }
    });
  });

  test("are kept when a pause begins and deleted when a plan ends", async () => {
    await withBilling(db, async (billing) => {
      const { tx } = billing;
      const id = await billing.start("pro", "2030-04-01Z");
      await use(billing, 1_000, "2030-04-02Z");
      await tx.rows("select private.pause_subscription($1, '2030-04-11Z')", [id]);
      expect(await left(billing, "2031-01-01Z")).toEqual(["rollover 3000"]);
      await tx.rows("select private.unpause_subscription($1, '2030-06-01Z')", [id]);
      expect(await left(billing, "2030-06-01Z")).toEqual(["rollover 3000"]);
    });
    await withBilling(db, async (billing) => {
      const { tx } = billing;
      const id = await billing.start("pro", "2030-04-01Z");
      // The provider dated this before the period that was paid.
      await tx.rows("select private.transition_subscription($1, 'canceled', '2030-03-31Z')", [id]);
      expect(await left(billing, "2030-04-02Z")).toEqual([]);
    });
  });

  test("are limited by the plan only while the user is on it", async () => {
    await withBilling(db, async (billing) => {
      const { tx, user } = billing;
      await tx.rows(
        "insert into billing.usage_limits (plan_code, period, max_tokens) values ('pro', 'day', 10)",
      );
      const passed = async () =>
        (
          await tx.rows<{ n: number }>(
            "select private.limits_passed($1, null, 11, true, '2030-04-01Z') as n",
            [user],
          )
        )[0]!.n;
      expect(await passed()).toBe(0);
      const id = await billing.start("pro", "2030-04-01Z");
      expect(await passed()).toBe(1);
      await tx.rows("select private.transition_subscription($1, 'canceled', '2030-04-01Z')", [id]);
      expect(await passed()).toBe(0);
    });
  });
});

describe("the ledger with invalid input", () => {
  const NOTHING = "00000000-0000-7000-8000-000000000000";
  test.each([
    ["grant_tokens($1, 0, 'manual', null, 1, null, null, 'k')"],
    ["grant_tokens($1, -1, 'manual', null, 1, null, null, 'k')"],
    ["grant_tokens($1, 9223372036854775807, 'manual', null, 1, null, null, 'k')"],
    ["grant_tokens($1, 1, 'gift', null, 1, null, null, 'k')"],
    ["grant_tokens($1, 1, 'manual', null, 1, '2030-02-01Z', '2030-01-01Z', 'k')"],
    ["grant_tokens($1, 1, 'manual', null, 1, null, null, '')"],
    [`close_plan_grant($1, '${NOTHING}', now(), -1, null, 'k')`],
    [`close_plan_grant($1, '${NOTHING}', null, 1, null, 'k')`],
    [`reserve_tokens($1, '${NOTHING}', 0, 'k')`],
    [`reserve_tokens($1, '${NOTHING}', -5, 'k')`],
    [`reserve_tokens($1, '${NOTHING}', null, 'k')`],
    [`reserve_tokens($1, '${NOTHING}', 1, null)`],
    [`reserve_tokens($1, '${NOTHING}', 1, 'k', '-1 hour')`],
    ["record_usage($1, null, -1, 0, 'k')"],
    ["record_usage($1, null, 1, null, 'k')"],
    ["record_usage($1, null, 1, 0, 'k', 2)"],
  ])("rejects %s", async (call) => {
    await withBilling(db, async ({ tx, user }) => {
      await expect(tx.attempt(`select private.${call}`, [user])).rejects.toMatchObject({ code: "PL422" });
    });
  });

  test("keeps an event with an invalid currency without effect and records a valid one as paid", async () => {
    await withBilling(db, async ({ tx, user, latest, plan }) => {
      await tx.rows(
        "insert into billing.plan_prices (plan_id, provider, provider_price_id) values ($1, 'stripe', 'price_euro')",
        [await plan("euro")],
      );
      const send = async (name: string, currency: string) => {
        const payload = {
          kind: "invoice",
          payment: `in_${name}`,
          subscription: "sub_euro",
          user_id: user,
          price: "price_euro",
          amount: 3000,
          currency,
          paid: true,
          status: "active",
          period_start: 1_900_000_000,
          period_end: 1_902_592_000,
        };
        const [event] = await tx.rows<{ id: string }>(
          "select private.receive_payment_event('stripe', $1, 'invoice.paid', 'cus_euro', now(), $2) as id",
          [`evt_${name}`, JSON.stringify(payload)],
        );
        const [done] = await tx.rows<{ outcome: string }>(
          "select private.process_payment_event($1) as outcome",
          [event!.id],
        );
        return done!.outcome;
      };
      expect(await send("none", "not a currency")).toMatch(/^failed_/);
      expect(await tx.rows("select from billing.payments where user_id = $1", [user])).toEqual([]);
      expect(await latest()).toBeUndefined();
      expect(await send("euro", "eur")).not.toMatch(/^failed_/);
      expect(
        await tx.rows(
          "select currency, amount_cents::integer as cents from billing.payments where user_id = $1",
          [user],
        ),
      ).toEqual([{ currency: "EUR", cents: 3000 }]);
    });
  });

  test("breaks no law when the clock moves back and forth", async () => {
    await withBilling(db, async (billing) => {
      const { tx, user } = billing;
      const model = await tx.rows<{ id: string }>(
        `with p as (insert into llm.model_providers (name) values ('clock') returning id)
         insert into llm.models (provider_id, name, display_name, is_public) select id, 'm', 'm', true from p returning id`,
      );
      await tx.rows("select private.grant_tokens($1, 10000, 'manual', null, 1, '2029-01-01Z', null, 'g')", [
        user,
      ]);
      const times = [
        "2030-03-31Z",
        "2030-02-28Z",
        "2030-05-01Z",
        "2030-04-30T23:59:59Z",
        "2029-12-31Z",
        "2030-06-01Z",
      ];
      for (const [i, at] of times.entries()) {
        const [hold] = await tx.rows<{ id: string }>(
          "select id from private.reserve_tokens($1, $2, 100, $3, '5 minutes', $4)",
          [user, model[0]!.id, `clock ${i}`, at],
        );
        if (i % 2)
          await tx.rows("select private.settle_hold($1, 10, 5, 0, 0, null, null, $2)", [
            hold!.id,
            times[i - 1],
          ]);
        expect({ at, broken: await brokenLaws(tx.client) }).toEqual({ at, broken: [] });
      }
      await tx.rows("select private.expire_token_holds(100, '2031-01-01Z')");
      expect(
        await tx.rows("select from billing.token_grants where user_id = $1 and held <> 0", [user]),
      ).toEqual([]);
      expect(await brokenLaws(tx.client)).toEqual([]);
    });
  });
});

/** Enough for every pair of operations to meet. */
const OPERATIONS = 500;

test(`never deadlocks with events, jobs, messages, calls and deletions at once (PLINTH_SEED=${SEED})`, async () => {
  const random = makeRandom(SEED);
  const model = await addModel(db, { isPublic: true });
  const users: string[] = [];
  for (let i = 0; i < 6; i++) users.push(await registerUser(db, `busy${i}`));
  const plans = await withClient(db.url("owner"), async (owner) => {
    await owner.query(
      `insert into billing.subscription_plans (code, plan_name, price_cents, token_quota, rollover_limit, trial_days)
       values ('storm', 'Storm', 500, 5000, 5000, 3), ('calm', 'Calm', 900, null, 0, 0)`,
    );
    await owner.query("insert into llm.chats (id, user_id) select id, id from identity.users");
    const { rows } = await owner.query(
      "select id from billing.subscription_plans where code in ('storm', 'calm')",
    );
    await owner.query(
      `insert into billing.plan_prices (plan_id, provider, provider_price_id)
       select id, 'stripe', 'price_' || code from billing.subscription_plans where code in ('storm', 'calm')`,
    );
    return rows.map(({ id }) => id as string);
  });
  const owners = new pg.Pool({ connectionString: db.url("owner"), max: 10 });
  const services = new pg.Pool({ connectionString: db.url("service"), max: 10 });
  const workers = new pg.Pool({ connectionString: db.url("worker"), max: 4 });
  const unexpected: string[] = [];
  /** Rejections are expected; any other error, above all a deadlock, is not. */
  const attempt = async (pool: pg.Pool, sql: string, values: unknown[] = []) => {
    try {
      return (await pool.query(sql, values)).rows[0];
    } catch (error) {
      const { code, message } = error as pg.DatabaseError;
      // 23503: the account was deleted between a message's two checks.
      if (!/^(PL4\d\d|23503)$/.test(code ?? ""))
        unexpected.push(
          `${code} ${message} ${sql} ${(error as pg.DatabaseError).detail} ${(error as pg.DatabaseError).where}`,
        );
      return undefined;
    }
  };
  const user = () => users[random(users.length)]!;
  let begun = 0;
  let done = 0;
  let events = 0;
  const operations = [
    async () => {
      const hold = await attempt(services, "select id from private.reserve_tokens($1, $2, $3, $4)", [
        user(),
        model,
        1 + random(400),
        randomUUID(),
      ]);
      if (hold && random(5))
        await attempt(services, "select id from private.settle_hold($1, $2, 1)", [hold.id, random(600)]);
    },
    () =>
      attempt(
        owners,
        `insert into llm.messages (chat_id, user_id, role, tokens_used)
         select c.id, c.user_id, 'assistant', 5 from llm.chats c where c.user_id = any ($1) order by c.user_id, c.id returning id`,
        [[user(), user(), user()]],
      ),
    () =>
      attempt(
        owners,
        "update llm.messages set tokens_used = tokens_used + 1 where id = (select id from llm.messages where user_id = $1 limit 1)",
        [user()],
      ),
    async () => {
      const id = user();
      const day = new Date(Date.UTC(2030, 0, 1 + random(300))).getTime() / 1000;
      const payload = {
        kind: "subscription",
        subscription: `sub_${id}`,
        user_id: id,
        status: ["active", "past_due", "canceled"][random(3)],
        price: ["price_storm", "price_calm"][random(2)],
        period_start: day,
        period_end: day + 2_592_000,
      };
      const event = await attempt(
        services,
        "select private.receive_payment_event('stripe', $1, 'x', $2, now(), $3) as id",
        [`evt_storm_${events++}`, `cus_${id}`, JSON.stringify(payload)],
      );
      await attempt(services, "select private.process_payment_event($1)", [event.id]);
    },
    async () => {
      const { rows } = await owners.query("select id from billing.user_subscriptions where user_id = $1", [
        user(),
      ]);
      if (rows.length === 0)
        await attempt(owners, "select private.subscribe_at($1, $2, now())", [user(), plans[0]]);
    },
    () => attempt(workers, "select private.advance_subscriptions(50)"),
    () =>
      attempt(owners, "select private.advance_subscriptions_at(50, now() + $1 * interval '1 day')", [
        random(60),
      ]),
    () => attempt(workers, "select private.grant_free_quotas(50)"),
    () => attempt(workers, "select private.expire_token_holds(50)"),
    () => attempt(workers, "select private.retire_token_grants(50)"),
    () => attempt(workers, "select private.process_payment_events(1)"),
    () => attempt(owners, "update identity.users set last_login_at = now() where id = $1", [user()]),
    () =>
      attempt(owners, "update billing.usage_tracking set entitled_until = '-infinity' where user_id = $1", [
        user(),
      ]),
    async () => {
      if (random(8)) return;
      const i = random(users.length);
      const name = `busy${i}x${randomUUID().slice(0, 8)}`;
      const gone = users[i]!;
      users[i] = await registerUser(db, name);
      await attempt(owners, "insert into llm.chats (id, user_id) values ($1, $1)", [users[i]]);
      await attempt(owners, "delete from identity.users where id = $1", [gone]);
    },
  ];
  const weighted = [0, 0, 0, 0, 1, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13].map((i) => operations[i]!);
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      while (begun < OPERATIONS) {
        begun++;
        await weighted[random(weighted.length)]!();
        done++;
      }
    }),
  );
  await Promise.all([owners.end(), services.end(), workers.end()]);
  expect(unexpected).toEqual([]);
  expect(done).toBe(OPERATIONS);
  // An event whose account was deleted meanwhile is retried and finds no account.
  await withClient(db.url("owner"), async (owner) => {
    const { rows } = await owner.query(
      "select outcome from private.payment_events where outcome like 'failed%' and outcome <> 'failed_23503' and provider_event_id like 'evt_storm%'",
    );
    expect(rows).toEqual([]);
  });
  expect(await brokenLawsAt(db.url("owner"))).toEqual([]);
});
