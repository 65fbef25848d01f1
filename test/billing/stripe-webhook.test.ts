import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { registerUser } from "../support/accounts.ts";
import { type Api, startApi } from "../support/api.ts";
import { type TestDatabase, withClient } from "../support/database.ts";
import { makeRandom } from "../support/random.ts";
import {
  at,
  deliver,
  event,
  invoice,
  type StripeEvent,
  signature,
  subscription,
  WEBHOOK_SECRET,
} from "./stripe.ts";
import { billingDatabase } from "./support.ts";

let db: TestDatabase;
let api: Api;
let owner: pg.Client;
let users = 0;
/** Each test has a user, a customer and a subscription at Stripe of its own. */
let user: string;
let customer: string;
let sub: string;
beforeAll(async () => {
  db = await billingDatabase();
  api = await startApi(db, { PLINTH_STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET });
  owner = new pg.Client(db.url("owner"));
  await owner.connect();
  await owner.query(`
    insert into subscription_plans (code, plan_name, price_cents, token_quota, access_level)
      values ('basic', 'Basic', 1000, 1000, 5), ('pro', 'Pro', 3000, 4000, 20);
    insert into subscription_plans (code, plan_name, billing_cycle, price_cents, token_quota, access_level)
      values ('forever', 'Forever', 'lifetime', 50000, 500, 30);
    insert into plan_prices (plan_id, provider, provider_price_id)
      select id, 'stripe', 'price_' || code from subscription_plans where code in ('basic', 'pro', 'forever')`);
});
afterAll(async () => {
  await api.close();
  await owner.end();
  await db.drop();
});
beforeEach(async () => {
  users += 1;
  user = await registerUser(db, `payer${users}`);
  customer = `cus_${users}`;
  sub = `sub_${users}`;
});

const rows = async (sql: string, values: unknown[] = []) => (await owner.query(sql, values)).rows;
const state = (id = user) =>
  rows(
    `select s.status, p.code, s.current_period_start as start, s.current_period_end as end, s.cancel_at_period_end as ends,
       s.ended_at, s.provider_subscription_id as sub
     from user_subscriptions s join subscription_plans p on p.id = s.plan_id where s.user_id = $1 order by s.started_at, s.id`,
    [id],
  );
const payments = (id = user) =>
  rows(
    `select provider_payment_id as id, status, amount_cents::integer as amount, refunded_cents::integer as refunded, currency,
       subscription_id is not null as tied, paid_at, failed_at, period_end
     from payments where user_id = $1 order by 1`,
    [id],
  );
const tier = async () =>
  (await rows("select users_tier(u) as tier from users u where id = $1", [user]))[0].tier;
const inbox = (ids: string[]) =>
  rows(
    "select provider_event_id as id, outcome, processed_at is not null as done from payment_events where provider_event_id = any ($1) order by 1",
    [ids],
  );
const prefixed = (name: string) => `evt_${users}_${name}`;

const created = (
  status: string,
  more: {
    day?: string;
    start?: string;
    end?: string;
    price?: string;
    object?: Record<string, unknown>;
    type?: string;
    name?: string;
  } = {},
) => {
  const {
    day = "2026-03-01",
    start = "2026-03-01",
    end = "2026-04-01",
    price = "price_basic",
    type = "created",
  } = more;
  return event(
    prefixed(more.name ?? type),
    `customer.subscription.${type}`,
    at(day),
    subscription(sub, { customer, status, price, start, end, userId: user, more: more.object ?? {} }),
  );
};
const paid = (
  name: string,
  more: { day?: string; start?: string; end?: string; amount?: number; type?: string } = {},
) =>
  event(
    prefixed(name),
    more.type ?? "invoice.paid",
    at(more.day ?? "2026-03-01"),
    invoice(`in_${users}_${name}`, {
      customer,
      subscription: sub,
      price: "price_basic",
      amount: more.amount ?? 1000,
      start: more.start ?? "2026-03-01",
      end: more.end ?? "2026-04-01",
      intent: `pi_${users}_${name}`,
    }),
  );
