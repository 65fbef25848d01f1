import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { createTestDatabase, expectSqlState, type TestDatabase, withClient } from "../support/database.ts";
import { makeRandom, SEED } from "../support/random.ts";

// The SQL limiter against models that keep every call, and against concurrent callers. PLINTH_SEED repeats a run's choices.

const ALGORITHMS = ["fixed_window", "sliding_window", "token_bucket"] as const;
type Algorithm = (typeof ALGORITHMS)[number];

let db: TestDatabase;
let owner: pg.Client;
beforeAll(async () => {
  db = await createTestDatabase();
  owner = new pg.Client(db.url("owner"));
  await owner.connect();
});
afterAll(async () => {
  await owner.end();
  await db.drop();
});

interface Outcome {
  readonly allowed: boolean;
  readonly remaining: number;
  /** Microseconds. */
  readonly wait: bigint;
}

/** Microseconds since 1970, for which JavaScript's dates are too coarse. */
const at = (micros: bigint) =>
  `timestamptz 'epoch' + interval '${micros / 1_000_000n} seconds ${micros % 1_000_000n} microseconds'`;

async function consumeAt(
  key: string,
  algorithm: Algorithm,
  limit: number,
  window: bigint,
  cost: number,
  now: bigint,
): Promise<Outcome> {
  const { rows } = await owner.query<{ allowed: boolean; remaining: number; wait: string }>(
    `select allowed, remaining, (extract(epoch from retry_after) * 1000000)::bigint as wait
     from private.consume_rate_limit_at($1, $2, $3, interval '1 microsecond' * $4::bigint, $5, ${at(now)})`,
    [key, algorithm, limit, window, cost],
  );
  const { allowed, remaining, wait } = rows[0]!;
  return { allowed, remaining, wait: BigInt(wait) };
}

const floor = (a: bigint, b: bigint) => a / b; // of non-negative numbers
const max = (a: bigint, b: bigint) => (a > b ? a : b);

/** The promise of each algorithm, computed from the times of all allowed calls without other state. */
function makeModel(algorithm: Algorithm, limit: bigint, window: bigint) {
  const calls: { now: bigint; cost: bigint }[] = [];
  const sumIn = (from: bigint, to: bigint) =>
    calls.reduce((sum, call) => (call.now >= from && call.now < to ? sum + call.cost : sum), 0n);
  /** The amount used at a time, times the window's microseconds, so that it is an integer. */
  const used = (now: bigint): bigint => {
    const start = now - (now % window);
    if (algorithm === "fixed_window") return sumIn(start, start + window) * window;
    if (algorithm === "sliding_window")
      return sumIn(start, start + window) * window + sumIn(start - window, start) * (start + window - now);
    let level = 0n;
    let last = calls[0]?.now ?? now;
    for (const call of calls) {
      level = max(0n, level - limit * (call.now - last)) + call.cost * window;
      last = call.now;
    }
    return max(0n, level - limit * (now - last));
  };
  return (now: bigint, cost: bigint) => {
    const allowed = used(now) + cost * window <= limit * window;
    if (allowed) calls.push({ now, cost });
    return { allowed, remaining: Number(floor(max(0n, limit * window - used(now)), window)) };
  };
}

