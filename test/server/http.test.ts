import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createAccessTokens } from "../../src/auth/access-token.ts";
import { generateSigningKey, parseSigningKeys } from "../../src/auth/signing-keys.ts";
import {
  type Api,
  type Posting,
  SIGNING_KEYS,
  type SignedIn,
  send as sendTo,
  signUp,
  startApi,
} from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { sendRaw } from "../support/raw-http.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db, { PLINTH_BODY_LIMIT_BYTES: "2000" });
  ada = await signUp(api, "ada");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const send = (posting: Posting = {}, to = api) => sendTo(to.url, posting);

const withToken = (token: string) => send({ headers: { authorization: token } });

describe("the access token", () => {
  test("is accepted in the Authorization header", async () => {
    for (const header of [`Bearer ${ada.token}`, `bearer ${ada.token}`, `Bearer  ${ada.token} `])
      expect((await withToken(header)).status).toBe(200);
  });

  test("is read from no other place", async () => {
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
    ["cut off", () => `Bearer ${ada.token.slice(0, -2)}`],
    ["empty", () => "Bearer "],
    ["nonsense", () => "Bearer nonsense"],
    ["of another scheme", () => "Basic YWRhOnBhc3N3b3Jk"],
    ["a refresh token", () => `Bearer ${ada.refreshToken}`],
  ])("that is %s returns 401 and is not treated as a visitor's", async (_what, header) => {
    const answer = await withToken(header());
    expect([answer.status, answer.code]).toEqual([401, "UNAUTHENTICATED"]);
    expect(answer.headers.get("www-authenticate")).toBe('Bearer realm="plinth", error="invalid_token"');
    expect(answer.headers.get("cache-control")).toBe("no-store");
  });
});

describe("requests without an operation", () => {
  test.each<[string, Posting, number, string]>([
    ["GET", { method: "GET", body: null }, 405, "METHOD_NOT_ALLOWED"],
    [
      "GET with a query",
      { method: "GET", path: "/graphql?query={__typename}", body: null },
      405,
      "METHOD_NOT_ALLOWED",
    ],
    ["PUT", { method: "PUT" }, 405, "METHOD_NOT_ALLOWED"],
    ["an empty body", { body: "" }, 400, "BAD_REQUEST"],
    ["invalid JSON", { body: "{" }, 400, "BAD_REQUEST"],
    ["invalid JSON with a number that needs a closer look", { body: "[1e400" }, 400, "BAD_REQUEST"],
    [
      "JSON nested too deep for such a number",
      { body: `${"[".repeat(900)}1e400${"]".repeat(900)}` },
      400,
      "BAD_REQUEST",
    ],
    ["JSON that is not an object", { body: "1" }, 400, "BAD_REQUEST"],
    ["an object without a query", { body: "{}" }, 400, "BAD_REQUEST"],
    [
      "variables that are not an object",
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
      "plain text, which a page may send without a preflight",
      { headers: { "content-type": "text/plain" } },
      415,
      "UNSUPPORTED_MEDIA_TYPE",
    ],
    ["a compressed body", { headers: { "content-encoding": "gzip" } }, 415, "UNSUPPORTED_MEDIA_TYPE"],
    ["an unsupported Accept header", { headers: { accept: "image/png" } }, 406, "NOT_ACCEPTABLE"],
    ["a body that is too large", { body: `{"query":"{ ${"a".repeat(2_000)} }"}` }, 413, "PAYLOAD_TOO_LARGE"],
    ["another path", { path: "/" }, 404, "NOT_FOUND"],
    ["a path that cannot be decoded", { path: "/%ff", method: "GET", body: null }, 404, "NOT_FOUND"],
  ])("are rejected: %s", async (_what, posting, status, code) => {
    const answer = await send(posting);
    expect([answer.status, answer.code]).toEqual([status, code]);
    expect(answer.text).not.toMatch(/node_modules|at .*\.js:/);
  });

  test("a body that grows too large without an announced length is rejected once it does", async () => {
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
  // It cannot be read, so there is no preference.
  ["*", "application/json"],
  [", ,", "application/json"],
  ["json", "application/json"],
  ["application/json;q=2", "application/json"],
  ["application/json; q=", "application/json"],
  ['application/json; charset="utf-8', "application/json"],
  ["*a/b", "application/json"],
  [`${"a/".repeat(3_000)}`, "application/json"],
  // Only part of it can be read.
  ["application/json,", "application/json"],
  ["*/x, application/json", "application/json"],
  ["text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "application/graphql-response+json"],
])("Accept: %s is answered with %s", async (accept, expected) => {
  // fetch would add */* by default.
  const answer = await sendRaw(
    api.url,
    `POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${accept ? `Accept: ${accept}\r\n` : ""}Content-Length: 26\r\nConnection: close\r\n\r\n{"query":"{ __typename }"}`,
  );
  expect(answer).toMatch(/^HTTP\/1\.1 200/);
  expect(answer.toLowerCase()).toContain(`content-type: ${expected}`);
});

test("reports no internal error for an unreadable header", async () => {
  const headers = [
    "Accept",
    "Content-Type",
    "Content-Encoding",
    "Authorization",
    "Origin",
    "X-Request-Id",
    "User-Agent",
  ];
  const more = [
    "X-Forwarded-For",
    "Traceparent",
    "If-None-Match",
    "Range",
    "Accept-Language",
    "Cookie",
    "Sec-Fetch-Site",
  ];
  const values = [
    ",",
    "*",
    ";",
    "=",
    "/",
    '"',
    "\\",
    "a/b;",
    "a/b;c",
    "*/*;q=x",
    "\u00ff",
    "__proto__",
    "a,".repeat(2_000),
  ];
  const statuses = new Set<number>();
  for (const name of [...headers, ...more])
    for (const value of values)
      for (const path of ["/graphql", "/graphiql", "/.well-known/jwks.json", "/readyz"]) {
        const method = path === "/graphql" ? "POST" : "GET";
        const request = `${method} ${path} HTTP/1.1\r\nHost: x\r\n${name}: ${value}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}`;
        const statusOf = async () => Number((await sendRaw(api.url, request)).slice(9, 12));
        let status = await statusOf();
        // The database may answer late.
        while (path === "/readyz" && status === 503) status = await statusOf();
        statuses.add(status);
      }
  expect([...statuses].filter((status) => !(status >= 200 && status < 500))).toEqual([]);
});
