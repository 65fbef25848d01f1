import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { addModel, registerUser } from "../support/accounts.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { brokenLaws, withoutFreeTokens } from "../support/ledger.ts";
import { type Hold, LedgerModel, type Part, Refused, type Usage } from "../support/ledger-model.ts";
import { makeRandom, SEED } from "../support/random.ts";

// Runs every ledger operation at random, in lists and in SQL, while the clock passes a leap day and month ends. After each step
// both must have returned the same. PLINTH_SEED repeats a run.

/** A run takes more steps until it had every kind of outcome. */
const STEPS = 1500;
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

let db: TestDatabase;
let service: pg.Client;
let owner: pg.Client;
let worker: pg.Client;
beforeAll(async () => {
  db = await createTestDatabase();
  await withoutFreeTokens(db);
  service = new pg.Client(db.url("service"));
  owner = new pg.Client(db.url("owner"));
  worker = new pg.Client(db.url("worker"));
  await Promise.all([service, owner, worker].map((client) => client.connect()));
  // Zones with summer time must make no difference.
  await service.query("set timezone = 'America/New_York'");
  await worker.query("set timezone = 'Pacific/Kiritimati'");
});
afterAll(async () => {
  await Promise.all([service, owner, worker].map((client) => client.end()));
  await db.drop();
});

const time = (ms: number) => (ms === Infinity ? null : new Date(ms).toISOString());
const parts = (row: { grant_ids: string[]; grant_tokens: string[] }): Part[] =>
  row.grant_ids.map((id, i) => [id, Number(row.grant_tokens[i])]);

