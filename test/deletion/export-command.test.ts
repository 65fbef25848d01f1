import { lstatSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { escaped } from "../../src/privacy/html.ts";
import { readExport } from "../../src/privacy/read-export.ts";
import { cli, databaseEnv, outcomeOf, startCli } from "../cli/run-cli.ts";
import { type Api, MASTER_KEYS, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { SHOP } from "../support/shop.ts";
import { untilWaiting } from "../support/waiting.ts";

let db: TestDatabase;
let api: Api;
let env: Record<string, string>;
let ada: { token: string; userId: string };
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  env = { ...databaseEnv(db), PLINTH_MASTER_KEYS: MASTER_KEYS };
  await withClient(db.url("owner"), (client) => client.query(SHOP));
  ada = await signUp(api, "ada");
  for (const field of [
    "setConversationMemory(input: { memory: { likes: $text } }) { conversationMemory { version } }",
    "createMemory(input: { text: $text }) { memory { id } }",
  ]) {
    const query = `mutation ($text: ${field.includes("likes") ? "JSON" : "String"}!) { ${field} }`;
    expect((await api.ask(query, { token: ada.token, variables: { text: HOSTILE } })).errors).toBeUndefined();
  }
  await asOwner("insert into shop.orders (user_id, note) values ($1, 'internal')", [ada.userId]);
  await asOwner("insert into llm.prompts (user_id, name, content) values ($1, $2, $3)", [
    ada.userId,
    "hostile",
    HOSTILE,
  ]);
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const asOwner = rowsAs("owner", () => db);
const folder = () => mkdtempSync(join(tmpdir(), "plinth-export-"));
const HOSTILE = `</td></table><script>alert(1)</script><img src=x onerror="alert('2')">&amp;{{[]}\\"\\\u202e`;

test("writes all data of a person as JSON and as a page, an application's tables and sealed memories included [C11]", async () => {
  const dir = folder();
  // In a folder that others can write to, they may have prepared these.
  const elsewhere = join(folder(), "elsewhere");
  writeFileSync(elsewhere, "kept");
  writeFileSync(join(dir, "personal-data-ada.json.partial"), "", { mode: 0o644 });
  symlinkSync(elsewhere, join(dir, "personal-data-ada.html.partial"));
  symlinkSync(elsewhere, join(dir, "personal-data-ada.json"));
  const run = await cli(
    ["privacy", "export", "Ada", "--output", dir, "--reason", "Request of 3 May", "--json"],
    { env },
  );
  expect(run.stderr).toBe("");
  const { files, tables } = JSON.parse(run.stdout);
  expect(readdirSync(dir).sort()).toEqual(["personal-data-ada.html", "personal-data-ada.json"]);
  for (const file of files) expect(lstatSync(file).mode).toBe(0o100600);
  expect(readFileSync(elsewhere, "utf8")).toBe("kept");
  const document = JSON.parse(readFileSync(files[0], "utf8"));
  expect(document).toMatchObject({ format: "plinth-data-export", version: 1, user_id: ada.userId });
  expect(document.tables["identity.users"][0].username).toBe("ada");
  expect(document.tables["shop.orders"]).toEqual([
    expect.objectContaining({ user_id: ada.userId, state: "open" }),
  ]);
  expect(document.conversation_memory.memory).toEqual({ likes: HOSTILE });
  expect(document.memories[0].text).toBe(HOSTILE);
  expect(
    Object.fromEntries(Object.entries<unknown[]>(document.tables).map(([name, rows]) => [name, rows.length])),
  ).toEqual(tables);

  const page = readFileSync(files[1], "utf8");
  expect(page).toContain("<h1>Personal data of ada</h1>");
  expect(page).toContain("<p>One row per order.</p>");
  expect(page).toContain("<dt>Username</dt><dd>");
  expect(page).toMatch(/<time datetime="[^"]+">\d{1,2} [A-Z][a-z]+ \d{4} at \d\d:\d\d:\d\d UTC<\/time>/);
  // Each value of the document is on the page, as text.
  const prompt = document.tables["llm.prompts"][0].content;
  expect(page.split(escaped(prompt)).length - 1).toBe(2);
  expect(page).toContain(escaped(JSON.stringify({ likes: HOSTILE }, null, 2)));
  expect(page).not.toMatch(/<script|<img|onerror="/);
  expect(page.endsWith("</html>\n")).toBe(true);
  const [reads, events] = await Promise.all([
    asOwner(
      "select origin, operation, reason, user_id, row_count::int as rows, relations from security.personal_data_reads",
      [],
    ),
    asOwner(
      "select event_data from security.security_audit_log where event_type = 'data_export_written' and user_id = $1",
      [ada.userId],
    ),
  ]);
  expect(reads).toEqual([
    {
      origin: "export",
      operation: "plinth privacy export",
      reason: "Request of 3 May",
      user_id: ada.userId,
      rows: Object.values<number>(tables).reduce((sum, rows) => sum + rows, 0),
      relations: Object.keys(tables).sort(),
    },
  ]);
  expect(events).toEqual([{ event_data: { origin: "command" } }]);
});

test("reports an unknown user and a folder that is a file, and writes and records nothing", async () => {
  const dir = folder();
  const before = await asOwner("select from security.personal_data_reads", []);
  const unknown = await cli(["privacy", "export", "nobody", "--output", dir], { env });
  expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringContaining("No account is named nobody.")]);
  const blocked = await cli(["privacy", "export", "ada", "--output", "/dev/null/x"], { env });
  expect([blocked.code, blocked.stderr]).toEqual([1, expect.stringContaining("is not a folder")]);
  expect(readdirSync(dir)).toEqual([]);
  expect(await asOwner("select from security.personal_data_reads", [])).toHaveLength(before.length);
});

test.each(["SIGINT", "SIGKILL"] as const)(
  "stopped in the middle by %s, it leaves no half export, and the next run replaces it",
  async (signal) => {
    const dir = folder();
    const read = await withClient(db.url("owner"), async (client) => {
      await client.query("begin; lock table shop.visits");
      const child = startCli(["privacy", "export", "ada", "--output", dir], env);
      const outcome = outcomeOf(child);
      await Promise.race([
        untilWaiting(db),
        outcome.then((ended) => Promise.reject(new Error(JSON.stringify(ended)))),
      ]);
      // Another thread of the process opens it.
      await until(() => readdirSync(dir).length > 0);
      expect(readdirSync(dir)).toEqual(["personal-data-ada.json.partial"]);
      child.kill(signal);
      const { code } = await outcome;
      expect(code).toBe(signal === "SIGINT" ? 130 : null);
      expect(readdirSync(dir)).toEqual(signal === "SIGINT" ? [] : ["personal-data-ada.json.partial"]);
      return (await client.query("select from security.personal_data_reads")).rowCount;
    });
    expect((await cli(["privacy", "export", "ada", "--output", dir], { env })).code).toBe(0);
    expect(readdirSync(dir).sort()).toEqual(["personal-data-ada.html", "personal-data-ada.json"]);
    expect(await asOwner("select from security.personal_data_reads", [])).toHaveLength(read! + 1);
  },
);

test("the download offers the page by its path and by the Accept header, and records each download [C11]", async () => {
  const made = await api.ask("mutation { requestDataExport(input: {}) { result { id } } }", {
    token: ada.token,
  });
  const { id } = made.data.requestDataExport.result;
  await asOwner("update identity.data_exports set next_attempt_at = now()", []);
  for (let outcome: unknown = "continued"; outcome; )
    [{ outcome }] = (await asOwner<{ outcome: string | null }>(
      "select private.write_data_export() as outcome",
      [],
    )) as [{ outcome: string | null }];
  await asOwner("delete from security.personal_data_reads", []);
  const get = (path: string, accept = "*/*", token = ada.token) =>
    fetch(`${api.url}/exports/${path}`, { headers: { authorization: `Bearer ${token}`, accept } });
  const pages = [await get(`${id}.html`), await get(id, "text/html,application/xhtml+xml;q=0.9")];
  for (const page of pages) {
    expect(page.status).toBe(200);
    expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(page.headers.get("content-disposition")).toBe(`attachment; filename="export-${id}.html"`);
    expect(page.headers.get("content-security-policy")).toMatch(/^default-src 'none'; style-src 'sha256-/);
    const text = await page.text();
    expect(text).toContain("<h1>Personal data of ada</h1>");
    expect(text).toContain(escaped(HOSTILE));
    expect(text).not.toContain("<script");
    expect(text.endsWith("</html>\n")).toBe(true);
  }
  expect((await get(id)).headers.get("content-type")).toBe("application/json; charset=utf-8");
  expect((await get(`${id}.html`, "*/*", (await signUp(api, "bob")).token)).status).toBe(404);
  const reads = await asOwner(
    "select origin, user_id, actor_id, row_count, relations from security.personal_data_reads",
    [],
  );
  expect(reads).toHaveLength(3);
  expect(reads[0]).toEqual({
    origin: "export",
    user_id: ada.userId,
    actor_id: ada.userId,
    row_count: null,
    relations: expect.arrayContaining(["identity.users", "shop.orders"]),
  });
});

test("reads the rows of an export wherever its text is cut", async () => {
  const text = `{"format":"x","tables":{\n"a.b":[\n{"v":"\\"{[\\\\","n":{"m":[1,{}]}},\n{"v":null}],\n"c.d":[\n{"v":"]}"}]},\n"conversation_memory":{"memory":{"tables":[{}]}},\n"memories":[\n{"text":"é"}]}\n`;
  const whole = [
    { table: "a.b", row: { v: '"{[\\', n: { m: [1, {}] } } },
    { table: "a.b", row: { v: null } },
    { table: "c.d", row: { v: "]}" } },
    { table: "conversation_memory", row: { memory: { tables: [{}] } } },
    { table: "memories", row: { text: "é" } },
  ];
  const read = async (chunks: readonly string[]) => {
    const rows: unknown[] = [];
    for await (const row of readExport(Readable.from(chunks))) rows.push(row);
    return rows;
  };
  for (let cut = 0; cut <= text.length; cut++)
    expect(await read([text.slice(0, cut), text.slice(cut)])).toEqual(whole);
  expect(await read([...text])).toEqual(whole);
});
