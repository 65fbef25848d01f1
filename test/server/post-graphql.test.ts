import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { type Api, type SignedIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { sendRaw } from "../support/raw-http.ts";

// POST /graphql has a handler of its own; other requests and other spellings of its URL pass Express.

const OPERATION = '{"query":"{ __typename }"}';
const BODY_LIMIT = 2_000;

let db: TestDatabase;
let api: Api;
let ada: SignedIn;

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db, {
    PLINTH_BODY_LIMIT_BYTES: String(BODY_LIMIT),
    PLINTH_CORS_ORIGINS: "https://app.example",
    PLINTH_TRUSTED_PROXIES: "127.0.0.1",
  });
  ada = await signUp(api, "ada");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

interface RawRequest {
  readonly method?: string;
  readonly url?: string;
  readonly version?: string;
  readonly headers?: readonly string[];
  readonly body?: string;
  /** The last request of a connection closes it. */
  readonly isLast?: boolean;
}

function bytes(request: RawRequest = {}): string {
  const { method = "POST", url = "/graphql", version = "1.1", headers = [], body = OPERATION } = request;
  const hasLength = headers.some((header) => /^(Content-Length|Transfer-Encoding):/.test(header));
  return [
    `${method} ${url} HTTP/${version}`,
    "Host: x",
    ...(headers.some((header) => header.startsWith("Content-Type:"))
      ? []
      : ["Content-Type: application/json"]),
    ...headers,
    ...(hasLength ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]),
    ...(request.isLast === false ? [] : ["Connection: close"]),
    "",
    body,
  ].join("\r\n");
}

interface RawAnswer {
  readonly status: number;
  /** In lower case, sorted, without values that differ from request to request. */
  readonly headers: readonly string[];
  readonly body: string;
}

/** Splits what a connection received into its responses. */
function answersIn(received: string): RawAnswer[] {
  return received.split(/(?=HTTP\/1\.1 \d)/).map((text) => {
    const [head = "", ...body] = text.split("\r\n\r\n");
    const [statusLine = "", ...headers] = head.split("\r\n");
    return {
      status: Number(statusLine.split(" ")[1]),
      headers: headers
        .map((header) =>
          header
            .replace(/^[^:]+/, (name) => name.toLowerCase())
            .replace(/^(date): .*/, "$1")
            .replace(/^(x-request-id): [0-9a-f-]{36}$/, "$1")
            .replace(/ r=\d+; t=\d+/, ""),
        )
        .sort(),
      body: body.join("\r\n\r\n"),
    };
  });
}

async function answerTo(request: RawRequest): Promise<RawAnswer> {
  return answersIn(await sendRaw(api.url, bytes(request))).at(-1)!;
}

const codeIn = ({ body }: RawAnswer): unknown => JSON.parse(body).errors?.[0].extensions.code;

const HEADERS: [string, string[]][] = [
  ["no header of its own", []],
  ["an allowed origin", ["Origin: https://app.example"]],
  ["another origin", ["Origin: https://evil.example"]],
  ["an opaque origin", ["Origin: null"]],
  ["an id", ["X-Request-Id: given-0123456789"]],
  ["two ids", ["X-Request-Id: given-0123456789", "X-Request-Id: given-9876543210"]],
  ["a trace", ["Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"]],
  ["an address from a proxy", ["X-Forwarded-For: 192.0.2.7"]],
  ["two addresses from proxies", ["X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: 2001:db8::7"]],
  ["an address that cannot be read", ["X-Forwarded-For: nonsense, ,"]],
  [
    "everything",
    ["Origin: https://app.example", "X-Request-Id: given-0123456789", "X-Forwarded-For: 192.0.2.9"],
  ],
];

describe("a request has the same headers and errors as one that passes the steps, with", () => {
  test.each(HEADERS)("an invalid token and %s", async (_what, headers) => {
    const sent = [...headers, "Authorization: Bearer x"];
    const direct = await answerTo({ headers: sent });
    expect(direct.status).toBe(401);
    expect(direct).toEqual(await answerTo({ method: "PUT", headers: sent }));
  });

  test.each(HEADERS)("a rejected operation and %s", async (_what, headers) => {
    const { headers: direct } = await answerTo({ headers, body: "{" });
    const { headers: through } = await answerTo({ url: "/nowhere", headers, body: "{" });
    const withoutLength = (list: readonly string[]) =>
      list.filter((header) => !header.startsWith("content-length"));
    expect(withoutLength(direct)).toEqual(withoutLength(through));
  });

  test("the first of two tokens", async () => {
    const [valid, invalid] = [`Authorization: Bearer ${ada.token}`, "Authorization: Bearer x"];
    const body = '{"query":"{ currentUser { username } }"}';
    expect((await answerTo({ headers: [valid, invalid], body })).body).toBe(
      '{"data":{"currentUser":{"username":"ada"}}}',
    );
    expect((await answerTo({ headers: [invalid, valid], body })).status).toBe(401);
    expect((await answerTo({ method: "PUT", headers: [valid, invalid] })).status).toBe(405);
    expect((await answerTo({ method: "PUT", headers: [invalid, valid] })).status).toBe(401);
  });
});

