import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { grantRole } from "../support/accounts.ts";
import { type Api, PASSWORD, startApi } from "../support/api.ts";
import { type TestDatabase, withClient } from "../support/database.ts";
import { at, deliver, event, type PlayedStripe, playStripe, WEBHOOK_SECRET } from "./stripe.ts";
import { billingDatabase } from "./support.ts";

// A local server stands in for Stripe's API: the tests check what the SDK sends, not what Stripe does with it.

let db: TestDatabase;
let api: Api;
let stripe: PlayedStripe;
const SECRET = "sk_test_canary";
let plans: Record<string, string>;

beforeAll(async () => {
  db = await billingDatabase();
  stripe = await playStripe();
  api = await startApi(db, {
    PLINTH_STRIPE_SECRET_KEY: SECRET,
    PLINTH_STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET,
    PLINTH_STRIPE_API_URL: stripe.url,
    PLINTH_CHECKOUT_RETURN_URL: "https://example.com/account?tab=plan",
  });
  await withClient(db.url("owner"), async (client) => {
    await client.query(`
      insert into subscription_plans (code, plan_name, billing_cycle, price_cents, trial_days, access_level)
      values ('basic', 'Basic', 'monthly', 1000, 0, 5), ('forever', 'Forever', 'lifetime', 50000, 0, 19), ('unsold', 'Unsold', 'monthly', 1, 0, 0);
      insert into plan_prices (plan_id, provider, provider_price_id)
      select id, 'stripe', 'price_' || code from subscription_plans where code in ('basic', 'premium', 'forever')`);
    const { rows } = await client.query<{ code: string; id: string }>(
      "select code, id from subscription_plans",
    );
    plans = Object.fromEntries(rows.map(({ code, id }) => [code, id]));
  });
});
afterAll(async () => {
  await api.close();
  await stripe.close();
  await db.drop();
});

const page = {
  status: 200,
  body: { id: "cs_test_1", object: "checkout.session", url: "https://checkout.stripe.com/c/pay/1" },
};
const signUp = async (username: string) => {
  const { data } = await api.ask(
    `mutation ($username: String!, $email: String, $password: String!) {
       register(input: { username: $username, email: $email, password: $password }) { accessToken user { id tier } }
     }`,
    { variables: { username, email: `${username}@example.com`, password: PASSWORD } },
  );
  return {
    token: data.register.accessToken as string,
    id: data.register.user.id as string,
    tier: data.register.user.tier,
  };
};
const checkout = (planId: string | undefined, token?: string) =>
  api.ask("mutation ($planId: UUID!) { createCheckout(input: { planId: $planId }) { url } }", {
    variables: { planId },
    token,
  });
const codeOf = (result: Awaited<ReturnType<typeof checkout>>) => result.errors?.[0]?.extensions.code;

describe("createCheckout [A3]", () => {
  test("requests a page from Stripe and names the user in metadata that only the server writes", async () => {
    const ann = await signUp("ann");
    expect(ann.tier).toBe("free");
    stripe.answer = page;
    stripe.asked.length = 0;
    expect((await checkout(plans.premium, ann.token)).data).toEqual({
      createCheckout: { url: page.body.url },
    });
    expect(stripe.asked).toEqual([
      {
        method: "POST",
        path: "/v1/checkout/sessions",
        authorization: `Bearer ${SECRET}`,
        form: {
          mode: "subscription",
          "line_items[0][price]": "price_premium",
          "line_items[0][quantity]": "1",
          client_reference_id: ann.id,
          "metadata[plinth_user_id]": ann.id,
          "metadata[plinth_plan_id]": plans.premium,
          customer_email: "ann@example.com",
          "subscription_data[metadata][plinth_user_id]": ann.id,
          "subscription_data[metadata][plinth_plan_id]": plans.premium,
          "subscription_data[trial_period_days]": "14",
          success_url: "https://example.com/account?tab=plan&checkout=success",
          cancel_url: "https://example.com/account?tab=plan&checkout=canceled",
        },
      },
    ]);
  });

  test("sells a lifetime plan as a payment, reuses a known customer and opens the customer's portal", async () => {
    const ben = await signUp("ben");
    const portal = () => api.ask("mutation { createBillingPortal { url } }", { token: ben.token });
    expect(codeOf(await portal())).toBe("NOT_FOUND");
    await deliver(
      api.url,
      event("evt_ben", "checkout.session.completed", at("2026-03-01"), {
        customer: "cus_ben",
        mode: "subscription",
        metadata: { plinth_user_id: ben.id },
      }),
    );
    stripe.asked.length = 0;
    await checkout(plans.forever, ben.token);
    expect(stripe.asked[0]!.form).toMatchObject({
      mode: "payment",
      customer: "cus_ben",
      "payment_intent_data[metadata][plinth_user_id]": ben.id,
    });
    stripe.answer = { status: 200, body: { id: "bps_1", url: "https://billing.stripe.com/p/1" } };
    expect((await portal()).data).toEqual({ createBillingPortal: { url: "https://billing.stripe.com/p/1" } });
    expect(stripe.asked[1]).toMatchObject({
      path: "/v1/billing_portal/sessions",
      form: { customer: "cus_ben" },
    });
  });

  test("rejects an invalid request before it calls Stripe", async () => {
    const cem = await signUp("cem");
    stripe.asked.length = 0;
    expect(codeOf(await checkout(plans.premium))).toBe("UNAUTHENTICATED");
    expect(codeOf(await checkout("00000000-0000-7000-8000-000000000000", cem.token))).toBe("NOT_FOUND");
    expect(codeOf(await checkout(plans.free, cem.token))).toBe("CONFLICT");
    expect(codeOf(await checkout(plans.unsold, cem.token))).toBe("CONFLICT");
    await withClient(db.url("owner"), (client) =>
      client.query("select grant_subscription_at($1, $2, now())", [cem.id, plans.basic]),
    );
    expect(codeOf(await checkout(plans.premium, cem.token))).toBe("CONFLICT");
    expect(stripe.asked).toEqual([]);
  });

  test("reports only that the provider is unavailable and never the key", async () => {
    const dan = await signUp("dan");
    stripe.answer = {
      status: 401,
      body: { error: { type: "invalid_request_error", message: `Invalid API Key provided: ${SECRET}` } },
    };
    const result = await checkout(plans.premium, dan.token);
    expect(codeOf(result)).toBe("UNAVAILABLE");
    expect(result.text).not.toContain(SECRET);
    expect(JSON.stringify(api.logLines)).not.toContain(SECRET);
  });

  test("returns UNAVAILABLE on a server without a key", async () => {
    const closed = await startApi(db);
    const eve = await signUp("eve");
    const { errors } = await closed.ask(
      `mutation { createCheckout(input: { planId: "${plans.premium}" }) { url } }`,
      { token: eve.token },
    );
    expect(errors?.[0]?.extensions.code).toBe("UNAVAILABLE");
    await closed.close();
  });
});

