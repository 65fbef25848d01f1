import { readFile } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { verifyAudit } from "../../src/audit/verify.ts";
import { importSource } from "../../src/config/import-source.ts";
import { headphone } from "../../src/import/system/headphone/index.ts";
import { importSystem, type SystemImportOptions } from "../../src/import/system/import-system.ts";
import { defineStep, type SystemMapping } from "../../src/import/system/mapping.ts";
import { optionalRef, ref } from "../../src/import/system/references.ts";
import { createReportFile } from "../../src/import/system/report-file.ts";
import { type OnBadLine, openFolder } from "../../src/import/system/sources/folder.ts";
import { openSource } from "../../src/import/system/sources/open.ts";
import { fileUsers } from "../../src/import/system/users/file-users.ts";
import { baseOf } from "../../src/import/system/users/usernames.ts";
import { readValue } from "../../src/import/system/values.ts";
import { databaseEnv, outcomeOf, startCli } from "../cli/run-cli.ts";
import { createEmptyTestDatabase, createTestDatabase, type TestDatabase } from "../support/database.ts";
import { untilWaiting } from "../support/waiting.ts";
import { sqliteFixture } from "../systems/fixtures/sqlite.ts";
import { makeFolder } from "./files.ts";

// The engine of `plinth import system`: sources, resuming, verification and the report. Each test uses a system name of its own.

let db: TestDatabase;
let client: pg.Client;
let folder: Awaited<ReturnType<typeof makeFolder>>;
beforeAll(async () => {
  db = await createTestDatabase();
  client = new pg.Client(db.url("owner"));
  await client.connect();
  folder = await makeFolder();
});
afterAll(async () => {
  await client.end();
  await db.drop();
  await folder.remove();
});
afterEach(async () => {
  await client.query("delete from identity.users; delete from plinth.external_ids; delete from llm.prompts");
});

