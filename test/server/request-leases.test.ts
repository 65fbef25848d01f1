import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from "@jest/globals";
import { pino } from "pino";
import { type Lease, RequestLeases } from "../../src/limits/request-leases.ts";
import { type Api, send, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

const logger = pino({ level: "silent" });
const HOUR_MS = 3_600_000;

/** The database's count, shared by several servers. */
function pretendDatabase(limit: number) {
  const state = { counted: 0, queries: 0, failure: undefined as Error | undefined };
  const takeLease = async (_client: string, wanted: number): Promise<Lease> => {
    state.queries += 1;
    if (state.failure) throw state.failure;
    const granted = Math.min(wanted, limit - state.counted);
    state.counted += granted;
    return { granted, remaining: limit - state.counted, retryAfterMs: granted < wanted ? HOUR_MS : 0 };
  };
  return { state, takeLease };
}

describe("requests counted in memory first", () => {
  const stores: RequestLeases[] = [];
  // The time stands still: no window and no pause after an outage ends.
  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(() => {
    for (const store of stores.splice(0)) store.shutdown();
    jest.useRealTimers();
  });
  const server = (takeLease: ConstructorParameters<typeof RequestLeases>[0]["takeLease"], limit: number) => {
    const store = new RequestLeases({ limit, windowMs: HOUR_MS, takeLease, logger });
    stores.push(store);
    return async (client = "a") => (await store.increment(client)).totalHits <= limit;
  };

  test("cause no query for a client below a tenth of its limit [A12]", async () => {
    const { state, takeLease } = pretendDatabase(1_000);
    const hit = server(takeLease, 1_000);
    for (let i = 0; i < 100; i++) expect(await hit()).toBe(true);
    for (let i = 0; i < 100; i++) expect(await hit("b")).toBe(true);
    expect(state.queries).toBe(0);
  });

  test.each([1, 2, 3, 7, 10, 99, 1_000])(
    "allow exactly the limit of %i on one server, with a query per twentieth [A12]",
    async (limit) => {
      const { state, takeLease } = pretendDatabase(limit);
      const hit = server(takeLease, limit);
      let allowed = 0;
      for (let i = 0; i < limit * 2; i++) if (await hit()) allowed += 1;
      expect(allowed).toBe(limit);
      expect(state.queries).toBeLessThanOrEqual(Math.max(limit, 21));
    },
  );

  test("count by weight exactly, and allow what still fits", async () => {
    const { state, takeLease } = pretendDatabase(1_000);
    const store = new RequestLeases({ limit: 1_000, windowMs: HOUR_MS, takeLease, logger });
    stores.push(store);
    const fits = async (weight: number) => (await store.increment("a", weight)).totalHits <= 1_000;
    for (let i = 0; i < 9; i++) expect(await fits(110)).toBe(true);
    expect(await fits(11)).toBe(false);
    expect(await fits(10)).toBe(true);
    expect(await fits(1)).toBe(false);
    expect(state.counted).toBe(1_000);
  });

  test("free what was taken back for other requests", async () => {
    const { takeLease } = pretendDatabase(20);
    const store = new RequestLeases({ limit: 20, windowMs: HOUR_MS, takeLease, logger });
    stores.push(store);
    for (let i = 0; i < 200; i++) {
      expect((await store.increment("a")).totalHits).toBeLessThanOrEqual(20);
      store.decrement("a");
    }
  });

  test("allow exactly the limit when all arrive at once [A12]", async () => {
    const { takeLease } = pretendDatabase(500);
    const hit = server(takeLease, 500);
    const outcomes = await Promise.all(Array.from({ length: 2_000 }, () => hit()));
    expect(outcomes.filter(Boolean)).toHaveLength(500);
  });

  test.each([2, 5])("allow a client of %i servers at most a tenth more per server [A12]", async (count) => {
    const { takeLease } = pretendDatabase(1_000);
    const servers = Array.from({ length: count }, () => server(takeLease, 1_000));
    let allowed = 0;
    for (let i = 0; i < 5_000; i++) if (await servers[i % count]!()) allowed += 1;
    expect(allowed).toBeGreaterThanOrEqual(1_000);
    expect(allowed).toBeLessThanOrEqual(1_000 + count * 100);
  });

  test("hold the limit on each server without a database, and query only now and then [A12]", async () => {
    const { state, takeLease } = pretendDatabase(1_000);
    state.failure = new Error("down");
    const hit = server(takeLease, 1_000);
    let allowed = 0;
    for (let i = 0; i < 1_500; i++) if (await hit()) allowed += 1;
    expect(allowed).toBe(1_000);
    expect(state.queries).toBe(1);
  });

  test("do not wait long for a database that never answers [A12]", async () => {
    const hit = server(() => new Promise<Lease>(() => {}), 10);
    let answered = 0;
    let allowed = 0;
    const hits = async () => {
      for (; answered < 20; answered++) if (await hit()) allowed += 1;
    };
    const done = hits();
    await jest.advanceTimersByTimeAsync(999);
    // A tenth of the limit needs no query.
    expect(answered).toBe(1);
    await jest.advanceTimersByTimeAsync(1);
    await done;
    expect(allowed).toBe(10);
  });

  test("send no query for a rejected client until the limit may have room again [A12]", async () => {
    const { state, takeLease } = pretendDatabase(100);
    const first = server(takeLease, 100);
    for (let i = 0; i < 100; i++) await first();
    const second = server(takeLease, 100);
    for (let i = 0; i < 500; i++) await second();
    const asked = state.queries;
    for (let i = 0; i < 500; i++) expect(await second()).toBe(false);
    expect(state.queries).toBe(asked);
  });
});

describe("two servers on one database", () => {
  let db: TestDatabase;
  let apis: Api[];
  const LIMIT = 40;
  const WINDOW_SECONDS = 86_400;
  beforeAll(async () => {
    db = await createTestDatabase();
    const settings = {
      PLINTH_RATE_LIMIT_REQUESTS: String(LIMIT),
      PLINTH_RATE_LIMIT_WINDOW_SECONDS: String(WINDOW_SECONDS),
      PLINTH_TRUSTED_PROXIES: "127.0.0.1",
    };
    apis = [await startApi(db, settings), await startApi(db, settings)];
  });
  afterAll(async () => {
    for (const api of apis) await api.close();
    await db.drop();
  });

  /** The log message of a server that has waited a second for the database. */
  const NOT_SHARED = "request counts cannot be shared; each server counts on its own";
  let client = 0;
  const forget = () =>
    withClient(db.url("owner"), (owner) => owner.query("delete from security.rate_limit_records"));

  const request = (server: number, ip: string) =>
    send(apis[server]!.url, { headers: { "x-forwarded-for": ip } });
  const counters = () =>
    withClient(db.url("owner"), async (client) => {
      const { rows } = await client.query<{ key: string; n: number }>(
        "select encode(key_hash, 'hex') as key, request_count::integer as n from security.rate_limit_records",
      );
      return rows;
    });
  /** The count of a client in the database. */
  const countOf = async (ip: string) => {
    const key = createHash("sha256").update(`${WINDOW_SECONDS * 1_000_000}:api_per_client:${ip}`);
    const hash = key.digest("hex");
    return (await counters()).filter((row) => row.key === hash).map(({ n }) => n);
  };

  test("send no rate limit query for a normal request [A12]", async () => {
    for (let i = 0; i < 4; i++) expect((await request(i % 2, "192.0.2.1")).status).toBe(200);
    expect(await counters()).toEqual([]);
  });

  test("hold a client to one shared limit, plus a tenth for each server [A12, A15]", async () => {
    let allowed: number;
    let refused: Awaited<ReturnType<typeof request>> | undefined;
    let day: string;
    const isShared = () => apis.every(({ logLines }) => !logLines.some(({ msg }) => msg === NOT_SHARED));
    const today = () => new Date().toISOString().slice(0, 10);
    // A server whose machine lets it wait for the database for a second counts on its own, as without a database. The window of the
    // database is the day.
    do {
      day = today();
      client += 1;
      allowed = 0;
      await forget();
      for (const { logLines } of apis) logLines.length = 0;
      for (let i = 0; i < LIMIT * 3; i++) {
        const answer = await request(i % 2, `198.51.100.${client}`);
        if (answer.status === 200) allowed += 1;
        else refused = answer;
      }
    } while (!isShared() || today() !== day);
    expect(allowed).toBeGreaterThanOrEqual(LIMIT);
    expect(allowed).toBeLessThanOrEqual(LIMIT + 2 * (LIMIT / 10));
    expect(refused!.code).toBe("RATE_LIMITED");
    expect(Number(refused!.headers.get("retry-after"))).toBeGreaterThan(0);
    // A server of an earlier round may still be counting.
    expect(await countOf(`198.51.100.${client}`)).toEqual([LIMIT]);
    expect((await request(0, "192.0.2.3")).status).toBe(200);
  });

  test("lease concurrent callers only what is left, never more [A12]", async () => {
    const granted = await Promise.all(
      Array.from({ length: 20 }, () =>
        withClient(db.url("service"), async (client) => {
          const { rows } = await client.query(
            "select granted, remaining from private.lease_requests('many', 100, '366 days', 7)",
          );
          return rows[0].granted as number;
        }),
      ),
    );
    expect(granted.reduce((sum, n) => sum + n, 0)).toBe(100);
    expect(granted.filter((n) => n === 7)).toHaveLength(14);
  });

  test("limit on their own without the shared counting function [A12]", async () => {
    await withClient(db.url("owner"), (client) =>
      client.query("drop function private.lease_requests(text, integer, interval, integer)"),
    );
    let allowed = 0;
    for (let i = 0; i < LIMIT + 10; i++) if ((await request(0, "192.0.2.4")).status === 200) allowed += 1;
    expect(allowed).toBe(LIMIT);
  });
});
