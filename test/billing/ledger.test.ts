import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type pg from "pg";
import { addModel, registerUser } from "../support/accounts.ts";
import { type Api, PASSWORD, startApi } from "../support/api.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
  withClient,
} from "../support/database.ts";
import { brokenLaws, withoutFreeTokens } from "../support/ledger.ts";

let db: TestDatabase;
let ada: string;
let bob: string;
let model: string;
beforeAll(async () => {
  db = await createTestDatabase();
  await withoutFreeTokens(db);
  ada = await registerUser(db, "ada");
  bob = await registerUser(db, "bob");
  model = await addModel(db, { isPublic: true });
});
afterAll(async () => {
  await db.drop();
});

/** Runs a test on a ledger of its own and checks the laws at its end. */
const ledgerTest = (title: string, use: (tx: Transaction) => Promise<void>) =>
  test(title, async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await use(tx);
      await tx.asOwner();
      expect(await brokenLaws(tx.client)).toEqual([]);
    });
  });

const NOW = "2026-03-31T23:59:59Z";
let keys = 0;
const key = () => `key ${++keys}`;
const grant = (tx: Transaction, amount: number | null, at = NOW, expires: string | null = null) =>
  tx.rows("select private.grant_tokens($1, $2, 'purchase', null, 1, $3, $4, $5, $3) as id", [
    ada,
    amount,
    at,
    expires,
    key(),
  ]);
const reserve = async (tx: Transaction, max: number, at = NOW, idempotencyKey = key()) =>
  (
    await tx.attempt<{ id: string; state: string }>(
      "select * from private.reserve_tokens($1, $2, $3, $4, '5 minutes', $5)",
      [ada, model, max, idempotencyKey, at],
    )
  )[0]!;
interface Event {
  id: string;
  cost: string | null;
  is_priced: boolean;
  charged_tokens: string;
  overdraft_tokens: string;
  source: string;
}
const settle = async (
  tx: Transaction,
  hold: string,
  counts: readonly number[],
  options: { at?: string; occurred?: string; message?: string } = {},
) =>
  (
    await tx.attempt<Event>("select * from private.settle_hold($1, $2, $3, $4, $5, $6, $7, $8)", [
      hold,
      counts[0],
      counts[1],
      counts[2] ?? 0,
      counts[3] ?? 0,
      options.occurred ?? null,
      options.message ?? null,
      options.at ?? NOW,
    ])
  )[0]!;
const state = { code: "PL409" };

ledgerTest("rejects a hold that exceeds the balance and releases its unused tokens", async (tx) => {
  await grant(tx, 100);
  await tx.asService();
  await expect(reserve(tx, 101)).rejects.toMatchObject({ code: "PL402" });
  const hold = await reserve(tx, 100);
  await expect(reserve(tx, 1)).rejects.toMatchObject({ code: "PL402" });
  expect(await settle(tx, hold.id, [10, 20])).toMatchObject({ charged_tokens: "30", overdraft_tokens: "0" });
  await reserve(tx, 70);
});

ledgerTest("charges usage beyond the hold as far as grants last, the rest as overdraft", async (tx) => {
  await grant(tx, 100);
  await tx.asService();
  const hold = await reserve(tx, 50);
  expect(await settle(tx, hold.id, [60, 60])).toMatchObject({
    charged_tokens: "100",
    overdraft_tokens: "20",
  });
});

ledgerTest(
  "returns the same result for a repeated key or settlement and rejects other arguments with a conflict",
  async (tx) => {
    await grant(tx, 100);
    await tx.asService();
    const hold = await reserve(tx, 50, NOW, "again");
    expect(await reserve(tx, 50, "2026-04-01T00:00:05Z", "again")).toEqual(hold);
    await expect(reserve(tx, 51, NOW, "again")).rejects.toMatchObject(state);
    const event = await settle(tx, hold.id, [1, 2]);
    expect(await settle(tx, hold.id, [1, 2], { at: "2026-05-01T00:00:00Z" })).toEqual(event);
    await expect(settle(tx, hold.id, [1, 3])).rejects.toMatchObject(state);
    await expect(tx.attempt("select private.release_hold($1)", [hold.id])).rejects.toMatchObject(state);
    const released = await reserve(tx, 5);
    await tx.rows("select private.release_hold($1, $2)", [released.id, NOW]);
    await tx.rows("select private.release_hold($1, $2)", [released.id, NOW]);
    await expect(settle(tx, released.id, [1, 2])).rejects.toMatchObject(state);
  },
);

