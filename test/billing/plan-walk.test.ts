import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createTestDatabase, inRolledBackTransaction, type TestDatabase } from "../support/database.ts";
import { brokenLaws } from "../support/ledger.ts";
import { makeRandom, SEED } from "../support/random.ts";
import { tokensOfWalk } from "./stripe-story.ts";
import { withBilling } from "./support.ts";

// Tokens of a period in which the plan changes: changing back and forth gains nothing and loses nothing.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});

type Billing = Parameters<Parameters<typeof withBilling>[1]>[0];
const QUOTAS: Record<string, number> = { basic: 30_000, plus: 90_000, premium: 600_000, max: 3_000_000 };
const NAMES = Object.keys(QUOTAS);
const addPlans = ({ tx }: Billing) =>
  tx.rows(
    `insert into subscription_plans (code, plan_name, price_cents, token_quota, access_level)
     select code, code, 1000 * level, quota, level
     from unnest($1::text[], $2::bigint[]) with ordinality p (code, quota, level)`,
    [NAMES, Object.values(QUOTAS)],
  );
const given = async ({ tx, user }: Billing) =>
  (
    await tx.rows<{ n: number }>(
      "select coalesce(sum(amount - consumed - held), 0)::integer as n from token_grants where user_id = $1 and source = 'plan' and closed_at is null",
      [user],
    )
  )[0]!.n;
const change = async ({ tx, plan }: Billing, id: string, to: string, time: string) =>
  tx.rows("select private.change_subscription_plan($1, $2, $3)", [id, await plan(to), time]);
const dayOf = (day: number) => new Date(Date.UTC(2030, 3, 1 + day)).toISOString();

/** Tokens after a sequence of plans, each at a time in April 2030. */
const walked = (...walk: readonly [plan: string, time: string][]) =>
  withBilling(db, async (billing) => {
    await addPlans(billing);
    const [[first], ...steps] = walk as [[string, string], ...[string, string][]];
    const id = await billing.start(first, "2030-04-01Z");
    for (const [plan, time] of steps) await change(billing, id, plan, time);
    return given(billing);
  });

describe("changes of plan within a period", () => {
  test.each([
    ["an hour between the steps", ["2030-04-10T23:00Z", "2030-04-11T00:00Z", "2030-04-11T01:00Z"]],
    ["at one moment", ["2030-04-11Z", "2030-04-11Z", "2030-04-11Z"]],
    ["at the first moment", ["2030-04-01Z", "2030-04-01Z", "2030-04-01Z"]],
    ["days apart", ["2030-04-03Z", "2030-04-12Z", "2030-04-13Z"]],
  ])("grant the same for basic, premium, basic, max and basic, max: %s", async (_name, [there, back, up]) => {
    const detour = await walked(["basic", ""], ["premium", there!], ["basic", back!], ["max", up!]);
    expect(detour).toBe(await walked(["basic", ""], ["max", up!]));
  });

  test("grant the difference of each successive upgrade", async () => {
    expect(await walked(["basic", ""], ["premium", dayOf(10)], ["max", dayOf(20)])).toBe(
      30_000 + (570_000 * 20) / 30 + (2_400_000 * 10) / 30,
    );
  });

  test("grant as much for a downgrade and an upgrade as for the direct upgrade", async () => {
    expect(await walked(["premium", ""], ["basic", dayOf(10)], ["max", dayOf(20)])).toBe(
      await walked(["premium", ""], ["max", dayOf(20)]),
    );
  });

  test("neither gain nor lose tokens on the way through an unlimited plan", async () => {
    await withBilling(db, async (billing) => {
      const { tx, user, start } = billing;
      const id = await start("basic", "2030-04-01Z");
      await tx.rows("select private.record_usage($1, null, 400, 0, 'used', 0, 0, null, null, $2)", [
        user,
        dayOf(1),
      ]);
      for (const day of [5, 10, 15]) {
        await change(billing, id, "endless", dayOf(day));
        await change(billing, id, "basic", dayOf(day + 1));
        expect(await given(billing)).toBe(600);
      }
      expect(await brokenLaws(tx.client)).toEqual([]);
    });
  });
});

test(`computes random sequences of plans like brute force, never below the previous or the direct change, never above the best plan at once (PLINTH_SEED=${SEED})`, async () => {
  const random = makeRandom(SEED);
  for (let round = 0; round < 40; round += 1)
    await withBilling(db, async (billing) => {
      await addPlans(billing);
      const walk = [{ price: NAMES[random(NAMES.length)]!, day: 0 }];
      const id = await billing.start(walk[0]!.price, "2030-04-01Z");
      let day = random(10);
      const firstDay = day;
      let before = await given(billing);
      for (let i = 0; i < 6 && day < 30; i += 1, day += random(5)) {
        const others = NAMES.filter((name) => name !== walk.at(-1)!.price);
        const price = others[random(others.length)]!;
        walk.push({ price, day });
        await change(billing, id, price, dayOf(day));
        const now = await given(billing);
        const start = walk[0]!;
        const best = walk.reduce((a, b) => (QUOTAS[b.price]! > QUOTAS[a.price]! ? b : a));
        expect({ walk, now }).toEqual({ walk, now: tokensOfWalk(walk, QUOTAS) });
        expect(now).toBeGreaterThanOrEqual(before);
        expect(now).toBeGreaterThanOrEqual(tokensOfWalk([start, { price, day }], QUOTAS));
        expect(now).toBeLessThanOrEqual(
          tokensOfWalk([start, { price: best.price, day: Math.min(firstDay, day) }], QUOTAS),
        );
        before = now;
      }
      expect(await brokenLaws(billing.tx.client)).toEqual([]);
    });
});

test("computes whole tokens of the largest quotas at any second of a period", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.rows("select setseed(0.36)");
    const bad = await tx.rows(
      `select from (
         select array_agg((random() * 1e15)::bigint) as quotas,
           array_agg(unused order by unused desc) as lefts
         from generate_series(1, 5000) n, generate_series(1, 5) k,
           lateral (select case k when 1 then 2592000 else floor(random() * 2592000)::bigint end as unused) u
         group by n
       ) w
       cross join lateral private.quota_of_walk(quotas, lefts, 2592000) total
       where total < quotas[1]
         or total > greatest(quotas[1], quotas[2], quotas[3], quotas[4], quotas[5])
         or total < private.quota_of_walk(quotas[1:4], lefts[1:4], 2592000)
         or private.quota_of_walk(quotas || quotas[4:5], lefts || lefts[5:5] || lefts[5:5], 2592000) <> total`,
    );
    expect(bad).toEqual([]);
  });
});