const refund = (name: string, of: string, amount: number, day: string) =>
  event(prefixed(name), "charge.refunded", at(day), {
    id: `ch_${users}_${of}`,
    object: "charge",
    customer,
    payment_intent: `pi_${users}_${of}`,
    amount: 1000,
    amount_refunded: amount,
    payment_method_details: { card: { last4: "canary-4242" } },
  });

describe("the signature", () => {
  const body = () => JSON.stringify(created("active"));
  test.each([
    ["that is missing", () => null],
    ["of another body", () => signature(`${body()} `)],
    ["of another secret", () => signature(body(), undefined, "whsec_another")],
    ["older than five minutes", () => signature(body(), Math.floor(Date.now() / 1000) - 310)],
    ["without its scheme", () => signature(body()).replace("v1=", "v0=")],
    ["that is malformed", () => "t=1,v1=zz"],
  ])("%s is rejected without a reason, and nothing is stored", async (_name, header) => {
    const { status, text } = await deliver(api.url, body(), header());
    expect({ status, text }).toEqual({
      status: 400,
      text: '{"errors":[{"message":"Invalid event.","extensions":{"code":"BAD_REQUEST"}}]}',
    });
    expect(await inbox([prefixed("created")])).toEqual([]);
  });

  test("has no path on a server without a secret", async () => {
    const closed = await startApi(db);
    expect((await deliver(closed.url, body())).status).toBe(404);
    await closed.close();
  });
});