describe("a user's own subscription over GraphQL [A3]", () => {
  test("starts free, then takes a trial, a cancellation, a resumption and a downgrade", async () => {
    const { token } = await signUp("fay");
    const plan = (name: string) => `input: { planId: "${plans[name]}" }`;
    const run = async (field: string) => {
      const { data, errors } = await api.ask(
        `mutation { ${field} { result { status cancelsAtPeriodEnd pendingPlan { code } plan { code } } } }`,
        { token },
      );
      return (
        errors?.[0]?.extensions.code ?? Object.values(data as Record<string, { result: unknown }>)[0]!.result
      );
    };
    expect(await run(`subscribe(${plan("basic")})`)).toBe("QUOTA_EXCEEDED");
    expect(await run(`subscribe(${plan("free")})`)).toMatchObject({
      status: "active",
      plan: { code: "free" },
    });
    expect(await run(`subscribe(${plan("free")})`)).toBe("CONFLICT");
    expect(await run(`subscribe(${plan("premium")})`)).toMatchObject({
      status: "trialing",
      plan: { code: "premium" },
    });
    expect(
      (await api.ask("{ currentUser { tier } currentSubscription { status plan { code } } }", { token }))
        .data,
    ).toEqual({
      currentUser: { tier: "premium" },
      currentSubscription: { status: "trialing", plan: { code: "premium" } },
    });
    expect(await run("cancelSubscription(input: {})")).toMatchObject({ cancelsAtPeriodEnd: true });
    expect(await run("cancelSubscription(input: {})")).toBe("CONFLICT");
    expect(await run("resumeSubscription(input: {})")).toMatchObject({ cancelsAtPeriodEnd: false });
    expect(await run(`changePlan(${plan("forever")})`)).toBe("QUOTA_EXCEEDED");
    expect(await run(`changePlan(${plan("basic")})`)).toMatchObject({
      pendingPlan: { code: "basic" },
      plan: { code: "premium" },
    });
    expect(await run(`changePlan(${plan("premium")})`)).toMatchObject({ pendingPlan: null });
  });

  test("lets only callers with the permissions revise plans and grant subscriptions", async () => {
    const admin = await signUp("gus");
    const someone = await signUp("hal");
    await grantRole(db, admin.id, "admin");
    const give = (token: string) =>
      api.ask(
        `mutation { grantSubscription(input: { userId: "${someone.id}", planId: "${plans.basic}" }) { result { status } } }`,
        { token },
      );
    expect((await give(someone.token)).errors?.[0]?.extensions.code).toBe("FORBIDDEN");
    expect((await give(admin.token)).data.grantSubscription.result).toEqual({ status: "active" });
    // A period is worth money: the same key grants one period, and each call without a key grants another.
    const end = (key: string, planId = plans.basic) =>
      api.ask(
        `mutation { grantSubscription(input: { userId: "${someone.id}", planId: "${planId}", idempotencyKey: "${key}" }) { result { currentPeriodEndsAt } } }`,
        { token: admin.token },
      );
    const [first, again] = await Promise.all([end("october"), end("october")]);
    expect(again.data).toEqual(first.data);
    expect((await end("october", plans.forever)).errors?.[0]?.extensions.code).toBe("CONFLICT");
    expect((await end("november")).data.grantSubscription).not.toEqual(first.data.grantSubscription);
    const revise = (token: string) =>
      api.ask(
        `mutation ($changes: JSON!) { reviseSubscriptionPlan(input: { planId: "${plans.unsold}", changes: $changes }) { result { version priceCents } } }`,
        { token, variables: { changes: { price_cents: 2 } } },
      );
    expect((await revise(someone.token)).errors?.[0]?.extensions.code).toBe("FORBIDDEN");
    expect((await revise(admin.token)).data.reviseSubscriptionPlan.result).toEqual({
      version: 2,
      priceCents: "2",
    });

    const change = async (field: string, token: string) => {
      const { data, errors } = await api.ask(
        `mutation { done: ${field}(input: { userId: "${someone.id}" }) { result { status } } }`,
        { token },
      );
      return errors?.[0]?.extensions.code ?? data.done.result.status;
    };
    expect(await change("pauseSubscription", someone.token)).toBe("FORBIDDEN");
    expect(await change("pauseSubscription", admin.token)).toBe("paused");
    expect(await change("endSubscription", someone.token)).toBe("FORBIDDEN");
    expect(await change("endSubscription", admin.token)).toBe("canceled");
  });
});
