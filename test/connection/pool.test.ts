import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import type { Pool, PoolClient } from "pg";
import pino from "pino";
import { type Config, loadConfig } from "../../src/config/config.ts";
import { createErrorDescription } from "../../src/http/error-responses.ts";
import { ConstraintFields } from "../../src/request/constraint-fields.ts";
import { createPool } from "../../src/request/pool.ts";
import { publicError } from "../../src/request/public-error.ts";
import { until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { withGrowingLimit } from "../support/waiting.ts";

let db: TestDatabase;
let pool: Pool;

beforeAll(async () => {
  db = await createTestDatabase();
});
afterEach(() => pool.end());
afterAll(() => db.drop());

function open(env: Record<string, string>): Pool {
  const settings: Config["pool"] = loadConfig({
    PLINTH_POOL_MAX: "2",
    // Only the limits of a test pass during it.
    PLINTH_POOL_CONNECTION_TIMEOUT_MS: "600000",
    PLINTH_POOL_IDLE_TIMEOUT_MS: "86400000",
    ...env,
  }).pool;
  const { max, overflow } = settings;
  return createPool({
    url: db.url("authenticator"),
    applicationName: "pool test",
    max,
    overflow,
    settings,
    onError: () => {},
  });
}

const take = (count: number): Promise<PoolClient[]> =>
  Promise.all(Array.from({ length: count }, () => pool.connect()));

async function pidOf(client: PoolClient): Promise<number> {
  return (await client.query("select pg_backend_pid() as pid")).rows[0].pid;
}

test("opens connections beyond its size under load and closes them afterwards [C10]", async () => {
  pool = open({ PLINTH_POOL_OVERFLOW: "2" });
  const clients = await take(4);
  expect(new Set(await Promise.all(clients.map(pidOf))).size).toBe(4);
  for (const client of clients) client.release();
  await until(() => pool.totalCount === 2);
  expect(pool.idleCount).toBe(2);
});

test("opens no more than its size without overflow, and answers a full pool with UNAVAILABLE [C10]", async () => {
  const clients = await withGrowingLimit(50, async (ms) => {
    pool = open({ PLINTH_POOL_CONNECTION_TIMEOUT_MS: String(ms) });
    return take(2);
  });
  const failure = await pool.connect().catch((error: unknown) => error);
  expect(publicError(failure, new ConstraintFields(), "")).toEqual({
    code: "UNAVAILABLE",
    message: "The server is too busy at the moment; try again shortly.",
  });
  const { status, headers } = createErrorDescription(pino({ level: "silent" }), () => {})(failure, undefined);
  expect({ status, headers }).toEqual({ status: 503, headers: { "Retry-After": "1" } });
  for (const client of clients) client.release();
  expect(pool.totalCount).toBe(2);
});

test("closes connections that are idle for the timeout, and recycles those of the maximal age [C10]", async () => {
  pool = open({ PLINTH_POOL_IDLE_TIMEOUT_MS: "20" });
  for (const client of await take(2)) client.release();
  await until(() => pool.totalCount === 0);
  await pool.end();
  pool = open({ PLINTH_POOL_MAX_LIFETIME_SECONDS: "1" });
  const pid = () => pool.query("select pg_backend_pid() as pid").then(({ rows }) => rows[0].pid as number);
  const first = await pid();
  await until(async () => (await pid()) !== first);
});