describe("a subscription at Stripe [A3]", () => {
  test("follows checkout, payment, renewal, failure, recovery and end", async () => {
    const send = async (...events: StripeEvent[]) => {
      for (const each of events) expect((await deliver(api.url, each)).status).toBe(200);
    };
    await send(
      event(prefixed("checkout"), "checkout.session.completed", at("2026-03-01"), {
        id: "cs_1",
        customer,
        mode: "subscription",
        payment_status: "paid",
        subscription: sub,
        metadata: { plinth_user_id: user },
      }),
      created("incomplete"),
    );
    expect(await state()).toEqual([]);
    expect(await tier()).toBe("free");
    await send(paid("one"), created("active", { type: "updated", name: "active" }));
    expect(await state()).toMatchObject([{ status: "active", code: "basic", end: new Date("2026-04-01Z") }]);
    expect(await tier()).toBe("basic");
    expect(await payments()).toMatchObject([
      { status: "succeeded", amount: 1000, currency: "USD", tied: true },
    ]);
    // Stripe moves the period before it has the money: no tokens yet.
    const next = { start: "2026-04-01", end: "2026-05-01" };
    await send(created("active", { ...next, day: "2026-04-01", type: "updated", name: "moved" }));
    const grants = () =>
      rows(
        "select amount::integer, starts_at from ledger_calls where user_id = $1 and call = 'grant' order by id",
        [user],
      );
    expect(await grants()).toEqual([{ amount: 1000, starts_at: new Date("2026-03-01Z") }]);
    await send(paid("two", { ...next, day: "2026-04-02", type: "invoice.payment_failed" }));
    expect(await state()).toMatchObject([{ status: "past_due" }]);
    expect(await payments()).toMatchObject([{ status: "succeeded" }, { status: "failed" }]);
    expect(await tier()).toBe("basic");
    await send(paid("two", { ...next, day: "2026-04-03" }));
    // The same id as the failed attempt's event: only its first delivery counts, as with every repeated event.
    expect(await state()).toMatchObject([{ status: "past_due" }]);
    await send({ ...paid("two", { ...next, day: "2026-04-03" }), id: prefixed("two-paid") });
    expect(await state()).toMatchObject([{ status: "active", end: new Date("2026-05-01Z") }]);
    expect(await payments()).toMatchObject([{ status: "succeeded" }, { status: "succeeded" }]);
    expect(await grants()).toHaveLength(2);
    await send(
      created("canceled", {
        ...next,
        day: "2026-04-20",
        type: "deleted",
        object: { ended_at: at("2026-04-20") },
      }),
    );
    expect(await state()).toMatchObject([{ status: "canceled", ended_at: new Date("2026-04-20Z") }]);
    expect(await tier()).toBe("free");
    // No later event revives it.
    await send(created("active", { ...next, day: "2026-04-21", type: "updated", name: "after" }));
    expect(await state()).toMatchObject([{ status: "canceled" }]);
  });

  test("prorates an upgrade at Stripe in the history and adds its tokens", async () => {
    for (const each of [
      created("active"),
      paid("one"),
      created("active", { day: "2026-03-17", price: "price_pro", type: "updated" }),
    ])
      await deliver(api.url, each);
    expect(await state()).toMatchObject([{ status: "active", code: "pro" }]);
    expect(
      await rows(
        "select event, credit_cents::integer as credit, charge_cents::integer as charge, tokens_granted::integer as tokens from subscription_changes where user_id = $1 and event = 'upgraded'",
        [user],
      ),
      // 15 of 31 days: 483.87, 1451.61, 1935 - 483 tokens
    ).toEqual([{ event: "upgraded", credit: -484, charge: 1452, tokens: 1452 }]);
  });

  test("grants a lifetime plan once and ends it on a full refund", async () => {
    const [{ id: planId }] = await rows("select id from subscription_plans where code = 'forever'");
    await deliver(
      api.url,
      event(prefixed("life"), "checkout.session.completed", at("2026-03-01"), {
        id: "cs_2",
        customer,
        mode: "payment",
        payment_status: "paid",
        payment_intent: `pi_${users}_life`,
        created: at("2026-03-01"),
        amount_total: 50000,
        currency: "usd",
        metadata: { plinth_user_id: user, plinth_plan_id: planId },
      }),
    );
    expect(await state()).toMatchObject([{ status: "active", code: "forever", end: null }]);
    expect(await rows("select amount::integer from ledger_calls where user_id = $1", [user])).toEqual([
      { amount: 500 },
    ]);
    await deliver(api.url, refund("back", "life", 50000, "2026-03-05"));
    expect(await payments()).toMatchObject([{ status: "refunded", refunded: 50000 }]);
    expect(await state()).toMatchObject([{ status: "expired" }]);
  });

  test("records a partial refund without effect and ends the access on a dispute", async () => {
    for (const each of [created("active"), paid("one"), refund("part", "one", 400, "2026-03-03")])
      await deliver(api.url, each);
    expect(await payments()).toMatchObject([{ status: "partially_refunded", refunded: 400 }]);
    expect(await state()).toMatchObject([{ status: "active" }]);
    await deliver(
      api.url,
      event(prefixed("dispute"), "charge.dispute.created", at("2026-03-04"), {
        id: "dp_1",
        object: "dispute",
        charge: "ch_x",
        payment_intent: `pi_${users}_one`,
      }),
    );
    expect(await payments()).toMatchObject([{ status: "disputed" }]);
    expect(await state()).toMatchObject([{ status: "expired" }]);
    // The next period is paid and gives access again.
    await deliver(api.url, paid("two", { day: "2026-04-01", start: "2026-04-01", end: "2026-05-01" }));
    expect(await state()).toMatchObject([{ status: "active", end: new Date("2026-05-01Z") }]);
  });

  test("replaces a local trial but not a local paid subscription", async () => {
    const [{ id: planId }] = await rows("select id from subscription_plans where code = 'premium'");
    await owner.query("select subscribe_at($1, $2, now())", [user, planId]);
    for (const each of [created("active"), paid("one")]) await deliver(api.url, each);
    expect((await state()).map(({ status, code }) => `${code} ${status}`).sort()).toEqual([
      "basic active",
      "premium canceled",
    ]);
    sub = `${sub}_second`;
    await deliver(api.url, created("active", { name: "second" }));
    expect(await inbox([prefixed("second")])).toMatchObject([{ outcome: "kept_current" }]);
  });
});

