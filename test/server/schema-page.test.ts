import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, get, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import express from "express";
import { loadConfig } from "../../src/config/config.ts";
import { schemaPageStep } from "../../src/http/steps/schema-page.ts";
import { type Api, send, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { SCHEMA_PAGE } from "../support/schema-page.ts";

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

/** Sends exactly these headers, and returns the body as it arrived. */
async function load(url: string, headers: Record<string, string> = {}) {
  const response = await new Promise<IncomingMessage>((resolve) => get(url, { headers }, resolve));
  const body = Buffer.concat(await response.toArray());
  return { status: response.statusCode, headers: response.headers, body };
}

describe("GET /schema", () => {
  const page = readFileSync(SCHEMA_PAGE);

  test("returns the page of docs/schema with its own content policy", async () => {
    const { status, headers, body } = await load(`${api.url}/schema`);
    expect([status, headers["content-type"]]).toEqual([200, "text/html; charset=utf-8"]);
    expect(body.equals(page)).toBe(true);
    expect(headers["content-security-policy"]).toMatch(
      /^default-src 'none';script-src 'sha256-[^;]+;style-src 'sha256-[^;]+;base-uri 'none';.*;frame-ancestors 'none'$/,
    );
    expect(headers["x-frame-options"]).toBe("DENY");
  });

  test("compresses it for clients that accept that", async () => {
    const { url } = api;
    const br = await load(`${url}/schema`, { "accept-encoding": "gzip, br" });
    const gz = await load(`${url}/schema`, { "accept-encoding": "gzip" });
    expect([br, gz].map(({ headers }) => headers["content-encoding"])).toEqual(["br", "gzip"]);
    expect([br, gz].map(({ headers }) => headers.vary)).toEqual(
      Array(2).fill(expect.stringContaining("Accept-Encoding")),
    );
    expect(brotliDecompressSync(br.body).equals(page)).toBe(true);
    expect(gunzipSync(gz.body).equals(page)).toBe(true);
    expect(br.body.length).toBeLessThan(page.length / 5);
  });

  test("returns 304 to a client that has it, and the headers alone to HEAD", async () => {
    const { headers } = await load(`${api.url}/schema`);
    expect(headers["cache-control"]).toBe("no-cache");
    const again = await load(`${api.url}/schema`, {
      "if-none-match": headers.etag!,
      "accept-encoding": "br",
    });
    expect([again.status, again.body.length]).toEqual([304, 0]);
    const head = await send(api.url, { path: "/schema", method: "HEAD", body: null });
    expect([head.status, head.text, head.headers.get("etag")]).toEqual([200, "", headers.etag]);
  });

  test("is off where PLINTH_SCHEMA_PAGE says so, and by default on a database of one's own", async () => {
    expect(loadConfig({}).http.schemaPage).toBe(true);
    const external = {
      PLINTH_OWNER_URL: "postgres://localhost/app",
      PLINTH_SERVICE_URL: "postgres://localhost/app",
    };
    expect(loadConfig(external).http.schemaPage).toBe(false);
    expect(loadConfig({ ...external, PLINTH_SCHEMA_PAGE: "on" }).http.schemaPage).toBe(true);
    const off = await startApi(db, { PLINTH_SCHEMA_PAGE: "off" });
    try {
      const { status, code } = await send(off.url, { path: "/schema", method: "GET", body: null });
      expect([status, code]).toEqual([404, "NOT_FOUND"]);
      expect((await send(off.url, { path: "/", method: "GET", body: null })).text).not.toContain("/schema");
    } finally {
      await off.close();
    }
  });
});

test("a page that is generated again is served at the next request, and none is not found", async () => {
  await using parts = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "plinth-page-"));
  parts.defer(() => rm(folder, { recursive: true }));
  const file = join(folder, "index.html");
  const server = createServer(express().get("/schema", schemaPageStep(file))).listen(0, "127.0.0.1");
  parts.defer(() => void server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/schema`;
  expect((await load(url)).status).toBe(404);
  await writeFile(file, "first");
  const first = await load(url);
  expect([String(first.body), first.headers["content-security-policy"]]).toEqual([
    "first",
    "default-src 'none';frame-ancestors 'none'",
  ]);
  await writeFile(file, "the second");
  const second = await load(url, { "if-none-match": first.headers.etag! });
  expect([second.status, String(second.body)]).toEqual([200, "the second"]);
});