const lines = (rows: readonly object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

/** Imports accounts from a file that is written first. */
async function importUsers(
  name: string,
  content: string,
  options: Partial<SystemImportOptions> = {},
): ReturnType<typeof importSystem> {
  const path = await folder.write(name, content);
  let onBadLine: OnBadLine | undefined;
  const source = await openFolder(path, (...line) => onBadLine?.(...line), "users");
  try {
    return await importSystem({
      client,
      source,
      listenToBadLines: (listen) => {
        onBadLine = listen;
      },
      mapping: fileUsers("acme"),
      ...options,
    });
  } finally {
    await source.close();
  }
}

async function imported(): Promise<{ rows: number; people: number }> {
  const { rows } = await client.query(
    `select (select count(*)::int from plinth.external_ids) as rows,
       (select count(*)::int from identity.users u join plinth.external_ids e on e.row_id = u.id and e.user_id = u.id) as people`,
  );
  return rows[0];
}

/** Prompts, by their name and owner. */
const notes: SystemMapping = {
  system: "notes",
  title: "Notes",
  steps: [
    defineStep({
      relation: "users",
      key: ["id"],
      columns: { id: "id", name: "text", owner: "id?", of: "id?" },
      targets: [{ table: "llm.prompts", write: "insert" }],
      map: (row) =>
        row.name === "none"
          ? { omitted: "is called none" }
          : {
              values: [
                {
                  user_id: optionalRef("people", row.owner),
                  name: row.name,
                  content: "x",
                  ...(row.of === null ? {} : { id: ref("users", row.of) }),
                },
              ],
            },
    }),
  ],
};

describe("a run that ends early", () => {
  test("continues after kill -9 in the middle of a batch, without a duplicate", async () => {
    const product = sqliteFixture("headphone");
    product.exec(`insert into prompts (id, name, content)
      with recursive n (n) as (select 1001 union all select n + 1 from n where n < 2200) select n, 'prompt ' || n, 'x' from n`);
    const blocker = new pg.Client(db.url("owner"));
    await blocker.connect();
    // The second batch of prompts has written rows when it waits for this name.
    await blocker.query(
      "begin; insert into llm.prompts (user_id, name, content) values (null, 'prompt 1900', 'x')",
    );
    const child = startCli(["import", "system", "headphone-mode", "--from", product.path], databaseEnv(db));
    const outcome = outcomeOf(child);
    await untilWaiting(db);
    child.kill("SIGKILL");
    expect(await outcome).toMatchObject({ code: null, stdout: "" });
    await blocker.query("rollback");
    // The import's lock ends with its connection. Waits for it as the next import would have to.
    await blocker.query("select pg_advisory_lock(hashtextextended('plinth import system', 0))");
    await blocker.end();
    const count = async (): Promise<unknown> =>
      (
        await client.query(
          `select count(*)::int as prompts, count(distinct p.name)::int as names, count(distinct e.row_id)::int as ids
           from llm.prompts p full join plinth.external_ids e on e.row_id = p.id and e.relation = 'prompts'
           where e.relation = 'prompts' or e is null`,
        )
      ).rows[0];
    // 2 of the fixture's 3, and the first 497 of the others.
    expect(await count()).toEqual({ prompts: 499, names: 499, ids: 499 });

    const source = await openSource(product.path, () => {});
    const { tables, isVerified } = await importSystem({ client, source, mapping: headphone });
    await source.close();
    product.remove();
    expect(isVerified).toBe(true);
    expect(tables.find(({ relation }) => relation === "users")).toMatchObject({ imported: 0, present: 8 });
    expect(tables.find(({ relation }) => relation === "prompts")).toMatchObject({
      rows: 1_203,
      imported: 703,
      present: 499,
      omitted: 1,
    });
    expect(await count()).toEqual({ prompts: 1_202, names: 1_202, ids: 1_202 });
    // Also of the rows that the killed run brought.
    const { rows } = await client.query(
      "select event_data -> 'rows' ->> 'prompts' as prompts from security.security_audit_log where event_type = 'system_imported'",
    );
    expect(rows).toEqual([{ prompts: "1202" }]);
  });

  const MANY = lines(
    Array.from({ length: 1_200 }, (_, index) => ({ id: index + 1, name: `note ${index + 1}` })),
  );

  test("keeps finished batches when it is canceled", async () => {
    const controller = new AbortController();
    const options = { mapping: notes, signal: controller.signal };
    const run = importUsers("canceled.ndjson", MANY, { ...options, onProgress: () => controller.abort() });
    await expect(run).rejects.toMatchObject({ code: "IMPORT_CANCELLED", exitCode: 130 });
    expect(await imported()).toEqual({ rows: 500, people: 0 });
    await expect(importUsers("canceled.ndjson", MANY, { ...options, dryRun: true })).rejects.toThrow(
      "nothing was imported",
    );
    expect(await imported()).toEqual({ rows: 500, people: 0 });
  });

  test("refuses to run beside another import", async () => {
    const other = new pg.Client(db.url("owner"));
    await other.connect();
    await other.query("select pg_advisory_lock(hashtextextended('plinth import system', 0))");
    await expect(importUsers("second.ndjson", lines([{ id: 1 }]))).rejects.toMatchObject({
      code: "IMPORT_RUNNING",
    });
    await other.end();
  });
});

test("kill -9 in a ledger and before the last event loses and doubles nothing", async () => {
  const product = sqliteFixture("headphone");
  const started = (await client.query("select clock_timestamp()::text as at")).rows[0].at;
  for (const table of ["billing.usage_events", "security.security_audit_log"]) {
    const blocker = new pg.Client(db.url("owner"));
    await blocker.connect();
    await blocker.query(`begin; lock table ${table} in share row exclusive mode`);
    const child = startCli(["import", "system", "headphone-mode", "--from", product.path], databaseEnv(db));
    const outcome = outcomeOf(child);
    await untilWaiting(db);
    child.kill("SIGKILL");
    expect(await outcome).toMatchObject({ code: null, stdout: "" });
    await blocker.query("rollback");
    await blocker.query("select pg_advisory_lock(hashtextextended('plinth import system', 0))");
    await blocker.end();
  }
  const source = await openSource(product.path, () => {});
  const report = await importSystem({ client, source, mapping: headphone });
  await source.close();
  product.remove();
  expect(report).toMatchObject({ isVerified: true });
  expect(report.tables.map(({ imported }) => imported)).toEqual(report.tables.map(() => 0));
  const { rows } = await client.query(
    `select (select sum(total_tokens)::int from billing.usage_events where user_id is not null) as used,
       (select sum(token_count)::int from billing.usage_tracking) as counted,
       (select sum(consumed)::int from billing.token_grants) as paid,
       (select count(*)::int from security.security_audit_log where event_type = 'system_imported' and created_at > $1) as events`,
    [started],
  );
  expect(rows).toEqual([{ used: 1200, counted: 1200, paid: 1200, events: 1 }]);
  await client.query("select private.close_audit_block(10000)");
  const { faults } = await verifyAudit(client, {
    anchors: [],
    folder: undefined,
    signal: new AbortController().signal,
    onProgress: () => {},
  });
  expect(faults).toEqual([]);
});

describe("verification", () => {
  test("names the rows that differ from their source, and fails the next run too", async () => {
    await client.query(`
      create function public.shout() returns trigger language plpgsql as $$ begin new.username := new.username || '-x'; return new; end $$;
      create trigger _999_shout before insert on identity.users for each row when (new.username = 'bob') execute function public.shout()`);
    try {
      const people = lines([
        { id: 1, username: "ada" },
        { id: 2, username: "bob" },
      ]);
      for (const importedRows of [2, 0]) {
        const report = await importUsers("differs.ndjson", people);
        expect(report).toMatchObject({
          isVerified: false,
          mismatches: [{ relation: "users", row: "2", reason: "identity.users has another username" }],
          tables: [{ imported: importedRows, mismatches: 1 }],
        });
        expect(report.tables[0]!.storedChecksum).not.toBe(report.tables[0]!.expectedChecksum);
      }
    } finally {
      await client.query("drop trigger _999_shout on identity.users; drop function public.shout()");
    }
  });
});

describe("sources", () => {
  test("PostgreSQL is read by cursor, with microseconds, large numbers, arrays and bytes", async () => {
    const other = await createEmptyTestDatabase();
    try {
      const writer = new pg.Client(other.url("owner"));
      await writer.connect();
      await writer.query(`
        create schema product; set search_path = product;
        create table notes (id bigint primary key, author text, text text, at timestamp, tags text[]);
        insert into notes select n, 'known', 'note ' || n, timestamp '2024-01-02 03:04:05.678901' + (n - 9007199254740993) * interval '1 hour', '{a,"b, c"}'
          from generate_series(9007199254740993, 9007199254741993) n`);
      await writer.end();
      const mapping: SystemMapping = {
        system: "notes",
        title: "Notes",
        steps: [
          defineStep({
            relation: "notes",
            key: ["id"],
            columns: { id: "id", text: "text", at: "time", tags: "json" },
            targets: [{ table: "llm.prompts", write: "insert" }],
            map: (row) => ({
              values: [
                {
                  user_id: null,
                  name: row.id,
                  content: row.text,
                  contributors: row.tags,
                  created_at: row.at,
                },
              ],
            }),
          }),
        ],
      };
      const url = new URL(other.url("owner"));
      url.searchParams.set("options", "-csearch_path=product");
      const source = await openSource(url.href, () => {});
      const report = await importSystem({ client, source, mapping });
      await source.close();
      expect(report).toMatchObject({
        isVerified: true,
        tables: [{ rows: 1_001, imported: 1_001, omitted: 0 }],
      });
      const { rows } = await client.query(
        `select p.name, p.content, p.contributors, p.created_at::text as at, e.number::text as number, p.id::text
         from llm.prompts p join plinth.external_ids e on e.row_id = p.id order by e.number limit 1`,
      );
      expect(rows).toEqual([
        {
          name: "9007199254740993",
          content: "note 9007199254740993",
          contributors: ["a", "b, c"],
          at: expect.stringMatching(/\.678901\+00$/),
          number: "9007199254740993",
          id: expect.stringMatching(/^........-....-7/),
        },
      ]);
    } finally {
      await other.drop();
    }
  });

  test("CSV and NDJSON keep leading zeros, and name the lines that are no rows", async () => {
    const csv = await importUsers(
      "people.csv",
      'id,username,created_at\n007,"Ada, the first",2024-01-01\n7,bob\n8,carol,\n',
    );
    expect(csv.tables[0]).toMatchObject({ rows: 2, imported: 2 });
    expect(csv.remarks).toContainEqual({
      relation: "users",
      row: "line 3",
      reason: "has 2 fields instead of 3",
    });
    const json = await importUsers(
      "people.ndjson",
      '{"id": "9", "username": "dave"}\nnonsense\n{"username": "eve"}\n',
    );
    expect(json.remarks.map(({ row, reason }) => [row, reason.split(":")[0]])).toEqual([
      ["line 2", "is not JSON"],
      ["", "has no key"],
      ["9", "is missing"],
    ]);
    const { rows } = await client.query(
      "select e.external_id, e.number::int, u.username from plinth.external_ids e join identity.users u on u.id = e.row_id order by 1",
    );
    expect(rows).toEqual([
      { external_id: "007", number: null, username: "ada-the-first" },
      { external_id: "8", number: 8, username: "carol" },
      { external_id: "9", number: 9, username: "dave" },
    ]);
  });

  test("a source without a table or column is named with what is expected", async () => {
    const own = await makeFolder();
    await own.write("users.csv", "id,username\n1,ada\n");
    const source = await openSource(own.path, () => {});
    const run = importSystem({
      client,
      source,
      mapping: { ...headphone, steps: headphone.steps.slice(0, 2) },
    });
    await expect(run).rejects.toMatchObject({
      code: "SOURCE_DOES_NOT_FIT",
      message: "The source lacks the table preferences (id, user_id, preferences_data, updated_at).",
    });
    await source.close();
    await own.write("users.ndjson", "{}");
    await expect(openSource(own.path, () => {})).rejects.toMatchObject({ code: "SOURCE_AMBIGUOUS" });
    await own.remove();
    await expect(importUsers("none.csv", "username\nada\n")).rejects.toThrow("the column users.id (a key)");
    await expect(openSource("mysql://x", () => {})).rejects.toMatchObject({ code: "SOURCE_UNKNOWN" });
    await expect(openSource(`${folder.path}/none.csv`, () => {})).rejects.toMatchObject({
      code: "SOURCE_NOT_READABLE",
    });
  });

  test.each([
    ["postgres://ada:secret@host/db", undefined, "PASSWORD_IN_ARGUMENT"],
    ["postgres://host/db?password=secret", undefined, "PASSWORD_IN_ARGUMENT"],
    [undefined, "SHOP_URL", "SOURCE_MISSING"],
    [undefined, undefined, "SOURCE_MISSING"],
  ])("--from %s and --from-env %s fail with %s", (from, fromEnv, code) => {
    expect(() => importSource({}, { from, fromEnv })).toThrow(expect.objectContaining({ code }));
    expect(() => importSource({}, { from, fromEnv })).not.toThrow("secret");
  });

  test("a URL with a password comes from the environment", () => {
    const url = "postgres://ada:secret@host/db";
    expect(importSource({ SHOP_URL: url }, { fromEnv: "SHOP_URL" })).toBe(url);
    expect(importSource({ PLINTH_IMPORT_URL: url }, {})).toBe(url);
    expect(importSource({}, { from: "postgres://ada@host/db" })).toBe("postgres://ada@host/db");
  });
});

describe("rows", () => {
  test("that the database rejects, or whose row is missing, are left out alone, each with its reason", async () => {
    const people = [
      { id: 1, name: "a" },
      { id: 2, name: "a" },
      { id: 3, name: " padded " },
      { id: 4, name: "none" },
      { id: 5, name: "b", owner: 77 },
      { id: 6, name: "c", of: 78 },
      { id: 7, name: "nul\u0000" },
      { id: 8, name: "d" },
      { id: 8, name: "e" },
    ];
    const report = await importUsers("notes.ndjson", lines(people), { mapping: notes });
    expect(report).toMatchObject({ isVerified: true, tables: [{ rows: 9, imported: 3, omitted: 6 }] });
    expect(report.remarks).toEqual([
      { relation: "users", row: "8", reason: "another row has the same key" },
      {
        relation: "users",
        row: "2",
        reason: "llm.prompts already has such a row (prompts_user_id_name_key)",
      },
      { relation: "users", row: "3", reason: "llm.prompts does not allow it (prompts_name_check)" },
      { relation: "users", row: "4", reason: "is called none" },
      { relation: "users", row: "6", reason: "its row of users was not imported" },
      { relation: "users", row: "7", reason: "contains a NUL character" },
      { relation: "users", row: "5", column: "user_id", reason: "its row of people was not imported" },
    ]);
  });

  test("are written completely or not at all", async () => {
    const mapping: SystemMapping = {
      system: "notes",
      title: "Notes",
      steps: [
        defineStep({
          relation: "users",
          key: ["id"],
          columns: { id: "id", name: "text", of: "text?" },
          targets: [
            { table: "llm.prompts", write: "insert" },
            { table: "access.roles", write: "update", by: ["role_name"], missing: "the role does not exist" },
            {
              sql: `select e.n from jsonb_to_recordset($1) e (n integer, "values" jsonb) where e."values" ->> 'of' = 'moderator'`,
            },
          ],
          map: (row) => ({
            values: [
              { user_id: null, name: row.name, content: "x" },
              { role_name: row.of, rank: 7 },
              row.name === "c" ? { of: "nothing" } : null,
            ],
          }),
        }),
      ],
    };
    const report = await importUsers(
      "parts.ndjson",
      lines([
        { id: 1, name: "a", of: "moderator" },
        { id: 2, name: "b", of: "jester" },
        { id: 3, name: "c", of: "moderator" },
      ]),
      { mapping },
    );
    expect(report.remarks).toEqual([
      { relation: "users", row: "2", reason: "the role does not exist" },
      { relation: "users", row: "3", reason: "the database did not accept it" },
    ]);
    expect((await client.query("select name from llm.prompts")).rows).toEqual([{ name: "a" }]);
    expect((await client.query("select external_id from plinth.external_ids")).rows).toEqual([
      { external_id: "1" },
    ]);
  });

  test("keep the UUID of their source if it is free", async () => {
    const taken = "00000000-0000-4000-8000-000000000001";
    const free = "00000000-0000-4000-8000-000000000002";
    await client.query("insert into identity.users (id, username) values ($1, 'first')", [taken]);
    const [step] = fileUsers("acme").steps;
    const mapping = { system: "acme", title: "Acme", steps: [{ ...step!, keepsId: true }] };
    await importUsers(
      "uuids.ndjson",
      lines([
        { id: taken, username: "a1" },
        { id: free, username: "a2" },
      ]),
      { mapping },
    );
    const { rows } = await client.query(
      "select external_id, row_id = external_id::uuid as is_kept from plinth.external_ids order by 1",
    );
    expect(rows).toEqual([
      { external_id: taken, is_kept: false },
      { external_id: free, is_kept: true },
    ]);
  });

  test("of accounts keep their state, times and roles", async () => {
    const report = await importUsers(
      "states.ndjson",
      lines([
        {
          id: 1,
          username: "ada",
          email: "ada@example.com",
          status: "disabled",
          email_verified_at: "2024-01-02T03:04:05+02:00",
          last_login_at: 1_717_200_000,
          locked_until: "2999-01-01",
          failed_login_attempts: 3,
          created_at: "2023-05-05 05:05:05",
          updated_at: "2024-06-06 06:06:06",
          roles: "Moderator, night owl",
          preferences: { theme: "dark" },
          profile_data: [1],
          phone_number: "+4915112345678",
        },
        { id: 2, username: "bob", status: "sleeping" },
      ]),
    );
    expect(report.isVerified).toBe(true);
    const { rows } = await client.query(
      `select u.username, u.account_status, u.email_verified_at::text as verified, u.last_login_at::text as seen, u.locked_until::text as locked,
         u.failed_login_attempts as failed, u.created_at::text as created, u.updated_at::text as updated, s.updated_at::text as set,
         s.preferences, array(select r.role_name from access.user_roles ur join access.roles r on r.id = ur.role_id where ur.user_id = u.id order by 1) as roles
       from identity.users u join identity.user_settings s on s.user_id = u.id order by 1`,
    );
    expect(rows[0]).toEqual({
      username: "ada",
      account_status: "disabled",
      verified: "2024-01-02 01:04:05+00",
      seen: "2024-06-01 00:00:00+00",
      locked: "2999-01-01 00:00:00+00",
      failed: 3,
      created: "2023-05-05 05:05:05+00",
      updated: "2024-06-06 06:06:06+00",
      set: "2024-06-06 06:06:06+00",
      preferences: { theme: "dark" },
      roles: ["moderator", "user"],
    });
    expect(rows[1]).toMatchObject({ username: "bob", account_status: "disabled" });
    expect(report.remarks.map(({ row, column, detail }) => [row, column, detail])).toEqual([
      ["1", "password_hash", undefined],
      ["1", "phone_number", undefined],
      ["1", "profile_data", undefined],
      ["1", "role", "night_owl"],
      ["2", "status", undefined],
      ["2", "password_hash", undefined],
    ]);
  });

  test("of accounts are hashed in privacy mode, also their names", async () => {
    const hasher = {
      hash: async () => Buffer.alloc(32, 1),
      hashText: async (text: string) => Buffer.alloc(32, text.length),
    };
    await importUsers("private.ndjson", lines([{ id: 1, username: "Ada", email: "ada@example.com" }]), {
      privacyMode: true,
      emailHasher: hasher,
    });
    const { rows } = await client.query(
      "select u.username, u.email, u.hashed_email, s.display_name from identity.users u join identity.user_settings s on s.user_id = u.id",
    );
    expect(rows).toEqual([
      {
        username: `user-${"08".repeat(16)}`,
        email: null,
        hashed_email: Buffer.alloc(32, 1),
        display_name: null,
      },
    ]);
  });
});

test.each([
  ["ada", "ada"],
  [" Ada ", "ada"],
  ["Bob Müller", "bob-muller"],
  ["Zoë.Łuczak_1", "zoe.luczak_1"],
  ["李雷", "user-17"],
  ["--", "user-17"],
  ["x", "user-17"],
  [null, "user-17"],
  ["a@b.example", "a-b.example"],
  ["é".repeat(200), "e".repeat(90)],
  // The form of hashed names is theirs alone.
  [`user-${"0".repeat(32)}`, "user-17"],
])("the name %p becomes the login name %s", (name, expected) => {
  expect(baseOf(name, "17")).toBe(expected);
});

test.each([
  ["time", "2024-01-31 10:00:00.123456", "2024-01-31T10:00:00.123456Z"],
  ["time", "2024-01-31T10:00+0530", "2024-01-31T10:00:00+05:30"],
  ["time", "2024-01-31 10:00:00+00", "2024-01-31T10:00:00+00:00"],
  ["time", 1_706_695_200, "2024-01-31T10:00:00.000Z"],
  ["time", "1706695200000", "2024-01-31T10:00:00.000Z"],
  ["time", "2024-02-30", undefined],
  ["time", "yesterday", undefined],
  ["integer", "9007199254740993", undefined],
  ["integer", 12n, 12],
  ["integer", "1.5", undefined],
  ["id", 9_007_199_254_740_993n, "9007199254740993"],
  ["id", "", undefined],
  ["uuid", "ABCDEF00-0000-4000-8000-000000000000", "abcdef00-0000-4000-8000-000000000000"],
  ["uuid", "17", undefined],
  ["boolean", "t", true],
  ["boolean", 0n, false],
  ["boolean", "perhaps", undefined],
  ["json", '{"a": [1]}', { a: [1] }],
  ["json", "{", undefined],
  ["bytes", "\\x00ff", Buffer.from([0, 255])],
  ["bytes", "AP8=", Buffer.from([0, 255])],
  ["text", 7n, "7"],
  ["text", new Uint8Array(1), undefined],
  ["text", null, null],
] as const)("%s reads %p as %p", (kind, raw, expected) => {
  expect(readValue(kind, raw)).toEqual(expected);
});

test("the report file has every remark, and only its owner may read it", async () => {
  const path = `${folder.path}/report.json`;
  const file = createReportFile(path);
  file.add({ relation: "users", row: "1", reason: 'says "no"' });
  file.add({ relation: "users", row: "2", column: "email", reason: "x" });
  file.close();
  expect(JSON.parse(await readFile(path, "utf8"))).toEqual([
    { relation: "users", row: "1", reason: 'says "no"' },
    { relation: "users", row: "2", column: "email", reason: "x" },
  ]);
  expect(() => createReportFile(`${folder.path}/report.txt`)).toThrow("must end with .csv or .json");
});

test("only a session of the owner keeps times", async () => {
  await client.query(
    "insert into identity.users (username) values ('ada'); grant update on identity.user_settings to public",
  );
  const change =
    "update identity.user_settings set avatar_url = $1, updated_at = '2001-01-01' returning updated_at < '2002-01-01' as is_kept";
  await client.query("set plinth.keeps_times = 'on'");
  expect((await client.query(change, ["https://a.example"])).rows).toEqual([{ is_kept: true }]);
  await client.query("reset plinth.keeps_times");
  expect((await client.query(change, ["https://b.example"])).rows).toEqual([{ is_kept: false }]);
  const api = new pg.Client(db.url("authenticator"));
  await api.connect();
  await api.query("set plinth.keeps_times = 'on'");
  const { rows } = await client.query("select id from identity.users");
  await api.query(`set role ${db.rolePrefix}_user`);
  await api.query("select set_config('jwt.claims.user_id', $1, false)", [rows[0].id]);
  expect((await api.query(change, ["https://c.example"])).rows).toEqual([{ is_kept: false }]);
  await api.end();
  await client.query("revoke update on identity.user_settings from public");
});
