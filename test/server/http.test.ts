import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createAccessTokens } from "../../src/auth/access-token.ts";
import { generateSigningKey, parseSigningKeys } from "../../src/auth/signing-keys.ts";
import { loadConfig } from "../../src/config.ts";
import { startServer } from "../../src/server/server.ts";
import { type Api, codeOf, SIGNING_KEYS, type SignedIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db, {
    PLINTH_CORS_ORIGINS: "https://app.example,https://admin.example",
    PLINTH_BODY_LIMIT_BYTES: "2000",
  });
  ada = await signUp(api, "ada");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

interface Posting {
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | null;
  readonly to?: Pick<Api, "url">;
}

/** Sends something that is not necessarily an operation; the answer's code is that of its only error. */
async function send(posting: Posting = {}) {
  const {
    path = "/graphql",
    method = "POST",
    headers = {},
    body = '{"query":"{ __typename }"}',
    to = api,
  } = posting;
  const response = await fetch(to.url + path, {
    method,
    headers: { ...(body === null ? {} : { "content-type": "application/json" }), ...headers },
    body,
  });
  const text = await response.text();
  const json = response.headers.get("content-type")?.includes("json") ? JSON.parse(text) : undefined;
  const code: string | undefined = json?.errors?.length === 1 ? json.errors[0].extensions?.code : undefined;
  return { status: response.status, headers: response.headers, text, json, code };
}

const withToken = (token: string) => send({ headers: { authorization: token } });

describe("the access token", () => {
  test("travels in the Authorization header", async () => {
    for (const header of [`Bearer ${ada.token}`, `bearer ${ada.token}`, `Bearer  ${ada.token} `])
      expect((await withToken(header)).status).toBe(200);
  });

  test("is read nowhere else", async () => {
    const body = '{"query":"{ currentUser { username } }"}';
    const postings: Posting[] = [
      { path: `/graphql?access_token=${ada.token}`, body },
      { headers: { cookie: `access_token=${ada.token}; authorization=Bearer ${ada.token}` }, body },
      { headers: { "x-access-token": ada.token }, body },
    ];
    for (const posting of postings)
      expect((await send(posting)).json).toEqual({ data: { currentUser: null } });
  });

  const foreign = createAccessTokens({
    keys: parseSigningKeys(generateSigningKey()),
    issuer: "plinth",
    audience: "plinth",
    ttlSeconds: 60,
  });
  const expired = createAccessTokens({
    keys: parseSigningKeys(SIGNING_KEYS),
    issuer: "plinth",
    audience: "plinth",
    ttlSeconds: -1,
  });
  const subject = {
    userId: "01900000-0000-7000-8000-000000000000",
    sessionId: "01900000-0000-7000-8000-000000000001",
    tokenVersion: 1,
  };

  test.each<[string, () => string]>([
    ["forged", () => `Bearer ${foreign.sign(subject).token}`],
    ["expired", () => `Bearer ${expired.sign(subject).token}`],
    ["cut", () => `Bearer ${ada.token.slice(0, -2)}`],
    ["empty", () => "Bearer "],
    ["nonsense", () => "Bearer nonsense"],
    ["of another scheme", () => "Basic YWRhOnBhc3N3b3Jk"],
    ["a refresh token", () => `Bearer ${ada.refreshToken}`],
  ])("that is %s is 401 and no visitor", async (_what, header) => {
    const answer = await withToken(header());
    expect([answer.status, answer.code]).toEqual([401, "UNAUTHENTICATED"]);
    expect(answer.headers.get("www-authenticate")).toBe('Bearer realm="plinth", error="invalid_token"');
    expect(answer.headers.get("cache-control")).toBe("no-store");
  });
});

