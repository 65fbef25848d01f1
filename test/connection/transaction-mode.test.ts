import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { withArchiveLock } from "../../src/archive/archive-lock.ts";
import { checkPoolers } from "../../src/cli/doctor/poolers.ts";
import { loadConfig } from "../../src/config/config.ts";
import { LOGIN_ROLES, type LoginRole } from "../../src/config/roles.ts";
import { assertKeepsSession } from "../../src/connection/transaction-mode.ts";
import { withConnection } from "../../src/database/connection.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { openWorkerDatabase } from "../../src/jobs/worker-database.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { type Multiplexer, startMultiplexer } from "../support/multiplexer.ts";
import { PGBOUNCER_VERSION, startPgBouncer } from "../support/pgbouncer.ts";

let db: TestDatabase;
let pooler: Multiplexer;

beforeAll(async () => {
  db = await createTestDatabase();
  pooler = await startMultiplexer(db.url("owner"));
});
afterAll(async () => {
  await pooler.close();
  await db.drop();
});

const through = (role: LoginRole) => pooler.urlThrough(db.url(role));

test("migrate rejects a pooler in transaction mode before it changes anything", async () => {
  await expect(
    migrateDatabase({ ownerUrl: through("owner"), rolePrefix: db.rolePrefix }),
  ).rejects.toMatchObject({
    code: "POOLED_CONNECTION",
    hint: expect.stringContaining("direct connection"),
  });
});

test("work on archives rejects a pooler in transaction mode and keeps no lock", async () => {
  let isRun = false;
  const locked = withConnection({ connectionString: through("worker") }, (client) =>
    withArchiveLock(client, async () => {
      isRun = true;
    }),
  );
  await expect(locked).rejects.toMatchObject({ code: "POOLED_CONNECTION" });
  expect(isRun).toBe(false);
  const { rows } = await withConnection({ connectionString: db.url("owner") }, (client) =>
    client.query(
      `select pid from pg_locks where locktype = 'advisory'
         and database = (select oid from pg_database where datname = current_database())`,
    ),
  );
  expect(rows).toEqual([]);
});

test("a direct connection keeps its session", async () => {
  const keeps = withConnection({ connectionString: db.url("owner") }, assertKeepsSession);
  await expect(keeps).resolves.toBeUndefined();
});

test("the worker's connections send no parameter that a pooler rejects, and limit their statements", async () => {
  const worker = openWorkerDatabase(through("worker"), () => {});
  try {
    const { rows } = await worker.runJobSql("select current_setting('statement_timeout') as timeout");
    expect(rows).toEqual([{ timeout: "5min" }]);
    const { rows: queue } = await worker.executeSql("select $1::int as n", [7]);
    expect(queue).toEqual([{ n: 7 }]);
  } finally {
    await worker.close();
  }
});

test("a pooler rejects a startup parameter of the URL", async () => {
  const url = `${through("worker")}${new URL(through("worker")).search ? "&" : "?"}statement_timeout=1000`;
  await expect(withConnection({ connectionString: url }, async () => {})).rejects.toThrow(
    "unsupported startup parameter: statement_timeout",
  );
});

async function findings(urlOf: (role: LoginRole) => string) {
  const env = Object.fromEntries(
    LOGIN_ROLES.map((role) => [`PLINTH_${role.toUpperCase()}_URL`, urlOf(role)]),
  );
  const config = loadConfig({ ...env, PLINTH_ROLE_PREFIX: db.rolePrefix });
  const found = await checkPoolers({ config } as Parameters<typeof checkPoolers>[0]);
  return found.map(({ check, status, message }) => `${check} ${status}: ${message}`);
}

test("doctor says what a pooler in transaction mode loses, for each URL", async () => {
  expect(await findings(through)).toEqual([
    "pooler-owner fail: PLINTH_OWNER_URL leads to a pooler in transaction mode, which loses the locks of migrations.",
    "pooler-authenticator fail: PLINTH_AUTHENTICATOR_URL leads to a pooler that loses prepared statements.",
    "pooler-authenticator ok: a pooler in transaction mode",
    "pooler-service fail: PLINTH_SERVICE_URL leads to a pooler that loses prepared statements.",
    expect.stringMatching(/^pooler-service warn: .* loses notifications/),
    expect.stringMatching(/^pooler-worker warn: .* archive-old-partitions fails/),
    "pooler-analyst ok: a pooler in transaction mode",
  ]);
});

test("doctor finds no pooler on direct connections", async () => {
  const found = await findings((role) => db.url(role));
  expect(found).toEqual(LOGIN_ROLES.map((role) => `pooler-${role} ok: no pooler in transaction mode`));
});

// CI has no PgBouncer.
(PGBOUNCER_VERSION ? test : test.skip)("migrate and doctor recognise the real PgBouncer", async () => {
  const bouncer = await startPgBouncer(db, { servers: 3, preparedStatements: 0 });
  try {
    const pooled = withConnection({ connectionString: bouncer.db.url("service") }, assertKeepsSession);
    await expect(pooled).rejects.toMatchObject({ code: "POOLED_CONNECTION" });
    const worker = openWorkerDatabase(bouncer.db.url("service"), () => {});
    expect((await worker.runJobSql("select 1 as n")).rows).toEqual([{ n: 1 }]);
    await worker.close();
  } finally {
    await bouncer.close();
  }
});
