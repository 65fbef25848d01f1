import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { addModel } from "../support/accounts.ts";
import { type Api, PASSWORD, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { brokenLaws } from "../support/ledger.ts";
import { deliver, event, invoice, subscription, WEBHOOK_SECRET } from "./stripe.ts";

// Takes one user through both halves of billing, over HTTP and with Stripe's signatures; only the model is simulated.

let db: TestDatabase;
let api: Api;
let owner: pg.Client;
let service: pg.Client;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db, { PLINTH_STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET });
  owner = new pg.Client(db.url("owner"));
  service = new pg.Client(db.url("service"));
  await Promise.all([owner.connect(), service.connect()]);
  await owner.query(`
    insert into billing.plan_prices (plan_id, provider, provider_price_id)
    select id, 'stripe', 'price_premium' from billing.subscription_plans where code = 'premium'`);
});
afterAll(async () => {
  await Promise.all([owner.end(), service.end(), api.close()]);
  await db.drop();
});

const FREE = 50_000;
const PREMIUM = 2_000_000;
const dayOf = (ms: number) => new Date(ms).toISOString().slice(0, 10);
/** The period that is paid: it contains the whole test. */
const start = dayOf(Date.now() - 86_400_000);
const end = dayOf(Date.now() + 30 * 86_400_000);
/** Stripe's clock, in the past even on a fast machine. */
const seconds = Math.floor(Date.now() / 1000) - 60;

test("takes a user from sign-up through free tokens, payment, a paid message counted once and cancellation back to free [H5, H6, A3, C1]", async () => {
  const model = await addModel(db, { isPublic: true });
  const { data } = await api.ask(
    `mutation { register(input: { username: "paula", email: "paula@example.com", password: "${PASSWORD}" }) {
       accessToken user { id tier } } }`,
  );
  const { accessToken: token, user } = data.register;
  expect(user.tier).toBe("free");
  const ask = async (query: string, variables = {}) => {
    const answer = await api.ask(query, { variables, token });
    expect(answer.errors).toBeUndefined();
    return answer.data;
  };
  const BALANCE = `{
    tokenBalance { available held usedThisPeriod periodStartedAt lifetimeTokens grants { source available } }
    usageEvents { nodes { occurredAt totalTokens } }
    currentUser { tier } currentSubscription { status } }`;
  const reserve = (maxTokens: string, key: string) =>
    api.ask(
      `mutation ($model: UUID!, $max: BigInt!, $key: String!) {
         reserveTokens(input: { modelId: $model, maxTokens: $max, idempotencyKey: $key }) { result { id state } } }`,
      { token, variables: { model, max: maxTokens, key } },
    );

  // The month's free tokens are available before any usage and before any job has run.
  expect(await ask(BALANCE)).toMatchObject({
    tokenBalance: { available: `${FREE}`, grants: [{ source: "plan", available: `${FREE}` }] },
    currentSubscription: null,
  });
  expect((await reserve(`${FREE + 1}`, "too much")).errors).toMatchObject([
    { extensions: { code: "QUOTA_EXCEEDED" } },
  ]);

  const send = async (name: string, type: string, object: Record<string, unknown>, at = seconds) =>
    expect((await deliver(api.url, event(`evt_${name}`, type, at, object))).status).toBe(200);
  const atStripe = (status: string, more = {}) =>
    subscription("sub_paula", {
      customer: "cus_paula",
      status,
      price: "price_premium",
      start,
      end,
      userId: user.id,
      more,
    });
  const paid = invoice("in_paula", {
    customer: "cus_paula",
    subscription: "sub_paula",
    price: "price_premium",
    amount: 2_000,
    start,
    end,
  });
  await send("created", "customer.subscription.created", atStripe("active"));
  await send("paid", "invoice.paid", paid);
  await send("paid", "invoice.paid", paid);
  expect(await ask(BALANCE)).toMatchObject({
    tokenBalance: { available: `${PREMIUM}` },
    currentUser: { tier: "premium" },
    currentSubscription: { status: "active" },
  });

  // The message reports its usage, then the service that wrote it reports the exact count: one usage.
  const held = await reserve("60000", "answer 1");
  expect(held.data.reserveTokens.result.state).toBe("open");
  const chat = (await ask("mutation { createChat(input: { chat: {} }) { chat { id } } }")).createChat.chat.id;
  const { rows: messages } = await owner.query(
    `insert into llm.messages (chat_id, user_id, role, model_id, tokens_used) values ($1, $2, 'assistant', $3, 999)
     returning id`,
    [chat, user.id, model],
  );
  const settle = () =>
    service.query(
      "select id, charged_tokens, overdraft_tokens from private.settle_hold($1, 10000, 45000, 0, 0, null, $2)",
      [held.data.reserveTokens.result.id, messages[0].id],
    );
  const first = (await settle()).rows;
  expect(first).toMatchObject([{ charged_tokens: "55000", overdraft_tokens: "0" }]);
  expect((await settle()).rows).toEqual(first);
  await owner.query("update llm.messages set tokens_used = 55000 where id = $1", [messages[0].id]);
  const { tokenBalance: balance, usageEvents } = await ask(BALANCE);
  expect(balance).toMatchObject({
    available: `${PREMIUM - 55_000}`,
    held: "0",
    lifetimeTokens: "55000",
  });
  // A month may have begun since the usage.
  const used = (usageEvents.nodes as { occurredAt: string; totalTokens: string }[])
    .filter(({ occurredAt }) => Date.parse(occurredAt) >= Date.parse(balance.periodStartedAt))
    .reduce((sum, { totalTokens }) => sum + Number(totalTokens), 0);
  expect(balance.usedThisPeriod).toBe(String(used));
  expect(
    (await ask("{ usageEvents { nodes { kind source totalTokens } } }")).usageEvents.nodes.reduce(
      (sum: number, each: { totalTokens: string }) => sum + Number(each.totalTokens),
      0,
    ),
  ).toBe(55_000);

  // A call that runs when the plan ends is still paid from its hold.
  const last = await reserve("100000", "answer 2");
  await send(
    "deleted",
    "customer.subscription.deleted",
    atStripe("canceled", { ended_at: seconds + 1, canceled_at: seconds + 1 }),
    seconds + 1,
  );
  expect(await ask(BALANCE)).toMatchObject({ currentUser: { tier: "free" }, currentSubscription: null });
  expect(
    (
      await service.query("select charged_tokens from private.settle_hold($1, 100000, 0)", [
        last.data.reserveTokens.result.id,
      ])
    ).rows,
  ).toEqual([{ charged_tokens: "100000" }]);
  // The plan's tokens are gone; the month's free tokens had not been granted yet.
  expect((await ask(BALANCE)).tokenBalance).toMatchObject({
    available: `${FREE}`,
    grants: [{ source: "plan", available: `${FREE}` }],
  });
  expect((await reserve("50001", "answer 3")).errors).toMatchObject([
    { extensions: { code: "QUOTA_EXCEEDED" } },
  ]);
  expect((await reserve("50000", "answer 4")).data.reserveTokens.result.state).toBe("open");
  expect(await brokenLaws(owner)).toEqual([]);
});
