import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { registerUser } from "../support/accounts.ts";
import { type Api, startApi } from "../support/api.ts";
import { withClient } from "../support/client.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { brokenLaws } from "../support/ledger.ts";
import { makeRandom, SEED } from "../support/random.ts";
import { at, deliver, type StripeEvent, WEBHOOK_SECRET } from "./stripe.ts";
import { API_VERSIONS, type ApiVersion, StripeStory } from "./stripe-story.ts";

// Events in the shapes of two of Stripe's API versions. The test simulates Stripe with a true state; whatever the events' order
// and repetition, the database must reach that state.

const QUOTAS = { price_plan_basic: 3_000, price_plan_premium: 9_000, price_plan_max: 30_000 } as const;
const PRICES = Object.keys(QUOTAS) as (keyof typeof QUOTAS)[];

let db: TestDatabase;
let api: Api;
let owner: pg.Client;
let stories = 0;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db, { PLINTH_STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET });
  owner = new pg.Client(db.url("owner"));
  await owner.connect();
  let level = 0;
  for (const [price, quota] of Object.entries(QUOTAS)) {
    level += 1;
    await owner.query(
      `with plan as (
         insert into subscription_plans (code, plan_name, price_cents, token_quota, access_level)
         values ($1, $1, 1000 * $3::bigint, $2, $3) returning id)
       insert into plan_prices (plan_id, provider, provider_price_id) select id, 'stripe', $4 from plan`,
      [price.replace("price_", ""), quota, level, price],
    );
  }
});
afterAll(async () => {
  await api.close();
  await owner.end();
  await db.drop();
});

const rows = async (sql: string, values: unknown[] = []) => (await owner.query(sql, values)).rows;

async function newStory(
  version: ApiVersion,
  price = "price_plan_basic",
  day = "2026-03-01",
): Promise<StripeStory> {
  stories += 1;
  const user = await registerUser(db, `story${stories}`);
  return new StripeStory(
    version,
    { user, customer: `cus_s${stories}`, sub: `sub_s${stories}`, prefix: `s${stories}` },
    price,
    at(day),
  );
}

/** Delivers events, and lets the job finish those that waited. */
async function send(events: readonly StripeEvent[]): Promise<void> {
  for (const each of events) expect((await deliver(api.url, each)).status).toBe(200);
  await owner.query("update payment_events set next_attempt_at = now() where processed_at is null");
  await withClient(db.url("worker"), (client) => client.query("select private.process_payment_events(1000)"));
}

/** The state of a story in the database. */
async function outcome({ names, start }: StripeStory): Promise<Record<string, unknown>> {
  const [found] = await rows(
    `select s.status, p.code as plan, s.current_period_start as start, s.current_period_end as end,
       s.cancel_at_period_end as ends,
       (
         select coalesce(sum(g.amount - g.consumed - g.held), 0)::integer
         from token_grants g
         where g.source_id = s.id and g.starts_at >= to_timestamp($2) and g.expires_at >= s.quota_period_end
       ) as tokens
     from user_subscriptions s join subscription_plans p on p.id = s.plan_id
     where s.user_id = $1`,
    [names.user, start],
  );
  const payments = await rows(
    `select provider_payment_id as id, status, refunded_cents::integer as refunded
     from payments where user_id = $1 order by length(provider_payment_id), provider_payment_id`,
    [names.user],
  );
  return { ...found, payments };
}

const shuffled = <T>(items: readonly T[], random: (below: number) => number): T[] => {
  const copy = [...items];
  for (let i = copy.length - 1; i > 0; i -= 1) {
    const j = random(i + 1);
    [copy[i], copy[j]] = [copy[j]!, copy[i]!];
  }
  return copy;
};

