import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "@jest/globals";
import type { Pool } from "pg";
import { loadConfig } from "../../src/config/config.ts";
import { roleName } from "../../src/config/roles.ts";
import { SharedReads } from "../../src/live/shared-reads.ts";
import { createPool } from "../../src/request/pool.ts";
import { until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

let db: TestDatabase;
let pool: Pool;
let reads: SharedReads;

/** No test is about these limits, which a busy machine may exceed. */
const PATIENT = loadConfig({
  PLINTH_STATEMENT_TIMEOUT_MS: "600000",
  PLINTH_POOL_CONNECTION_TIMEOUT_MS: "600000",
});

beforeAll(async () => {
  db = await createTestDatabase();
});
beforeEach(() => {
  pool = createPool({
    url: db.url("authenticator"),
    applicationName: "shared reads",
    max: 8,
    settings: PATIENT.pool,
    onError: () => {},
  });
  reads = new SharedReads(pool);
});
afterEach(async () => {
  reads.close();
  await pool.end();
});
afterAll(() => db.drop());

const settingsOf = (userId: string | undefined, more: Record<string, string> = {}) => ({
  role: roleName(db.rolePrefix, userId ? "user" : "anonymous"),
  "jwt.claims.user_id": userId,
  transaction_read_only: "on",
  statement_timeout: "600000",
  ...more,
});
const id = (n: number) => `00000000-0000-7000-8000-${String(n).padStart(12, "0")}`;
const WHO = {
  name: "who",
  text: `select plinth.current_user_id() as id, current_user::text as role,
           nullif(current_setting('jwt.claims.api_token_id', true), '') as token`,
};

test("runs each read under its caller's claims, whatever ran before it", async () => {
  const asked = Array.from({ length: 300 }, (_, i) => ({
    userId: i % 7 === 0 ? undefined : id(i % 50),
    token: i % 3 === 0 ? id(1_000 + i) : undefined,
  }));
  const answers = await Promise.all(
    asked.map(async ({ userId, token }, i) => {
      // Some at once, some later, as events arrive.
      await new Promise((resolve) => setTimeout(resolve, i % 5));
      const settings = settingsOf(userId, token ? { "jwt.claims.api_token_id": token } : {});
      return (await reads.read<{ id: string; role: string; token: string }>(settings, WHO)).rows[0];
    }),
  );
  expect(answers).toEqual(
    asked.map(({ userId, token }) => ({
      id: userId ?? null,
      role: roleName(db.rolePrefix, userId ? "user" : "anonymous"),
      token: token ?? null,
    })),
  );
});

test("shares two connections between many reads and releases them", async () => {
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, pool.totalCount - pool.idleCount);
  }, 1);
  await Promise.all(Array.from({ length: 1_000 }, (_, i) => reads.read(settingsOf(id(i)), WHO)));
  clearInterval(watch);
  expect(most).toBeLessThanOrEqual(2);
  expect(pool.totalCount).toBeLessThanOrEqual(2);
  await until(() => pool.idleCount === pool.totalCount);
});

test("isolates a failing read from others", async () => {
  const outcomes = await Promise.allSettled(
    Array.from({ length: 120 }, (_, i) =>
      reads.read<{ id: string }>(
        settingsOf(id(i)),
        i % 11 === 5
          ? { text: "select 1 / 0" }
          : i % 17 === 3
            ? { text: "select from private.turns" }
            : { name: "fresh", text: "select plinth.current_user_id() as id" },
      ),
    ),
  );
  for (const [i, outcome] of outcomes.entries())
    if (i % 11 === 5) expect(outcome).toMatchObject({ reason: { code: "22012" } });
    else if (i % 17 === 3) expect(outcome).toMatchObject({ reason: { code: "42501" } });
    else expect(outcome).toMatchObject({ value: { rows: [{ id: id(i) }] } });
});

test("rejects writes and returns no rows for a wrong setting", async () => {
  await expect(
    reads.read(settingsOf(id(1)), { text: "select rooms.set_presence('online')" }),
  ).rejects.toMatchObject({ code: "25006" });
  await expect(reads.read({ ...settingsOf(id(1)), role: "plinth_nobody" }, WHO)).rejects.toMatchObject({
    code: expect.stringMatching(/^(22023|25P02)$/),
  });
  expect((await reads.read(settingsOf(id(2)), WHO)).rows).toMatchObject([{ id: id(2) }]);
});

test("does not reuse a connection that was lost while idle", async () => {
  const own = "select pg_backend_pid() as pid";
  const isLost = new Promise((resolve) => {
    pool.once("connect", (client) => client.once("error", resolve));
  });
  const [lost] = (await reads.read<{ pid: number }>(settingsOf(id(1)), { text: own })).rows;
  await withClient(db.adminUrl, (client) => client.query("select pg_terminate_backend($1)", [lost!.pid]));
  await isLost;
  const [next] = (await reads.read<{ pid: number }>(settingsOf(id(2)), { text: own })).rows;
  expect(next!.pid).not.toBe(lost!.pid);
});

test("rejects the reads of a killed connection and replaces it", async () => {
  const slow = [1, 2, 3].map((n) => reads.read(settingsOf(id(n)), { text: "select pg_sleep(600)" }));
  const outcomes = Promise.allSettled(slow);
  // A session that sleeps, and not one of another test or one whose last statement was this.
  await withClient(db.adminUrl, (client) =>
    until(async () => {
      const { rowCount } = await client.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'",
      );
      return (rowCount ?? 0) > 0;
    }),
  );
  for (const outcome of await outcomes) expect(outcome.status).toBe("rejected");
  expect((await reads.read(settingsOf(id(4)), WHO)).rows).toMatchObject([{ id: id(4) }]);
});