describe("events in any order", () => {
  const life = () => [
    event(prefixed("checkout"), "checkout.session.completed", at("2026-03-01"), {
      id: "cs_1",
      customer,
      mode: "subscription",
      payment_status: "paid",
      subscription: sub,
      metadata: { plinth_user_id: user },
    }),
    // Without the user in its metadata: only the checkout names the user.
    { ...created("incomplete"), data: { object: { ...created("incomplete").data.object, metadata: {} } } },
    paid("one"),
    created("active", { type: "updated", name: "active" }),
    created("active", {
      day: "2026-04-01",
      start: "2026-04-01",
      end: "2026-05-01",
      type: "updated",
      name: "moved",
    }),
    paid("two", {
      day: "2026-04-02",
      start: "2026-04-01",
      end: "2026-05-01",
      type: "invoice.payment_failed",
    }),
    {
      ...paid("two", { day: "2026-04-04", start: "2026-04-01", end: "2026-05-01" }),
      id: prefixed("two-paid"),
    },
    refund("part", "one", 300, "2026-04-05"),
    created("active", {
      day: "2026-04-06",
      start: "2026-04-01",
      end: "2026-05-01",
      type: "updated",
      name: "ending",
      object: { cancel_at_period_end: true },
    }),
  ];
  const ending = (day: string) =>
    created("canceled", {
      day,
      start: "2026-04-01",
      end: "2026-05-01",
      type: "deleted",
      object: { ended_at: at(day), cancel_at_period_end: true },
    });

  /** The numbers of a test's own user are not part of the outcome. */
  const outcome = async () =>
    JSON.stringify([await state(), await payments()]).replaceAll(new RegExp(`_${users}(?=[_"])`, "g"), "");

  /** The same shuffles in every run. */
  const random = makeRandom(20260301);
  const shuffled = <T>(items: readonly T[]): T[] => {
    const copy = [...items];
    for (let i = copy.length - 1; i > 0; i -= 1) {
      const j = random(i + 1);
      [copy[i], copy[j]] = [copy[j]!, copy[i]!];
    }
    return copy;
  };
  const newUser = async () => {
    users += 1;
    user = await registerUser(db, `payer${users}`);
    customer = `cus_${users}`;
    sub = `sub_${users}`;
  };

  test.each([
    ["that continues", false],
    ["that ends", true],
  ])("end in the same state for 60 orders of one life %s, with repetitions", async (_name, ends) => {
    let expected: string | undefined;
    for (let round = 0; round < 60; round += 1) {
      await newUser();
      const events = [...life(), ...(ends ? [ending("2026-04-20")] : [])];
      const order = round === 0 ? events : shuffled([...events, ...shuffled(events).slice(0, 3)]);
      for (const each of order) expect((await deliver(api.url, each)).status).toBe(200);
      const result = await outcome();
      expected ??= result;
      expect({ order: order.map(({ id }) => id), result }).toEqual({
        order: order.map(({ id }) => id),
        result: expected,
      });
      expect((await inbox(events.map(({ id }) => id))).filter(({ done }) => !done)).toEqual([]);
      // The live period's tokens were granted exactly once.
      if (!ends)
        expect(
          await rows(
            "select count(*)::integer as n from ledger_calls where user_id = $1 and call = 'grant' and starts_at = '2026-04-01Z'",
            [user],
          ),
        ).toEqual([{ n: 1 }]);
    }
    expect(JSON.parse(expected!)).toMatchObject([
      [{ status: ends ? "canceled" : "active", code: "basic", ends: true }],
      [{ status: "partially_refunded", refunded: 300 }, { status: "succeeded" }],
    ]);
  });

  test("apply once when one is delivered 20 times at once", async () => {
    await deliver(api.url, created("active"));
    const sent = paid("one");
    const answers = await Promise.all(Array.from({ length: 20 }, () => deliver(api.url, sent)));
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(await inbox([sent.id])).toEqual([{ id: sent.id, outcome: "applied", done: true }]);
    expect(await payments()).toHaveLength(1);
    expect(await rows("select event from subscription_changes where user_id = $1", [user])).toEqual([
      { event: "started" },
    ]);
    expect(await rows("select count(*)::integer as n from ledger_calls where user_id = $1", [user])).toEqual([
      { n: 1 },
    ]);
  });

  test("lose nothing when all of one life arrive at once", async () => {
    const events = life();
    const answers = await Promise.all(shuffled(events).map((each) => deliver(api.url, each)));
    expect(answers.map(({ status }) => status)).toEqual(events.map(() => 200));
    // Events that found their customer's other events locked are left to the job.
    await owner.query("update payment_events set next_attempt_at = now() where processed_at is null");
    await withClient(db.url("worker"), (client) =>
      client.query("select private.process_payment_events(100)"),
    );
    expect(await state()).toMatchObject([{ status: "active", ends: true, end: new Date("2026-05-01Z") }]);
    expect(await payments()).toMatchObject([{ status: "partially_refunded" }, { status: "succeeded" }]);
  });

  test("are applied by the job when the server dies between storing and applying them", async () => {
    await withClient(db.url("service"), async (client) => {
      await client.query("begin");
      await client.query(
        "select private.receive_payment_event('stripe', $1, 'invoice.paid', $2, now(), '{}')",
        [prefixed("never"), customer],
      );
      await client.query("rollback"); // died before it answered: Stripe sends it again
      await client.query(
        "select private.receive_payment_event('stripe', $1, 'customer.subscription.created', $2, '2026-03-01Z', $3)",
        [
          prefixed("kept"),
          customer,
          JSON.stringify({
            kind: "subscription",
            rank: "13",
            user_id: user,
            subscription: sub,
            status: "active",
            price: "price_basic",
            period_start: at("2026-03-01"),
            period_end: at("2026-04-01"),
          }),
        ],
      );
    });
    expect(await state()).toEqual([]);
    // Two workers at once.
    const work = () =>
      withClient(db.url("worker"), (client) => client.query("select private.process_payment_events(100)"));
    await Promise.all([work(), work()]);
    expect(await state()).toMatchObject([{ status: "active" }]);
    expect(await rows("select event from subscription_changes where user_id = $1", [user])).toEqual([
      { event: "started" },
    ]);
    expect(await inbox([prefixed("never"), prefixed("kept")])).toMatchObject([
      { id: prefixed("kept"), done: true },
    ]);
  });

  test("are kept with their reason and retried later when they fail", async () => {
    await deliver(api.url, created("active", { end: "2026-02-01" }));
    expect(await inbox([prefixed("created")])).toEqual([
      { id: prefixed("created"), outcome: "failed_23514", done: false },
    ]);
    expect(
      await rows(
        "select attempts, next_attempt_at >= received_at + interval '1 minute' as later from payment_events where provider_event_id = $1",
        [prefixed("created")],
      ),
    ).toEqual([{ attempts: 1, later: true }]);
  });
});

