import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type pg from "pg";
import { makeRows } from "../../src/access-contract/rows/make-rows.ts";
import { readShapes } from "../../src/access-contract/rows/shapes.ts";
import { SCHEMAS } from "../../src/database/schemas.ts";
import { writeDataExports } from "../../src/jobs/write-data-exports.ts";
import { IDS, withIds } from "../support/access-probes/ids.ts";
import { SEED } from "../support/access-probes/seed.ts";
import { grantRole, SOME_HASH } from "../support/accounts.ts";
import { type Api, codeOf, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { templatesTo } from "../support/mail.ts";
import { endSession } from "../support/waiting.ts";

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

const asOwner = rowsAs("owner", () => db);
const asWorker = rowsAs("worker", () => db);

const REQUEST = "mutation { requestDataExport(input: {}) { result { id status } } }";
const STATUS = "{ dataExports { nodes { id status sizeBytes expiresAt tables } } }";

const runJob = () =>
  writeDataExports({ query: (sql, values) => asWorker(sql, values), signal: new AbortController().signal });
const download = (id: string, token?: string) =>
  fetch(`${api.url}/exports/${id}`, token ? { headers: { authorization: `Bearer ${token}` } } : {});
const request = async (token: string): Promise<string> =>
  (await api.ask(REQUEST, { token })).data.requestDataExport.result.id;

test("requests an export, writes it in the job, lets its owner download it, and expires it", async () => {
  const { token, userId } = await signUp(api, "ada1");
  await api.ask(
    'mutation { setConversationMemory(input: { memory: { likes: "tea" } }) { conversationMemory { version } } }',
    { token },
  );
  // More than a page of them.
  const texts = Array.from({ length: 103 }, (_, n) => `Tea number ${n} – "grün"`);
  for (const text of texts)
    await api.ask("mutation ($text: String!) { createMemory(input: { text: $text }) { memory { id } } }", {
      token,
      variables: { text },
    });
  const id = await request(token);
  expect(await request(token)).toBe(id);
  expect((await download(id, token)).status).toBe(404);
  expect(await runJob()).toMatchObject({ finished: 1, failed: 0 });
  const [status] = (await api.ask(STATUS, { token })).data.dataExports.nodes;
  expect(status).toMatchObject({ id, status: "ready", expiresAt: expect.any(String) });
  expect(await templatesTo(db, "ada1@example.org")).toEqual(
    expect.arrayContaining(["data-export-requested", "data-export-ready"]),
  );

  const answer = await download(id, token);
  expect(answer.status).toBe(200);
  expect(answer.headers.get("cache-control")).toBe("no-store");
  expect(answer.headers.get("content-disposition")).toMatch(/^attachment/);
  const text = await answer.text();
  expect(Number(answer.headers.get("content-length"))).toBe(Buffer.byteLength(text));
  const document = JSON.parse(text);
  expect(document).toMatchObject({ format: "plinth-data-export", version: 1, user_id: userId });
  expect(document.tables["identity.users"]).toEqual([
    expect.objectContaining({ id: userId, email: "ada1@example.org" }),
  ]);
  expect(Object.keys(document.tables)).toEqual(status.tables);
  expect(document.conversation_memory.memory).toEqual({ likes: "tea" });
  expect(document.memories.map((memory: { text: string }) => memory.text)).toEqual(texts.toReversed());
  expect(document.tables["llm.memories"]).toHaveLength(texts.length);
  for (const secret of ["content", "word_hashes"])
    expect(document.tables["llm.memories"][0]).not.toHaveProperty(secret);

  await asOwner("update identity.data_exports set expires_at = now() where id = $1", [id]);
  expect((await download(id, token)).status).toBe(404);
  await asWorker("select private.delete_expired_exports(10)", []);
  expect(await asOwner("select from private.data_export_parts where export_id = $1", [id])).toEqual([]);
  expect((await api.ask(STATUS, { token })).data.dataExports.nodes[0].status).toBe("expired");
});

test("hides an export from other users, administrators, visitors and API tokens", async () => {
  const { token } = await signUp(api, "ada2");
  const id = await request(token);
  await runJob();
  const admin = await signUp(api, "admin2");
  await grantRole(db, admin.userId, "admin");
  for (const other of [admin.token, (await signUp(api, "other2")).token]) {
    expect((await download(id, other)).status).toBe(404);
    expect((await api.ask(STATUS, { token: other })).data.dataExports.nodes).toEqual([]);
  }
  expect((await download(id)).status).toBe(401);
  expect((await download("not-an-id", token)).status).toBe(404);
  const created = await api.ask(
    'mutation { createApiToken(input: { name: "t", scopes: [read, write] }) { token } }',
    { token },
  );
  const apiToken = created.data.createApiToken.token;
  expect((await download(id, apiToken)).status).toBe(403);
  expect(codeOf(await api.ask(REQUEST, { token: apiToken }))).toBe("FORBIDDEN");
  expect((await download(id, token)).status).toBe(200);
});

test("requires a recent sign-in for a request and allows five a day", async () => {
  const { token, userId } = await signUp(api, "ada3");
  expect(codeOf(await api.ask(REQUEST))).toBe("UNAUTHENTICATED");
  await asOwner(
    "update identity.user_sessions set authenticated_at = now() - interval '11 minutes' where user_id = $1",
    [userId],
  );
  expect(codeOf(await api.ask(REQUEST, { token }))).toBe("FORBIDDEN");
  await asOwner("update identity.user_sessions set authenticated_at = now() where user_id = $1", [userId]);
  // A day ends at midnight UTC, and none may end between the requests.
  expect(
    await asOwner(
      `update security.rate_limit_rules r set window_length = '366 days'
       from security.rate_limit_rules before
       where before.rule_name = r.rule_name and r.rule_name = 'data_export_per_user'
       returning before.limit_value, before.window_length = interval '1 day' as is_of_a_day`,
    ),
  ).toEqual([{ limit_value: 5, is_of_a_day: true }]);
  for (let i = 0; i < 5; i++) {
    await request(token);
    await runJob();
  }
  expect(codeOf(await api.ask(REQUEST, { token }))).toBe("RATE_LIMITED");
});

/** Makes a row of Ada's in each table that has none. */
async function plantRows(client: pg.ClientBase, tables: readonly string[]): Promise<void> {
  await client.query("begin");
  await client.query("set local search_path = ''");
  const empty: string[] = [];
  for (const table of tables)
    if (!(await client.query(`select from ${table} limit 1`)).rowCount) empty.push(table);
  expect(await makeRows(client, await readShapes(client, SCHEMAS), empty, [IDS.ada!])).toEqual([]);
  await client.query("commit");
}

test("exports the user's rows from every table, no row of another user, and no secret", async () => {
  const seeded = await createTestDatabase();
  try {
    const { text, tables, all } = await withClient(seeded.url("owner"), async (client) => {
      await client.query(withIds(SEED));
      await client.query(withIds("update identity.users set username = 'bobs-name' where id = :bob"));
      await client.query(
        withIds(`
          insert into private.user_passwords (user_id, password_hash, hash_algorithm) values (:ada, '${SOME_HASH}', 'argon2id');
          update access.plan_model_access set granted_by = :ada;
          update access.role_model_access set granted_by = :ada;
          update llm.model_providers set created_by = :ada;
          insert into learning.content_versions (item_id, version, created_by)
            select id, 2, :ada from learning.content_items where id = :shown;
          insert into learning.content_bodies (item_id, version, body) values (:shown, 2, 'x');
          insert into llm.prompt_versions (prompt_id, version, content, variables, created_by)
            select id, 9, 'x', '[]', :ada from llm.prompts where user_id = :ada limit 1;
          insert into llm.prompt_labels (prompt_id, label, version)
            select prompt_id, 'nine', 9 from llm.prompt_versions where version = 9;
          insert into private.direct_rooms select least(:ada, :bob)::uuid, greatest(:ada, :bob)::uuid, id from rooms.chat_rooms limit 1;
          insert into private.room_tallies (room_id, kind, user_id, level, bucket, amount)
            select id, 'private', :ada, 0, 1, 1 from rooms.chat_rooms limit 1;
          insert into rooms.room_bans (room_id, user_id) select id, :ada from rooms.chat_rooms limit 1;
          insert into rooms.room_message_recipients (message_id, user_id) select id, :ada from rooms.room_messages on conflict do nothing;
          update rooms.chat_rooms set creator_id = :ada;
          insert into private.mail_outbox (user_id, to_address, template, variables)
            values (:ada, 'ada@example.org', 'verify-email', '{"username": "ada", "sealed_token": "the-secret"}');
          delete from identity.data_exports where user_id <> :ada;
          insert into private.oauth_states (flow_hash, state_hash, provider, purpose, user_id, session_id, redirect_uri, secrets_sealed, expires_at)
            select sha256('f'), sha256('s'), 'github', 'link', :ada, id, 'https://example.org', 'x', now() from identity.user_sessions
            where user_id = :ada limit 1;
          insert into private.request_digests (user_id, chat_message_id, digest) select :ada, id, sha256('d') from llm.messages limit 1;`),
      );
      const sources = await client.query<{ name: string }>(
        "select table_name as name from private.data_export_sources()",
      );
      const all = sources.rows.map(({ name }) => name);
      await plantRows(client, all);
      for (let outcome: string | null = "continued"; outcome; )
        outcome = (
          await client.query<{ outcome: string | null }>("select private.write_data_export() as outcome")
        ).rows[0]!.outcome;
      const parts = await client.query<{ content: string }>(
        "select content from private.data_export_parts order by part_number",
      );
      // Every table with a row that names ada in its own column user_id, queried without the functions under test.
      await client.query("set search_path = ''");
      const candidates = await client.query<{ name: string }>(
        `select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
         join pg_attribute a on a.attrelid = c.oid and a.attname = 'user_id'
         where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not in ('plinth_jobs', 'plinth_migrate')
           and c.oid <> 'private.data_export_parts'::regclass`,
      );
      const owned: string[] = [];
      for (const { name } of candidates.rows)
        if ((await client.query(`select from ${name} where user_id = $1 limit 1`, [IDS.ada])).rowCount)
          owned.push(name);
      return { text: parts.rows.map(({ content }) => content).join(""), tables: owned, all };
    });
    const document = JSON.parse(`${text}}`);
    expect(tables.length).toBeGreaterThan(40);
    expect(Object.keys(document.tables)).toEqual(all.sort());
    expect(Object.keys(document.tables)).toEqual(
      expect.arrayContaining([...tables, "identity.users", "rooms.room_messages"]),
    );
    for (const secret of ["the-secret", "argon2id$v", "bobs-name", "192.0.2.2", "gAAAAA"])
      expect(text).not.toContain(secret);
    const columns = new Set(
      Object.values<Record<string, unknown>[]>(document.tables).flatMap((rows) => Object.keys(rows[0]!)),
    );
    expect(
      [...columns].filter((column) => /hash|secret|sealed|password_|salt|wrapped/.test(column)).sort(),
    ).toEqual(["password_changed_at"]);
    // Other users' blocks, invites and messages are theirs.
    for (const { user_id } of document.tables["rooms.user_blocks"] ?? []) expect(user_id).toBe(IDS.ada);
    for (const { sender_id } of document.tables["rooms.room_messages"]) expect(sender_id).toBe(IDS.ada);
  } finally {
    await seeded.drop();
  }
});

test("writes a large export in pieces, continues it after a kill, and streams it without buffering", async () => {
  const { token, userId } = await signUp(api, "ada4");
  await asOwner(
    `with c as (insert into llm.chats (user_id) values ($1) returning id)
     insert into llm.prompts (user_id, name, content)
     select $1, 'prompt ' || n, repeat('0123456789', 10000) from c, generate_series(1, 200) n`,
    [userId],
  );
  const id = await request(token);
  // A worker that dies in the middle of it.
  const [step] = await asWorker("select private.write_data_export() as outcome", []);
  expect(step).toEqual({ outcome: "continued" });
  await withClient(db.url("worker"), async (client) => {
    const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
    await client.query("begin");
    await client.query("select private.write_data_export()");
    await endSession(db, rows[0]!.pid);
    await client.query("select 1").catch(() => {});
  }).catch(() => {});
  expect(await runJob()).toMatchObject({ finished: 1 });
  const [parts] = await asOwner<{ n: number; largest: number }>(
    "select count(*)::int as n, max(octet_length(content)) as largest from private.data_export_parts where export_id = $1",
    [id],
  );
  expect(parts!.n).toBeGreaterThan(100);
  expect(parts!.largest).toBeLessThan(400_000);
  const answer = await download(id, token);
  const document = JSON.parse(await answer.text());
  expect(document.tables["llm.prompts"]).toHaveLength(200);
  // A client that disconnects in the middle does not harm the server.
  const cut = new AbortController();
  const half = await fetch(`${api.url}/exports/${id}`, {
    headers: { authorization: `Bearer ${token}` },
    signal: cut.signal,
  });
  await half.body!.getReader().read();
  cut.abort();
  expect((await download(id, token)).status).toBe(200);
});
