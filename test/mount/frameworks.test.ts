import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  request as sendRequest,
} from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";
import { type MountedServer, mountServer } from "../../src/http/server.ts";
import { writeDataExports } from "../../src/jobs/write-data-exports.ts";
import { ask, collectLog, type SignedIn, send, serverOptions, signUp, until } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { openSocket } from "../support/socket.ts";

// Its types are not installed; those of Express 5 fit what is used here.
const express4 = createRequire(import.meta.url)("express4") as typeof express;

// Each framework runs a server of its own in front of the same API, mounted below /api.

let db: TestDatabase;
let plinth: MountedServer;
const logLines: Record<string, unknown>[] = [];
/** Told where it is by the framework, not by a prefix. */
let unprefixed: MountedServer;
let ada: SignedIn;
let exportId: string;

interface Application {
  /** Where Plinth is mounted. */
  readonly url: string;
  readonly root: string;
  close(): Promise<unknown>;
}

const THEIRS = { theirs: true };

/** Serves until closed; the application keeps the WebSockets that are not Plinth's. */
async function serve(server: Server, mounted = plinth): Promise<Application> {
  // The client closes an idle connection first, also after a pause in which both could.
  server.keepAliveTimeout = 0;
  server.on("upgrade", (request, socket, head) => {
    if (!mounted.handleUpgrade(request, socket, head)) socket.end("HTTP/1.1 418 Theirs\r\n\r\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const root = `http://127.0.0.1:${port}`;
  return {
    root,
    url: `${root}/api`,
    close: () => new Promise((resolve) => server.close(resolve).closeAllConnections()),
  };
}

const FRAMEWORKS: Record<string, () => Promise<Application>> = {
  "Node's http": () =>
    serve(
      createServer((request, response) =>
        plinth.handler(request, response, () => response.end(JSON.stringify(THEIRS))),
      ),
    ),
  async "Express 5"() {
    const app = express();
    app.use(plinth.handler);
    app.use((_request, response) => void response.json(THEIRS));
    return serve(createServer(app));
  },
  async "Express 4 below a path, without a prefix"() {
    const app = express4();
    app.use("/api", unprefixed.handler);
    app.use((_request, response) => void response.json(THEIRS));
    return serve(createServer(app));
  },
  async "Express 5 behind body parsers"() {
    const app = express();
    app.use(express.json(), express.urlencoded({ extended: true }), express.text());
    app.use("/api", plinth.handler);
    app.use((_request, response) => void response.json(THEIRS));
    return serve(createServer(app));
  },
  async Fastify() {
    const app = fastify();
    app.register(plinth.fastify, { prefix: "/api" });
    app.get("/theirs", () => THEIRS);
    app.post("/theirs", ({ body }) => ({ ...THEIRS, body }));
    await app.ready();
    const served = await serve(app.server);
    return { ...served, close: () => Promise.all([served.close(), app.close()]) };
  },
  async Hono() {
    const app = new Hono();
    app.all("/api/*", (context) => plinth.fetch(context.req.raw, { clientAddress: "127.0.0.1" }));
    app.all("*", (context) => context.json(THEIRS));
    return serve(createServer((request, response) => void passOn(app, request, response)));
  },
};

/** Does what an adapter of Node for frameworks with the Fetch Standard does. */
async function passOn(app: Hono, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const hasBody = request.method !== "GET" && request.method !== "HEAD";
  const init = {
    method: request.method,
    headers: request.headers as Record<string, string>,
    duplex: "half",
    ...(hasBody && { body: request }),
  } as unknown as RequestInit;
  const answer = await app.fetch(new Request(`http://${request.headers.host}${request.url}`, init));
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  response.end(Buffer.from(await answer.arrayBuffer()));
}

beforeAll(async () => {
  db = await createTestDatabase();
  const options = { ...serverOptions(db), logger: collectLog(logLines) };
  plinth = await mountServer({ ...options, prefix: "/api" });
  unprefixed = await mountServer(options);
  const app = await FRAMEWORKS["Node's http"]!();
  const api = { ask: (query: string, asked = {}) => ask(app.url, query, asked) };
  ada = await signUp(api, "ada");
  const requested = await api.ask("mutation { requestDataExport(input: {}) { result { id } } }", ada);
  exportId = requested.data.requestDataExport.result.id;
  await writeDataExports({
    query: rowsAs("worker", () => db),
    signal: new AbortController().signal,
  } as never);
  await app.close();
});
afterAll(async () => {
  await plinth.close();
  await unprefixed.close();
  await db.drop();
});

describe.each(Object.keys(FRAMEWORKS))("%s", (name) => {
  let app: Application;
  beforeAll(async () => {
    app = await FRAMEWORKS[name]!();
  });
  afterAll(() => app.close());

  const get = (path: string, headers: Record<string, string> = {}) => fetch(app.url + path, { headers });

  test("answers operations with the headers of the API", async () => {
    const answer = await ask(app.url, "{ currentUser { username } }", {
      token: ada.token,
      headers: { "x-request-id": "from-the-caller" },
    });
    expect([answer.status, answer.data]).toEqual([200, { currentUser: { username: "ada" } }]);
    expect(answer.headers.get("x-request-id")).toBe("from-the-caller");
    expect(answer.headers.get("ratelimit")).toMatch(/^"requests"/);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    const created = await ask(
      app.url,
      "mutation ($title: String!) { createChat(input: { chat: { title: $title } }) { chat { title } } }",
      { token: ada.token, variables: { title: "Zoë ✓" } },
    );
    expect(created.data).toEqual({ createChat: { chat: { title: "Zoë ✓" } } });
  });

  test("rejects bad requests as the API does", async () => {
    expect(await send(app.url, { headers: { authorization: "Bearer nonsense" } })).toMatchObject({
      status: 401,
      code: "UNAUTHENTICATED",
    });
    expect(await send(app.url, { method: "GET", body: null })).toMatchObject({
      status: 405,
      code: "METHOD_NOT_ALLOWED",
    });
    const form = { "content-type": "application/x-www-form-urlencoded" };
    expect(await send(app.url, { headers: form, body: "query=1" })).toMatchObject({
      status: 415,
      code: "UNSUPPORTED_MEDIA_TYPE",
    });
  });

  test("serves GraphiQL, whose page finds its files and the API", async () => {
    const page = await (await get("/graphiql")).text();
    expect(page).toContain('"endpoint": "/api/graphql"');
    const files = [...page.matchAll(/"(\/[^"]*ruru\.(?:js|css))"/g)].map(([, file]) => file!);
    expect(new Set(files)).toEqual(
      new Set(["/api/graphiql/static/ruru.js", "/api/graphiql/static/ruru.css"]),
    );
    for (const file of files) {
      const { status, headers } = await fetch(app.root + file);
      expect([status, headers.get("content-type")]).toEqual([200, expect.stringMatching(/javascript|css/)]);
    }
  });

  test("serves the console, whose relative links lead to its files", async () => {
    const page = await get("/console");
    const links = [...(await page.text()).matchAll(/(?:href|src)="([^"]+)"/g)].map(([, link]) => link!);
    expect(links.length).toBe(2);
    for (const link of links) {
      const { status, url } = await fetch(new URL(link, page.url));
      expect([status, new URL(url).pathname]).toEqual([200, `/api/${link}`]);
    }
  });

  test("serves keys, probes and the front page", async () => {
    expect(await (await get("/.well-known/jwks.json")).json()).toEqual({ keys: expect.any(Array) });
    expect(await (await get("/healthz")).json()).toEqual({ status: "ok" });
    expect(await (await get("/readyz")).json()).toMatchObject({ status: "ready" });
    expect(await (await get("/")).text()).toContain("Plinth is running");
  });

  test("streams a data export to its owner only", async () => {
    const answer = await get(`/exports/${exportId}`, { authorization: `Bearer ${ada.token}` });
    const text = await answer.text();
    expect(JSON.parse(text)).toMatchObject({ format: "plinth-data-export", user_id: ada.userId });
    expect((await get(`/exports/${exportId}`)).status).toBe(401);
  });

  test("leaves other paths to the application, whose own parsers still work", async () => {
    expect(await (await fetch(`${app.root}/theirs`)).json()).toEqual(THEIRS);
    if (name === "Fastify") {
      const headers = { "content-type": "application/json" };
      const posted = await fetch(`${app.root}/theirs`, { method: "POST", headers, body: '{"a":1}' });
      expect(await posted.json()).toEqual({ ...THEIRS, body: { a: 1 } });
    }
    const unknown = await get("/unknown");
    const leaves = name !== "Fastify" && name !== "Hono";
    if (leaves) expect(await unknown.json()).toEqual(THEIRS);
    else {
      expect(unknown.status).toBe(404);
      expect(await unknown.json()).toMatchObject({ errors: [{ extensions: { code: "NOT_FOUND" } }] });
    }
  });

  test("takes the sockets of the API and no others", async () => {
    if (name.includes("without a prefix")) return;
    const socket = await openSocket(app, ada.token);
    expect(await socket.ask("{ currentUser { username } }")).toEqual({
      data: { currentUser: { username: "ada" } },
    });
    await socket.dispose();
    expect(await upgradeStatus(app.root, "/graphql")).toBe(418);
    expect(await upgradeStatus(app.root, "/theirs")).toBe(418);
  });
});

/** The status with which an upgrade is answered. */
function upgradeStatus(root: string, path: string): Promise<number | undefined> {
  const headers = {
    connection: "upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  };
  return new Promise((resolve, reject) => {
    const request = sendRequest(root + path, { headers });
    request.once("response", (response) => resolve(response.resume().statusCode));
    request.once("upgrade", ({ statusCode }, socket) => {
      socket.destroy();
      resolve(statusCode);
    });
    request.once("error", reject).end();
  });
}

describe("the root of an application", () => {
  test("keeps its own front page, and gets Plinth's other paths", async () => {
    const server = createServer((request, response) =>
      unprefixed.handler(request, response, () => response.end(JSON.stringify(THEIRS))),
    );
    const { root, close } = await serve(server, unprefixed);
    expect(await (await fetch(root)).json()).toEqual(THEIRS);
    expect((await ask(root, "{ __typename }")).data).toEqual({ __typename: "Query" });
    expect(await upgradeStatus(root, "/graphql")).toBe(101);
    await close();
  });

  test("has nothing of an API with a prefix", async () => {
    const { root, close } = await serve(createServer(plinth.handler));
    for (const path of ["/graphql", "/healthz", "/apigraphql", "/api-graphql"])
      expect(await send(root, { path })).toMatchObject({ status: 404, code: "NOT_FOUND" });
    await close();
  });
});

describe("a body that the application has read", () => {
  const start = async (leave: (request: IncomingMessage, read: Buffer) => unknown) => {
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      Object.assign(request, { body: leave(request, Buffer.concat(chunks)) });
      plinth.handler(request, response);
    });
    return serve(server);
  };

  test.each([
    ["as an object", (_request: IncomingMessage, read: Buffer) => JSON.parse(read.toString())],
    ["as bytes", (_request: IncomingMessage, read: Buffer) => read],
    ["as text", (_request: IncomingMessage, read: Buffer) => read.toString()],
  ])("is used %s, within the API's limit", async (_form, leave) => {
    const { url, close } = await start(leave);
    expect((await ask(url, "{ __typename }")).data).toEqual({ __typename: "Query" });
    const long = `{ __typename } #${"x".repeat(1_000_000)}`;
    expect(await send(url, { body: JSON.stringify({ query: long }) })).toMatchObject({
      status: 413,
      code: "PAYLOAD_TOO_LARGE",
    });
    await close();
  });

  test("is an error when nothing is left of it", async () => {
    const { url, close } = await start(() => undefined);
    const { status, code, json } = await send(url);
    expect([status, code]).toEqual([400, "BAD_REQUEST"]);
    expect(json.errors[0].message).toBe(
      "The application read the body before Plinth. Mount Plinth before the body parser.",
    );
    await close();
  });
});

test("logs the address that the caller of fetch gives, as far as proxies are trusted", async () => {
  const request = new Request("http://app.example/api/graphql", {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "x-request-id": "an-address-given",
      "x-forwarded-for": "198.51.100.1",
    },
    body: '{"query":"{ __typename }"}',
  });
  const response = await plinth.fetch(request, { clientAddress: "203.0.113.9" });
  expect(await response.json()).toEqual({ data: { __typename: "Query" } });
  await until(() => logLines.some(({ correlationId }) => correlationId === "an-address-given"));
  expect(logLines.find(({ correlationId }) => correlationId === "an-address-given")).toMatchObject({
    clientIp: "203.0.113.9",
    path: "/graphql",
  });
});