describe("storage of events", () => {
  test("keeps unknown events without their content", async () => {
    await deliver(
      api.url,
      event(prefixed("new"), "terminal.reader.sings", at("2026-03-01"), { customer, song: "canary" }),
    );
    expect(
      await rows("select event_type, outcome, payload from payment_events where provider_event_id = $1", [
        prefixed("new"),
      ]),
    ).toEqual([{ event_type: "terminal.reader.sings", outcome: "ignored", payload: {} }]);
  });

  test("keeps nothing of cards, names, addresses or secrets, wherever an event carries it", async () => {
    const canaries = {
      number: "4242424242424242",
      last4: "canary-4242",
      fingerprint: "canary-fingerprint",
      exp_month: 12,
      cvc: "canary-cvc",
      billing_details: { name: "canary-name", address: { line1: "canary-street" } },
      client_secret: "canary-secret",
      description: "canary-description",
      customer_email: "canary-mail@example.com",
      card: { number: "4242424242424242" },
      metadata: { plinth_user_id: user, card: "canary-metadata" },
    };
    for (const each of [
      created("active", { object: canaries }),
      paid("one"),
      refund("part", "one", 1, "2026-03-02"),
    ])
      await deliver(api.url, { ...each, data: { object: { ...each.data.object, ...canaries } } });
    expect(await state()).toHaveLength(1);
    const tables = await rows(
      "select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname in ('billing', 'private', 'security') and c.relkind in ('r', 'p') and not c.relispartition",
    );
    for (const { name } of tables)
      expect({
        name,
        found: await rows(`select * from ${name} t where t::text ~* 'canary|42424242'`),
      }).toEqual({
        name,
        found: [],
      });
    expect(JSON.stringify(api.logLines)).not.toMatch(/canary|4242424242/);
  });
});
