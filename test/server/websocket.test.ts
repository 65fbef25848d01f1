import { request, Server } from "node:http";
import { connect as connectTcp } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from "@jest/globals";
import { type Client, createClient, type ExecutionResult } from "graphql-ws";
import { type Api, type SignedIn, send, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { askOver } from "../support/socket.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
const clients: Client[] = [];

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db, { PLINTH_BODY_LIMIT_BYTES: "20000", PLINTH_CORS_ORIGINS: "https://app.example" });
  ada = await signUp(api, "ada");
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.dispose();
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

function connect(connectionParams: Record<string, unknown> = {}, url = api.url, lazy = true): Client {
  const client = createClient({
    url: `${url.replace("http", "ws")}/graphql`,
    connectionParams,
    lazy,
    retryAttempts: 0,
    onNonLazyError: () => {},
  });
  clients.push(client);
  return client;
}

const codesOf = ({ errors }: ExecutionResult) => errors?.map(({ extensions }) => extensions?.code);

describe("operations", () => {
  test("run as the user of the connection's token", async () => {
    const client = connect({ authorization: `Bearer ${ada.token}` });
    expect(await askOver(client, "{ currentUser { username } }")).toEqual({
      data: { currentUser: { username: "ada" } },
    });
    const created = await askOver(
      client,
      "mutation ($title: String!) { createChat(input: { chat: { title: $title } }) { chat { title } } }",
      { title: "over a socket" },
    );
    expect(created.data).toEqual({ createChat: { chat: { title: "over a socket" } } });
  });

  test("run as a visitor without a token", async () => {
    const client = connect();
    expect(await askOver(client, "{ currentUser { username } }")).toEqual({ data: { currentUser: null } });
    expect(codesOf(await askOver(client, "{ chats { totalCount } }"))).toEqual(["UNAUTHENTICATED"]);
  });

  test("are not authenticated by the upgrade request", async () => {
    const status = await upgrade({ authorization: `Bearer ${ada.token}` }, "/graphql?access_token=x");
    expect(status).toBe(101);
    expect(await askOver(connect({ token: ada.token }), "{ currentUser { username } }")).toEqual({
      data: { currentUser: null },
    });
  });

  test("return the same codes as over HTTP", async () => {
    const client = connect({ authorization: `Bearer ${ada.token}` });
    expect(codesOf(await askOver(client, "{"))).toEqual(["GRAPHQL_PARSE_FAILED"]);
    expect(codesOf(await askOver(client, "{ nope }"))).toEqual(["GRAPHQL_VALIDATION_FAILED"]);
    expect(codesOf(await askOver(client, "{ chats(first: 5000) { totalCount } }"))).toEqual([
      "PAGE_TOO_LARGE",
    ]);
    expect(
      codesOf(
        await askOver(client, 'mutation { createChat(input: { chat: { title: "" } }) { chat { id } } }'),
      ),
    ).toEqual(["BAD_USER_INPUT"]);
  });

  test("count against the client's rate limit", async () => {
    const limited = await startApi(db, {
      PLINTH_RATE_LIMIT_REQUESTS: "5",
      PLINTH_RATE_LIMIT_WINDOW_SECONDS: "86400",
    });
    try {
      // A lazy client closes its connection when its last operation ends, and each connection counts as a request.
      const client = connect({}, limited.url, false);
      const results = [];
      for (let i = 0; i < 6; i++) results.push(codesOf(await askOver(client, "{ __typename }")));
      // The upgrade itself was the first of the five.
      expect(results).toEqual([
        undefined,
        undefined,
        undefined,
        undefined,
        ["RATE_LIMITED"],
        ["RATE_LIMITED"],
      ]);
      expect(await upgrade({}, "/graphql", limited.url)).toBe(429);
    } finally {
      await limited.close();
    }
  });
});

