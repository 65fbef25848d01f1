import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { addModel, registerUser } from "../support/accounts.ts";
import { until } from "../support/api.ts";
import { createTestDatabase, cutOff, type TestDatabase, withClient } from "../support/database.ts";
import { brokenLawsAt, withoutFreeTokens } from "../support/ledger.ts";
import { makeRandom, SEED } from "../support/random.ts";

// Runs 200 clients at once over connections that die at random. A client that loses an answer retries with the same key, as a
// real caller does; some never return. PLINTH_SEED repeats the choices.

const CLIENTS = 200;
const CONNECTIONS = 16;
const USERS = 5;
const GRANTED = 2_000;
/** The clients go on until they have this many answers and everything has happened. */
const ANSWERS = 1_000;
/** Answers between two kills: however slow the machine is, calls succeed in between. */
const ANSWERS_PER_KILL = 20;

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
  await withoutFreeTokens(db);
});
afterAll(async () => {
  await db.drop();
});

test(`neither overspends nor charges twice with 200 clients whose connections are killed at random (PLINTH_SEED=${SEED})`, async () => {
  const random = makeRandom(SEED);
  const model = await addModel(db, { isPublic: true });
  const users = await Promise.all(Array.from({ length: USERS }, (_, i) => registerUser(db, `user${i}`)));
  await withClient(db.url("service"), async (client) => {
    for (const user of users)
      for (const [amount, key] of [
        [GRANTED / 4, "a"],
        [(GRANTED * 3) / 4, "b"],
      ] as const)
        await client.query("select private.grant_tokens($1, $2, 'manual', null, 1, null, null, $3)", [
          user,
          amount,
          key,
        ]);
  });

  const pool = new pg.Pool({ connectionString: db.url("service"), max: CONNECTIONS });
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  const unexpected: string[] = [];
  let answers = 0;
  let lost = 0;
  let killed = 0;
  let refused = 0;
  const service = `${db.rolePrefix}_service`;
  const admin = (sql: string, values: unknown[]) =>
    withClient(db.adminUrl, async (client) => (await client.query(sql, values)).rows);
  /** Counts an answer; kills a connection now and then. */
  const answered = async () => {
    answers++;
    if (answers % ANSWERS_PER_KILL > 0) return;
    await admin(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and usename = $1 order by md5(pid::text || $2) limit 1`,
      [service, String(random(1e9))],
    );
  };
  /** Retries a call until a connection survives it; returns undefined when the call was rejected. */
  const insist = async (sql: string, values: unknown[]): Promise<Record<string, string> | undefined> => {
    for (;;) {
      const client = await pool.connect().catch(() => undefined);
      if (!client) continue;
      // Sometimes the client itself dies during the call.
      const dies = random(40) === 0;
      try {
        const call = client.query(sql, values);
        if (dies) cutOff(client);
        const { rows } = await call;
        client.release();
        await answered();
        return rows[0];
      } catch (error) {
        const { code, message } = error as pg.DatabaseError;
        const isGone = code === undefined || /^(57P|08|EPIPE|ECONN)/.test(code);
        client.release(isGone);
        if (code === "PL402") {
          refused++;
          await answered();
          return undefined;
        }
        if (!isGone) {
          unexpected.push(`${code} ${message}`);
          return undefined;
        }
        lost++;
        if (code === "57P01") killed++;
      }
    }
  };

  /** The expected cost of every finished call, by event. */
  const settled = new Map<string, number>();
  const hasHappened = () => settled.size > 50 && lost > 10 && killed > 10 && refused > 0;
  const goesOn = () => answers < ANSWERS || !hasHappened();
  const run = async () => {
    while (goesOn()) {
      const user = users[random(USERS)]!;
      const tokens = random(90);
      if (random(5) === 0) {
        const key = randomUUID();
        const sql = "select id, total_tokens from private.record_usage($1, $2, $3, 1, $4)";
        const event = await insist(sql, [user, model, tokens, key]);
        const again = await insist(sql, [user, model, tokens, key]);
        if (again?.id !== event?.id) unexpected.push("a replay recorded anew");
        if (event) settled.set(event.id!, tokens + 1);
        continue;
      }
      const hold = await insist("select id from private.reserve_tokens($1, $2, $3, $4)", [
        user,
        model,
        1 + random(100),
        randomUUID(),
      ]);
      // Some clients never return.
      if (!hold || random(10) === 0) continue;
      if (random(10) === 0) {
        await insist("select id from private.release_hold($1)", [hold.id]);
        continue;
      }
      const event = await insist("select id from private.settle_hold($1, $2, 1)", [hold.id, tokens]);
      if (event) settled.set(event.id!, tokens + 1);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, run));
  await pool.end();
  // The statement of a client that died may still run, or have yet to begin.
  const orphans = `select from pg_stat_activity
    where datname = current_database() and usename = $1 and application_name <> 'plinth tests'`;
  await until(async () => (await admin(orphans, [service])).length === 0, { timeoutMs: 300_000 });

  expect(unexpected).toEqual([]);
  expect(settled.size).toBeGreaterThan(50);
  expect(lost).toBeGreaterThan(10);
  expect(killed).toBeGreaterThan(10);
  expect(refused).toBeGreaterThan(0);
  expect(await brokenLawsAt(db.url("owner"))).toEqual([]);
  await withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query<{ id: string; total: string }>(
      "select id, total_tokens as total from billing.usage_events",
    );
    expect(new Map(rows.map(({ id, total }) => [id, Number(total)]))).toEqual(settled);
    const grants = await client.query<{ charged: string }>(
      "select user_id, sum(consumed) as charged from billing.token_grants group by 1",
    );
    for (const { charged } of grants.rows) expect(Number(charged)).toBeLessThanOrEqual(GRANTED);
  });
  // No hold remains: a quarter of an hour later every abandoned hold has been released.
  const later = new Date(Date.now() + 15 * 60_000);
  await withClient(db.url("worker"), (client) =>
    client.query("select private.expire_token_holds(1000, $1)", [later]),
  );
  await withClient(db.url("owner"), async (client) => {
    expect(
      (await client.query("select coalesce(sum(held), 0)::integer as held from billing.token_grants")).rows,
    ).toEqual([{ held: 0 }]);
    expect((await client.query("select from billing.token_holds where state = 'open'")).rowCount).toBe(0);
  });
  expect(await brokenLawsAt(db.url("owner"))).toEqual([]);
});
