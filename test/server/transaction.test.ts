import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { Pool } from "pg";
import { roleName } from "../../src/config/roles.ts";
import { makePlinthPgService } from "../../src/graphql/pg-service.ts";
import { createPool } from "../../src/request/pool.ts";
import { roleOfError, runInTransaction, type TransactionClient } from "../../src/request/transaction.ts";
import { until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { PATIENT_POOL } from "../support/patient-pool.ts";
import { withGrowingLimit } from "../support/waiting.ts";

let db: TestDatabase;
let pool: Pool;
let userRole: string;
let anonymousRole: string;

beforeAll(async () => {
  db = await createTestDatabase();
  userRole = roleName(db.rolePrefix, "user");
  anonymousRole = roleName(db.rolePrefix, "anonymous");
  pool = poolOf(3);
});
afterAll(async () => {
  await pool.end();
  await db.drop();
});

function poolOf(max: number, answerGraceMs?: number): Pool {
  return createPool({
    url: db.url("authenticator"),
    applicationName: "transaction test",
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

/** Everything a request sets, as the server sees it. */
const WHO_AM_I = `select current_user as role,
  current_setting('jwt.claims.user_id', true) as user_id,
  current_setting('jwt.claims.session_id', true) as session_id,
  current_setting('plinth.correlation_id', true) as correlation_id,
  current_setting('statement_timeout') as statement_timeout,
  current_setting('transaction_read_only') as read_only`;

async function whoAmI(client: TransactionClient): Promise<Record<string, string | null>> {
  return (await client.query<Record<string, string | null>>({ text: WHO_AM_I, name: "who-am-i" })).rows[0]!;
}

/** Settings left on a connection outside of our transactions; an unset setting is null or empty. */
async function leftovers(): Promise<Record<string, string | null>[]> {
  const clients = await Promise.all(Array.from({ length: 3 }, () => pool.connect()));
  try {
    return await Promise.all(clients.map(async (client) => (await client.query(WHO_AM_I)).rows[0]));
  } finally {
    for (const client of clients) client.release();
  }
}

async function expectNothingLeft(): Promise<void> {
  for (const { role, user_id, session_id, correlation_id, read_only } of await leftovers()) {
    expect(role).toBe(roleName(db.rolePrefix, "authenticator"));
    expect([user_id, session_id, correlation_id].filter(Boolean)).toEqual([]);
    expect(read_only).toBe("off");
  }
}

describe("settings", () => {
  test("hold inside the transaction and are gone after it", async () => {
    expect(
      await runInTransaction(pool, { ...asUser("u1"), transaction_read_only: "on" }, whoAmI),
    ).toMatchObject({
      role: userRole,
      user_id: "u1",
      correlation_id: "request of u1",
      statement_timeout: "10min",
      read_only: "on",
    });
    await expectNothingLeft();
  });

  test("are gone after an error too", async () => {
    const failing = runInTransaction(pool, asUser("u1"), (client) => client.query({ text: "select 1 / 0" }));
    await expect(failing).rejects.toMatchObject({ code: "22012" });
    await expectNothingLeft();
  });

  test("reject a role that the login may not become before the statement runs", async () => {
    const owner = roleName(db.rolePrefix, "owner");
    const failing = runInTransaction(pool, { role: owner }, (client) =>
      client.query({ text: "select * from identity.users" }),
    );
    await expect(failing).rejects.toMatchObject({ code: "42501" });
    await expectNothingLeft();
  });

  test("never mix in 300 parallel requests of many users with errors in between", async () => {
    const seen = await Promise.all(
      Array.from({ length: 300 }, async (_, i) => {
        const id = `user-${i}`;
        const settings = i % 3 === 0 ? { role: anonymousRole } : asUser(id);
        try {
          return await runInTransaction(pool, settings, async (client) => {
            const before = await whoAmI(client);
            if (i % 5 === 0) await client.query({ text: "select 1 / 0" });
            if (i % 7 === 0) throw new Error("the request's own code failed");
            if (i % 11 === 0)
              await client
                .withTransaction((inner) => inner.query({ text: "select 1 / 0" }))
                .catch(() => "undone by the savepoint");
            const after = await whoAmI(client);
            return { i, ids: [before.user_id, after.user_id], roles: [before.role, after.role] };
          });
        } catch {
          return { i, ids: [], roles: [] };
        }
      }),
    );
    for (const { i, ids, roles } of seen) {
      const isVisitor = i % 3 === 0;
      for (const id of ids) expect(id || null).toBe(isVisitor ? null : `user-${i}`);
      for (const role of roles) expect(role).toBe(isVisitor ? anonymousRole : userRole);
    }
    expect(seen.filter(({ ids }) => ids.length === 2).length).toBeGreaterThan(150);
    await expectNothingLeft();
  });
});

describe("a transaction", () => {
  test("reports the role under which it failed", async () => {
    const error = await runInTransaction(pool, { role: anonymousRole }, (client) =>
      client.query({ text: "select * from private.user_passwords" }),
    ).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: "42501" });
    expect(roleOfError(error)).toBe(anonymousRole);
  });

  test("fails if a failed statement was ignored, instead of a silent rollback", async () => {
    const ignoring = runInTransaction(pool, asUser("u1"), async (client) => {
      await client.query({ text: "select 1 / 0" }).catch(() => {});
      return "done";
    });
    await expect(ignoring).rejects.toThrow("rolled back");
  });

  test("rejects statements after its end, when another request may have the connection", async () => {
    let kept: TransactionClient | undefined;
    await runInTransaction(pool, asUser("u1"), async (client) => {
      kept = client;
    });
    await expect(kept!.query({ text: "select 1" })).rejects.toThrow("has ended");
  });

  test("of a query cannot write", async () => {
    const writing = runInTransaction(pool, { ...asUser("u1"), transaction_read_only: "on" }, (client) =>
      client.query({ text: "insert into llm.chats (title) values ('no')" }),
    );
    await expect(writing).rejects.toMatchObject({ code: "25006" });
  });

  test("is cancelled when it takes too long, and its connection stays in use", async () => {
    const slow = runInTransaction(pool, { ...asUser("u1"), statement_timeout: "50" }, (client) =>
      client.query({ text: "select pg_sleep(600)" }),
    );
    await expect(slow).rejects.toMatchObject({ code: "57014" });
    await expectNothingLeft();
  });

  test("waits for its savepoint before the statements behind it", async () => {
    const rows = await runInTransaction(pool, asUser("u1"), async (client) => {
      const inner = client.withTransaction(async (savepoint) => {
        await savepoint.query({ text: "select pg_sleep(0.05)" });
        await savepoint.query({ text: "select set_config('plinth.order', 'inner', true)" });
      });
      const outer = client.query<{ order: string }>({
        text: `select current_setting('plinth.order', true) as "order"`,
      });
      await inner;
      return (await outer).rows;
    });
    expect(rows).toEqual([{ order: "inner" }]);
  });
});

describe("a connection", () => {
  test("is replaced when it dies in a transaction", async () => {
    const small = poolOf(1);
    const dying = runInTransaction(small, asUser("u1"), async (client) => {
      const { rows } = await client.query<{ pid: number }>({ text: "select pg_backend_pid() as pid" });
      await withClient(db.adminUrl, (admin) =>
        admin.query("select pg_terminate_backend($1)", [rows[0]!.pid]),
      );
      await client.query({ text: "select pg_sleep(600)" });
    });
    await expect(dying).rejects.toThrow();
    expect((await runInTransaction(small, asUser("u2"), whoAmI)).user_id).toBe("u2");
    await small.end();
  });

  test("is given up when it does not answer", async () => {
    await withGrowingLimit(200, async (ms) => {
      // The statement may take long, its answer may not: as if the network had died.
      const impatient = poolOf(1, ms);
      try {
        const hanging = runInTransaction(impatient, asUser("u1"), (client) =>
          client.query({ text: "select pg_sleep(600)" }),
        );
        await expect(hanging).rejects.toThrow("timeout");
        expect((await runInTransaction(impatient, asUser("u2"), whoAmI)).user_id).toBe("u2");
      } finally {
        await impatient.end();
      }
    });
  });

  test("keeps one prepared statement per role and name, and at most 100 [A12]", async () => {
    const small = poolOf(1);
    const prepared = async () =>
      (
        await small.query(
          "select name from pg_prepared_statements where name not like 'plinth_settings_%' order by name",
        )
      ).rows.map(({ name }) => name);
    await runInTransaction(small, asUser("u1"), whoAmI);
    await runInTransaction(small, { role: anonymousRole }, whoAmI);
    expect(await prepared()).toEqual([`${anonymousRole}/who-am-i`, `${userRole}/who-am-i`].sort());
    for (let i = 0; i < 130; i++)
      await runInTransaction(small, asUser("u1"), (client) =>
        client.query({ text: `select ${i}`, name: `statement-${i}` }),
      );
    expect((await prepared()).length).toBeLessThanOrEqual(100);
    // A dropped statement is prepared again.
    const again = await runInTransaction(small, asUser("u1"), (client) =>
      client.query<{ "?column?": number }>({ text: "select 0", name: "statement-0" }),
    );
    expect(again.rows).toEqual([{ "?column?": 0 }]);
    await small.end();
  });

  test("returns to the pool although no caller waits for the commit of a read", async () => {
    const small = poolOf(1);
    for (let i = 0; i < 20; i++)
      await runInTransaction(small, { ...asUser(`u${i}`), transaction_read_only: "on" }, whoAmI);
    await until(() => small.idleCount === 1);
    expect(small.totalCount).toBe(1);
    await small.end();
  });
});

test("allows the introspection at start to take longer than a request", async () => {
  // The limit holds for the opening of the connection.
  await withGrowingLimit(500, async (ms) => {
    const impatient = poolOf(1, ms);
    try {
      const service = makePlinthPgService({ pool: impatient, schemas: [] });
      const withPgClient = await service.adaptor!.createWithPgClient(service.adaptorSettings!);
      const text = `select 1 as n from pg_sleep(${(2 * ms) / 1_000})`;
      const sleep = withPgClient(null, (client) => client.query({ text }));
      await expect(sleep).resolves.toMatchObject({ rows: [{ n: 1 }] });
    } finally {
      await impatient.end();
    }
  });
});
