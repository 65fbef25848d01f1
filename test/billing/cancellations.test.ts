import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { cancelProviderSubscriptions } from "../../src/jobs/cancel-provider-subscriptions.ts";
import type { JobContext } from "../../src/jobs/job.ts";
import { stripeForJobs } from "../../src/payments/stripe.ts";
import { registerUser } from "../support/accounts.ts";
import { type TestDatabase, withClient } from "../support/database.ts";
import { at, type PlayedStripe, playStripe } from "./stripe.ts";
import { billingDatabase } from "./support.ts";

// A deleted account must stop paying. A local server stands in for Stripe's API.

const SECRET = "sk_test_canary";
let db: TestDatabase;
let stripe: PlayedStripe;
beforeAll(async () => {
  db = await billingDatabase();
  stripe = await playStripe();
  await owner(`
    insert into plan_prices (plan_id, provider, provider_price_id)
    select id, 'stripe', 'price_premium' from subscription_plans where code = 'premium'`);
});
afterAll(async () => {
  await stripe.close();
  await db.drop();
});
beforeEach(async () => {
  stripe.asked.length = 0;
  await owner("delete from private.provider_cancellations");
});

const owner = (sql: string, values: unknown[] = []) =>
  withClient(db.url("owner"), async (client) => (await client.query(sql, values)).rows);
const waiting = () =>
  owner("select provider_subscription_id as id, attempts, last_error from private.provider_cancellations");

/** Registers a paying account in the state that a checkout webhook leaves. */
async function payer(name: string, news: Record<string, unknown> = {}): Promise<string> {
  const id = await registerUser(db, name);
  await withClient(db.url("service"), async (client) => {
    const payload = {
      kind: "subscription",
      subscription: `sub_${name}`,
      user_id: id,
      status: "active",
      price: "price_premium",
      period_start: at("2026-01-01"),
      period_end: at("2099-01-01"),
      ...news,
    };
    const { rows } = await client.query(
      "select private.receive_payment_event('stripe', $1, 'x', $2, now(), $3) as id",
      [`evt_${name}`, `cus_${name}`, JSON.stringify(payload)],
    );
    await client.query("select private.process_payment_event($1)", [rows[0].id]);
  });
  return id;
}
/** The server's clock. */
const clock = async () => (await owner("select clock_timestamp() as now"))[0]!.now as Date;
const leave = (id: string) => owner("delete from identity.users where id = $1", [id]);

/** Runs the job once in its own role. */
const run = (secret: string | undefined = SECRET) =>
  withClient(db.url("worker"), async (client) => {
    const query: JobContext["query"] = async (sql, values) => (await client.query(sql, values)).rows;
    const payments = await stripeForJobs({
      stripeSecretKey: secret,
      stripeApiUrl: stripe.url,
      stripeWebhookSecret: undefined,
      checkoutReturnUrl: undefined,
    });
    return cancelProviderSubscriptions({ query, signal: new AbortController().signal, payments });
  });

test("cancels a deleted account's subscription at Stripe once", async () => {
  await leave(await payer("leaver"));
  expect(await waiting()).toEqual([{ id: "sub_leaver", attempts: 0, last_error: null }]);
  stripe.answer = { status: 200, body: { id: "sub_leaver", object: "subscription", status: "canceled" } };
  expect(await run()).toEqual({ canceled: 1, retried: 0 });
  expect(stripe.asked).toEqual([
    { method: "DELETE", path: "/v1/subscriptions/sub_leaver", authorization: `Bearer ${SECRET}`, form: {} },
  ]);
  expect(await waiting()).toEqual([]);
  expect(await run()).toEqual({ canceled: 0, retried: 0 });
  expect(stripe.asked).toHaveLength(1);
});

test.each([
  ["has ended", { status: "canceled", ended_at: at("2026-02-01") }],
  ["is for life", { for_life: true, paid: true, period_end: null }],
])("cancels no subscription that %s", async (name, news) => {
  await leave(await payer(name.replaceAll(" ", ""), news));
  expect(await waiting()).toEqual([]);
});

test("cancels nothing when a row is deleted but its account stays", async () => {
  const id = await payer("stayer");
  await owner("delete from private.provider_subscriptions where user_id = $1", [id]);
  expect(await waiting()).toEqual([]);
});

test("treats a subscription unknown to Stripe as canceled", async () => {
  await leave(await payer("unknown"));
  stripe.answer = {
    status: 404,
    body: { error: { type: "invalid_request_error", code: "resource_missing", message: "No such one" } },
  };
  expect(await run()).toEqual({ canceled: 1, retried: 0 });
  expect(await waiting()).toEqual([]);
});

test("records a failure without secrets and delays its retry", async () => {
  await leave(await payer("patient"));
  stripe.answer = {
    status: 401,
    body: { error: { type: "invalid_request_error", message: `Invalid API Key provided: ${SECRET}` } },
  };
  const before = await clock();
  expect(await run()).toEqual({ canceled: 0, retried: 1 });
  const [row] = await waiting();
  expect(row).toMatchObject({
    id: "sub_patient",
    attempts: 1,
    last_error: expect.stringMatching(/^Stripe: /),
  });
  expect(row!.last_error).not.toContain(SECRET);
  expect(
    await owner(
      `select next_attempt_at between $1::timestamptz + interval '1 minute' and clock_timestamp() + interval '1 minute' as is_delayed
       from private.provider_cancellations`,
      [before],
    ),
  ).toEqual([{ is_delayed: true }]);
  await owner(
    "update private.provider_cancellations set next_attempt_at = next_attempt_at + interval '1 day'",
  );
  expect(await run()).toEqual({ canceled: 0, retried: 0 });

  await owner("update private.provider_cancellations set next_attempt_at = now()");
  stripe.answer = { status: 200, body: { id: "sub_patient", object: "subscription", status: "canceled" } };
  expect(await run()).toEqual({ canceled: 1, retried: 0 });
});

test("waits for a worker with a key", async () => {
  await leave(await payer("keyless"));
  expect(await run("")).toEqual({ canceled: 0, retried: 0 });
  expect(await waiting()).toMatchObject([{ id: "sub_keyless", attempts: 0 }]);
});

test("divides the work between two workers and leases it for at most two minutes", async () => {
  await leave(await payer("shared"));
  const take = () =>
    withClient(db.url("worker"), async (client) => {
      const { rows } = await client.query("select * from private.take_provider_cancellations('stripe', 10)");
      return rows.map((row) => row.provider_subscription_id);
    });
  const before = await clock();
  expect((await Promise.all([take(), take(), take()])).flat()).toEqual(["sub_shared"]);
  const [lease] = await owner(
    `select next_attempt_at between $1::timestamptz + interval '2 minutes' and clock_timestamp() + interval '2 minutes' as is_short
     from private.provider_cancellations`,
    [before],
  );
  expect(lease).toEqual({ is_short: true });
});
