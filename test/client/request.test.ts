import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { graphql, type ResultOf, type VariablesOf } from "../../client/graphql.ts";
import { createClient, type PlinthClient, PlinthClientError } from "../../client/index.ts";
import { type Api, PASSWORD, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let api: Api;
let client: PlinthClient;
/** Answers that take the place of the server's, first come first served. */
let faked: (() => Response | Promise<Response>)[] = [];
let requests: Request[] = [];

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db, { PLINTH_RATE_LIMIT_REQUESTS: "100000" });
  client = createClient({
    url: api.url,
    timeoutMs: 240_000,
    fetch: async (input, init) => {
      const request = new Request(input, init);
      requests.push(request);
      return faked.shift()?.() ?? fetch(request);
    },
  });
  await client.auth.register({ username: "ada", password: PASSWORD });
});
beforeEach(() => {
  faked = [];
  requests = [];
});
afterAll(async () => {
  client.close();
  await api.close();
  await db.drop();
});

const refusal =
  (code: string, status = 200, headers: Record<string, string> = {}) =>
  () =>
    new Response(JSON.stringify({ errors: [{ message: "no", extensions: { code } }] }), { status, headers });

const NAME = graphql("fragment Name on Profile { username displayName }");
const PEOPLE = graphql(
  "query People($first: Int!) { currentUser { id createdAt } profiles(first: $first) { nodes { ...Name } } }",
  [NAME],
);

describe("a typed document", () => {
  test("has the types of its result and variables", async () => {
    const { currentUser, profiles } = await client.request(PEOPLE, { first: 1 });
    const name: string | null | undefined = profiles?.nodes[0]?.username;
    const time: string | undefined = currentUser?.createdAt;
    expect([name, typeof time]).toEqual(["ada", "string"]);
    const variables: VariablesOf<typeof PEOPLE> = { first: 2 };
    const result: ResultOf<typeof PEOPLE> = await client.request(PEOPLE, variables);
    expect(result.currentUser?.id).toBe(currentUser?.id);
  });

  test("is rejected by the compiler and the server without a required variable", async () => {
    // @ts-expect-error: `first` is required
    await expect(client.request(PEOPLE)).rejects.toMatchObject({ code: "BAD_USER_INPUT" });
    // @ts-expect-error: `first` is a number
    await expect(client.request(PEOPLE, { first: "x" })).rejects.toMatchObject({ code: "BAD_USER_INPUT" });
  });

  test("has no field that it does not select", async () => {
    const { currentUser } = await client.request(PEOPLE, { first: 1 });
    // @ts-expect-error: `username` is not selected
    expect(currentUser?.username).toBeUndefined();
  });
});

test("a failed operation is an error with code, fields, correlation id and the parts that succeeded", async () => {
  const create = client.request(`mutation { createChat(input: { chat: { title: "" } }) { chat { id } } }`);
  const error = await create.catch((error: unknown) => error);
  expect(error).toBeInstanceOf(PlinthClientError);
  expect(error).toMatchObject({ code: "BAD_USER_INPUT", fields: ["title"], data: { createChat: null } });
  expect((error as PlinthClientError).correlationId).toMatch(/^[0-9a-f-]{36}$/);
});

describe("a passing error", () => {
  const KEYED = `mutation ($input: CreateRoomInput!) { createRoom(input: $input) { result { id } } }`;
  const room = (idempotencyKey: string | null) => ({
    input: { name: "room", roomType: "group", isPublic: true, idempotencyKey },
  });

  test.each(["UNAVAILABLE", "TIMEOUT", "RATE_LIMITED"])("of a query is retried: %s", async (code) => {
    faked = [refusal(code, 503), refusal(code, 503)];
    expect(await client.request("{ __typename }")).toEqual({ __typename: "Query" });
    expect(requests).toHaveLength(3);
  });

  test("of a mutation with an idempotency key is retried", async () => {
    faked = [refusal("UNAVAILABLE", 503), () => Promise.reject(new TypeError("fetch failed"))];
    expect((await client.request(KEYED, room(crypto.randomUUID()))).createRoom.result.id).toBeDefined();
    expect(requests).toHaveLength(3);
  });

  test.each([
    ["without an idempotency key", KEYED, room(null)],
    [
      "of which one field has no idempotency key",
      `mutation ($input: CreateRoomInput!) { a: createRoom(input: $input) { result { id } } b: createChat(input: { chat: {} }) { chat { id } } }`,
      room("key"),
    ],
  ])("of a mutation %s is thrown", async (_what, document, variables) => {
    faked = [refusal("UNAVAILABLE", 503, { "retry-after": "1" })];
    await expect(client.request(document, variables)).rejects.toMatchObject({
      code: "UNAVAILABLE",
      retryAfter: 1,
    });
    expect(requests).toHaveLength(1);
  });

  test("that lasts is thrown after three retries", async () => {
    faked = Array.from({ length: 9 }, () => refusal("TIMEOUT", 503));
    await expect(client.request("{ __typename }")).rejects.toMatchObject({ code: "TIMEOUT" });
    expect(requests).toHaveLength(4);
  });

  test("that asks for a long wait is thrown at once", async () => {
    faked = [refusal("RATE_LIMITED", 429, { "retry-after": "3600" })];
    await expect(client.request("{ __typename }")).rejects.toMatchObject({
      code: "RATE_LIMITED",
      retryAfter: 3600,
    });
    expect(requests).toHaveLength(1);
  });

  test("is not waited for once the signal is aborted", async () => {
    const leave = new AbortController();
    faked = [
      () => {
        setTimeout(() => leave.abort(), 1);
        return refusal("UNAVAILABLE", 503)();
      },
    ];
    await expect(client.request("{ __typename }", {}, { signal: leave.signal })).rejects.toThrow(/abort/i);
    expect(requests).toHaveLength(1);
  });
});

test.each([
  ["an unreachable server", () => Promise.reject(new TypeError("fetch failed")), "NETWORK"],
  [
    "a proxy that cannot reach it",
    () => new Response("<h1>Bad gateway</h1>", { status: 502 }),
    "UNAVAILABLE",
  ],
  ["a page in its place", () => new Response("<h1>Sign in to this Wi-Fi</h1>"), "NETWORK"],
])("%s has a code", async (_what, answer, code) => {
  faked = [answer];
  await expect(client.request("{ __typename }", {}, { retries: 0 })).rejects.toMatchObject({ code });
});

test("an attempt that takes too long is TIMEOUT", async () => {
  const impatient = createClient({
    url: api.url,
    timeoutMs: 50,
    retries: 0,
    fetch: (_input, init) =>
      new Promise((_resolve, reject) => {
        init!.signal!.addEventListener("abort", () => reject(init!.signal!.reason));
      }),
  });
  await expect(impatient.request("{ __typename }")).rejects.toMatchObject({ code: "TIMEOUT" });
});