ledgerTest("ignores an expired hold before any job has run and still settles it", async (tx) => {
  await grant(tx, 100);
  await tx.asService();
  const first = await reserve(tx, 100);
  const later = "2026-04-01T00:05:00Z";
  const second = await reserve(tx, 60, later);
  // Charged from what is left, not from what the hold had reserved.
  expect(await settle(tx, first.id, [25, 25], { at: later })).toMatchObject({
    charged_tokens: "40",
    overdraft_tokens: "10",
  });
  expect(await settle(tx, second.id, [30, 30], { at: later })).toMatchObject({ charged_tokens: "60" });
});

ledgerTest("rejects impossible counts and accounts that do not exist", async (tx) => {
  await grant(tx, 100);
  await tx.asService();
  const hold = await reserve(tx, 50);
  for (const counts of [
    [-1, 0],
    [1, 1, 2],
    [1, 1, 0, 2],
  ])
    await expect(settle(tx, hold.id, counts)).rejects.toMatchObject({ code: "PL422" });
  await expect(
    tx.attempt("select private.record_usage($1, null, 1, 1, 'k')", ["00000000-0000-7000-8000-000000000000"]),
  ).rejects.toMatchObject({ code: "PL404" });
});

ledgerTest("keeps the price in force at the usage and leaves the cost null without one", async (tx) => {
  await grant(tx, null);
  const price = (input: number, reasoning: number | null, from: string | null, to: string | null) =>
    tx.rows(
      `insert into billing.model_prices (model_id, input_price_per_million_tokens, output_price_per_million_tokens,
         cached_input_price_per_million_tokens, reasoning_price_per_million_tokens, effective_from, effective_to)
       values ($1, $2, 10, 0.075, $3, $4, $5)`,
      [model, input, reasoning, from, to],
    );
  await price(3, null, "2026-03-01", "2026-04-01");
  await price(5, 40, "2026-04-01", null);
  await tx.asService();
  const use = async (occurred: string, at: string) => {
    const event = await settle(tx, (await reserve(tx, 10, at)).id, [1_000, 300, 400, 100], { occurred, at });
    return [event.cost, event.is_priced];
  };
  // 600 × 3 + 400 × 0.075 + 300 × 10 millionths, reasoning at the price of output
  expect(await use("2026-03-31T23:59:59.999Z", "2026-04-02T00:00:00Z")).toEqual(["0.004830000000", true]);
  // 600 × 5 + 400 × 0.075 + 200 × 10 + 100 × 40 millionths
  expect(await use("2026-04-01T00:00:00Z", "2026-04-02T00:00:00Z")).toEqual(["0.009030000000", true]);
  expect(await use("2026-02-28T12:00:00Z", "2026-04-02T00:00:00Z")).toEqual([null, false]);
  await tx.asOwner();
  await tx.rows("delete from billing.model_prices");
  expect(
    await tx.rows(
      "select day::text, cost, unpriced_tokens::integer from billing.daily_usage where user_id = $1 order by day",
      [ada],
    ),
  ).toEqual([
    { day: "2026-02-28", cost: "0.000000000000", unpriced_tokens: 1_300 },
    { day: "2026-03-31", cost: "0.004830000000", unpriced_tokens: 0 },
    { day: "2026-04-01", cost: "0.009030000000", unpriced_tokens: 0 },
  ]);
});

ledgerTest("restates the day of a corrected usage and refunds the difference", async (tx) => {
  await grant(tx, 100);
  await tx.asService();
  const event = await settle(tx, (await reserve(tx, 100)).id, [60, 60]);
  const correct = (input: number, at: string) =>
    tx.rows<Event>("select * from private.correct_usage($1, $2, 0, $3, 0, 0, $4)", [
      event.id,
      input,
      key(),
      at,
    ]);
  const april = "2026-04-15T00:00:00Z";
  expect((await correct(30, april))[0]).toMatchObject({ charged_tokens: "-70", overdraft_tokens: "-20" });
  await reserve(tx, 70, april);
  await tx.asOwner();
  expect(
    await tx.rows(
      "select day::text, total_tokens::integer as total from billing.daily_usage where user_id = $1",
      [ada],
    ),
  ).toEqual([{ day: "2026-03-31", total: 30 }]);
  expect(
    await tx.rows(
      "select token_count::integer, lifetime_tokens::integer from billing.usage_tracking where user_id = $1",
      [ada],
    ),
  ).toEqual([{ token_count: 0, lifetime_tokens: 30 }]);
});

