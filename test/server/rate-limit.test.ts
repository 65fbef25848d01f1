import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { type Api, type Posting, send as sendTo, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let api: Api;

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const send = (posting: Posting = {}, to = api) => sendTo(to.url, posting);

describe("the rate limit [A12]", () => {
  let limited: Api;
  beforeAll(async () => {
    limited = await startApi(db, {
      PLINTH_RATE_LIMIT_REQUESTS: "3",
      PLINTH_RATE_LIMIT_WINDOW_SECONDS: "86400",
      PLINTH_TRUSTED_PROXIES: "127.0.0.1,10.0.0.0/8",
    });
  });
  afterAll(() => limited.close());
  const from = (forwardedFor: string, posting: Posting = {}) =>
    send({ ...posting, headers: { ...posting.headers, "x-forwarded-for": forwardedFor } }, limited);

  test("rejects requests above the limit and says when to retry", async () => {
    const answers = [];
    for (let i = 0; i < 4; i++) answers.push(await from("192.0.2.1"));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 429]);
    const { code, headers } = answers[3]!;
    expect(code).toBe("RATE_LIMITED");
    expect(Number(headers.get("retry-after"))).toBeGreaterThan(0);
    expect(headers.get("ratelimit-policy")).toContain("q=3");
    expect((await from("192.0.2.2")).status).toBe(200);
  });

  test("counts an IPv6 network as one client", async () => {
    for (let i = 0; i < 3; i++) await from(`2001:db8:0:1::${i}`);
    expect((await from("2001:db8:0:1:ffff::1")).status).toBe(429);
    expect((await from("2001:db8:1:1::1")).status).toBe(200);
  });

  test("ignores invented hops and counts only what trusted proxies report", async () => {
    for (let i = 0; i < 3; i++) await from(`198.51.100.${i}, 192.0.2.77`);
    expect((await from("203.0.113.9, 192.0.2.77")).status).toBe(429);
    expect((await from("203.0.113.9, 192.0.2.77, 10.1.2.3")).status).toBe(429);
  });

  test("limits token guesses", async () => {
    for (let i = 0; i < 3; i++)
      expect((await from("192.0.2.99", { headers: { authorization: "Bearer x" } })).status).toBe(401);
    expect((await from("192.0.2.99", { headers: { authorization: "Bearer x" } })).status).toBe(429);
  });

  test("does not apply to probes", async () => {
    for (let i = 0; i < 5; i++)
      expect((await send({ method: "GET", path: "/healthz", body: null }, limited)).status).toBe(200);
  });

  test("uses only the socket's address without trusted proxies", async () => {
    await send({ headers: { "x-forwarded-for": "203.0.113.5", "x-request-id": "no-proxy-here" } });
    await until(() => api.logLines.some(({ correlationId }) => correlationId === "no-proxy-here"));
    expect(api.logLines.find(({ correlationId }) => correlationId === "no-proxy-here")).toMatchObject({
      clientIp: "127.0.0.1",
    });
  });
});