const ODD: [string, RawRequest, number, unknown][] = [
  ["an operation", {}, 200, undefined],
  [
    "a body in chunks",
    { headers: ["Transfer-Encoding: chunked"], body: `1a\r\n${OPERATION}\r\n0\r\n\r\n` },
    200,
    undefined,
  ],
  [
    "a body in chunks with a length",
    { headers: ["Transfer-Encoding: chunked", "Content-Length: 26"], body: "0\r\n\r\n" },
    400,
    "none",
  ],
  [
    "a body that is announced as too large",
    { headers: ["Content-Length: 2001"], body: "{" },
    413,
    "PAYLOAD_TOO_LARGE",
  ],
  [
    "a body that grows too large",
    { headers: ["Transfer-Encoding: chunked"], body: `7d1\r\n${"x".repeat(2_001)}\r\n0\r\n\r\n` },
    413,
    "PAYLOAD_TOO_LARGE",
  ],
  ["the largest body", { body: OPERATION.padEnd(BODY_LIMIT) }, 200, undefined],
  ["an empty body", { body: "" }, 400, "BAD_REQUEST"],
  ["a batch", { body: `[${OPERATION}]` }, 400, "BAD_REQUEST"],
  ["variables that are a list", { body: '{"query":"{ __typename }","variables":[]}' }, 400, "BAD_REQUEST"],
  [
    "an operation's name that is a number",
    { body: '{"query":"{ __typename }","operationName":1}' },
    400,
    "BAD_REQUEST",
  ],
  [
    "members that are null",
    { body: '{"query":"{ __typename }","variables":null,"operationName":null,"extensions":null}' },
    200,
    undefined,
  ],
  ["a byte order mark", { body: `\ufeff${OPERATION}` }, 400, "BAD_REQUEST"],
  ["another media type", { headers: ["Content-Type: text/plain"] }, 415, "UNSUPPORTED_MEDIA_TYPE"],
  [
    "the text of a document",
    { headers: ["Content-Type: application/graphql"], body: "{ __typename }" },
    200,
    undefined,
  ],
  [
    "a media type with parameters",
    { headers: ["Content-Type: application/json ; charset=utf-8"] },
    200,
    undefined,
  ],
  ["an empty media type", { headers: ["Content-Type: "] }, 400, "BAD_REQUEST"],
  ["an error behaviour", { body: '{"query":"{ __typename }","onError":"NULL"}' }, 200, undefined],
  [
    "an unknown error behaviour",
    { body: '{"query":"{ __typename }","onError":"IGNORE"}' },
    400,
    "BAD_REQUEST",
  ],
  ["only types of quality 0", { headers: ["Accept: application/json;q=0"] }, 406, "NOT_ACCEPTABLE"],
  [
    "types of different qualities",
    {
      headers: ["Accept: application/graphql-response+json;q=0.5, */*;q=0.1, application/json;q=0.6"],
      body: '{"query":"{"}',
    },
    200,
    "GRAPHQL_PARSE_FAILED",
  ],
  [
    "types of equal qualities",
    { headers: ["Accept: application/json, application/*"], body: '{"query":"{"}' },
    400,
    "GRAPHQL_PARSE_FAILED",
  ],
  ["a compressed body", { headers: ["Content-Encoding: gzip"] }, 415, "UNSUPPORTED_MEDIA_TYPE"],
  ["an unsupported Accept header", { headers: ["Accept: image/png"] }, 406, "NOT_ACCEPTABLE"],
  ["a syntax error", { body: '{"query":"{"}' }, 200, "GRAPHQL_PARSE_FAILED"],
  [
    "a syntax error and a media type with a status",
    { headers: ["Accept: application/graphql-response+json"], body: '{"query":"{"}' },
    400,
    "GRAPHQL_PARSE_FAILED",
  ],
  [
    "an unknown operation",
    {
      headers: ["Accept: application/graphql-response+json"],
      body: '{"query":"query A { __typename }","operationName":"B"}',
    },
    400,
    "BAD_USER_INPUT",
  ],
  [
    "an error of the operation",
    {
      headers: ["Accept: application/graphql-response+json"],
      body: '{"query":"mutation { createChat(input: { chat: {} }) { chat { id } } }"}',
    },
    200,
    "UNAUTHENTICATED",
  ],
  ["HTTP/1.0", { version: "1.0" }, 200, undefined],
  ["a conditional request", { headers: ["If-None-Match: *", "Range: bytes=0-3"] }, 200, undefined],
];

