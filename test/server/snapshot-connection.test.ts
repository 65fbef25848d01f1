import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "@jest/globals";
import type { Pool, PoolClient } from "pg";
import { roleName } from "../../src/config/roles.ts";
import { connectionOf } from "../../src/request/pg-internals/node-pg.ts";
import { createPool } from "../../src/request/pool.ts";
import { Snapshot } from "../../src/request/snapshot.ts";
import { roleOfError } from "../../src/request/transaction.ts";
import { until } from "../support/api.ts";
import { createTestDatabase, cutOff, type TestDatabase } from "../support/database.ts";
import { PATIENT_POOL } from "../support/patient-pool.ts";
import { withGrowingLimit } from "../support/waiting.ts";

let db: TestDatabase;
let pool: Pool;
let snapshot: Snapshot;

beforeAll(async () => {
  db = await createTestDatabase();
});
beforeEach(() => open());
afterEach(async () => {
  snapshot.end();
  await pool.end();
});
afterAll(() => db.drop());

/** @param answerGraceMs if given, the client waits no longer than this for an answer */
function open(answerGraceMs?: number, connectionTimeoutMs = PATIENT_POOL.connectionTimeoutMs): void {
  pool = createPool({
    url: db.url("authenticator"),
    applicationName: "snapshot test",
    max: 1,
    settings: {
      ...PATIENT_POOL,
      connectionTimeoutMs,
      ...(answerGraceMs && { statementTimeoutMs: 0 }),
    },
    onError: () => {},
    ...(answerGraceMs && { answerGraceMs }),
  });
  snapshot = new Snapshot(pool, settings);
}

async function reopen(...limits: Parameters<typeof open>): Promise<void> {
  snapshot.end();
  await pool.end();
  open(...limits);
}

const settings = { "jwt.claims.user_id": "u1", statement_timeout: "600000", transaction_read_only: "on" };
const WHO = { name: "who", text: "select current_setting('jwt.claims.user_id', true) as user_id" };
const u1 = { rows: [{ user_id: "u1" }] };
const sleep = (seconds: number) => ({ text: `select pg_sleep(${seconds})` });
const isReturned = () => until(() => pool.idleCount === pool.totalCount);

test("the opening and the reads of one tick take one write", async () => {
  const client = await pool.connect();
  const { stream } = connectionOf(client);
  client.release();
  let writes = 0;
  // Corked writes reach the socket as one.
  const { _writev, _write } = stream as unknown as Record<string, (...args: unknown[]) => void>;
  Object.assign(stream, {
    _writev: (...args: unknown[]) => {
      writes += 1;
      _writev!.apply(stream, args);
    },
    _write: (...args: unknown[]) => {
      writes += 1;
      _write!.apply(stream, args);
    },
  });
  await Promise.all([snapshot.read(WHO), snapshot.read(WHO), snapshot.read({ text: "select 1" })]);
  expect(writes).toBe(1);
  await Promise.all([snapshot.read(WHO), snapshot.read(WHO)]);
  expect(writes).toBe(2);
});

test("no read takes no connection, and the end returns it, also while a read is running", async () => {
  snapshot.end();
  expect(pool.totalCount).toBe(0);
  snapshot = new Snapshot(pool, settings);
  const running = snapshot.read(sleep(0.05));
  await until(() => pool.totalCount === 1 && pool.idleCount === 0);
  snapshot.end();
  snapshot.end();
  await running.catch(() => {});
  await isReturned();
  await expect(snapshot.read(WHO)).rejects.toThrow("has ended");
  expect((await pool.query(WHO)).rows[0].user_id || null).toBeNull();
});

test("an invalid setting fails every read with its error, and the connection returns", async () => {
  const role = roleName(db.rolePrefix, "owner");
  snapshot = new Snapshot(pool, { ...settings, role });
  const outcomes = await Promise.all([WHO, WHO].map((read) => snapshot.read(read).catch((error) => error)));
  expect(outcomes.map(({ code }) => code)).toEqual(["42501", "42501"]);
  expect(roleOfError(outcomes[0])).toBe(role);
  snapshot.end();
  await isReturned();
});

test("reads of one name do not fail with the read that should have prepared it", async () => {
  const once = {
    name: "once",
    text: "select 1 / nullif(length(current_setting('plinth.n', true)), 0) as n",
  };
  const broken = { name: "broken", text: "select nothing" };
  const outcomes = await Promise.allSettled([broken, broken, once, WHO].map((read) => snapshot.read(read)));
  expect(outcomes.map((outcome) => (outcome.status === "rejected" ? outcome.reason.code : "read"))).toEqual([
    "42703",
    "42703",
    "read",
    "read",
  ]);
});

test("all reads fail when the connection is lost, and the pool replaces it", async () => {
  const acquired = new Promise<PoolClient>((resolve) => pool.once("acquire", resolve));
  await snapshot.read(WHO);
  const reads = Promise.allSettled([snapshot.read(sleep(600)), snapshot.read(WHO)]);
  cutOff(await acquired);
  expect((await reads).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  snapshot.end();
  snapshot = new Snapshot(pool, settings);
  expect(await snapshot.read(WHO)).toMatchObject(u1);
});

test("all reads fail when the server does not answer in time, and the pool replaces the connection", async () => {
  await withGrowingLimit(200, async (ms) => {
    await reopen(ms);
    const outcomes = await Promise.allSettled([snapshot.read(sleep(600)), snapshot.read(WHO)]);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect((outcomes[0] as PromiseRejectedResult).reason.message).toContain("timeout");
    snapshot.end();
    snapshot = new Snapshot(pool, settings);
    expect(await snapshot.read(WHO)).toMatchObject(u1);
  });
});

test("a read may wait for those before it longer than for the server", async () => {
  await withGrowingLimit(1_000, async (ms) => {
    await reopen(ms);
    const reads = [0.6, 0.6].map((share) => snapshot.read(sleep((share * ms) / 1_000)));
    await expect(Promise.all(reads)).resolves.toHaveLength(2);
  });
});

test("all reads fail when the pool has no connection", async () => {
  const held = await withGrowingLimit(50, async (ms) => {
    await reopen(undefined, ms);
    return pool.connect();
  });
  const outcomes = await Promise.allSettled([snapshot.read(WHO), snapshot.read(WHO)]);
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  snapshot.end();
  held.release();
  snapshot = new Snapshot(pool, settings);
  expect(await snapshot.read(WHO)).toMatchObject(u1);
});
