import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import type { Pool, PoolClient } from "pg";
import { roleName } from "../../src/config/roles.ts";
import { connectionOf } from "../../src/request/pg-internals/node-pg.ts";
import { createPool } from "../../src/request/pool.ts";
import { roleOfError, runStatement } from "../../src/request/transaction.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { PATIENT_POOL } from "../support/patient-pool.ts";
import { withGrowingLimit } from "../support/waiting.ts";

// A statement and its settings are one transaction in one message. Whatever fails, no setting may reach the next statement
// of the connection.

const CONNECTIONS = 3;

let db: TestDatabase;
let pool: Pool;
let userRole: string;

beforeAll(async () => {
  db = await createTestDatabase();
  userRole = roleName(db.rolePrefix, "user");
  pool = poolOf(CONNECTIONS);
  await withClient(db.url("owner"), (owner) =>
    owner.query(`
      create table public.parents (id integer primary key);
      create table public.probes (
        id integer primary key,
        parent_id integer references public.parents deferrable initially deferred
      );
      grant usage on schema public to ${userRole};
      grant select, insert on public.probes to ${userRole}`),
  );
});
afterEach(expectNothingLeft);
afterAll(async () => {
  await pool.end();
  await db.drop();
});

function poolOf(max: number, answerGraceMs?: number): Pool {
  return createPool({
    url: db.url("authenticator"),
    applicationName: "statement test",
    max,
    settings: { ...PATIENT_POOL, ...(answerGraceMs && { statementTimeoutMs: 0 }) },
    onError: () => {},
    ...(answerGraceMs && { answerGraceMs }),
  });
}

const asUser = (id: string) => ({
  role: userRole,
  "jwt.claims.user_id": id,
  "plinth.correlation_id": `request of ${id}`,
  statement_timeout: "600000",
});

const WHO_AM_I = `select current_user as role, current_setting('jwt.claims.user_id', true) as user_id,
  current_setting('plinth.correlation_id', true) as correlation_id, current_setting('statement_timeout') as statement_timeout,
  current_setting('transaction_read_only') as read_only`;

const READ = { name: "who-am-i", text: WHO_AM_I };

/** Asserts that statements without settings see no settings on each of the pool's connections. */
async function expectNothingLeft(): Promise<void> {
  const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => pool.connect()));
  try {
    for (const client of clients) {
      const { role, user_id, correlation_id, statement_timeout, read_only } = (await client.query(WHO_AM_I))
        .rows[0];
      expect({ role, read_only }).toEqual({
        role: roleName(db.rolePrefix, "authenticator"),
        read_only: "off",
      });
      expect([user_id, correlation_id].filter(Boolean)).toEqual([]);
      expect(statement_timeout).not.toBe("10min");
    }
  } finally {
    for (const client of clients) client.release();
  }
}

/** Counts the writes to the socket while `run` uses the only connection of a pool. */
async function writesOf(run: (single: Pool) => Promise<unknown>): Promise<number> {
  const single = poolOf(1);
  try {
    const { stream } = connectionOf(await heldClient(single));
    let writes = 0;
    const { write } = stream;
    stream.write = ((...args: Parameters<typeof write>) => {
      writes += 1;
      return write.apply(stream, args);
    }) as typeof write;
    await run(single);
    return writes;
  } finally {
    await single.end();
  }
}

async function heldClient(single: Pool): Promise<PoolClient> {
  await runStatement(single, asUser("warm"), READ);
  const client = await single.connect();
  client.release();
  return client;
}

test("runs under its settings", async () => {
  const { rows, rowCount } = await runStatement(pool, { ...asUser("u1"), transaction_read_only: "on" }, READ);
  expect(rowCount).toBe(1);
  expect(rows).toEqual([
    {
      role: userRole,
      user_id: "u1",
      correlation_id: "request of u1",
      statement_timeout: "10min",
      read_only: "on",
    },
  ]);
});

test("takes one write to the socket and one answer", async () => {
  expect(await writesOf((single) => runStatement(single, asUser("u1"), READ))).toBe(1);
  expect(
    await writesOf((single) =>
      runStatement(single, asUser("u1"), { text: "insert into public.probes values ($1)", values: [1] }),
    ),
  ).toBe(1);
});