describe("a request with", () => {
  test.each(ODD)(
    "%s is answered in the same way at every spelling of the URL",
    async (_what, request, status, code) => {
      const [canonical, ...others] = await Promise.all(
        ["/graphql", "/graphql/", "/graphql?a=b", "http://other.example/graphql"].map((url) =>
          answerTo({ ...request, url }),
        ),
      );
      expect([canonical!.status, code === "none" ? code : codeIn(canonical!)]).toEqual([status, code]);
      for (const other of others) expect(other).toEqual(canonical);
    },
  );

  test.each(["/Graphql", "/GRAPHQL", "//graphql", "/graphql//", "/graphql/sub", "/%67raphql", "/graphql%2f"])(
    "the path %s is not an operation",
    async (url) => {
      const answer = await answerTo({ url });
      expect([answer.status, codeIn(answer)]).toEqual([404, "NOT_FOUND"]);
    },
  );

  test.each(["GET", "HEAD", "PUT", "DELETE", "QUERY"])(
    "the method %s is not an operation",
    async (method) => {
      const { status, headers } = await answerTo({ method });
      expect(status).toBe(405);
      expect(headers).toContain("allow: POST");
    },
  );

  test("an expectation is told to continue, or not to", async () => {
    const headers = ["Expect: 100-continue"];
    const answers = answersIn(await sendRaw(api.url, bytes({ headers })));
    expect(answers.map(({ status }) => status)).toEqual([100, 200]);
    const tooLarge = await sendRaw(
      api.url,
      bytes({ headers: [...headers, "Content-Length: 9999"], body: "" }),
    );
    expect(answersIn(tooLarge).at(-1)!.status).toBe(413);
    expect((await answerTo({ headers: ["Expect: something-else"] })).status).toBe(417);
  });

  test("others behind it on the same connection is answered in order", async () => {
    const received = await sendRaw(
      api.url,
      bytes({ body: '{"query":"{ a: __typename }"}', isLast: false }) +
        bytes({ headers: ["Authorization: Bearer x"], isLast: false }) +
        bytes({ method: "GET", isLast: false }) +
        bytes({ url: "/graphql/", body: '{"query":"{ b: __typename }"}', isLast: false }) +
        bytes({ body: '{"query":"{ c: __typename }"}' }),
    );
    const answers = answersIn(received);
    expect(answers.map(({ status }) => status)).toEqual([200, 401, 405, 200, 200]);
    expect([0, 3, 4].map((i) => Object.keys(JSON.parse(answers[i]!.body).data))).toEqual([
      ["a"],
      ["b"],
      ["c"],
    ]);
  });

  test("a body that is never completed is logged as aborted, and the server goes on", async () => {
    const id = "never-completed";
    const { hostname, port } = new URL(api.url);
    const socket = connect(Number(port), hostname);
    const request = bytes({ headers: [`X-Request-Id: ${id}`, "Content-Length: 100"], isLast: false });
    await new Promise((resolve) => socket.write(request, resolve));
    socket.destroy();
    const lines = () =>
      api.logLines.filter(({ correlationId, msg }) => correlationId === id && msg === "request");
    await until(() => lines().length > 0);
    expect(lines()).toEqual([expect.objectContaining({ aborted: true, path: "/graphql" })]);
    expect((await answerTo({})).status).toBe(200);
  });
});

test.each([
  ["a small response", "{ currentUser { username } }"],
  ["a large response", "{ __schema { types { name description fields { name description } } } }"],
  ["an error", "{"],
])("sends %s in one write", async (_what, query) => {
  const writes: number[] = [];
  function count(message: unknown): void {
    const { socket } = message as { socket: Socket & { _writeGeneric(...args: unknown[]): void } };
    const { _writeGeneric } = socket;
    const index = writes.push(0) - 1;
    socket._writeGeneric = (...args) => {
      writes[index]! += 1;
      _writeGeneric.apply(socket, args);
    };
  }
  subscribe("net.server.socket", count);
  try {
    const answer = await answerTo({
      headers: [`Authorization: Bearer ${ada.token}`],
      body: JSON.stringify({ query }),
    });
    expect(answer.status).toBe(200);
    expect(writes).toEqual([1]);
  } finally {
    unsubscribe("net.server.socket", count);
  }
});