ledgerTest(
  "resets the count with each UTC month, in any session time zone and with leap days [H5]",
  async (tx) => {
    await grant(tx, 1_000, "2028-02-01T00:00:00Z");
    await tx.asService();
    await tx.set("timezone", "Pacific/Kiritimati");
    const use = async (at: string) => settle(tx, (await reserve(tx, 10, at)).id, [5, 5], { at });
    const used = async (at: string) =>
      (
        await tx.rows<{ n: string }>("select used_this_period as n from private.token_balance_at($1, $2)", [
          ada,
          at,
        ])
      )[0]!.n;
    await use("2028-02-29T23:59:59Z");
    expect(await used("2028-02-29T23:59:59Z")).toBe("10");
    expect(await used("2028-03-01T00:00:00Z")).toBe("0");
    await use("2028-03-01T00:00:00Z");
    expect(await used("2028-03-26T01:30:00Z")).toBe("10");
    await tx.asWorker();
    const reset = (at: string) => tx.rows("select private.reset_usage_tracking(10, $1) as n", [at]);
    expect(await reset("2028-03-31T23:59:59Z")).toEqual([{ n: 0 }]);
    // Two months late, and twice.
    expect(await reset("2028-06-02T00:00:00Z")).toEqual([{ n: 1 }]);
    expect(await reset("2028-06-02T00:00:00Z")).toEqual([{ n: 0 }]);
    await tx.asOwner();
    expect(
      await tx.rows("select token_count, last_reset from billing.usage_tracking where user_id = $1", [ada]),
    ).toEqual([{ token_count: "0", last_reset: new Date("2028-06-01T00:00:00Z") }]);
  },
);

ledgerTest("rejects usage beyond a hard limit and reports a soft one (user, model, plan)", async (tx) => {
  await grant(tx, null);
  const limit = (columns: string, values: string) =>
    tx.rows(`insert into billing.usage_limits (${columns}) values (${values})`);
  await limit("user_id, period, max_tokens", `'${ada}', 'day', 100`);
  await limit("user_id, period, max_tokens", `'${bob}', 'day', 1`);
  await limit("model_id, period, max_tokens", `'${model}', 'month', 150`);
  await limit("plan_code, period, max_tokens", "'unheard of', 'day', 0");
  await limit("plan_code, period, max_tokens, is_hard", "'free', 'day', 50, false");
  await tx.asService();
  const soft = async () =>
    (
      await tx.rows<{ n: number }>("select soft_limits_reached as n from private.token_balance_at($1, $2)", [
        ada,
        NOW,
      ])
    )[0]!.n;
  expect(await soft()).toBe(0);
  await reserve(tx, 100);
  expect(await soft()).toBe(1);
  await expect(reserve(tx, 1)).rejects.toMatchObject({ code: "PL402" });
  // On the next day, which is also in the next month, holds that still run count.
  await reserve(tx, 100, "2026-04-02T00:00:00Z");
  await expect(reserve(tx, 1, "2026-04-02T00:00:00Z")).rejects.toMatchObject({ code: "PL402" });
});

ledgerTest("carries over once the unused and unheld tokens of a closed plan grant", async (tx) => {
  const source = "00000000-0000-7000-8000-0000000000aa";
  await tx.asService();
  await tx.rows("select private.grant_tokens($1, 1000, 'plan', $2, 1, $3, '2026-04-30T00:00:00Z', 'p', $3)", [
    ada,
    source,
    NOW,
  ]);
  await settle(tx, (await reserve(tx, 100)).id, [50, 50]);
  const held = await reserve(tx, 200, "2026-04-29T23:59:00Z");
  const close = (limit: number) =>
    tx.attempt<{ n: string }>(
      "select private.close_plan_grant($1, $2, '2026-04-30T00:00:00Z', $3, null, 'c', '2026-04-30T00:00:00Z') as n",
      [ada, source, limit],
    );
  expect(await close(10_000)).toEqual([{ n: "700" }]);
  expect(await close(10_000)).toEqual([{ n: "700" }]);
  await expect(close(5)).rejects.toMatchObject(state);
  // The hold keeps its place in the old grant.
  expect(await settle(tx, held.id, [100, 100], { at: "2026-04-30T00:00:01Z" })).toMatchObject({
    charged_tokens: "200",
  });
  await expect(reserve(tx, 701, "2026-04-30T00:00:02Z")).rejects.toMatchObject({ code: "PL402" });
  await reserve(tx, 700, "2026-04-30T00:00:02Z");
});