test("sees its own settings among many callers on few connections", async () => {
  const callers = Array.from({ length: 300 }, (_, n) => `u${n}`);
  const seen = await Promise.all(
    callers.map(async (id, n) => {
      // Every seventh fails, in its settings or itself.
      const settings = n % 14 === 7 ? { ...asUser(id), role: "no such role" } : asUser(id);
      const statement = n % 14 === 0 ? { text: "select 1 / 0" } : READ;
      const outcome = await runStatement<{ user_id: string }>(pool, settings, statement).catch(() => null);
      return outcome?.rows[0]?.user_id ?? (n % 7 === 0 ? id : "failed");
    }),
  );
  expect(seen).toEqual(callers);
});

test("is committed when its result arrives", async () => {
  await runStatement(pool, asUser("u1"), { text: "insert into public.probes values (10)" });
  const { rows } = await withClient(db.url("owner"), (owner) =>
    owner.query("select id from public.probes where id = 10"),
  );
  expect(rows).toEqual([{ id: 10 }]);
});

describe("fails and leaves nothing behind", () => {
  const rejects = (settings: Record<string, string>, text: string, code: string) =>
    expect(runStatement(pool, settings, { text })).rejects.toMatchObject({ code });

  test("when a setting is invalid", async () => {
    await rejects({ ...asUser("u1"), statement_timeout: "soon" }, "select 1", "22023");
    await rejects(
      { ...asUser("u1"), role: "no such role" },
      "insert into public.probes values (20)",
      "22023",
    );
    const error = await runStatement(pool, { ...asUser("u1"), role: "nobody" }, { text: "select 1" }).catch(
      (cause: unknown) => cause,
    );
    expect(roleOfError(error)).toBe("nobody");
  });

  test("when the statement is invalid, breaks a constraint or writes in a read-only transaction", async () => {
    await rejects(asUser("u1"), "selec 1", "42601");
    await rejects(asUser("u1"), "insert into public.probes values (30), (30)", "23505");
    await rejects(
      { ...asUser("u1"), transaction_read_only: "on" },
      "insert into public.probes values (31)",
      "25006",
    );
  });

  test("when the commit fails", async () => {
    await rejects(asUser("u1"), "insert into public.probes values (40, 40)", "23503");
    const { rows } = await withClient(db.url("owner"), (owner) =>
      owner.query("select from public.probes where id = 40"),
    );
    expect(rows).toEqual([]);
  });

  test("when it exceeds its timeout or is cancelled", async () => {
    await rejects({ ...asUser("u1"), statement_timeout: "50" }, "select pg_sleep(60)", "57014");
    // Another text than the one above, whose session may report its end late.
    const text = "select pg_sleep(600)";
    const cancelled = runStatement(pool, asUser("u1"), { text });
    const failure = expect(cancelled).rejects.toMatchObject({ code: "57014" });
    await withClient(db.url("authenticator"), async (other) => {
      let isCancelled = false;
      while (!isCancelled) {
        const { rowCount } = await other.query(
          `select pg_cancel_backend(pid) from pg_stat_activity
           where application_name = 'statement test' and datname = current_database() and query = $1 and state = 'active'`,
          [text],
        );
        isCancelled = (rowCount ?? 0) > 0;
      }
    });
    await failure;
  });

  test("when its connection is lost, which the pool replaces", async () => {
    const single = poolOf(1);
    try {
      const { stream } = connectionOf(await heldClient(single));
      const lost = runStatement(single, asUser("u1"), { text: "select pg_sleep(60)" });
      const failure = expect(lost).rejects.toThrow();
      setImmediate(() => stream.destroy());
      await failure;
      expect((await runStatement(single, asUser("u2"), READ)).rows).toMatchObject([{ user_id: "u2" }]);
    } finally {
      await single.end();
    }
  });

  test("when the server does not answer in time", async () => {
    await withGrowingLimit(50, async (ms) => {
      const impatient = poolOf(1, ms);
      try {
        await expect(runStatement(impatient, asUser("u1"), { text: "select pg_sleep(600)" })).rejects.toThrow(
          "Query read timeout",
        );
        const { rows } = await runStatement<{ user_id: string }>(impatient, asUser("u2"), READ);
        expect(rows[0]?.user_id).toBe("u2");
      } finally {
        await impatient.end();
      }
    });
  });
});