test(`returns the same from lists and SQL at every step (PLINTH_SEED=${SEED})`, async () => {
  const random = makeRandom(SEED);
  const pick = <T>(items: readonly T[]): T | undefined => items[random(items.length)];
  const user = await registerUser(db, "ada");
  const model = await addModel(db, { isPublic: true });
  const ledger = new LedgerModel();
  let overdrafts = 0;
  let now = Date.parse("2028-02-27T20:00:00Z");
  /** Earlier calls with their results, for replays. */
  const asked: { sql: string; values: unknown[]; result: string }[] = [];

  /** Runs both; returns the row, or undefined when both rejected the call with the same code. */
  const both = async <T>(sql: string, values: unknown[], inLists: () => T) => {
    let row: Record<string, unknown> | undefined;
    let code: string | undefined;
    try {
      row = (await service.query(sql, [...values, time(now)])).rows[0];
    } catch (error) {
      code = (error as pg.DatabaseError).code;
    }
    let expected: T | undefined;
    let refused: string | undefined;
    try {
      expected = inLists();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      refused = error.code;
    }
    expect({ sql, values, code }).toEqual({ sql, values, code: refused });
    return row === undefined ? undefined : { row: row as never, expected: expected as T };
  };
  const remember = (sql: string, values: unknown[], row: unknown) =>
    asked.push({ sql, values, result: JSON.stringify(row) });
  const counts = (max: number): [number, number] => [random(max), random(max)];
  const occurred = () => (random(3) ? now : now - random(40) * DAY + random(10) * MINUTE);

  const operations: (() => Promise<unknown>)[] = [
    async function grant() {
      const sql = "select private.grant_tokens($1, $2, $3, $4, $5, $6, $7, $8, $9) as id";
      const amount = random(30) ? 100 + random(2_000) : Infinity;
      const starts = now + (random(4) ? 0 : random(3) * DAY);
      // An unlimited grant lasts only a moment, or no grant would run out.
      const expires =
        amount === Infinity ? starts + 30 * MINUTE : random(4) ? starts + random(20) * DAY : Infinity;
      const source = random(2) ? randomUUID() : null;
      const priority = random(3);
      const values = [
        user,
        amount === Infinity ? null : amount,
        source ? "plan" : "purchase",
        source,
        priority,
        time(starts),
        time(expires),
        randomUUID(),
      ];
      const done = await both<void>(sql, values, () => {});
      const { id } = done!.row as { id: string };
      ledger.grants.push({ id, amount, consumed: 0, priority, starts, expires, source, closed: false });
      if (!source) remember(sql, values, done!.row);
    },
    async function reserve() {
      const sql = "select * from private.reserve_tokens($1, $2, $3, $4, '5 minutes', $5)";
      const max = 1 + random(600);
      const values = [user, model, max, randomUUID()];
      const done = await both(sql, values, () => ledger.reserve(max));
      if (!done) return;
      const row = done.row as { id: string; grant_ids: string[]; grant_tokens: string[] };
      expect(parts(row)).toEqual(done.expected);
      ledger.holds.push({ id: row.id, max, parts: done.expected, state: "open", expires: now + 5 * MINUTE });
    },
    async function settle() {
      const hold = pick<Hold>(ledger.holds.slice(-6));
      if (!hold || hold.state === "settled") return;
      const sql = "select * from private.settle_hold($1, $2, $3, 0, 0, $4, null, $5)";
      const used = counts(hold.max);
      const when = occurred();
      const values = [hold.id, ...used, time(when)];
      const done = await both(sql, values, () => ledger.settle(hold, used, when));
      if (done) await finish(sql, values, done.row, done.expected);
    },
    async function release() {
      const hold = pick<Hold>(ledger.holds.slice(-6));
      if (!hold) return;
      await both("select * from private.release_hold($1, $2)", [hold.id], () => ledger.release(hold));
    },
    async function record() {
      const sql = "select * from private.record_usage($1, $2, $3, $4, $5, 0, 0, $6, null, $7)";
      // Some usages exceed every grant, or some runs would never reach an overdraft.
      const used = counts(random(8) ? 200 : 6_000);
      const when = occurred();
      const values = [user, random(3) ? model : null, ...used, randomUUID(), time(when)];
      const done = await both(sql, values, () => ledger.use(used, when));
      await finish(sql, values, done!.row, done!.expected);
    },
    async function correct() {
      const usage = pick<Usage>(ledger.usages);
      if (!usage) return;
      const sql = "select * from private.correct_usage($1, $2, $3, $4, 0, 0, $5)";
      const used = counts(400);
      const values = [usage.id, ...used, randomUUID()];
      const before = usage.charges.length;
      const done = await both(sql, values, () => ledger.correct(usage, used));
      expect(parts(done!.row)).toEqual(usage.charges.slice(before));
      remember(sql, values, done!.row);
    },
    async function close() {
      const grant = pick(ledger.grants.filter((each) => each.source !== null));
      if (!grant) return;
      const sql = "select private.close_plan_grant($1, $2, $3, $4, null, $5, $6)::integer as carried";
      const closedAt = Math.min(now, grant.expires);
      const limit = random(500);
      const values = [user, grant.source, time(closedAt), limit, randomUUID()];
      const done = await both(sql, values, () => ledger.close(grant.source!, closedAt, limit));
      const { carried } = done!.row as { carried: number };
      expect(carried).toBe(done!.expected);
      remember(sql, values, done!.row);
      if (carried === 0) return;
      const { rows } = await owner.query(
        "select id from billing.token_grants where idempotency_key = 'rollover of ' || $1",
        [grant.id],
      );
      ledger.grants.push({
        id: rows[0].id,
        amount: carried,
        consumed: 0,
        priority: grant.priority,
        starts: closedAt,
        expires: Infinity,
        source: null,
        closed: false,
      });
    },
    async function replay() {
      const before = pick(asked);
      if (!before) return;
      const { rows } = await service.query(before.sql, [...before.values, time(now)]);
      expect(JSON.stringify(rows[0])).toBe(before.result);
    },
    async function passTime() {
      now += random(6) ? random(4) * MINUTE : random(3 * 24 * 60) * MINUTE;
    },
    async function jobs() {
      const name = pick(["expire_token_holds", "reset_usage_tracking", "retire_token_grants"]);
      await worker.query(`select private.${name}(100, $1)`, [time(now)]);
    },
  ];
  const finish = async (sql: string, values: unknown[], row: never, usage: Usage) => {
    const event = row as {
      id: string;
      overdraft_tokens: string;
      grant_ids: string[];
      grant_tokens: string[];
    };
    usage.id = event.id;
    if (usage.overdraft > 0) overdrafts++;
    expect(parts(event)).toEqual(usage.charges);
    expect(Number(event.overdraft_tokens)).toBe(usage.overdraft);
    remember(sql, values, row);
  };
  const weighted = [0, 1, 1, 1, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 8, 9].map((i) => operations[i]!);

  /** Every kind of outcome. */
  const hasHappened = () =>
    ledger.usages.length > 100 && new Set(ledger.holds.map((hold) => hold.state)).size >= 3 && overdrafts > 0;
  for (let step = 0; step < STEPS || !hasHappened(); step++) {
    ledger.at(now);
    await pick(weighted)!();
    if (step % 10 === 0) {
      ledger.at(now);
      const { rows } = await service.query(
        "select is_unlimited, available, held, used_this_period, lifetime_tokens from private.token_balance_at($1, $2)",
        [user, time(now)],
      );
      const [year, month] = [new Date(now).getUTCFullYear(), new Date(now).getUTCMonth()];
      const unlimited = ledger.available() === Infinity;
      expect({ step, ...rows[0] }).toEqual({
        step,
        is_unlimited: unlimited,
        available: unlimited ? null : String(ledger.available()),
        held: String(ledger.holds.reduce((sum, hold) => (hold.state === "open" ? sum + hold.max : sum), 0)),
        used_this_period: String(ledger.used(Date.UTC(year, month), Date.UTC(year, month + 1))),
        lifetime_tokens: String(ledger.used(-Infinity, Infinity)),
      });
    }
    if (step % 100 === 99) expect(await brokenLaws(owner)).toEqual([]);
  }
  expect(await brokenLaws(owner)).toEqual([]);
});