ledgerTest(
  "counts a message's tokens_used exactly once and corrects the count when it changes [R5]",
  async (tx) => {
    const events = async () => {
      await tx.asOwner();
      return tx.rows(
        "select kind, source, total_tokens::integer as n from billing.usage_events where user_id = $1 order by id",
        [ada],
      );
    };
    await tx.asUser(ada);
    const [chat] = await tx.rows<{ id: string }>("insert into llm.chats default values returning id");
    const [message] = await tx.rows<{ id: string; tokens_used: number }>(
      "insert into llm.messages (chat_id, role, model_id, tokens_used) values ($1, 'assistant', $2, 42) returning *",
      [chat!.id, model],
    );
    await tx.rows("insert into llm.messages (chat_id, role, tokens_used) values ($1, 'user', 7)", [chat!.id]);
    expect(message!.tokens_used).toBe(42);
    expect(await events()).toEqual([{ kind: "usage", source: "self_reported", n: 42 }]);
    await tx.rows("update llm.messages set content = 'x' where id = $1", [message!.id]);
    await tx.rows("update llm.messages set tokens_used = 40 where id = $1", [message!.id]);
    const before = [
      { kind: "usage", source: "self_reported", n: 42 },
      { kind: "correction", source: "self_reported", n: -2 },
    ];
    expect(await events()).toEqual(before);
    // A settlement by a service replaces the user's own count; later changes of the column have no effect.
    await grant(tx, 1_000, "2026-03-01T00:00:00Z");
    await tx.asService();
    const now = new Date().toISOString();
    await settle(tx, (await reserve(tx, 500, now)).id, [300, 100], { message: message!.id, at: now });
    await tx.asOwner();
    await tx.rows("update llm.messages set tokens_used = 1 where id = $1", [message!.id]);
    expect(await events()).toEqual(
      expect.arrayContaining([
        ...before,
        { kind: "usage", source: "hold", n: 400 },
        { kind: "correction", source: "self_reported", n: -40 },
      ]),
    );
    await tx.asOwner();
    expect(
      await tx.rows("select lifetime_tokens::integer as n from billing.usage_tracking where user_id = $1", [
        ada,
      ]),
    ).toEqual([{ n: 400 }]);
  },
);

ledgerTest(
  "lets clients reserve for themselves but not settle, release, record, correct or grant",
  async (tx) => {
    await grant(tx, 100);
    await tx.asUser(ada);
    const reserveOwn = () =>
      tx.attempt<{ id: string }>("select id from billing.reserve_tokens($1, 60, 'mine')", [model]);
    const [hold] = await reserveOwn();
    expect(await reserveOwn()).toEqual([hold]);
    expect(await tx.rows("select billing.has_tokens(40) as yes, billing.has_tokens(41) as no")).toEqual([
      { yes: true, no: false },
    ]);
    const denied = { code: "42501" };
    for (const sql of [
      `select private.settle_hold('${hold!.id}', 0, 0)`,
      `select private.release_hold('${hold!.id}')`,
      `select private.record_usage('${ada}', null, 1, 1, 'k')`,
      `select private.grant_tokens('${ada}', 1, 'manual', null, 1, null, null, 'k')`,
      "update billing.token_grants set consumed = 0",
      "insert into billing.usage_events (source) values ('hold')",
      "delete from billing.usage_events",
    ])
      await expect(tx.attempt(sql)).rejects.toMatchObject(denied);
    await tx.asUser(bob);
    for (const table of [
      "token_grants",
      "token_holds",
      "usage_events",
      "usage_tracking",
      "token_hold_allocations",
    ])
      expect(await tx.rows(`select from billing.${table} where user_id = '${ada}'`)).toEqual([]);
    expect(await tx.rows("select billing.has_tokens(1) as has")).toEqual([{ has: false }]);
  },
);

