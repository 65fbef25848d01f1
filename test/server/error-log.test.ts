import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, jest, test } from "@jest/globals";
import { pino } from "pino";
import { createErrorLog, type ErrorLog, withoutValues } from "../../src/request/error-log.ts";
import type { CallPrivateFunction } from "../../src/request/service-caller.ts";
import { type Api, PASSWORD, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});

const readLog = () =>
  withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query("select * from security.error_logs order by created_at");
    return rows;
  });

describe("the error log of the API [S3]", () => {
  let api: Api;
  beforeAll(async () => {
    api = await startApi(db);
    // A function that fails unexpectedly, with values in its message, detail and parameters.
    await withClient(db.url("owner"), (client) =>
      client.query(
        `create or replace function identity.viewer() returns identity.users language plpgsql stable as $$
         begin
           raise exception 'The secret of "canary1" is canary2=canary3 at canary4@example.com'
             using errcode = 'XX001', detail = 'canary5', table = 'users', schema = 'identity';
         end $$`,
      ),
    );
  });
  afterAll(() => api.close());

  test("stores each INTERNAL error with the client's errorId, the user and the place, but no values", async () => {
    const { userId, token } = await signUp(api, "ada");
    const answer = await api.ask("{ me: currentUser { id } }", {
      token,
      headers: { "x-request-id": "error-log-test" },
    });
    expect(answer.errors).toHaveLength(1);
    const { code, errorId } = answer.errors![0]!.extensions;
    expect(code).toBe("INTERNAL");
    await until(async () => (await readLog()).length === 1);
    const [row] = await readLog();
    expect(row).toMatchObject({
      id: errorId,
      user_id: userId,
      error_code: "XX001",
      correlation_id: "error-log-test",
      stack_fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/),
      context: { schema: "identity", table: "users", path: ["me"] },
      source: expect.stringContaining("service"),
    });
    expect(row.message).toMatch(/^The secret of/);
    expect(JSON.stringify(row)).not.toMatch(/canary|example\.com|Bearer/);
    expect(JSON.stringify(row)).not.toContain(token);
  });

  test("gives the same error the same fingerprint, and a visitor's error no user", async () => {
    await api.ask("{ currentUser { username } }");
    await until(async () => (await readLog()).length === 2);
    const [first, second] = await readLog();
    expect(second.user_id).toBeNull();
    expect(second.stack_fingerprint).toBe(first.stack_fingerprint);
  });

  test("does not store expected errors", async () => {
    await api.ask(
      `mutation { login(input: { identifier: "nobody", password: "${PASSWORD}" }) { accessToken } }`,
    );
    await api.ask("{ noSuchField }");
    const { errors } = await api.ask("{ currentUser { id } }");
    await until(async () => (await readLog()).some(({ id }) => id === errors![0]!.extensions.errorId));
    expect(await readLog()).toHaveLength(3);
  });
});