describe.each(ALGORITHMS)("%s [C7]", (algorithm) => {
  test("agrees with a model that keeps every call, even at window edges, and reports the right waiting time", async () => {
    const random = makeRandom(SEED);
    for (let round = 0; round < 12; round++) {
      const limit = 1 + random(round % 2 ? 5 : 40);
      // Round lengths, and lengths that no limit divides.
      const window = round % 3 ? 1_000_000n * BigInt(1 + random(3_600)) : BigInt(1_000 + random(10_000_000));
      const model = makeModel(algorithm, BigInt(limit), window);
      const key = `${SEED}.${round}`;
      let now = 1_700_000_000_000_000n + BigInt(random(1_000_000_000));
      for (let call = 0; call < 40; call++) {
        const edge = now - (now % window) + window;
        const step = random(8);
        if (step === 0) now = edge;
        else if (step === 1) now = max(now, edge - 1n);
        else if (step === 2) now += window * 3n;
        else now += (window * BigInt(random(1_000))) / BigInt(1_000 * Math.ceil(limit / 2));
        const cost = 1 + random(Math.min(3, limit));
        const expected = model(now, BigInt(cost));
        const got = await consumeAt(key, algorithm, limit, window, cost, now);
        expect({ seed: SEED, round, call, allowed: got.allowed, remaining: got.remaining }).toEqual({
          seed: SEED,
          round,
          call,
          ...expected,
        });
        if (got.allowed) {
          expect(got.wait).toBe(0n);
          continue;
        }
        // A microsecond early is too early; on time is not.
        expect(got.wait).toBeGreaterThan(0n);
        if (got.wait > 1n)
          expect((await consumeAt(key, algorithm, limit, window, cost, now + got.wait - 1n)).allowed).toBe(
            false,
          );
        now += got.wait;
        expect(model(now, BigInt(cost)).allowed).toBe(true);
        expect((await consumeAt(key, algorithm, limit, window, cost, now)).allowed).toBe(true);
      }
    }
  });

  test("allows exactly the limit to concurrent callers and fails none of them", async () => {
    const key = randomUUID();
    const clients = await Promise.all(
      Array.from({ length: 50 }, async () => {
        const client = new pg.Client(db.url("owner"));
        await client.connect();
        return client;
      }),
    );
    try {
      const outcomes = await Promise.all(
        clients.map(async (client) => {
          const allowed: boolean[] = [];
          for (let i = 0; i < 4; i++) {
            const { rows } = await client.query(
              "select allowed from security.consume_rate_limit($1, $2, 37, interval '366 days')",
              [key, algorithm],
            );
            allowed.push(rows[0].allowed);
          }
          return allowed;
        }),
      );
      expect(outcomes.flat().filter(Boolean)).toHaveLength(37);
    } finally {
      await Promise.all(clients.map((client) => client.end()));
    }
  });

  test("counts no rejected call, separates keys and window lengths and stores no clear key", async () => {
    const key = `clear-${randomUUID()}`;
    const now = 1_700_000_000_000_000n;
    const take = (name: string, window = 60_000_000n, cost = 1) =>
      consumeAt(name, algorithm, 2, window, cost, now);
    expect((await take(key)).remaining).toBe(1);
    expect((await take(key, 60_000_000n, 2)).allowed).toBe(false);
    expect((await take(key)).remaining).toBe(0);
    expect((await take(key)).allowed).toBe(false);
    expect((await take(`${key}x`)).allowed).toBe(true);
    expect((await take(key, 3_600_000_000n)).allowed).toBe(true);
    const { rows } = await owner.query("select r::text as text from security.rate_limit_records r");
    expect(JSON.stringify(rows)).not.toContain(key);
    const hashed = await owner.query(
      "select from security.rate_limit_records where key_hash = sha256(convert_to('60000000:' || $1, 'UTF8'))",
      [key],
    );
    expect(hashed.rowCount).toBe(1);
  });

  test("follows a changed limit and blocks no caller for longer after the clock is set back", async () => {
    const key = randomUUID();
    const hour = 3_600_000_000n;
    const now = 1_700_000_000_000_000n;
    for (let i = 0; i < 10; i++) await consumeAt(key, algorithm, 10, hour, 1, now);
    expect((await consumeAt(key, algorithm, 5, hour, 1, now)).allowed).toBe(false);
    expect((await consumeAt(key, algorithm, 12, hour, 1, now)).allowed).toBe(true);
    const before = now - 1_000n * hour;
    const backThen = await consumeAt(key, algorithm, 12, hour, 1, before);
    expect((await consumeAt(key, algorithm, 12, hour, 1, before + 2n * hour)).allowed).toBe(true);
    expect(backThen.wait).toBeLessThanOrEqual(hour);
  });
});

test("does not drift in a token bucket: seventy uneven refills add up to the microsecond [C7]", async () => {
  // 7 tokens in 1 s never divide evenly; one token takes 142857.142857… µs.
  const key = randomUUID();
  const start = 1_700_000_000_000_000n;
  for (let i = 0; i < 7; i++) await consumeAt(key, "token_bucket", 7, 1_000_000n, 1, start);
  let now = start;
  for (let taken = 1; taken <= 70; taken++) {
    const { wait } = await consumeAt(key, "token_bucket", 7, 1_000_000n, 1, now);
    now += wait;
    expect((await consumeAt(key, "token_bucket", 7, 1_000_000n, 1, now)).allowed).toBe(true);
    expect(now - start).toBe((BigInt(taken) * 1_000_000n + 6n) / 7n);
  }
});

test.each<[string, string, string]>([
  ["a null key", "null, 'fixed_window', 1, '1 s'", "key"],
  ["an empty key", "'', 'fixed_window', 1, '1 s'", "key"],
  ["a long key", "repeat('x', 1001), 'fixed_window', 1, '1 s'", "key"],
  ["a null algorithm", "'k', null, 1, '1 s'", "algorithm"],
  ["an unknown algorithm", "'k', 'leaky', 1, '1 s'", "algorithm"],
  ["a null limit", "'k', 'fixed_window', null, '1 s'", "limit_value"],
  ["a limit of zero", "'k', 'fixed_window', 0, '1 s'", "limit_value"],
  ["a negative limit", "'k', 'token_bucket', -1, '1 s'", "limit_value"],
  ["too large a limit", "'k', 'token_bucket', 2147483647, '1 s'", "limit_value"],
  ["a null window", "'k', 'fixed_window', 1, null", "window_length"],
  ["an empty window", "'k', 'sliding_window', 1, '0'", "window_length"],
  ["a negative window", "'k', 'sliding_window', 1, '-1 s'", "window_length"],
  ["a window of a thousand years", "'k', 'token_bucket', 1, '1000 years'", "window_length"],
  ["no cost", "'k', 'fixed_window', 1, '1 s', null", "cost"],
  ["a cost of zero", "'k', 'fixed_window', 1, '1 s', 0", "cost"],
  ["a negative cost", "'k', 'token_bucket', 1, '1 s', -1", "cost"],
  ["a cost that can never pass", "'k', 'fixed_window', 1, '1 s', 2", "cost"],
])("rejects %s with PL422 and names the argument [C7]", async (_what, args, column) => {
  await expect(owner.query(`select * from security.consume_rate_limit(${args})`)).rejects.toMatchObject({
    code: "PL422",
    column,
  });
});