ledgerTest("deletes the holds of a deleted account and makes its usage anonymous", async (tx) => {
  await grant(tx, 100);
  await tx.asService();
  await settle(tx, (await reserve(tx, 50)).id, [20, 20]);
  await reserve(tx, 50);
  await tx.asOwner();
  await tx.rows("delete from identity.users where id = $1", [ada]);
  expect(await tx.rows("select from billing.token_holds where user_id = $1", [ada])).toEqual([]);
  expect(
    await tx.rows("select total_tokens::integer as n from billing.usage_events where user_id is null"),
  ).toEqual([{ n: 40 }]);
  await tx.asAnalyst();
  expect(
    await tx.rows(
      "select day::text, total_tokens::integer as n, users::integer from analytics.daily_token_usage",
    ),
  ).toEqual([{ day: "2026-03-31", n: 40, users: 0 }]);
});

test("queues parallel reservations of a user without failing them", async () => {
  const user = await registerUser(db, "carol");
  const call = (sql: string, values: unknown[]) =>
    withClient(db.url("service"), async (client: pg.Client) => (await client.query(sql, values)).rows[0]);
  await call("select private.grant_tokens($1, 70, 'manual', null, 1, null, null, 'g')", [user]);
  const results = await Promise.allSettled(
    Array.from({ length: 12 }, (_, i) =>
      call("select id from private.reserve_tokens($1, $2, 10, $3)", [user, model, `parallel ${i % 10}`]),
    ),
  );
  const failures = results.flatMap((r) => (r.status === "rejected" ? [r.reason.code] : []));
  expect(new Set(failures)).toEqual(new Set(["PL402"]));
  expect(new Set(results.flatMap((r) => (r.status === "fulfilled" ? [r.value.id] : []))).size).toBe(7);
});

test("returns balance, holds, usage and exhaustion time from tokenBalance in one call", async () => {
  const api: Api = await startApi(db);
  try {
    const { data } = await api.ask(
      "mutation ($input: RegisterInput!) { register(input: $input) { accessToken user { id } } }",
      {
        variables: { input: { username: "dora", email: "dora@example.com", password: PASSWORD } },
      },
    );
    const { accessToken: token, user } = data.register;
    await withClient(db.url("service"), async (client) => {
      await client.query("select private.grant_tokens($1, 1000, 'purchase', null, 1, null, null, 'g')", [
        user.id,
      ]);
      await client.query(
        "select private.record_usage($1, $2, 60, 10, 'r', 0, 0, now() - interval '2 days')",
        [user.id, model],
      );
    });
    const reserved = await api.ask(
      `mutation { reserveTokens(input: {modelId: "${model}", maxTokens: "30", idempotencyKey: "x"}) { result { id state maxTokens } } }`,
      { token },
    );
    expect(reserved.errors).toBeUndefined();
    const refused = await api.ask(
      `mutation { reserveTokens(input: {modelId: "${model}", maxTokens: "1000", idempotencyKey: "y"}) { result { id } } }`,
      { token },
    );
    expect(refused.errors![0]!.extensions.code).toBe("QUOTA_EXCEEDED");
    const answer = await api.ask(
      `{ tokenBalance { isUnlimited available held lifetimeTokens tokensPerDay exhaustedAt grants { source available held } }
         usageEvents { nodes { totalTokens source } } dailyUsages { nodes { totalTokens } } }`,
      { token },
    );
    expect(answer.errors).toBeUndefined();
    expect(answer.data).toMatchObject({
      tokenBalance: {
        isUnlimited: false,
        available: "900",
        held: "30",
        lifetimeTokens: "70",
        tokensPerDay: "10.000",
        grants: [{ source: "purchase", available: "900", held: "30" }],
      },
      usageEvents: { nodes: [{ totalTokens: "70", source: "service" }] },
      dailyUsages: { nodes: [{ totalTokens: "70" }] },
    });
    const days = (Date.parse(answer.data.tokenBalance.exhaustedAt) - Date.now()) / 86_400_000;
    expect(Math.round(days)).toBe(90);
    expect((await api.ask("{ tokenBalance { available } }")).data?.tokenBalance ?? null).toBeNull();
  } finally {
    await api.close();
  }
});
