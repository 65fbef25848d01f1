import { cp, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { rollback } from "../../src/database/rollback.ts";
import type { ScratchDatabase } from "../../src/database/scratch-database.ts";
import { MIGRATIONS_FOLDER } from "../../src/support/paths.ts";
import { createEmptyTestDatabase } from "../support/database.ts";

// What was known of payments before they were kept as facts goes on as facts.

let db: ScratchDatabase;
let folder: string;
let owner: pg.Client;
beforeAll(async () => {
  db = await createEmptyTestDatabase();
  folder = await mkdtemp(join(tmpdir(), "plinth-test-payment-facts-"));
  await mkdir(join(folder, "committed"));
});
afterAll(async () => {
  await owner.end();
  await rm(folder, { recursive: true, force: true });
  await db.drop();
});

const rows = async (sql: string, values: unknown[] = []) => (await owner.query(sql, values)).rows;
const users: Record<string, string> = {};
let events = 0;
async function send(user: string, payload: Record<string, unknown>, day: string): Promise<void> {
  events += 1;
  const [kept] = await rows("select private.receive_payment_event('stripe', $1, 'x', $2, $3, $4) as id", [
    `evt_${events}`,
    `cus_${user}`,
    day,
    JSON.stringify(payload),
  ]);
  await rows("select private.process_payment_event($1)", [kept.id]);
}
const seconds = (day: string) => Date.parse(day) / 1000;
const states = async () =>
  Object.fromEntries(
    (
      await rows(
        `select u.username, s.status,
           (select coalesce(sum(g.amount), 0)::integer from billing.token_grants g
             where g.source_id = s.id and g.expires_at >= s.quota_period_end) as tokens
         from billing.user_subscriptions s join identity.users u on u.id = s.user_id order by 1`,
      )
    ).map(({ username, status, tokens }) => [username, `${status} ${tokens}`]),
  );

test("a database with payments, disputes and plans for life upgrades, goes on from there, and can go back", async () => {
  const names = (await readdir(join(MIGRATIONS_FOLDER, "committed")))
    .filter((name) => name.endsWith(".sql"))
    .sort();
  const name = names.find((each) => each.endsWith("payment-facts.sql"))!;
  const options = { ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, migrationsFolder: folder };
  await cp(join(MIGRATIONS_FOLDER, "rollback"), join(folder, "rollback"), { recursive: true });
  for (const each of names.slice(0, names.indexOf(name)))
    await cp(join(MIGRATIONS_FOLDER, "committed", each), join(folder, "committed", each));
  await migrateDatabase(options);

  owner = new pg.Client(db.url("owner"));
  await owner.connect();
  await owner.query(`
    insert into billing.subscription_plans (code, plan_name, price_cents, token_quota, access_level)
      values ('basic', 'Basic', 1000, 1000, 5);
    insert into billing.subscription_plans (code, plan_name, billing_cycle, price_cents, token_quota, access_level)
      values ('forever', 'Forever', 'lifetime', 50000, 500, 30);
    insert into billing.plan_prices (plan_id, provider, provider_price_id)
      select id, 'stripe', 'price_basic' from billing.subscription_plans where code = 'basic'`);
  const [{ id: forever }] = await rows("select id from billing.subscription_plans where code = 'forever'");
  const period = { period_start: seconds("2036-03-01"), period_end: seconds("2036-04-01") };
  for (const user of ["payer", "disputer", "forlife", "discounted"]) {
    const [added] = await rows("insert into identity.users (username) values ($1) returning id", [user]);
    users[user] = added.id;
    if (user === "forlife") {
      await send(
        user,
        {
          kind: "purchase",
          rank: "2",
          user_id: added.id,
          plan_id: forever,
          payment: "pi_life",
          reference: "pi_life",
          subscription: "pi_life",
          status: "active",
          paid: true,
          for_life: true,
          amount: 50000,
          currency: "USD",
          period_start: seconds("2036-03-01"),
        },
        "2036-03-01Z",
      );
      continue;
    }
    const common = {
      user_id: added.id,
      subscription: `sub_${user}`,
      price: "price_basic",
      status: "active",
      ...period,
    };
    await send(
      user,
      { ...common, kind: "subscription", rank: "33", started_at: period.period_start },
      "2036-03-01Z",
    );
    await send(
      user,
      {
        ...common,
        kind: "invoice",
        rank: "20",
        payment: `in_${user}`,
        reference: `pi_${user}`,
        paid: true,
        currency: "USD",
        amount: user === "discounted" ? 0 : 1000,
      },
      "2036-03-01Z",
    );
  }
  await send("disputer", { kind: "dispute", reference: "pi_disputer" }, "2036-03-05Z");
  const before = {
    payer: "active 1000",
    disputer: "expired 0",
    forlife: "active 500",
    discounted: "active 1000",
  };
  expect(await states()).toEqual(before);

  await cp(join(MIGRATIONS_FOLDER, "committed", name), join(folder, "committed", name));
  expect(await migrateDatabase(options)).toEqual({ applied: [name] });
  expect(await states()).toEqual(before);
  // Anything that makes everything be worked out anew finds the same.
  await rows(
    "select private.apply_provider_subscription(provider, provider_subscription_id, '2036-03-06Z') from private.provider_subscriptions",
  );
  expect(await states()).toEqual(before);
  expect(
    await rows(
      "select count(*)::integer as n from private.provider_subscriptions where paid_period_end is not null",
    ),
  ).toEqual([{ n: 3 }]);
  // What was known of the dispute is superseded by its next word.
  await send(
    "disputer",
    { kind: "dispute", reference: "pi_disputer", reversal: "dp_1", in_force: false },
    "2036-03-07Z",
  );
  expect(await states()).toEqual({ ...before, disputer: "active 1000" });
  await send(
    "forlife",
    { kind: "refund", reference: "pi_life", reversal: "ch_1", refunded: 50000 },
    "2036-03-07Z",
  );
  expect(await states()).toMatchObject({ forlife: expect.stringMatching("^expired") });

  await owner.end();
  expect(await rollback({ ...options, steps: 1 })).toEqual({ rolledBack: [name] });
  owner = new pg.Client(db.url("owner"));
  await owner.connect();
  await send(
    "payer",
    {
      kind: "subscription",
      rank: "40",
      subscription: "sub_payer",
      status: "canceled",
      price: "price_basic",
      ended_at: seconds("2036-03-20"),
      ...period,
    },
    "2036-03-20Z",
  );
  expect(await states()).toMatchObject({ payer: "canceled 0", discounted: "active 1000" });
}, 120_000);
