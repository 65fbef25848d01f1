import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { rollback } from "../../src/database/rollback.ts";
import { startServer } from "../../src/http/server.ts";
import {
  type Api,
  codeOf,
  type SignedIn,
  send,
  serverOptions,
  signUp,
  startApi,
  until,
} from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { untilWaiting, whileLocked, withGrowingLimit } from "../support/waiting.ts";

/** pino's number of the level. */
const INFO = 30;

let db: TestDatabase;
let api: Api;
let ada: SignedIn;

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  ada = await signUp(api, "ada");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

describe("probes", () => {
  const probe = (path: string, to: Pick<Api, "url"> = api) =>
    send(to.url, { method: "GET", path, body: null });

  test("healthz reports that the process answers", async () => {
    expect(await probe("/healthz")).toMatchObject({ status: 200, json: { status: "ok" } });
  });

  test("readyz reports what works", async () => {
    let answer: Awaited<ReturnType<typeof probe>>;
    // The database and the notifications may be seconds late.
    do answer = await probe("/readyz");
    while (answer.status !== 200 || answer.json.checks.revocations !== "listening");
    expect(answer).toMatchObject({ status: 200, json: { status: "ready", checks: { database: "ok" } } });
  });

  test("readyz returns 503 while the schema is older than the server, and 200 when it is newer", async () => {
    const other = await createTestDatabase();
    const target = { ownerUrl: other.url("owner"), rolePrefix: other.rolePrefix };
    const served = await startApi(other);
    /** The database may answer late. */
    const untilReady = (status: number, database: string) =>
      until(async () => {
        const answer = await probe("/readyz", served);
        return answer.status === status && answer.json.checks.database === database;
      });
    try {
      await rollback({ ...target, steps: 1 });
      await untilReady(503, "not migrated");
      await expect(startApi(other)).rejects.toMatchObject({ code: "NOT_MIGRATED" });
      await migrateDatabase(target);
      await untilReady(200, "ok");
      await withClient(other.adminUrl, (client) =>
        client.query("comment on schema plinth_migrate is 'Latest: 999999'"),
      );
      await untilReady(200, "ok");
    } finally {
      await served.close();
      await other.drop();
    }
  });

  test("readyz returns 503 while the server is stopping, which is no error in the log", async () => {
    await withGrowingLimit(1_000, async (ms) => {
      const stopping = await startApi(db, { PLINTH_SHUTDOWN_DELAY_SECONDS: String(ms / 1_000) });
      const closed = stopping.close();
      try {
        expect(await probe("/readyz", stopping)).toMatchObject({ status: 503, json: { closing: true } });
      } finally {
        await closed;
      }
      const lines = stopping.logLines.filter(({ path }) => path === "/readyz");
      expect(lines).toMatchObject([{ status: 503, level: INFO }]);
    });
  });

  test("readyz returns 503 while the database is unavailable, and healthz does not", async () => {
    const lost = await createTestDatabase();
    const orphan = await startApi(lost);
    await lost.drop();
    try {
      await until(async () => {
        const { status, json } = await probe("/readyz", orphan);
        const { database, revocations } = json.checks;
        return status === 503 && database === "unreachable" && revocations !== "listening";
      });
      expect((await probe("/healthz", orphan)).status).toBe(200);
      // Without the listener and the database, a token is neither accepted nor rejected.
      const asked = await orphan.ask("{ __typename }", { token: ada.token });
      expect([asked.status, codeOf(asked)]).toEqual([503, "UNAVAILABLE"]);
      expect(codeOf(await orphan.ask("{ models { totalCount } }"))).toBe("UNAVAILABLE");
    } finally {
      await orphan.close();
    }
  });
});

describe("the server", () => {
  const parts = (port: number, of = db) =>
    serverOptions(of, { PLINTH_PORT: String(port), PLINTH_LOG_LEVEL: "silent" });

  test("reports a taken port and holds nothing afterwards", async () => {
    // No other server uses it.
    const other = await createTestDatabase();
    await expect(startServer(parts(Number(new URL(api.url).port), other))).rejects.toMatchObject({
      code: "ADDRESS_IN_USE",
    });
    await until(() =>
      withClient(other.adminUrl, async (client) => {
        const { rowCount } = await client.query(
          "select from pg_stat_activity where datname = current_database() and application_name like 'plinth-%'",
        );
        return rowCount === 0;
      }),
    );
    await other.drop();
  });

  test("does not start with a weak key", async () => {
    await expect(startServer({ ...parts(0), signingKeys: "k1:c2VjcmV0" })).rejects.toMatchObject({
      code: "INVALID_SETTING",
    });
  });

  test("finishes open requests when it stops, and accepts no new ones", async () => {
    await withClient(db.url("owner"), (client) =>
      client.query(`
        create or replace function identity.wait_for_lock() returns text language sql volatile
          as $$ select 'finished' from pg_advisory_xact_lock(1) $$;
        grant execute on function identity.wait_for_lock() to ${db.rolePrefix}_anonymous;`),
    );
    const stopping = await startApi(db);
    const lock = ["select pg_advisory_xact_lock(1)"] as const;
    const { underWay, closing } = await whileLocked(db, [lock], async () => {
      const underWay = stopping.ask("mutation { waitForLock(input: {}) { result } }");
      await untilWaiting(db);
      const closing = stopping.close();
      await expect(fetch(`${stopping.url}/healthz`, { headers: { connection: "close" } })).rejects.toThrow();
      return { underWay, closing };
    });
    expect((await underWay).data).toEqual({ waitForLock: { result: "finished" } });
    await closing;
    await stopping.close();
  });
});