describe("requests that are no operation", () => {
  test.each<[string, Posting, number, string]>([
    ["GET", { method: "GET", body: null }, 405, "METHOD_NOT_ALLOWED"],
    [
      "GET with a query",
      { method: "GET", path: "/graphql?query={__typename}", body: null },
      405,
      "METHOD_NOT_ALLOWED",
    ],
    ["PUT", { method: "PUT" }, 405, "METHOD_NOT_ALLOWED"],
    ["no body", { body: "" }, 400, "BAD_REQUEST"],
    ["no JSON", { body: "{" }, 400, "BAD_REQUEST"],
    ["no object", { body: "1" }, 400, "BAD_REQUEST"],
    ["no query", { body: "{}" }, 400, "BAD_REQUEST"],
    [
      "variables that are no object",
      { body: '{"query":"{ __typename }","variables":[1]}' },
      400,
      "BAD_REQUEST",
    ],
    [
      "a form",
      { headers: { "content-type": "application/x-www-form-urlencoded" }, body: "query={__typename}" },
      415,
      "UNSUPPORTED_MEDIA_TYPE",
    ],
    [
      "plain text, which a page may send without asking",
      { headers: { "content-type": "text/plain" } },
      415,
      "UNSUPPORTED_MEDIA_TYPE",
    ],
    ["a compressed body", { headers: { "content-encoding": "gzip" } }, 415, "UNSUPPORTED_MEDIA_TYPE"],
    ["an answer nobody can give", { headers: { accept: "image/png" } }, 406, "NOT_ACCEPTABLE"],
    ["a body that is too large", { body: `{"query":"{ ${"a".repeat(2_000)} }"}` }, 413, "PAYLOAD_TOO_LARGE"],
    ["another path", { path: "/" }, 404, "NOT_FOUND"],
    ["a path that cannot be decoded", { path: "/%ff", method: "GET", body: null }, 404, "NOT_FOUND"],
  ])("%s", async (_what, posting, status, code) => {
    const answer = await send(posting);
    expect([answer.status, answer.code]).toEqual([status, code]);
    expect(answer.text).not.toMatch(/node_modules|at .*\.js:/);
  });

  test("a body that grows too large without saying so is refused when it has", async () => {
    const stream = new ReadableStream({
      pull(controller) {
        controller.enqueue(new TextEncoder().encode("x".repeat(500)));
      },
    });
    const response = await fetch(`${api.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: stream,
      duplex: "half",
    } as RequestInit).catch((error: unknown) => error);
    // Either the answer arrives before the connection is cut, or the cut alone.
    if (response instanceof Response) expect(response.status).toBe(413);
    expect((await send()).status).toBe(200);
  });
});

test.each([
  [undefined, "application/json"],
  ["*/*", "application/json"],
  ["application/json", "application/json"],
  ["application/graphql-response+json", "application/graphql-response+json"],
])("Accept: %s is answered with %s", async (accept, expected) => {
  // fetch would say */* by itself.
  const answer = await raw(
    `POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${accept ? `Accept: ${accept}\r\n` : ""}Content-Length: 26\r\nConnection: close\r\n\r\n{"query":"{ __typename }"}`,
  );
  expect(answer).toMatch(/^HTTP\/1\.1 200/);
  expect(answer.toLowerCase()).toContain(`content-type: ${expected}`);
});

describe("the correlation id", () => {
  test.each([
    ["is the caller's", { "x-request-id": "trace-0123456789" }, "trace-0123456789"],
    [
      "is the trace's",
      { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" },
      "4bf92f3577b34da6a3ce929d0e0e4736",
    ],
    [
      "is new for one that could break a log",
      { "x-request-id": "a b\tc;drop" },
      expect.stringMatching(/^[0-9a-f-]{36}$/),
    ],
    [
      "is new for one that is too long",
      { "x-request-id": "x".repeat(200) },
      expect.stringMatching(/^[0-9a-f-]{36}$/),
    ],
    [
      "is new for an invalid trace",
      { traceparent: `00-${"0".repeat(32)}-00f067aa0ba902b7-01` },
      expect.stringMatching(/^[0-9a-f-]{36}$/),
    ],
    ["is new without any", {}, expect.stringMatching(/^[0-9a-f-]{36}$/)],
  ])("%s", async (_what, headers, expected) => {
    const answer = await send({ headers: headers as Record<string, string> });
    expect(answer.headers.get("x-request-id")).toEqual(expected);
    const id = answer.headers.get("x-request-id");
    await until(() =>
      api.logLines.some(({ correlationId, msg }) => correlationId === id && msg === "request"),
    );
  });

  test("is on errors too", async () => {
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

  test("lets listed origins in", async () => {
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
    "keeps %s out",
    async (origin) => {
      expect((await preflight(origin)).headers.get("access-control-allow-origin")).toBeNull();
      expect((await send({ headers: { origin } })).headers.get("access-control-allow-origin")).toBeNull();
    },
  );

  test("lets a listed origin read a refusal", async () => {
    const answer = await send({ headers: { origin: "https://app.example", authorization: "Bearer x" } });
    expect([answer.status, answer.headers.get("access-control-allow-origin")]).toEqual([
      401,
      "https://app.example",
    ]);
  });
});

describe("headers", () => {
  test("of an answer allow nothing and name no software", async () => {
    const { headers } = await send();
    expect(headers.get("content-security-policy")).toBe("default-src 'none';frame-ancestors 'none'");
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("x-powered-by")).toBeNull();
  });

  test("of GraphiQL allow its own scripts, and no other page's", async () => {
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
        expect((await send({ method: "GET", path, body: null, to: without })).status).toBe(404);
    } finally {
      await without.close();
    }
  });
});

describe("the rate limit", () => {
  let limited: Api;
  beforeAll(async () => {
    limited = await startApi(db, {
      PLINTH_RATE_LIMIT_REQUESTS: "3",
      PLINTH_TRUSTED_PROXIES: "127.0.0.1,10.0.0.0/8",
    });
  });
  afterAll(() => limited.close());
  const from = (forwardedFor: string, posting: Posting = {}) =>
    send({ ...posting, to: limited, headers: { ...posting.headers, "x-forwarded-for": forwardedFor } });

  test("refuses what is too much, and says when to come back", async () => {
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

  test("cannot be evaded by inventing hops: only trusted proxies' words count", async () => {
    for (let i = 0; i < 3; i++) await from(`198.51.100.${i}, 192.0.2.77`);
    expect((await from("203.0.113.9, 192.0.2.77")).status).toBe(429);
    expect((await from("203.0.113.9, 192.0.2.77, 10.1.2.3")).status).toBe(429);
  });

  test("limits guessing tokens", async () => {
    for (let i = 0; i < 3; i++)
      expect((await from("192.0.2.99", { headers: { authorization: "Bearer x" } })).status).toBe(401);
    expect((await from("192.0.2.99", { headers: { authorization: "Bearer x" } })).status).toBe(429);
  });

  test("leaves probes alone", async () => {
    for (let i = 0; i < 5; i++)
      expect((await send({ method: "GET", path: "/healthz", body: null, to: limited })).status).toBe(200);
  });

  test("without trusted proxies believes the socket alone", async () => {
    await send({ headers: { "x-forwarded-for": "203.0.113.5", "x-request-id": "no-proxy-here" } });
    await until(() => api.logLines.some(({ correlationId }) => correlationId === "no-proxy-here"));
    expect(api.logLines.find(({ correlationId }) => correlationId === "no-proxy-here")).toMatchObject({
      clientIp: "127.0.0.1",
    });
  });
});

describe("probes", () => {
  const probe = (path: string, to: Pick<Api, "url"> = api) => send({ method: "GET", path, body: null, to });

  test("healthz says that the process answers", async () => {
    expect(await probe("/healthz")).toMatchObject({ status: 200, json: { status: "ok" } });
  });

  test("readyz says what works", async () => {
    expect(await probe("/readyz")).toMatchObject({
      status: 200,
      json: { status: "ready", checks: { database: "ok", revocations: "listening" } },
    });
  });

  test("readyz is 503 while the database is away, and healthz is not", async () => {
    const lost = await createTestDatabase();
    const orphan = await startApi(lost);
    await lost.drop();
    await until(async () => (await probe("/readyz", orphan)).status === 503);
    expect((await probe("/readyz", orphan)).json).toMatchObject({ checks: { database: "unreachable" } });
    expect((await probe("/healthz", orphan)).status).toBe(200);
    // With the listener gone and nobody to ask, a token is neither believed nor refused.
    const asked = await orphan.ask("{ __typename }", { token: ada.token });
    expect([asked.status, codeOf(asked)]).toEqual([503, "UNAVAILABLE"]);
    expect(codeOf(await orphan.ask("{ models { totalCount } }"))).toBe("UNAVAILABLE");
    await orphan.close();
  });
});

describe("the server", () => {
  const parts = (port: number) => ({
    config: loadConfig({
      PLINTH_PORT: String(port),
      PLINTH_LOG_LEVEL: "silent",
      PLINTH_ROLE_PREFIX: db.rolePrefix,
    }),
    authenticatorUrl: db.url("authenticator"),
    serviceUrl: db.url("service"),
    signingKeys: SIGNING_KEYS,
  });

  test("says so when its port is taken, and holds nothing afterwards", async () => {
    const connections = () =>
      withClient(db.adminUrl, async (client) => {
        const { rows } = await client.query<{ count: number }>(
          "select count(*)::integer from pg_stat_activity where datname = current_database() and application_name like 'plinth-%'",
        );
        return rows[0]!.count;
      });
    const before = await connections();
    await expect(startServer(parts(Number(new URL(api.url).port)))).rejects.toMatchObject({
      code: "ADDRESS_IN_USE",
    });
    await until(async () => (await connections()) <= before);
  });

  test("does not start with a weak key", async () => {
    await expect(startServer({ ...parts(0), signingKeys: "k1:c2VjcmV0" })).rejects.toMatchObject({
      code: "INVALID_SETTING",
    });
  });

  test("lets requests under way finish when it stops, and takes no new ones", async () => {
    await withClient(db.url("owner"), (client) =>
      client.query(`
        create or replace function identity.take_a_moment() returns text language sql volatile
          as $$ select 'finished' from pg_sleep(0.5) $$;
        grant execute on function identity.take_a_moment() to ${db.rolePrefix}_anonymous;`),
    );
    const stopping = await startApi(db);
    const underWay = stopping.ask("mutation { takeAMoment(input: {}) { result } }");
    await until(async () =>
      withClient(db.adminUrl, async (client) => {
        const { rowCount } = await client.query(
          "select from pg_stat_activity where state = 'active' and query like '%take_a_moment%' and pid <> pg_backend_pid()",
        );
        return rowCount! > 0;
      }),
    );
    const closing = stopping.close();
    await expect(fetch(`${stopping.url}/healthz`, { headers: { connection: "close" } })).rejects.toThrow();
    expect((await underWay).data).toEqual({ takeAMoment: { result: "finished" } });
    await closing;
    await stopping.close();
  });
});

/** Sends bytes as they are, resolves with all that comes back. */
function raw(request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(api.url);
    let answer = "";
    const socket = connect(Number(port), hostname, () => socket.write(request));
    socket
      .on("data", (chunk) => {
        answer += chunk;
      })
      .on("end", () => resolve(answer))
      .on("error", reject);
  });
}
