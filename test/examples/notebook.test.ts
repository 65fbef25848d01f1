import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { readNotebook } from "../../examples/notebook/notebook.ts";
import { serveNotebook } from "../../examples/notebook/serve.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

const PRODUCT = new URL("../../examples/notebook/product.md", import.meta.url);

let db: TestDatabase;
let notebook: Awaited<ReturnType<typeof serveNotebook>>;
beforeAll(async () => {
  db = await createTestDatabase();
  await withClient(db.url("owner"), (client) => client.query("select private.refresh_content_popularity()"));
  notebook = await serveNotebook({ analystUrl: db.url("analyst"), notebook: PRODUCT, port: 0 });
});
afterAll(async () => {
  await notebook.close();
  await db.drop();
});

const run = async (sql: string, headers: Record<string, string> = {}) => {
  const answer = await fetch(`${notebook.url}/run`, {
    method: "POST",
    headers: { "content-type": "application/sql", ...headers },
    body: sql,
  });
  return { status: answer.status, ...((await answer.json()) as object) };
};

test("is read as headings, texts and cells", () => {
  expect(readNotebook("# A\n\nOne\n[two](x.md).\n\n```sql\nselect 1\n```\n\n## B\n")).toEqual([
    { kind: "heading", text: "A" },
    { kind: "text", text: "One two." },
    { kind: "cell", sql: "select 1" },
    { kind: "heading", text: "B" },
  ]);
});

test("each cell of the example runs as the analyst", async () => {
  const cells = readNotebook(await readFile(PRODUCT, "utf8")).flatMap((piece) =>
    piece.kind === "cell" ? [piece.sql] : [],
  );
  expect(cells.length).toBeGreaterThan(3);
  for (const sql of cells) {
    const { status, ...answer } = await run(sql);
    expect([sql, status, answer]).toEqual([sql, 200, expect.objectContaining({ hasMore: false })]);
    const [, drawn] = /-- bars: (\w+)/.exec(sql) ?? [];
    const { columns } = answer as unknown as { columns: { name: string; isNumber: boolean }[] };
    if (drawn) expect(columns).toContainEqual({ name: drawn, isNumber: true });
  }
});

test("a cell returns text, nulls and at most 500 rows", async () => {
  expect(await run("select 1::bigint as n, null as nothing, 'é' as text -- end")).toEqual({
    status: 200,
    columns: [
      { name: "n", isNumber: true },
      { name: "nothing", isNumber: false },
      { name: "text", isNumber: false },
    ],
    rows: [["1", null, "é"]],
    hasMore: false,
  });
  const many = (await run("select generate_series(1, 501);\n")) as unknown as { rows: []; hasMore: boolean };
  expect([many.rows.length, many.hasMore]).toEqual([500, true]);
});

test("an error names its place in the cell", async () => {
  expect(await run("select day\nfrom nowhere")).toEqual({
    status: 400,
    error: 'relation "nowhere" does not exist',
    position: 17,
  });
});

describe("a cell cannot", () => {
  test.each([
    ["read a table", "select * from identity.users"],
    ["read secrets", "select * from private.user_passwords"],
    ["run a second statement", "select 1) a; select (select 2"],
    ["end the transaction", "select 1) a; commit; select * from (select 1"],
    ["write", "with w as (delete from daily_sign_ins returning 1) select * from w"],
    [
      "become another role",
      `select set_config('role', (select rolname from pg_roles where rolname like '%owner'), true)`,
    ],
  ])("%s", async (_title, sql) => {
    expect(await run(sql)).toMatchObject({ status: 400 });
  });
});

describe("the server refuses", () => {
  test("a form of another page", async () => {
    expect(await run("select 1", { "content-type": "text/plain" })).toMatchObject({ status: 403 });
  });
  test("a name that another page lets point to this machine", async () => {
    const { port } = new URL(notebook.url);
    const status = await new Promise((resolve) =>
      request(
        { host: "127.0.0.1", port, path: "/notebook.json", headers: { host: `evil.example:${port}` } },
        (answer) => resolve(answer.resume().statusCode),
      ).end(),
    );
    expect(status).toBe(403);
  });
});