describe.each(API_VERSIONS)("events of %s", (version) => {
  /** Delivers a story up to a moment and checks that the database is in its true state. */
  const tell = async (story: StripeStory) => {
    await send(story.events.splice(0));
    expect(await outcome(story)).toEqual(story.outcome(QUOTAS));
  };

  test("takes back only the payment when an upgrade's proration is refunded", async () => {
    const story = await newStory(version);
    story.begin();
    const proration = story.change("price_plan_premium", 10);
    await tell(story);
    story.pass(1);
    story.refund(proration, proration.amount);
    expect(story.outcome(QUOTAS)).toMatchObject({ status: "active", plan: "plan_premium", tokens: 7_000 });
    await tell(story);
    story.renew(true);
    await tell(story);
  });

  test("ends the access on a refund of the period's own invoice until the next period is paid", async () => {
    const story = await newStory(version);
    const first = story.begin();
    story.pass(30);
    story.refund(first, first.amount);
    expect(story.outcome(QUOTAS)).toMatchObject({ status: "expired", tokens: 0 });
    await tell(story);
    story.renew(true);
    expect(story.outcome(QUOTAS)).toMatchObject({ status: "active", tokens: 3_000 });
    await tell(story);
    story.pass(1);
    // Of an earlier period.
    story.dispute(first, "needs_response");
    await tell(story);
  });

  test("undoes a refund that failed", async () => {
    const story = await newStory(version);
    const first = story.begin();
    story.pass(1);
    story.refund(first, first.amount);
    await tell(story);
    story.pass(48);
    story.failRefund(first, first.amount);
    expect(story.outcome(QUOTAS)).toMatchObject({ status: "active", tokens: 3_000 });
    await tell(story);
    // A later refund of the charge counts without it.
    story.pass(1);
    story.refund(first, 100);
    await tell(story);
  });

  test.each([
    ["before the plan's", true],
    ["after the plan's", false],
  ])("changes neither plan nor tokens for an add-on's item %s", async (_name, first) => {
    const story = await newStory(version);
    story.addOn = { price: "price_seats", first };
    story.begin();
    expect(story.outcome(QUOTAS)).toMatchObject({ status: "active", plan: "plan_basic", tokens: 3_000 });
    await tell(story);
    story.renew(true);
    await tell(story);
  });

  test("ends at the period's end only in the period of a scheduled cancellation", async () => {
    const story = await newStory(version);
    story.begin();
    story.pass(1);
    story.cancel(story.start + 5 * 30 * 86_400);
    await tell(story);
    expect(await outcome(story)).toMatchObject({ ends: false });
    for (let period = 1; period <= 4; period += 1) {
      story.renew(true);
      await tell(story);
      expect(await outcome(story)).toMatchObject({ ends: period === 4 });
    }
    story.pass(1);
    story.cancel(null);
    await tell(story);
    story.cancel(null, true);
    await tell(story);
  });

  test.each([
    ["canceled", true, "with its period"],
    ["expired", false, "for lack of news"],
  ])(
    "revives what the local clock set to %s %s on later news from the provider",
    async (status, ends, _how) => {
      const story = await newStory(version);
      story.begin();
      story.pass(1);
      story.cancel(null, ends);
      await tell(story);
      const clock = async (days: number) =>
        rows("select advance_subscriptions_at(100, to_timestamp($1))", [story.end + days * 86_400]);
      await clock(10);
      expect(await outcome(story)).toMatchObject({ status });
      // The cancellation was withdrawn in the last minute, and the period paid.
      story.now = story.end - 60;
      story.cancelAtPeriodEnd = false;
      story.tell();
      story.renew(true);
      expect(story.outcome(QUOTAS)).toMatchObject({ status: "active", tokens: 3_000 });
      await tell(story);
    },
  );

  test("does not revive a subscription that the local clock ended when the provider reports older news", async () => {
    const story = await newStory(version);
    const first = story.begin();
    story.pass(1);
    story.cancel(null, true);
    await tell(story);
    await rows("select advance_subscriptions_at(100, to_timestamp($1))", [story.end + 2 * 86_400]);
    story.pass(1);
    story.refund(first, 100);
    story.tell();
    await send(story.events.splice(0));
    expect(await outcome(story)).toMatchObject({ status: "canceled" });
  });

  test.each([
    ["a single item", (story: StripeStory) => story.bill("manual", [story.single()], false)],
    ["an upgrade that waits for its payment", (story: StripeStory) => story.changeInVain("price_plan_max")],
    [
      "a proration",
      (story: StripeStory) =>
        story.bill(
          "subscription_update",
          [{ kind: "proration", price: "price_plan_max", amount: 700, start: story.now, end: story.end }],
          false,
        ),
    ],
  ])("leaves the subscription unchanged when the payment of %s fails", async (_name, fail) => {
    const story = await newStory(version);
    story.begin();
    await tell(story);
    story.pass(24);
    fail(story);
    expect(story.outcome(QUOTAS)).toMatchObject({ status: "active", plan: "plan_basic", tokens: 3_000 });
    await tell(story);
    expect(
      await rows("select event from subscription_changes where user_id = $1", [story.names.user]),
    ).toEqual([{ event: "started" }]);
  });

  test("does not settle a past due period by paying a single item", async () => {
    const story = await newStory(version);
    story.begin();
    const open = story.renew(false);
    await tell(story);
    story.pass(1);
    story.bill("manual", [story.single()], true);
    expect(story.outcome(QUOTAS)).toMatchObject({ status: "past_due", tokens: 0 });
    await tell(story);
    story.pass(1);
    story.payLate(open);
    expect(story.outcome(QUOTAS)).toMatchObject({ status: "active", tokens: 3_000 });
    await tell(story);
  });

  test("takes nothing for an inquiry, whether it is closed or becomes a dispute", async () => {
    const story = await newStory(version);
    const first = story.begin();
    story.pass(1);
    story.dispute(first, "warning_needs_response");
    await tell(story);
    expect(await outcome(story)).toMatchObject({ status: "active", tokens: 3_000 });
    story.pass(1);
    story.dispute(first, "warning_closed", "closed");
    await tell(story);
    story.pass(1);
    story.dispute(first, "needs_response", "updated");
    await tell(story);
    expect(await outcome(story)).toMatchObject({ status: "expired", tokens: 0 });
  });

  test("restores access and an upgrade's tokens when a dispute is won, and removes them when it is lost again", async () => {
    // The dates lie in the future, so that using tokens does not advance the local clock.
    const story = await newStory(version, "price_plan_basic", "2036-03-01");
    const first = story.begin();
    story.change("price_plan_premium", 10);
    await tell(story);
    await rows("select private.record_usage($1, null, 500, 0, 'used', 0, 0, null, null, to_timestamp($2))", [
      story.names.user,
      story.now,
    ]);
    story.pass(1);
    story.dispute(first, "needs_response");
    await send(story.events.splice(0));
    expect(await outcome(story)).toMatchObject({ status: "expired", tokens: 0 });
    story.dispute(first, "won", "funds_reinstated");
    story.pass(1);
    story.dispute(first, "won", "closed");
    await send(story.events.splice(0));
    expect(await outcome(story)).toMatchObject({ status: "active", plan: "plan_premium", tokens: 6_500 });
    story.dispute(first, "lost", "closed");
    await send(story.events.splice(0));
    expect(await outcome(story)).toMatchObject({ status: "expired", tokens: 0 });
    expect(await brokenLaws(owner)).toEqual([]);
  });

  test("grants the same tokens for an upgrade whether its event, the first one or the payment arrives first", async () => {
    for (const order of [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ]) {
      const story = await newStory(version);
      story.begin();
      const begun = story.events.length;
      story.change("price_plan_premium", 15);
      const { events } = story;
      const parts = [[events[0]!], events.slice(1, begun), events.slice(begun)];
      await send(order.flatMap((part) => parts[part]!));
      expect({ order, ...(await outcome(story)) }).toEqual({ order, ...story.outcome(QUOTAS) });
    }
  });

  test("activates a new subscription once the old one that it waited for has ended", async () => {
    const old = await newStory(version);
    old.begin();
    await tell(old);
    const next = new StripeStory(
      version,
      { ...old.names, sub: `${old.names.sub}_next`, prefix: `${old.names.prefix}x` },
      "price_plan_max",
    );
    next.begin();
    old.pass(1);
    old.terminate();
    await send([...next.events, ...old.events.splice(0)]);
    expect(
      await rows(
        "select p.code, s.status from user_subscriptions s join subscription_plans p on p.id = s.plan_id where s.user_id = $1 order by 1",
        [old.names.user],
      ),
    ).toEqual([
      { code: "plan_basic", status: "canceled" },
      { code: "plan_max", status: "active" },
    ]);
  });
});

