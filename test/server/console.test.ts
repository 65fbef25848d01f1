import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { loadConfig } from "../../src/config/config.ts";
import { type Actor, seedActors } from "../support/access-seed.ts";
import { type Api, codeOf, send, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

// How the console is served, and whom the API answers; test/browser/console.test.ts uses the page.

let db: TestDatabase;
let api: Api;
let actors: ReadonlyMap<string, Actor>;
beforeAll(async () => {
  db = await createTestDatabase();
  actors = await seedActors(db);
  api = await startApi(db, { PLINTH_CONSOLE: "true" });
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const visit = (path: string, headers: Record<string, string> = {}) =>
  send(api.url, { path, method: "GET", body: null, headers });

test("the console is off with an external database, unless it is turned on", () => {
  const external = { PLINTH_OWNER_URL: "postgres://owner@db.example.com/plinth" };
  expect(loadConfig(external).http.console).toBe(false);
  expect(loadConfig({ ...external, PLINTH_CONSOLE: "true" }).http.console).toBe(true);
  expect(loadConfig({}).http.console).toBe(true);
  expect(loadConfig({ PLINTH_CONSOLE: "false" }).http.console).toBe(false);
});

test("the page and its files allow only themselves and this server", async () => {
  const { text } = await visit("/console");
  const files = [...text.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, link]) => link!);
  expect(files).toEqual(["console/style.css", "console/main.js"]);
  expect(text).not.toMatch(/<style|style=|<script>|\son\w+=|https?:/);
  const types = {
    "/console": "text/html",
    "/console/style.css": "text/css",
    "/console/main.js": "text/javascript",
  };
  for (const [path, type] of Object.entries(types)) {
    const { status, headers } = await visit(path);
    expect([path, status, headers.get("content-type")]).toEqual([path, 200, `${type}; charset=utf-8`]);
    expect(headers.get("content-security-policy")).toBe(
      "default-src 'none';script-src 'self';style-src 'self';connect-src 'self';base-uri 'none';form-action 'none';" +
        "frame-ancestors 'none';require-trusted-types-for 'script';trusted-types 'none'",
    );
    expect(headers.get("x-frame-options")).toBe("DENY");
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("referrer-policy")).toBe("no-referrer");
    expect(headers.get("cache-control")).toBe("no-cache");
  }
});

test("the files name no other server", async () => {
  for (const file of ["main.js", "style.css"]) {
    const { text } = await visit(`/console/${file}`);
    expect(text.match(/https?:\/\/[^"'`\s)]+/g) ?? []).toEqual(
      file === "main.js" ? expect.not.arrayContaining([expect.not.stringContaining("www.w3.org")]) : [],
    );
  }
});

test("a file that has not changed is not sent again", async () => {
  const { headers } = await visit("/console/main.js");
  const again = await visit("/console/main.js", {
    "if-none-match": headers.get("etag")!,
    "cache-control": "max-age=0",
  });
  expect([again.status, again.text]).toEqual([304, ""]);
});

test("the page with a slash at its end redirects, so that its relative links work", async () => {
  const response = await fetch(`${api.url}/console/`, { redirect: "manual" });
  expect([response.status, response.headers.get("location")]).toEqual([308, "../console"]);
});

test.each(["/console/nothing.js", "/console/..%2f..%2fpage%2fmain.tsx", "/console/.hidden", "/Console"])(
  "GET %s returns NOT_FOUND",
  async (path) => {
    const { status, code } = await visit(path);
    expect([status, code]).toEqual([404, "NOT_FOUND"]);
  },
);

test.each([
  ["{ systemState { findings { problem } queues { queue } logs { log } } }", "read_operations"],
  ["{ signInCounts(days: 7) { startsAt succeeded } }", "read_operations"],
  ["{ activityCounts(days: 7) { startsAt activeAccounts } }", "read_operations"],
  ["{ tokenUseCounts(days: 7) { startsAt model tokens cost } }", "read_operations"],
  ["{ revenueCounts(days: 7) { startsAt currency paidCents } }", "read_operations"],
  ["{ errorCounts(days: 7) { startsAt errorCode errors } }", "read_operations"],
  [
    'mutation { inspectAccount(input: { identifier: "ada" }) { result { username sessions { id } } } }',
    "manage_users",
  ],
])("the API answers %s to holders of %s only", async (document, permission) => {
  const ask = (actor?: string) => api.ask(document, { token: actor && actors.get(actor)!.token });
  expect(codeOf(await ask())).toBe("UNAUTHENTICATED");
  let holders = 0;
  for (const [actor, { token }] of actors) {
    const holds = await api.ask(`{ hasPermission(permission: "${permission}") }`, { token });
    const answer = await ask(actor);
    const isHolder = holds.data?.hasPermission === true;
    holders += Number(isHolder);
    if (isHolder) expect([actor, answer.errors]).toEqual([actor, undefined]);
    else
      expect([actor, codeOf(answer)]).toEqual([
        actor,
        expect.stringMatching(/^(FORBIDDEN|UNAUTHENTICATED)$/),
      ]);
  }
  expect(holders).toBeGreaterThan(1);
  expect(actors.size - holders).toBeGreaterThan(10);
});

test("the number of days must be from 1 to 90", async () => {
  const { token } = actors.get("read_operations")!;
  for (const days of [0, 91]) {
    const answer = await api.ask(`{ signInCounts(days: ${days}) { startsAt } }`, { token });
    expect([codeOf(answer), answer.errors![0]!.extensions.field]).toEqual(["BAD_USER_INPUT", "days"]);
  }
});
