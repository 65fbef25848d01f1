import { readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { emailHasherOn } from "../../src/auth/email-storage.ts";
import { disableCompat } from "../../src/database/compat/compat.ts";
import { headphone } from "../../src/import/system/headphone/index.ts";
import { importSystem, type SystemImportOptions } from "../../src/import/system/import-system.ts";
import type { SystemMapping } from "../../src/import/system/mapping.ts";
import { defineStep } from "../../src/import/system/mapping.ts";
import { ref } from "../../src/import/system/references.ts";
import type { ImportReport } from "../../src/import/system/report.ts";
import { createReportFile } from "../../src/import/system/report-file.ts";
import { socializer } from "../../src/import/system/socializer/index.ts";
import { type OnBadLine, openFolder } from "../../src/import/system/sources/folder.ts";
import { openSource } from "../../src/import/system/sources/open.ts";
import type { Source } from "../../src/import/system/sources/source.ts";
import { fileUsers } from "../../src/import/system/users/file-users.ts";
import { readValue } from "../../src/import/system/values.ts";
import { MASTER_KEYS } from "../support/api.ts";
import { compatOptions, enableSystems } from "../support/compat.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { sqliteFixture } from "../systems/fixtures/sqlite.ts";
import { makeFolder } from "./files.ts";

// Sources whose rows, names and files are meant to harm the database they are imported into.

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
const ids = async (sql: string, values: unknown[] = []) => (await client.query(sql, values)).rows;

/** Imports files, by default of accounts. */
async function importFiles(
  files: Readonly<Record<string, string>>,
  options: Partial<SystemImportOptions> = {},
): Promise<ImportReport> {
  const own = await makeFolder();
  for (const [name, content] of Object.entries(files)) await own.write(name, content);
  let onBadLine: OnBadLine | undefined;
  const source = await openFolder(own.path, (...line) => onBadLine?.(...line));
  try {
    return await importSystem({
      client,
      source,
      mapping: fileUsers("acme"),
      listenToBadLines(listen) {
        onBadLine = listen;
      },
      ...options,
    });
  } finally {
    await source.close();
    await own.remove();
  }
}

/** Pairs of people, such as members of a room: their key has two columns. */
const pairs: SystemMapping = {
  system: "pairs",
  title: "Pairs",
  steps: [
    ...fileUsers("pairs").steps,
    defineStep({
      relation: "pairs",
      key: ["a", "b"],
      columns: { a: "id", b: "id", text: "text?" },
      targets: [{ table: "llm.prompts", write: "insert" }],
      map: (row) => ({
        values: [{ user_id: ref("users", row.a), name: `of ${row.a}, ${row.b}`, content: row.text ?? "x" }],
      }),
    }),
  ],
};

describe("ids", () => {
  test("given to rows that were created here are not those of the source", async () => {
    const [{ id: administrator }] = await ids(
      "insert into identity.users (username) values ('root') returning id",
    );
    await client.query(
      `insert into plinth.external_ids (system, relation, external_id, row_id, user_id, is_numbered_here)
       values ('pairs', 'users', '1', $1, $1, true)`,
      [administrator],
    );
    // The first run has only the row that refers to it.
    const early = await importFiles(
      { "users.ndjson": lines([{ id: 2 }]), "pairs.ndjson": lines([{ a: 1, b: 2 }]) },
      { mapping: pairs },
    );
    expect(early.remarks).toContainEqual({
      relation: "pairs",
      row: "1:2",
      reason: "its row of users was not imported",
    });
    const report = await importFiles(
      {
        "users.ndjson": lines([{ id: 1, username: "mallory" }, { id: 2 }]),
        "pairs.ndjson": lines([{ a: 1, b: 2 }]),
      },
      { mapping: pairs },
    );
    expect(report).toMatchObject({
      isVerified: true,
      tables: [
        { imported: 1, present: 1 },
        { imported: 1, present: 0 },
      ],
    });
    expect(report.remarks).toContainEqual({
      relation: "users",
      row: "1",
      reason: expect.stringContaining("a row that was created here had this number"),
    });
    expect(
      await ids(
        `select u.username, p.name from llm.prompts p join identity.users u on u.id = p.user_id where u.id <> $1`,
        [administrator],
      ),
    ).toEqual([{ username: "mallory", name: "of 1, 2" }]);
  });

  test("of several columns are told apart, whatever is in them", async () => {
    const report = await importFiles(
      {
        "users.ndjson": lines([{ id: "1" }, { id: "1:2" }, { id: "1\\" }, { id: " 1" }, { id: "01" }]),
        "pairs.ndjson": lines([
          { a: "1", b: "2:3" },
          { a: "1:2", b: "3" },
          { a: "1\\", b: "2:3" },
          { a: " 1", b: "2" },
          { a: "01", b: "2" },
        ]),
      },
      { mapping: pairs },
    );
    expect(report).toMatchObject({
      isVerified: true,
      tables: [{ imported: 5 }, { imported: 5, omitted: 0 }],
    });
    expect(
      (await ids("select external_id from plinth.external_ids where relation = 'pairs' order by 1")).length,
    ).toBe(5);
  });

  test("that are no keys leave out their own row only", async () => {
    const report = await importFiles({
      "users.ndjson": lines([
        { id: "a\u0000b", username: "nul" },
        { id: "\ud800", username: "half" },
        { id: "twice", ID: "twice", username: "twice" },
        { id: "unnamed", "": 1, username: "unnamed" },
        { id: "x".repeat(1_000), username: "long" },
        { id: [1], username: "list" },
        { username: "none" },
        { id: -5, username: "negative" },
        { id: "1234567890123456789", username: "large" },
        { id: "ok", username: "ok" },
      ]),
    });
    expect(report.tables).toMatchObject([{ rows: 7, imported: 4, omitted: 3 }]);
    expect(
      report.remarks.filter(({ row }) => row.startsWith("line")).map(({ row, reason }) => `${row} ${reason}`),
    ).toEqual([
      "line 2 contains half of a surrogate pair",
      "line 3 has columns that a table cannot have",
      "line 4 has columns that a table cannot have",
    ]);
    for (const { row } of report.remarks) expect(row.length).toBeLessThanOrEqual(200);
    expect(await ids("select username from identity.users order by 1")).toEqual([
      { username: "large" },
      { username: "list" },
      { username: "negative" },
      { username: "ok" },
    ]);
  });
});

test("a row that a compatibility schema numbered gets another number, and nothing of the source's row with its number", async () => {
  await client.query("insert into identity.users (username) values ('root')");
  await enableSystems(db, ["headphone"]);
  await disableCompat(["headphone"], compatOptions(db));
  const product = sqliteFixture("headphone");
  const source = await openSource(product.path, () => {});
  const report = await importSystem({ client, source, mapping: headphone });
  await source.close();
  product.remove();
  const numberOf = `select e.number::int as number, u.username from plinth.external_ids e join identity.users u on u.id = e.row_id
    where e.system = 'headphone' and e.relation = 'users' and u.username in ('root', 'ada') order by 1`;
  expect(report.isVerified).toBe(true);
  expect(await ids(numberOf)).toEqual([{ number: 1, username: "ada" }]);
  // Roles that were here are found, although they had numbers, too.
  expect(report.tables.find(({ relation }) => relation === "roles")).toMatchObject({
    present: 3,
    omitted: 1,
  });
  await enableSystems(db, ["headphone"]);
  expect(await ids(numberOf)).toEqual([
    { number: 1, username: "ada" },
    { number: 9, username: "root" },
  ]);
  await disableCompat(["headphone"], compatOptions(db));
});

describe("values", () => {
  test("too large for a statement, or nested too deeply, leave out their own row or column only", async () => {
    const deep = `${"[".repeat(50_000)}${"]".repeat(50_000)}`;
    const text = JSON.stringify(`{"deep": ${deep}}`);
    const users = [
      `{"id": 1, "profile_data": ${text}}`,
      `{"id": 5, "profile_data": {"deep": ${deep}}}`,
      `{"id": 2, "username": "ada", "token": "x"}`,
      `{"id": 3, "username": "bob", "failed_login_attempts": 9000000000, "created_at": "0000-01-01", "updated_at": 9e15}`,
      `{"id": 4, "username": "carol", "created_at": "2024-01-01T00:00:00+23:00", "last_login_at": "infinity"}`,
    ];
    const report = await importFiles({ "users.ndjson": `${users.join("\n")}\n` });
    expect(report).toMatchObject({ isVerified: true, tables: [{ imported: 3, omitted: 1 }] });
    expect(report.remarks).toContainEqual({
      relation: "users",
      row: "line 2",
      reason: "is nested too deeply",
    });
    expect(report.remarks).toContainEqual({
      relation: "users",
      row: "1",
      reason: "is too large, or nested too deeply",
    });
    expect(
      report.remarks.flatMap(({ row, column }) =>
        column === "password_hash" || column === undefined ? [] : `${row} ${column}`,
      ),
    ).toEqual([
      "3 created_at",
      "3 updated_at",
      "4 last_login_at",
      "4 created_at",
      "3 failed_login_attempts",
      " token",
    ]);
  });

  test("of megabytes are imported in batches that fit into a statement", async () => {
    const batches: number[] = [];
    const image = "x".repeat(1_000_000);
    const report = await importFiles(
      {
        "users.ndjson": lines([{ id: "a" }]),
        "pairs.ndjson": lines(Array.from({ length: 10 }, (_, b) => ({ a: "a", b, text: image }))),
      },
      {
        mapping: pairs,
        onProgress: ({ step, done }) => {
          if (step === "Importing pairs") batches.push(done!);
        },
      },
    );
    expect(batches).toEqual([8, 10]);
    expect(report).toMatchObject({ isVerified: true, tables: [{}, { imported: 10 }] });
  });

  test.each([
    ["0000-01-01", undefined],
    ["0001-01-01", "0001-01-01T00:00:00Z"],
    ["9999-12-31", "9999-12-31T00:00:00Z"],
    [8_640_000_000_000_000, undefined],
    ["-1", "1969-12-31T23:59:59.000Z"],
    ["infinity", undefined],
    ["NaN", undefined],
    ["2024-01-01T00:00:00+23:00", undefined],
  ])("time reads %p as %p", (raw, expected) => {
    expect(readValue("time", raw)).toBe(expected);
  });
});

describe("accounts", () => {
  test("of people who are here keep their names, addresses and numbers, and the others the rest", async () => {
    await client.query(
      `insert into identity.users (username, email, phone_number, phone_verified_at)
       values ('root', 'root@example.com', '+4915112345678', now())`,
    );
    const phone_verified_at = "2024-01-01";
    const report = await importFiles({
      "users.ndjson": lines([
        {
          id: 1,
          username: "ROOT",
          email: "Root@Example.com",
          phone_number: "+4915112345678",
          phone_verified_at,
        },
        { id: 2, username: "ｒｏｏｔ", phone_number: "+4915112345679", phone_verified_at },
        { id: 3, username: "third", phone_number: "+4915112345679", phone_verified_at },
      ]),
    });
    expect(report).toMatchObject({ isVerified: true, tables: [{ imported: 3, omitted: 0 }] });
    expect(
      await ids(
        "select username, email, phone_number as phone from identity.users order by created_at, username",
      ),
    ).toEqual([
      { username: "root", email: "root@example.com", phone: "+4915112345678" },
      { username: "root-2", email: null, phone: null },
      { username: "root-3", email: null, phone: "+4915112345679" },
      { username: "third", email: null, phone: null },
    ]);
    expect(report.reasons).toContainEqual({
      relation: "users",
      column: "phone_number",
      reason: "is the number of another account",
      count: 2,
    });
  });
});

test("a hash of an address that another account has, or of another function, stays behind", async () => {
  const mapping = await socializer.forRun!({
    client,
    dryRun: true,
    masterKeys: MASTER_KEYS,
    isAllowedEndpoint: () => false,
    emailHash: "sha256",
    emailSalt: "",
  });
  const hashed_email = "ab".repeat(32);
  const files = {
    "users.ndjson": lines([
      { id: 1, username: "ada", hashed_email },
      { id: 2, username: "bob", hashed_email: hashed_email.toUpperCase() },
      { id: 3, username: "carol", hashed_email: "ab".repeat(16) },
    ]),
  };
  for (const imported of [3, 0])
    expect(
      await importFiles(files, {
        mapping: { ...mapping, steps: mapping.steps.slice(0, 1) },
        emailHasher: emailHasherOn(client, MASTER_KEYS),
      }),
    ).toMatchObject({
      isVerified: true,
      tables: [{ imported, omitted: 0 }],
      remarks: expect.arrayContaining([
        {
          relation: "users",
          row: "2",
          column: "hashed_email",
          reason: "is the hash of another account's address",
        },
        { relation: "users", row: "3", column: "hashed_email", reason: "has not the length of sha256" },
      ]),
    });
  expect(
    await ids(
      "select u.username from plinth.external_ids e join identity.users u on u.id = e.user_id where e.relation = 'users_hashed_email'",
    ),
  ).toEqual([{ username: "ada" }]);
});

describe("the report", () => {
  test("names each table and column that no step reads, once", async () => {
    const report = await importFiles(
      {
        "users.csv": "id,username,shoe_size,created_at\n1,ada,38,never\n2,bob,44,\n",
        "shoes.csv": "id\n1\n",
        "old.ndjson": "nonsense\n",
      },
      { mapping: { ...fileUsers("acme"), leaves: { old: "is old", "users.shoe_size": "feet grow" } } },
    );
    expect(report.remarks.filter(({ column }) => column !== "password_hash")).toEqual([
      { relation: "users", row: "1", column: "created_at", reason: expect.any(String) },
      { relation: "old", row: "line 1", reason: "is not JSON" },
      { relation: "old", row: "", reason: "is old (0 rows)" },
      { relation: "shoes", row: "", reason: "not imported: Plinth has no place for it" },
      { relation: "users", row: "", column: "shoe_size", reason: "feet grow" },
    ]);
  });

  test("has no value of a line that cannot be read", async () => {
    const report = await importFiles({
      "users.ndjson": '{"id": 1, "username": "ada"}\n{"id": 2, password: "$2b$10$secret"}\n',
    });
    expect(JSON.stringify(report)).not.toContain("secret");
    expect(report.remarks).toContainEqual({ relation: "users", row: "line 2", reason: "is not JSON" });
  });

  test("does not run in a spreadsheet, and is closed to others", async () => {
    const path = `${folder.path}/formulas.csv`;
    writeFileSync(path, "", { mode: 0o644 });
    const file = createReportFile(path);
    for (const row of ["=HYPERLINK(1)", "@SUM(1)", "-5", "-5+cmd", "+1:2"])
      file.add({ relation: "users", row, reason: "x" });
    file.close();
    expect(readFileSync(path, "utf8").trim().split("\n").slice(1)).toEqual([
      `"users","'=HYPERLINK(1)","","x",""`,
      `"users","'@SUM(1)","","x",""`,
      `"users","-5","","x",""`,
      `"users","'-5+cmd","","x",""`,
      `"users","'+1:2","","x",""`,
    ]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("replaces an earlier report, and no other file", async () => {
    const source = await folder.write("people.csv", "id,username\n1,ada\n");
    expect(() => createReportFile(source)).toThrow(expect.objectContaining({ code: "REPORT_EXISTS" }));
    expect(readFileSync(source, "utf8")).toContain("ada");
    for (const name of ["again.csv", "again.json"])
      for (const _ of [1, 2]) {
        const file = createReportFile(`${folder.path}/${name}`);
        file.add({ relation: "users", row: "1", reason: "x" });
        file.close();
      }
    expect(JSON.parse(readFileSync(`${folder.path}/again.json`, "utf8"))).toHaveLength(1);
  });

  test("on a full disk stops the import, which continues with the next run", async () => {
    const path = `${folder.path}/full.json`;
    symlinkSync("/dev/full", path);
    const file = createReportFile(path);
    const files = {
      "users.ndjson": lines([
        { id: 1, username: "ada" },
        { id: 2, username: "bob" },
      ]),
    };
    await expect(importFiles(files, { onRemark: file.add })).rejects.toMatchObject({
      code: "REPORT_NOT_WRITABLE",
      hint: expect.stringContaining("continues"),
    });
    file.close();
    expect(await importFiles(files)).toMatchObject({
      isVerified: true,
      tables: [{ imported: 0, present: 2 }],
    });
  });
});

describe("a source that fails while it is read", () => {
  const failing =
    (fails: (sql: string) => boolean) =>
    (source: Source): Source => ({
      ...source,
      read: (sql, batchSize) => source.read(fails(sql) ? "select missing from nothing" : sql, batchSize),
    });

  test("is named, without values of its rows, and the next run continues", async () => {
    const path = await folder.write("failing.ndjson", lines([{ id: 1, username: "ada" }]));
    const source = failing((sql) => !sql.includes("count(*)"))(await openFolder(path, () => {}, "users"));
    await expect(importSystem({ client, source, mapping: fileUsers("acme") })).rejects.toMatchObject({
      code: "SOURCE_NOT_READABLE",
    });
    await source.close();
    const url = new URL(db.url("owner"));
    await client.query(
      "create schema product; create view product.users as select ('secret' || g)::integer as id from generate_series(1, 2) g",
    );
    try {
      url.searchParams.set("options", "-csearch_path=product");
      const product = await openSource(url.href, () => {});
      const run = importSystem({ client, source: product, mapping: fileUsers("acme") });
      await expect(run).rejects.toMatchObject({
        code: "SOURCE_NOT_READABLE",
        message: "The source database cannot be read: SQLSTATE 22P02.",
      });
      await product.close();
    } finally {
      await client.query("drop schema product cascade");
    }
  });
});
