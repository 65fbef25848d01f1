import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { type Client, createClient, type ExecutionResult } from "graphql-ws";
import { getIntrospectionQuery } from "postgraphile/graphql";
import { WebSocket } from "ws";
import { documentHash } from "../../src/documents/document-hash.ts";
import { removeDocuments, storeDocuments } from "../../src/documents/stored-documents.ts";
import { addModel } from "../support/accounts.ts";
import { type Api, type SignedIn, send, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";

const VIEWER = "query Viewer { currentUser { username } }";
const MISSING = documentHash("query Missing { currentUser { id } }");

let db: TestDatabase;
/** Two servers that execute any document, and one that executes only added ones. */
let api: Api;
let second: Api;
let strict: Api;
let ada: SignedIn;
const clients: Client[] = [];

beforeAll(async () => {
  db = await createTestDatabase();
  await add(VIEWER);
  api = await startApi(db, { PLINTH_BODY_LIMIT_BYTES: "100000" });
  second = await startApi(db);
  strict = await startApi(db, { PLINTH_DOCUMENTS: "added" });
  ada = await signUp(api, "ada");
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.dispose();
});
afterAll(async () => {
  for (const server of [api, second, strict]) await server.close();
  await db.drop();
});

const add = (...texts: string[]) => withClient(db.url("owner"), (client) => storeDocuments(client, texts));
const remove = (...ids: string[]) => withClient(db.url("owner"), (client) => removeDocuments(client, ids));

async function post({ url }: Api, body: unknown, headers: Record<string, string> = {}) {
  const { status, json, code } = await send(url, {
    body: typeof body === "string" ? body : JSON.stringify(body),
    headers: { authorization: `Bearer ${ada.token}`, ...headers },
  });
  return { status, data: json.data, code, message: json.errors?.[0]?.message };
}

const apq = (hash: string, query?: string) => ({
  ...(query === undefined ? {} : { query }),
  extensions: { persistedQuery: { version: 1, sha256Hash: hash } },
});

/** The first result of a payload over a new socket. */
function askOver({ url }: Api, payload: object): Promise<ExecutionResult> {
  const client = createClient({
    url: `${url.replace("http", "ws")}/graphql`,
    connectionParams: { authorization: `Bearer ${ada.token}` },
    retryAttempts: 0,
  });
  clients.push(client);
  return new Promise((resolve, reject) => {
    client.subscribe(payload as never, {
      next: (result) => resolve(result as ExecutionResult),
      error: (error) =>
        Array.isArray(error)
          ? resolve({ errors: error })
          : reject(new Error(`The socket closed with ${(error as CloseEvent).code}.`)),
      complete: () => {},
    });
  });
}

const codesOf = ({ errors }: ExecutionResult) => errors?.map(({ extensions }) => extensions?.code);
const ADA = { currentUser: { username: "ada" } };

describe("an added document", () => {
  test.each<[string, object]>([
    ["documentId", { documentId: `sha256:${documentHash(VIEWER)}` }],
    ["a plain documentId", { documentId: documentHash(VIEWER) }],
    ["sha256Hash", apq(documentHash(VIEWER))],
  ])("is executed by its %s over HTTP and WebSocket", async (_how, body) => {
    for (const server of [api, second, strict]) {
      expect(await post(server, body)).toMatchObject({ status: 200, data: ADA });
      expect(await askOver(server, { query: "", ...body })).toEqual({ data: ADA });
    }
  });

  test("is executed over a WebSocket whose client sends no query at all", async () => {
    const socket = new WebSocket(`${api.url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
    const answer = new Promise((resolve) => {
      socket.on("message", (data: Buffer) => {
        const message = JSON.parse(data.toString());
        if (message.type === "connection_ack")
          socket.send(
            JSON.stringify({ id: "1", type: "subscribe", payload: { documentId: documentHash(VIEWER) } }),
          );
        else resolve(message.payload);
      });
    });
    socket.on("open", () => socket.send('{"type":"connection_init"}'));
    expect(await answer).toEqual({ data: { currentUser: null } });
    socket.close();
  });

  test("gets its variables and the name of its operation, and its errors their codes", async () => {
    const text =
      "query One { currentUser { username } } query Two($n: Int!) { chats(first: $n) { totalCount } }";
    await add(text);
    const documentId = documentHash(text);
    const ask = (operationName: string, variables = {}) =>
      post(strict, { documentId, operationName, variables });
    await until(async () => (await ask("One")).status === 200);
    expect((await ask("Two", { n: 1 })).data).toEqual({ chats: { totalCount: 0 } });
    expect((await ask("Two", { n: 1_000 })).code).toBe("PAGE_TOO_LARGE");
    expect((await ask("Two", { n: "x" })).code).toBe("BAD_USER_INPUT");
    expect((await ask("Three")).code).toBe("BAD_USER_INPUT");
  });

  test("is known to running servers at once, and unknown after its removal", async () => {
    const text = "query Late { currentUser { id } }";
    const documentId = documentHash(text);
    const statuses = () =>
      Promise.all([api, second, strict].map(async (server) => (await post(server, { documentId })).status));
    expect(await statuses()).toEqual([404, 404, 403]);
    await add(text);
    await until(async () => (await statuses()).every((status) => status === 200));
    await remove(documentId);
    await until(async () => (await statuses()).every((status) => status !== 200));
    expect(await statuses()).toEqual([404, 404, 403]);
  });

  test("is known after the connection for news was lost while it was added", async () => {
    const text = "query Lost { currentUser { createdAt } }";
    await withClient(db.adminUrl, async (client) => {
      await client.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'plinth-live'",
      );
      await add(text);
    });
    for (const server of [api, second, strict])
      await until(async () => (await post(server, { documentId: documentHash(text) })).status === 200);
  });

  test("starts a subscription by its hash", async () => {
    const text = "subscription Unread { unreadCounts { isWhole counts { roomId } } }";
    await add(text);
    const documentId = documentHash(text);
    await until(async () => (await post(strict, { documentId })).code !== "DOCUMENT_NOT_ALLOWED");
    expect(await askOver(strict, { query: "", documentId })).toEqual({
      data: { unreadCounts: { isWhole: true, counts: [] } },
    });
  });
});

describe("automatic persisted queries", () => {
  const text = "query Automatic { currentUser { username } }";

  test("are asked for with a status of 200, registered with their text, and then found on that server only", async () => {
    const hash = documentHash(text);
    const asked = await post(api, apq(hash), { accept: "application/graphql-response+json" });
    expect(asked).toEqual({
      status: 200,
      data: undefined,
      code: "PERSISTED_QUERY_NOT_FOUND",
      message: "PersistedQueryNotFound",
    });
    expect((await post(api, apq(hash, text))).data).toEqual(ADA);
    expect((await post(api, apq(hash))).data).toEqual(ADA);
    expect((await post(second, apq(hash))).code).toBe("PERSISTED_QUERY_NOT_FOUND");
  });

  test("work over a WebSocket", async () => {
    const other = `${text} # over a socket`;
    const hash = documentHash(other);
    const unknown = await askOver(api, apq(hash, ""));
    expect([codesOf(unknown), unknown.errors?.[0]?.message]).toEqual([
      ["PERSISTED_QUERY_NOT_FOUND"],
      "PersistedQueryNotFound",
    ]);
    expect(await askOver(api, apq(hash, other))).toEqual({ data: ADA });
    expect(await askOver(api, apq(hash, ""))).toEqual({ data: ADA });
    expect((await post(api, apq(hash))).data).toEqual(ADA);
  });

  test("of which the hash is another document's are rejected and not registered", async () => {
    const evil = "mutation { logoutEverywhere(input: {}) { result } }";
    expect(await post(api, apq(MISSING, evil))).toMatchObject({ status: 400, code: "BAD_REQUEST" });
    expect(await post(api, apq(documentHash(VIEWER), evil))).toMatchObject({ status: 400 });
    expect(codesOf(await askOver(api, apq(MISSING, evil)))).toEqual(["BAD_REQUEST"]);
    expect((await post(api, apq(MISSING))).code).toBe("PERSISTED_QUERY_NOT_FOUND");
    expect((await post(api, apq(documentHash(VIEWER)))).data).toEqual(ADA);
  });

  test("that are longer than the body limit are rejected unread", async () => {
    const long = `${text}#${"x".repeat(100_000)}`;
    expect(await post(api, apq(documentHash(long), long))).toMatchObject({
      status: 413,
      code: "PAYLOAD_TOO_LARGE",
    });
  });

  test("that are too long to remember are executed each time they are sent", async () => {
    const long = `${text}#${"x".repeat(30_000)}`;
    for (let i = 0; i < 2; i++) {
      expect((await post(api, apq(documentHash(long), long))).data).toEqual(ADA);
      expect((await post(api, apq(documentHash(long)))).code).toBe("PERSISTED_QUERY_NOT_FOUND");
    }
  });

  test("stay within the limits of a query", async () => {
    const wide = `{ ${Array.from({ length: 20 }, (_, i) => `a${i}: currentUser { id }`).join(" ")} }`;
    expect((await post(api, apq(documentHash(wide), wide))).code).toBe("QUERY_TOO_COMPLEX");
    expect((await post(api, apq(documentHash(wide)))).code).toBe("QUERY_TOO_COMPLEX");
  });
});

test.each([
  '{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"__proto__"}}}',
  '{"extensions":{"persistedQuery":{"__proto__":{"version":1,"sha256Hash":"x"}}}}',
  '{"extensions":{"persistedQuery":{"version":1,"sha256Hash":{"toString":1}}}}',
  '{"extensions":{"persistedQuery":"x"}}',
  '{"extensions":"x"}',
  '{"extensions":[]}',
  '{"extensions":{"__proto__":{"persistedQuery":{}}}}',
  '{"documentId":"__proto__"}',
  '{"documentId":["x"]}',
  '{"documentId":1e400}',
  '{"__proto__":{"documentId":"x"}}',
  '{"query":"{ __typename }","extensions":"x"}',
  '{"query":"{ __typename }","documentId":"x"}',
  '[{"query":"{ __typename }"}]',
])("%s is a bad request", async (body) => {
  expect(await post(api, body)).toMatchObject({ status: 400, code: "BAD_REQUEST", data: undefined });
});

describe("where only added documents are executed", () => {
  test.each<[string, unknown, string?]>([
    ["another text", { query: "{ currentUser { id } }" }],
    ["an added text with one more character", { query: `${VIEWER} ` }],
    ["an introspection query", { query: getIntrospectionQuery() }],
    ["the registration of a text", apq(documentHash("{ __typename }"), "{ __typename }")],
    ["an unknown hash", apq(MISSING)],
    ["an unknown documentId", { documentId: MISSING }],
    ["a text as application/graphql", "{ currentUser { id } }", "application/graphql"],
  ])("%s is rejected with what to do", async (_what, body, ...[contentType = "application/json"]) => {
    expect(await post(strict, body, { "content-type": contentType })).toEqual({
      status: 403,
      data: undefined,
      code: "DOCUMENT_NOT_ALLOWED",
      message: expect.stringContaining("Add this one with `plinth documents add`."),
    });
    if (typeof body === "object")
      expect(codesOf(await askOver(strict, { query: "", ...body }))).toEqual(["DOCUMENT_NOT_ALLOWED"]);
  });

  test.each([
    '[{"query":"{ currentUser { id } }"}]',
    '{"query":["{ currentUser { id } }"]}',
    '{"query":null}',
    '{"Query":"{ currentUser { id } }"}',
    '{"id":"x","query":{}}',
    "null",
  ])("%s executes nothing", async (body) => {
    expect(await post(strict, body)).toMatchObject({ status: 400, code: "BAD_REQUEST", data: undefined });
  });

  test("the text of an added document is executed", async () => {
    expect((await post(strict, { query: VIEWER })).data).toEqual(ADA);
    expect(await askOver(strict, { query: VIEWER })).toEqual({ data: ADA });
    expect((await post(strict, VIEWER, { "content-type": "application/graphql" })).data).toEqual(ADA);
  });
});

describe("a persisted document and the rate limit", () => {
  const CANCEL =
    "mutation Cancel($id: UUID!) { cancelTurn(input: { messageId: $id }) { message { state } } }";
  const documentId = documentHash(CANCEL);
  let limited: Api;
  let modelId: string;

  beforeAll(async () => {
    await add(CANCEL);
    modelId = await addModel(db, { isPublic: true });
    limited = await startApi(db, {
      PLINTH_RATE_LIMIT_REQUESTS: "30",
      PLINTH_RATE_LIMIT_WINDOW_SECONDS: "86400",
      PLINTH_TRUSTED_PROXIES: "127.0.0.1",
    });
  });
  afterAll(() => limited.close());

  async function startTurn(): Promise<string> {
    const { token } = ada;
    const chat = await api.ask("mutation { createChat(input: { chat: {} }) { chat { id } } }", { token });
    const chatId = chat.data.createChat.chat.id;
    await api.ask(
      'mutation ($id: UUID!) { sendChatMessage(input: { chatId: $id, content: "Why?" }) { message { id } } }',
      { token, variables: { id: chatId } },
    );
    const turn = await api.ask(
      'mutation ($chat: UUID!, $model: UUID!) { startTurn(input: { chatId: $chat, modelId: $model, maxTokens: "2000" }) { message { id } } }',
      { token, variables: { chat: chatId, model: modelId } },
    );
    return turn.data.startTurn.message.id;
  }

  test("ends an answer over HTTP when the address has used up its limit, and nothing else", async () => {
    const id = await startTurn();
    const from = { "x-forwarded-for": "192.0.2.1" };
    await until(async () => (await post(limited, { documentId: documentHash(VIEWER) }, from)).status === 429);
    expect(await post(limited, { documentId, variables: { id } }, from)).toMatchObject({
      status: 200,
      data: { cancelTurn: { message: { state: "cancelled" } } },
    });
    for (const body of [{ documentId: documentHash(VIEWER) }, { documentId: MISSING }, apq(MISSING)])
      expect((await post(limited, body, from)).code).toBe("RATE_LIMITED");
  });

  test("ends an answer over a WebSocket when the address has used up its limit, and nothing else", async () => {
    const id = await startTurn();
    const client = createClient({
      url: `${limited.url.replace("http", "ws")}/graphql`,
      connectionParams: { authorization: `Bearer ${ada.token}` },
      // Each connection counts as a request, so there is only one.
      lazy: false,
      retryAttempts: 0,
      onNonLazyError: () => {},
    });
    clients.push(client);
    const ask = async (payload: object): Promise<ExecutionResult> => {
      for await (const result of client.iterate({ query: "", ...payload } as never)) return result as never;
      throw new Error("There is no result.");
    };
    const codeOver = (payload: object) =>
      ask(payload).then(
        (result) => codesOf(result)?.[0],
        (errors) => errors[0].extensions.code,
      );
    await until(async () => (await codeOver({ documentId: documentHash(VIEWER) })) === "RATE_LIMITED");
    expect(await codeOver({ documentId: MISSING })).toBe("RATE_LIMITED");
    expect(await ask({ documentId, variables: { id } })).toEqual({
      data: { cancelTurn: { message: { state: "cancelled" } } },
    });
  });
});

describe("the table of documents", () => {
  const asOwner = rowsAs("owner", () => db);

  test("can be read by the service through its function only, and by no other role", async () => {
    const list = "select hash from private.list_persisted_documents()";
    expect((await rowsAs("service", () => db)(list)).length).toBeGreaterThan(0);
    for (const role of ["authenticator", "worker", "analyst"] as const)
      await expect(rowsAs(role, () => db)(list)).rejects.toMatchObject({ code: "42501" });
    for (const role of ["service", "authenticator", "worker", "analyst"] as const)
      for (const sql of [
        "select from private.persisted_documents",
        "insert into private.persisted_documents (hash, document) values ('x', 'x')",
        "delete from private.persisted_documents",
      ])
        await expect(rowsAs(role, () => db)(sql)).rejects.toMatchObject({ code: "42501" });
  });

  test("rejects a hash that is not its document's, even by its owner", async () => {
    await expect(
      asOwner("insert into private.persisted_documents (hash, document) values ($1, '{ evil }')", [MISSING]),
    ).rejects.toMatchObject({ constraint: "persisted_documents_hash_is_sha256" });
    await expect(
      asOwner("update private.persisted_documents set document = '{ evil }' where hash = $1", [
        documentHash(VIEWER),
      ]),
    ).rejects.toMatchObject({ constraint: "persisted_documents_hash_is_sha256" });
  });

  test("sends only the texts that a server does not have", async () => {
    const rows = await rowsAs("service", () => db)(
      "select hash, document from private.list_persisted_documents($1)",
      [[documentHash(VIEWER), MISSING]],
    );
    const stored = await asOwner<{ hash: string; document: string | null }>(
      "select hash, nullif(document, $1) as document from private.persisted_documents",
      [VIEWER],
    );
    expect(rows.length).toBeGreaterThan(1);
    expect(new Set(rows.map((row) => JSON.stringify(row)))).toEqual(
      new Set(stored.map((row) => JSON.stringify(row))),
    );
  });
});