describe("a connection", () => {
  test("from a page of another origin is rejected unless listed", async () => {
    expect(await upgrade({ origin: "https://evil.example" })).toBe(403);
    expect(await upgrade({ origin: "null" })).toBe(403);
    expect(await upgrade({ origin: "https://app.example" })).toBe(101);
    expect(await upgrade({ origin: api.url })).toBe(101);
  });

  test("to another path is rejected", async () => {
    expect(await upgrade({}, "/elsewhere")).toBe(404);
  });

  test("that is rejected and stays half open does not keep the server from stopping", async () => {
    const stopping = await startApi(db);
    const { port } = new URL(stopping.url);
    const socket = connectTcp({ host: "127.0.0.1", port: Number(port), allowHalfOpen: true });
    try {
      const ended = new Promise((resolve) => socket.once("end", resolve));
      socket.on("error", () => {}).resume();
      socket.write("GET /elsewhere HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
      await ended;
      await expect(stopping.close()).resolves.toBeUndefined();
    } finally {
      socket.destroy();
    }
  });

  test("with a message larger than the body limit is closed", async () => {
    const asking = askOver(connect(), `{ ${"a".repeat(30_000)} }`);
    await expect(asking).rejects.toMatchObject({ code: 1009 });
  });

  test("is asked to retry, not told that its token is wrong, while the token cannot be checked", async () => {
    const lost = await createTestDatabase();
    const orphan = await startApi(lost);
    try {
      // An account of its database, which it asks while a notification is late.
      const authorization = `Bearer ${(await signUp(orphan, "eve")).token}`;
      const open = connect({ authorization }, orphan.url);
      const done = askOver(open, "{ __typename }");
      // Keeps the socket open.
      open.subscribe(
        { query: "subscription { unreadCounts { __typename } }" },
        { next() {}, error() {}, complete() {} },
      );
      await done;
      await lost.drop();
      await until(async () => {
        const { json } = await send(orphan.url, { path: "/readyz", method: "GET", body: null });
        return json.checks.database === "unreachable" && json.checks.revocations !== "listening";
      });
      const query = "{ __typename }";
      const late = connect({ authorization }, orphan.url);
      for (const client of [late, open])
        expect(await askOver(client, query).catch(({ code }: CloseEvent) => code)).toBe(1013);
      expect((await orphan.ask(query, { headers: { authorization } })).status).toBe(503);
      // Two sockets and a request.
      const reported = orphan.logLines.filter(
        ({ msg, err }) =>
          msg === "unavailable" && (err as Error).message === "The token cannot be checked at the moment.",
      );
      expect(reported).toHaveLength(3);
      for (const { err } of reported) expect(err).toMatchObject({ cause: { stack: expect.any(String) } });
    } finally {
      await orphan.close();
    }
  });

  test("is closed quickly when the server stops", async () => {
    const stopping = await startApi(db);
    const closed = Promise.withResolvers<CloseEvent>();
    const client = createClient({
      url: `${stopping.url.replace("http", "ws")}/graphql`,
      lazy: false,
      retryAttempts: 0,
      on: { closed: (event) => closed.resolve(event as CloseEvent) },
      onNonLazyError: () => {},
    });
    clients.push(client);
    await askOver(client, "{ __typename }");
    // The close waits for no time limit: the server neither terminates the socket (1006) nor breaks off connections.
    const breakOff = jest.spyOn(Server.prototype, "closeAllConnections");
    await stopping.close();
    expect((await closed.promise).code).toBe(1001);
    expect(breakOff).not.toHaveBeenCalled();
  });
});

/** The status of an upgrade request, which the WebSocket of a browser or of node does not expose. */
function upgrade(headers: Record<string, string>, path = "/graphql", url = api.url): Promise<number> {
  return new Promise((resolve, reject) => {
    const asking = request(`${url}${path}`, {
      headers: {
        Connection: "Upgrade",
        Upgrade: "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": Buffer.alloc(16).toString("base64"),
        "Sec-WebSocket-Protocol": "graphql-transport-ws",
        ...headers,
      },
    });
    asking.on("upgrade", (response, socket) => {
      socket.destroy();
      resolve(response.statusCode!);
    });
    asking.on("response", (response) => {
      response.resume();
      resolve(response.statusCode!);
    });
    asking.on("error", reject).end();
  });
}