describe("the queue", () => {
  const silent = pino({ level: "silent" });
  const anError = (error: unknown = new Error("x")) => ({
    errorId: randomUUID(),
    error,
    correlationId: "c",
    userId: undefined,
  });
  /** A database that stores what it receives, or fails. */
  function pretend() {
    const rows: { id: string }[] = [];
    const state = { failure: undefined as unknown, calls: 0 };
    const callPrivateFunction = (async (_request, _text, [json]) => {
      state.calls += 1;
      if (state.failure) throw state.failure;
      rows.push(...JSON.parse(String(json)));
      return [];
    }) as CallPrivateFunction;
    return { rows, state, callPrivateFunction };
  }
  const drain = async (log: ErrorLog) => log.close();

  test("is bounded, counts dropped errors, and reports them when it writes again", async () => {
    const warnings: Record<string, unknown>[] = [];
    const logger = pino(
      { level: "warn", base: null },
      { write: (line: string) => void warnings.push(JSON.parse(line)) },
    );
    const { rows, callPrivateFunction } = pretend();
    const log = createErrorLog({ callPrivateFunction, logger, capacity: 10, flushAfterMs: 60_000 });
    for (let i = 0; i < 25; i++) log.record(anError());
    expect(rows).toHaveLength(0);
    await drain(log);
    expect(rows).toHaveLength(10);
    expect(warnings).toEqual([expect.objectContaining({ dropped: 15 })]);
  });

  test("writes in batches, in order, and keeps errors while the database is unavailable", async () => {
    const { rows, state, callPrivateFunction } = pretend();
    const log = createErrorLog({ callPrivateFunction, logger: silent, flushAfterMs: 1 });
    state.failure = Object.assign(new Error("down"), { code: "ECONNREFUSED" });
    const errors = Array.from({ length: 250 }, () => anError());
    for (const error of errors) log.record(error);
    await until(() => state.calls === 1);
    expect(rows).toHaveLength(0);
    state.failure = undefined;
    await drain(log);
    expect(state.calls).toBe(4);
    expect(rows.map(({ id }) => id)).toEqual(errors.map(({ errorId }) => errorId));
  });

  test("drops errors that the database rejects, so that they do not block the rest", async () => {
    const { rows, state, callPrivateFunction } = pretend();
    const log = createErrorLog({ callPrivateFunction, logger: silent, flushAfterMs: 1 });
    state.failure = Object.assign(new Error("bad"), { code: "22P05" });
    log.record(anError());
    await until(() => state.calls === 1);
    state.failure = undefined;
    log.record(anError());
    await drain(log);
    expect(rows).toHaveLength(1);
  });

  test("stops within two seconds while the database hangs", async () => {
    const log = createErrorLog({ callPrivateFunction: () => new Promise(() => {}), logger: silent });
    log.record(anError());
    jest.useFakeTimers();
    try {
      let isClosed = false;
      const closing = log.close().then(() => {
        isClosed = true;
      });
      await jest.advanceTimersByTimeAsync(1_999);
      expect(isClosed).toBe(false);
      await jest.advanceTimersByTimeAsync(1);
      expect(isClosed).toBe(true);
      await closing;
    } finally {
      jest.useRealTimers();
    }
  });

  test("records and writes nothing after close()", async () => {
    const { rows, state, callPrivateFunction } = pretend();
    const log = createErrorLog({ callPrivateFunction, logger: silent, flushAfterMs: 1 });
    await log.close();
    log.record(anError());
    await sleep(50);
    await log.close();
    expect(state.calls).toBe(0);
    expect(rows).toEqual([]);
  });

  test.each<[string, unknown]>([
    ["a string", "canary"],
    ["undefined", undefined],
    ["an object", { canary: 1 }],
    ["an error with a NUL and half a character", new Error("a\0b \ud800")],
    ["a very long message", new Error("word ".repeat(1_000_000))],
    ["an error with a huge code", Object.assign(new Error("x"), { code: "C".repeat(5_000) })],
    ["an error without a stack", Object.assign(new Error("x"), { stack: undefined })],
  ])("stores %s", async (_what, error) => {
    const { errorId, ...rest } = anError(error);
    const service: CallPrivateFunction = (_request, text, values) =>
      withClient(
        db.url("service"),
        async (client) => (await client.query(text, [...values])).rows as never[],
      );
    const log = createErrorLog({ callPrivateFunction: service, logger: silent });
    log.record({ errorId, ...rest });
    await drain(log);
    const stored = (await readLog()).find(({ id }) => id === errorId);
    expect(stored).toBeDefined();
    expect(JSON.stringify(stored)).not.toContain("canary");
  });
});

test.each([
  ['invalid input "canary"', "invalid input …"],
  ["key (email)=(canary@example.com) exists", "key …=… exists"],
  ["cannot read 'canary' of undefined", "cannot read … of undefined"],
  ["connect to postgres://canary:canary@host/db failed", "connect to … failed"],
  ["token plr_canary0123456789abcdef is bad", "token … is bad"],
  ["unfinished 'canary", "unfinished …"],
  ["password=canary", "password…"],
])("stores the message %j as %j [S3]", (message, kept) => {
  expect(withoutValues(message)).not.toContain("canary");
  expect(withoutValues(message)).toBe(kept.replace("password…", "password=…"));
});

test("deletes errors after 90 days, in batches [S3]", async () => {
  await withClient(db.url("owner"), (client) =>
    client.query(
      `insert into security.error_logs (id, message, error_code, source, created_at)
       select gen_random_uuid(), 'old', 'x', 'test', now() - interval '91 days' from generate_series(1, 5)
       union all select gen_random_uuid(), 'not yet', 'x', 'test', now() - interval '89 days'`,
    ),
  );
  await withClient(db.url("worker"), async (worker) => {
    const clean = async () => (await worker.query("select private.delete_old_error_logs(3) as n")).rows[0].n;
    expect([await clean(), await clean(), await clean()]).toEqual([3, 2, 0]);
  });
  const left = (await readLog()).map(({ message }) => message);
  expect(left).toContain("not yet");
  expect(left).not.toContain("old");
});