/** A random sequence of changes at Stripe, in the order in which they happen. */
function live(story: StripeStory, random: (below: number) => number): void {
  story.begin();
  let day = 0;
  let open: ReturnType<StripeStory["renew"]> | undefined;
  const acts = [
    () => {
      if (open && random(2)) return;
      open = undefined;
      const paid = random(3) > 0;
      const invoice = story.renew(paid);
      if (!paid) open = invoice;
      day = 0;
    },
    () => {
      if (open) story.payLate(open);
      open = undefined;
    },
    () => {
      day = Math.max(day, Math.ceil((story.now - story.start) / 86_400)) + 1;
      const others = PRICES.filter((price) => price !== story.price);
      if (day < 29 && !open) story.change(others[random(others.length)]!, day);
    },
    () => {
      if (!open) story.changeInVain("price_plan_max");
    },
    () => story.bill("manual", [story.single()], random(2) > 0),
    () => {
      const invoice = story.invoices[random(story.invoices.length)]!;
      const rest = invoice.amount - invoice.refunded;
      if (invoice.paid && rest > 0) story.refund(invoice, random(2) ? rest : 1 + random(rest));
    },
    () => {
      const invoice = story.invoices.find(({ refunded }) => refunded > 0);
      if (invoice && random(2)) story.failRefund(invoice, invoice.refunded);
    },
    () => {
      const invoice = story.invoices[random(story.invoices.length)]!;
      if (!invoice.paid) return;
      const isNew = invoice.disputes.size === 0;
      const states = isNew
        ? ["warning_needs_response", "needs_response"]
        : ["warning_closed", "under_review", "won", "lost"];
      story.dispute(invoice, states[random(states.length)]!, isNew ? "created" : "updated");
    },
    () => story.cancel(random(2) ? story.start + (1 + random(5)) * 30 * 86_400 : null, random(3) === 0),
  ];
  for (let i = 0; i < 9; i += 1) {
    story.pass(1 + random(3));
    acts[random(acts.length)]!();
  }
  if (random(4) === 0) {
    story.pass(1);
    story.terminate();
  }
}

test.each(API_VERSIONS)(
  `ends lives of %s in Stripe's true state in every order and with repeated events (PLINTH_SEED=${SEED})`,
  async (version) => {
    for (let life = 0; life < 12; life += 1) {
      const seed = SEED + life;
      for (let order = 0; order < 4; order += 1) {
        const random = makeRandom(seed);
        const story = await newStory(version, PRICES[random(2)]);
        if (random(2)) story.addOn = { price: "price_seats", first: random(2) > 0 };
        live(story, random);
        const chance = makeRandom(seed * 7 + order);
        const sent =
          order === 0
            ? story.events
            : shuffled([...story.events, ...shuffled(story.events, chance).slice(0, 4)], chance);
        await send(sent);
        expect({
          seed,
          order: sent.map(({ id, type }) => `${id} ${type}`),
          ...(await outcome(story)),
        }).toEqual({
          seed,
          order: sent.map(({ id, type }) => `${id} ${type}`),
          ...story.outcome(QUOTAS),
        });
      }
    }
    expect(await brokenLaws(owner)).toEqual([]);
  },
);