test("does not overflow with the largest arguments [C7]", async () => {
  for (const algorithm of ALGORITHMS) {
    const { rows } = await owner.query(
      "select * from security.consume_rate_limit('big', $1, 1000000000, '366 days', 999999999)",
      [algorithm],
    );
    expect(rows[0]).toMatchObject({ allowed: true, remaining: 1 });
  }
});

describe("rules", () => {
  const RULE = "select * from private.consume_rate_limit_rule('password_change_per_account', $1)";

  // In the hour that the rule has, a bucket gets a token every six minutes. So it gets none during the tests.
  beforeAll(() =>
    owner.query(
      "update security.rate_limit_rules set window_length = '366 days' where rule_name = 'password_change_per_account'",
    ),
  );

  test("limit by name, only for the service, and can change at run time [C7]", async () => {
    await withClient(db.url("service"), async (service) => {
      const key = randomUUID();
      const take = async () => (await service.query(RULE, [key])).rows[0];
      for (let i = 0; i < 10; i++) expect((await take()).allowed).toBe(true);
      expect((await take()).allowed).toBe(false);
      const set = (what: string) =>
        owner.query(
          `update security.rate_limit_rules set ${what} where rule_name = 'password_change_per_account'`,
        );
      await set("limit_value = 12");
      expect((await take()).allowed).toBe(true);
      expect((await take()).allowed).toBe(true);
      expect((await take()).allowed).toBe(false);
      await set("is_enabled = false");
      expect(await take()).toEqual({
        allowed: true,
        remaining: null,
        retry_after: expect.anything(),
        reset_at: null,
      });
      await set("is_enabled = true, limit_value = 10");
    });
    for (const role of ["worker", "analyst", "authenticator"] as const)
      await withClient(db.url(role), (client) => expectSqlState(client.query(RULE, ["x"]), "42501"));
  });

  test("raise PL429 with the seconds to wait when broken, and the error reverts no count [C7]", async () => {
    await withClient(db.url("service"), async (service) => {
      const key = randomUUID();
      const enforce = () =>
        service.query("select private.enforce_rate_limit('password_change_per_account', $1)", [key]);
      for (let i = 0; i < 10; i++) await enforce();
      for (let i = 0; i < 3; i++)
        await expect(enforce()).rejects.toMatchObject({
          code: "PL429",
          // A tenth of 366 days, less the time that the calls took.
          hint: expect.stringMatching(/^Try again in 316[012]\d\d\d seconds\.$/),
        });
    });
  });

  test("are rejected as bad input when unknown or without a key [C7]", async () => {
    await withClient(db.url("service"), async (service) => {
      const take = (...args: unknown[]) =>
        service.query("select * from private.consume_rate_limit_rule($1, $2)", args);
      await expectSqlState(take("no_such_rule", "k"), "PL422");
      await expectSqlState(take(null, "k"), "PL422");
      await expectSqlState(take("password_change_per_account", null), "PL422");
      await expectSqlState(take("password_change_per_account", ""), "PL422");
      await expectSqlState(take("password_change_per_account", "x".repeat(801)), "PL422");
    });
  });
});

test("deletes only records without effect in the clean-up, and a sliding window only after the next one has ended [C7]", async () => {
  await owner.query("delete from security.rate_limit_records");
  const now = BigInt(Date.now()) * 1_000n;
  // About an hour, such that now is in the middle of a window and none ends during the test.
  const hour = (2n * now) / (2n * (now / 3_600_000_000n) + 1n);
  const start = now - (now % hour);
  await consumeAt("over", "fixed_window", 5, hour, 1, start - 1_200_000_000n - hour);
  await consumeAt("runs", "fixed_window", 5, hour, 1, now);
  await consumeAt("before", "sliding_window", 5, hour, 1, start - 1n);
  await consumeAt("long before", "sliding_window", 5, hour, 1, start - 2n * hour - 120_000_000n);
  await consumeAt("empty", "token_bucket", 5, hour, 5, now);
  await consumeAt("full", "token_bucket", 5, hour, 1, now - hour);
  await withClient(db.url("worker"), async (worker) => {
    const clean = async (size: number) =>
      (await worker.query("select private.delete_expired_rate_limits($1) as n", [size])).rows[0].n;
    expect(await clean(2)).toBe(2);
    expect(await clean(100)).toBe(1);
    expect(await clean(100)).toBe(0);
    await expectSqlState(clean(0), "PL422");
  });
  expect((await consumeAt("runs", "fixed_window", 5, hour, 1, now)).remaining).toBe(3);
  expect((await consumeAt("empty", "token_bucket", 5, hour, 1, now)).allowed).toBe(false);
  expect((await owner.query("select from security.rate_limit_records")).rowCount).toBe(3);
});
