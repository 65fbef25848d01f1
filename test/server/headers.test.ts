import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { type Api, type Posting, send as sendTo, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let api: Api;

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db, { PLINTH_CORS_ORIGINS: "https://app.example,https://admin.example" });
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const send = (posting: Posting = {}, to = api) => sendTo(to.url, posting);

describe("the correlation id", () => {
  test.each([
    ["is taken from the caller", { "x-request-id": "trace-0123456789" }, "trace-0123456789"],
    [
      "is taken from the trace",
      { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" },
      "4bf92f3577b34da6a3ce929d0e0e4736",
    ],
    [
      "is new if the given one could break a log",
      { "x-request-id": "a b\tc;drop" },
      expect.stringMatching(/^[0-9a-f-]{36}$/),
    ],
    [
      "is new if the given one is too long",
      { "x-request-id": "x".repeat(200) },
      expect.stringMatching(/^[0-9a-f-]{36}$/),
    ],
    [
      "is new for an invalid trace",
      { traceparent: `00-${"0".repeat(32)}-00f067aa0ba902b7-01` },
      expect.stringMatching(/^[0-9a-f-]{36}$/),
    ],
    ["is new if none is given", {}, expect.stringMatching(/^[0-9a-f-]{36}$/)],
  ])("%s", async (_what, headers, expected) => {
    const answer = await send({ headers: headers as Record<string, string> });
    expect(answer.headers.get("x-request-id")).toEqual(expected);
    const id = answer.headers.get("x-request-id");
    await until(() =>
      api.logLines.some(({ correlationId, msg }) => correlationId === id && msg === "request"),
    );
  });

  test("is sent with errors too", async () => {
    expect(
      (await send({ path: "/nowhere", headers: { "x-request-id": "on-errors-too" } })).headers.get(
        "x-request-id",
      ),
    ).toBe("on-errors-too");
  });
});

describe("CORS", () => {
  const preflight = (origin: string) =>
    send({
      method: "OPTIONS",
      body: null,
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
      },
    });

  test("allows listed origins", async () => {
    const asked = await preflight("https://app.example");
    expect([asked.status, asked.headers.get("access-control-allow-origin")]).toEqual([
      204,
      "https://app.example",
    ]);
    expect(asked.headers.get("access-control-allow-headers")).toContain("Authorization");
    expect(asked.headers.get("access-control-allow-credentials")).toBeNull();
    const answer = await send({ headers: { origin: "https://admin.example" } });
    expect(answer.headers.get("access-control-allow-origin")).toBe("https://admin.example");
    expect(answer.headers.get("vary")).toContain("Origin");
  });

  test.each(["https://evil.example", "https://app.example.evil.example", "http://app.example", "null"])(
    "rejects the origin %s",
    async (origin) => {
      expect((await preflight(origin)).headers.get("access-control-allow-origin")).toBeNull();
      expect((await send({ headers: { origin } })).headers.get("access-control-allow-origin")).toBeNull();
    },
  );

  test("logs a rejected origin once, with the setting that would allow it", async () => {
    const origin = "https://new-front-end.example";
    for (let attempt = 0; attempt < 3; attempt++) await preflight(origin);
    const lines = () => api.logLines.filter((line) => line.origin === origin);
    await until(() => lines().length > 0);
    expect(lines()).toEqual([expect.objectContaining({ setting: "PLINTH_CORS_ORIGINS", level: 40 })]);
  });

  test("does not log its own pages, or more origins than an operator has front ends", async () => {
    const own = await send({ headers: { origin: api.url } });
    expect(own.status).toBe(200);
    for (let number = 0; number < 40; number++) await preflight(`https://flood-${number}.example`);
    await preflight("https://app.example");
    expect(api.logLines.filter(({ origin }) => origin === api.url)).toEqual([]);
    expect(
      api.logLines.filter(({ setting }) => setting === "PLINTH_CORS_ORIGINS").length,
    ).toBeLessThanOrEqual(20);
  });

  test("lets a listed origin read a rejection", async () => {
    const answer = await send({ headers: { origin: "https://app.example", authorization: "Bearer x" } });
    expect([answer.status, answer.headers.get("access-control-allow-origin")]).toEqual([
      401,
      "https://app.example",
    ]);
  });
});

describe("CORS during front-end development on the same machine", () => {
  const allowedBy = async (server: Api, origin: string) =>
    (await send({ headers: { origin } }, server)).headers.get("access-control-allow-origin");

  test("allows loopback origins and no others", async () => {
    const server = await startApi(db, {}, { allowLoopbackOrigins: true });
    try {
      for (const origin of ["http://localhost:3000", "http://127.0.0.1:5173", "https://[::1]:8443"])
        expect(await allowedBy(server, origin)).toBe(origin);
      for (const origin of [
        "https://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "file://localhost",
        "null",
      ])
        expect(await allowedBy(server, origin)).toBeNull();
    } finally {
      await server.close();
    }
  });

  test("allows only listed origins if there are any, and none on other servers without a list", async () => {
    expect(await allowedBy(api, "http://localhost:3000")).toBeNull();
    const listed = await startApi(
      db,
      { PLINTH_CORS_ORIGINS: "https://app.example" },
      { allowLoopbackOrigins: true },
    );
    try {
      expect(await allowedBy(listed, "http://localhost:3000")).toBeNull();
      expect(await allowedBy(listed, "https://app.example")).toBe("https://app.example");
    } finally {
      await listed.close();
    }
  });
});

describe("headers", () => {
  test("of a response allow nothing and name no software", async () => {
    const { headers } = await send();
    expect(headers.get("content-security-policy")).toBe("default-src 'none';frame-ancestors 'none'");
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("x-powered-by")).toBeNull();
  });

  test("of GraphiQL allow its own scripts and no other page's", async () => {
    const { headers, status, text } = await send({ method: "GET", path: "/graphiql", body: null });
    expect(status).toBe(200);
    expect(text).toContain("/graphiql/static/ruru.js");
    const policy = headers.get("content-security-policy")!;
    expect(policy).toContain("script-src 'self'");
    expect(policy).not.toMatch(/https?:|\*|unsafe-eval/);
    const script = await send({ method: "GET", path: "/graphiql/static/ruru.js", body: null });
    expect([script.status, script.headers.get("content-type")]).toEqual([
      200,
      expect.stringContaining("javascript"),
    ]);
  });

  test("GraphiQL can be switched off", async () => {
    const without = await startApi(db, { PLINTH_GRAPHIQL: "false" });
    try {
      for (const path of ["/graphiql", "/graphiql/static/ruru.js"])
        expect((await send({ method: "GET", path, body: null }, without)).status).toBe(404);
    } finally {
      await without.close();
    }
  });
});
