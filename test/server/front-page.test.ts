import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type Api, MASTER_KEYS, SIGNING_KEYS, send, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let api: Api;
let withoutGraphiql: Api;

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db, { PLINTH_STRIPE_WEBHOOK_SECRET: "whsec_front_page" });
  withoutGraphiql = await startApi(db, { PLINTH_GRAPHIQL: "false", PLINTH_CONSOLE: "false" });
});
afterAll(async () => {
  await api.close();
  await withoutGraphiql.close();
  await db.drop();
});

const visit = (to: Api, path = "/", method = "GET") => send(to.url, { path, method, body: null });
const linksOf = (html: string) => [...html.matchAll(/href="([^"]*)"/g)].map(([, link]) => link!);

test("the front page describes the server, and each of its links works", async () => {
  const { status, headers, text } = await visit(api);
  expect([status, headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
  expect(text).toContain("Plinth is running");
  expect(text).toContain("docs/api.md");
  const links = linksOf(text);
  expect(links).toEqual([
    "./graphiql",
    "./schema",
    "./console",
    "./healthz",
    "./readyz",
    "./.well-known/jwks.json",
  ]);
  // The database may answer too late for readyz.
  for (const link of links)
    await until(async () => (await fetch(new URL(link, `${api.url}/`))).status === 200);
});

test("the front page does not mention GraphiQL and the console when they are turned off", async () => {
  const { status, text } = await visit(withoutGraphiql);
  expect(status).toBe(200);
  expect(text).not.toMatch(/graphiql|console/i);
  expect(linksOf(text)).toContain("./healthz");
});

test("the content security policy of the front page allows its own style and nothing else", async () => {
  const { headers, text } = await visit(api);
  const [, style] = /<style>(.*?)<\/style>/s.exec(text)!;
  const hash = createHash("sha256").update(style!).digest("base64");
  expect(headers.get("content-security-policy")).toBe(
    `default-src 'none';style-src 'sha256-${hash}';base-uri 'none';form-action 'none';frame-ancestors 'none'`,
  );
  expect(headers.get("x-frame-options")).toBe("DENY");
  expect(text).not.toMatch(/<script|<link|<img|<form|style=|\son\w+=|https?:/i);
});

test("HEAD returns the headers of the front page without a body", async () => {
  const page = await visit(api);
  const head = await visit(api, "/", "HEAD");
  expect([head.status, head.text]).toEqual([200, ""]);
  for (const name of ["content-type", "content-length", "content-security-policy", "cache-control"])
    expect([name, head.headers.get(name)]).toEqual([name, page.headers.get(name)]);
});

test("the front page holds no secrets, settings or versions", async () => {
  const { text } = await visit(api);
  const keys = `${SIGNING_KEYS},${MASTER_KEYS}`.split(/[:,]/).filter((part) => part.length > 20);
  expect(keys.length).toBeGreaterThan(1);
  for (const secret of [...keys, "whsec_front_page", db.rolePrefix, "postgres", "PLINTH_"])
    expect(text.includes(secret)).toBe(false);
  expect(text).not.toMatch(/\d+\.\d+\.\d+/);
});

test.each(["/nowhere", "/index.html", "/docs"])("GET %s returns NOT_FOUND", async (path) => {
  const { status, code } = await visit(api, path);
  expect([status, code]).toEqual([404, "NOT_FOUND"]);
});

test("POST / returns NOT_FOUND", async () => {
  const { status, code } = await send(api.url, { path: "/" });
  expect([status, code]).toEqual([404, "NOT_FOUND"]);
});
