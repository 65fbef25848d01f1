import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { verifyAudit } from "../../src/audit/verify.ts";
import { parseMasterKeys } from "../../src/auth/master-keys.ts";
import { createSealer } from "../../src/auth/sealing.ts";
import { dropDatabase } from "../../src/database/drop-database.ts";
import { databaseUrl } from "../../src/database/scratch-database.ts";
import { cedrinaWith } from "../../src/import/system/cedrina/index.ts";
import { importSystem } from "../../src/import/system/import-system.ts";
import type { ImportReport } from "../../src/import/system/report.ts";
import { openSource } from "../../src/import/system/sources/open.ts";
import { databaseEnv } from "../cli/run-cli.ts";
import { runHere } from "../cli/run-here.ts";
import { registerUser } from "../support/accounts.ts";
import { type Api, codeOf, MASTER_KEYS, signIn, startApi } from "../support/api.ts";
import { contextOf } from "../support/casbin/case.ts";
import { askNodeCasbin } from "../support/casbin/node-casbin.ts";
import { withClient } from "../support/client.ts";
import { enableSystems } from "../support/compat.ts";
import { type CompatCaller, callerOf } from "../support/compat-callers.ts";
import { createTestDatabase, rowsAs, type TestDatabase, testSetup } from "../support/database.ts";
import { unseenChanges } from "../support/unseen-changes.ts";
import { hashesOfTables } from "../support/whole-database.ts";

// The fixture database of Cedrina is moved in, and its document's statements run on the result. The tests run in order.

const FIXTURES = join(import.meta.dirname, "fixtures/cedrina");
const sealer = createSealer(parseMasterKeys(MASTER_KEYS));

let db: TestDatabase;
let source: string;
let api: Api;
beforeAll(async () => {
  db = await createTestDatabase();
  source = databaseUrl(testSetup().adminUrl, `${db.name}_source`);
  await withClient(testSetup().adminUrl, (client) => client.query(`create database "${db.name}_source"`));
  await withClient(source, async (client) => {
    for (const file of ["schema.sql", "data.sql"])
      await client.query(readFileSync(join(FIXTURES, file), "utf8"));
  });
  api = await startApi(db);
});
afterAll(async () => {
  await api?.close();
  await db?.drop();
  await withClient(testSetup().adminUrl, (client) => dropDatabase(client, `${db.name}_source`));
});

const asOwner = rowsAs("owner", () => db);

async function moveIn(): Promise<ImportReport> {
  const opened = await openSource(source, () => {});
  try {
    return await withClient(db.url("owner"), (client) =>
      importSystem({ client, source: opened, mapping: cedrinaWith(sealer) }),
    );
  } finally {
    await opened.close();
  }
}

const countsOf = ({ tables }: ImportReport) =>
  Object.fromEntries(
    tables.map(({ relation, rows, imported, present, omitted }) => [
      relation,
      { rows, imported, present, omitted },
    ]),
  );

const IMPORTED = {
  users: { rows: 12, imported: 12, present: 0, omitted: 0 },
  oauth_profiles: { rows: 4, imported: 3, present: 0, omitted: 1 },
  sessions: { rows: 3, imported: 1, present: 0, omitted: 2 },
  casbin_rules: { rows: 7, imported: 6, present: 0, omitted: 1 },
  audit_logs: { rows: 6, imported: 6, present: 0, omitted: 0 },
  rate_limit_records: { rows: 4, imported: 2, present: 0, omitted: 2 },
};

let report: ImportReport;

test("changes nothing in a dry run, which reports what the import will do", async () => {
  const before = await hashesOfTables(db);
  const { code, stdout, stderr } = await runHere(
    ["import", "system", "cedrina", "--from-env", "CEDRINA_URL", "--dry-run", "--json"],
    {
      env: { ...databaseEnv(db), PLINTH_MASTER_KEYS: MASTER_KEYS, CEDRINA_URL: source },
    },
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  report = JSON.parse(stdout);
  expect(report).toMatchObject({ dryRun: true, isVerified: true, mismatches: [] });
  expect(countsOf(report)).toEqual(IMPORTED);
  expect(await hashesOfTables(db)).toEqual(before);
});

test("brings all that can come along, and verifies it", async () => {
  const dry = report;
  report = await moveIn();
  expect(report).toMatchObject({ dryRun: false, isVerified: true, mismatches: [] });
  expect(countsOf(report)).toEqual(IMPORTED);
  for (const { expectedChecksum, storedChecksum } of report.tables)
    expect(storedChecksum).toBe(expectedChecksum);
  expect(report.reasons).toEqual(dry.reasons);
});

test("reports each row and column that could not come along, with the reason", () => {
  const remarks = report.remarks.map(({ relation, row, column, reason }) =>
    [`${relation} ${row}`.trim(), column, reason].filter(Boolean).join(": "),
  );
  expect(remarks.sort()).toEqual([
    "audit_logs 104: metadata: must be a JSON object",
    "audit_logs 104: severity: is unknown, so the event has the severity info",
    "audit_logs 110: created_at: is missing, so the event has the time of the import",
    "casbin_rules 9: ptype: the model defines no p2",
    "oauth_profiles 4: the name of a provider must begin with a letter, and have letters, digits, - and _ only",
    "password_reset_tokens: links to reset a password are not imported: users request a new one (2 rows)",
    "rate_limit_records 3: its window has ended",
    "rate_limit_records 4: has an algorithm that Plinth does not have",
    "sessions 10: refresh_token: is not valid here: the user signs in again",
    "sessions 10: session_token: is not valid here: the user signs in again",
    "sessions 11: ended more than 90 days ago",
    "sessions 12: ended more than 90 days ago",
    "users 2147483647: hashed_password: is missing",
    "users 21: role: does not exist here: create it, and grant it",
    "users 21: tier: does not exist here: create it, and grant it",
    "users 22: email: is not a valid email address",
    "users 30: hashed_password: has a format that sign-in cannot verify",
    "users 34: preferences: must be a JSON object",
    "users 34: profile_data: must be a JSON object",
    "users 4: username: is not allowed or taken: the user signs in with another name",
    "users 5: email: is the email address of another account",
    "users 5: username: is not allowed or taken: the user signs in with another name",
    "users 8: username: is not allowed or taken: the user signs in with another name",
    "users 9: username: is not allowed or taken: the user signs in with another name",
  ]);
});

/** Finds a row here by its number there. */
const OF = (relation: string, number: number) =>
  `(select row_id from plinth.external_ids where system = 'cedrina' and relation = '${relation}' and number = ${number})`;

describe("people", () => {
  test("keep their names, roles, tiers and states [C1]", async () => {
    const rows = await asOwner(
      `select x.number::int as id, u.username, s.display_name as shown, u.email, u.account_status as status,
         u.is_verified as verified, identity.users_role(u) as role, identity.users_tier(u) as tier, p.hash_algorithm as hash
       from identity.users u
       join identity.user_settings s on s.user_id = u.id
       join plinth.external_ids x on x.row_id = u.id and x.relation = 'users'
       left join private.user_passwords p on p.user_id = u.id
       order by x.number`,
    );
    const usual = {
      shown: null,
      status: "active",
      verified: true,
      role: "user",
      tier: "free",
      // bcrypt of a low cost is stored within another hash.
      hash: "wrapped",
    };
    expect(rows).toEqual([
      {
        ...usual,
        id: 3,
        username: "ada",
        email: "ada@example.org",
        role: "admin",
        tier: "premium",
        hash: "bcrypt",
      },
      { ...usual, id: 4, username: "grace-hopper", shown: "Grace Hopper", email: "grace@example.org" },
      { ...usual, id: 5, username: "grace-hopper-2", shown: "grace hopper", email: null, verified: false },
      { ...usual, id: 8, username: "user-8", shown: "Μαρία", email: "maria@example.gr", tier: "premium" },
      { ...usual, id: 9, username: "user-9", shown: "李小龍", email: "lee@example.hk", verified: false },
      { ...usual, id: 12, username: "locked", email: "locked@example.org" },
      {
        ...usual,
        id: 13,
        username: "switched.off",
        email: "off@example.org",
        status: "disabled",
        tier: "premium",
      },
      { ...usual, id: 21, username: "owner", email: "owner@example.org" },
      { ...usual, id: 22, username: "no-address", email: null, verified: false },
      { ...usual, id: 30, username: "provider-only", email: "provider@example.org", hash: null },
      { ...usual, id: 34, username: "argon", email: "argon@example.org", hash: "argon2id" },
      {
        ...usual,
        id: 2147483647,
        username: "nulls",
        email: "nulls@example.org",
        verified: false,
        hash: null,
      },
    ]);
  });

  test("keep their times to the microsecond, profiles and settings [C1]", async () => {
    expect(
      await asOwner(
        `select u.created_at, u.updated_at::text, u.last_login_at, u.password_changed_at, u.email_verified_at, u.profile_data,
           s.preferences, u.metadata, u.failed_login_attempts
         from identity.users u join identity.user_settings s on s.user_id = u.id where u.id = ${OF("users", 3)}`,
      ),
    ).toEqual([
      {
        created_at: new Date("2023-03-01T09:00:00Z"),
        updated_at: expect.stringContaining("10:00:00.123456"),
        last_login_at: new Date("2024-05-01T10:00:00Z"),
        password_changed_at: new Date("2023-09-01T00:00:00Z"),
        email_verified_at: new Date("2023-03-01T09:05:00Z"),
        profile_data: { full_name: "Ada Lovelace", city: "London" },
        preferences: { theme: "dark", languages: ["en", "fr"] },
        metadata: { campaign: "launch" },
        failed_login_attempts: 0,
      },
    ]);
  });

  test("sign in with their passwords, as their state and hash allow", async () => {
    const ada = await signIn(api, "ada", "correct horse battery staple");
    const { data } = await api.ask(
      "{ currentUser { role tier } externalIds { nodes { relation externalId } } }",
      { token: ada.token },
    );
    expect(data.currentUser).toEqual({ role: "admin", tier: "premium" });
    expect(data.externalIds.nodes).toContainEqual({ relation: "users", externalId: "3" });
    await signIn(api, "Grace@Example.org", "Grace Hopper 1906 compiler");
    await signIn(api, "grace-hopper-2", "another grace altogether");
    await signIn(api, "maria@example.gr", "μυστικός κωδικός πρόσβασης");
    await signIn(api, "argon", "argon in a bcrypt house");
    const refused = async (identifier: string, password: string) =>
      codeOf(
        await api.ask("mutation ($input: LoginInput!) { login(input: $input) { accessToken } }", {
          variables: { input: { identifier, password } },
        }),
      );
    const unknown = await refused("nobody-at-all", "some password");
    // A wrong password, a lock, a disabled account, and a text that was no hash look alike.
    for (const [name, password] of [
      ["ada", "Grace Hopper 1906 compiler"],
      ["locked", "locked out for a century"],
      ["switched.off", "an account that is off"],
      ["provider-only", "hashed_pw"],
      ["nulls", ""],
    ] as const)
      expect(await refused(name, password)).toBe(unknown);
  });

  test("without a usable password set a new one by mail", async () => {
    await api.ask('mutation { requestPasswordReset(input: { identifier: "provider-only" }) { ok } }');
    expect(
      await asOwner(
        `select count(*)::int as n from private.password_reset_tokens where user_id = ${OF("users", 30)}`,
      ),
    ).toEqual([{ n: 1 }]);
  });
});

test("the verification finds a change of each column, and each missing row, of an import", async () => {
  const opened = await openSource(source, () => {});
  const seen = await unseenChanges(db, opened, cedrinaWith(sealer));
  await opened.close();
  expect(seen).toEqual({ unseen: [], untested: [] });
});

test("keeps accounts at providers, with their tokens sealed [C2]", async () => {
  const rows = await asOwner(
    `select x.number::int as id, o.provider, o.provider_user_id as subject, o.email, o.email_verified, o.user_info,
       t.access_token_sealed as access, t.refresh_token_sealed as refresh
     from identity.oauth_profiles o
     join plinth.external_ids x on x.row_id = o.id
     left join private.oauth_tokens t on t.profile_id = o.id
     order by x.number`,
  );
  const opened = (sealed: string | null) => sealed && sealer.unseal("oauth token", sealed).toString();
  expect(
    rows.map(({ access, refresh, ...row }) => ({ ...row, access: opened(access), refresh: opened(refresh) })),
  ).toEqual([
    {
      id: 1,
      provider: "google",
      subject: "110169484474386276334",
      email: "ada@gmail.example",
      email_verified: false,
      user_info: { email: "ada@gmail.example", name: "Ada Lovelace", verified: true },
      access: "ya29.ada-at-google",
      refresh: "1//ada-at-google",
    },
    {
      id: 2,
      provider: "github",
      subject: "583231",
      email: null,
      email_verified: false,
      user_info: { login: "provider-only", id: 583231 },
      access: "gho_provider-only",
      refresh: null,
    },
    {
      id: 3,
      provider: "microsoft",
      subject: "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
      email: null,
      email_verified: false,
      user_info: {},
      access: null,
      refresh: null,
    },
  ]);
});

test("keeps a session that was active as one that has ended, whose tokens open nothing [C3]", async () => {
  const rows = await asOwner(
    `select s.is_active, s.end_reason, s.created_at, s.last_activity_at, host(s.ip_address) as ip, s.user_agent,
       (select count(*)::int from private.refresh_tokens t where t.session_id = s.id) as tokens
     from identity.user_sessions s where s.id = ${OF("sessions", 10)}`,
  );
  expect(rows).toEqual([
    {
      is_active: false,
      end_reason: "ended_by_administrator",
      created_at: new Date("2024-05-01T10:00:00Z"),
      last_activity_at: new Date("2024-05-01T10:20:00Z"),
      ip: "192.0.2.7",
      user_agent: "Mozilla/5.0 (X11; Linux x86_64)",
      tokens: 0,
    },
  ]);
});

test("keeps access rules with their numbers, times and authors; they answer as in node-casbin [C5]", async () => {
  expect(
    await asOwner(
      "select id::int, ptype, v0, v1, v2, created_by, updated_by, updated_at, is_active from access.casbin_rules order by id limit 2",
    ),
  ).toEqual([
    {
      id: 1,
      ptype: "p",
      v0: "ADMIN",
      v1: "/admin/policies",
      v2: "GET",
      created_by: "ada",
      updated_by: "ada",
      updated_at: new Date("2023-01-01T00:00:00Z"),
      is_active: true,
    },
    expect.objectContaining({ id: 2, updated_by: "system", updated_at: new Date("2023-01-02T00:00:00Z") }),
  ]);
  const requests = ["ada", "ADMIN", "USER", "bob"].flatMap((sub) =>
    ["/admin/policies", "/profile"].flatMap((obj) => ["GET", "DELETE"].map((act) => [sub, obj, act])),
  );
  const [model] = await asOwner("select definition from access.casbin_models");
  const active = await withClient(source, async (client) => {
    const { rows } = await client.query(
      "select ptype, v0, v1, v2 from casbin_rules where is_active and ptype <> 'p2' order by id",
    );
    return rows.map(({ ptype, v0, v1, v2 }) => ({
      ptype,
      values: [v0, v1, v2].filter((value) => value !== null),
    }));
  });
  const there = await askNodeCasbin(
    model.definition,
    active,
    requests.map((values) => ({ values, context: contextOf("") })),
  );
  const here = await asOwner(
    "select access.enforce(r ->> 0, r ->> 1, r ->> 2) as allowed from jsonb_array_elements($1) r",
    [JSON.stringify(requests)],
  );
  expect(here.map(({ allowed }) => allowed)).toEqual(there);
  expect(new Set(there)).toEqual(new Set([true, false]));
  // A new rule gets the next number.
  expect(
    await asOwner("select nextval(pg_get_serial_sequence('access.casbin_rules', 'id')) > 7 as is_free"),
  ).toEqual([{ is_free: true }]);
});

describe("the audit log", () => {
  const EVENTS = `select x.number::int as id, l.event_type as type, l.event_data as data, l.severity, l.created_at::text as at, l.metadata,
      u.username
    from security.security_audit_log l
    join plinth.external_ids x on x.row_id = l.id and x.relation = 'audit_logs'
    left join identity.users u on u.id = l.user_id
    order by l.created_at`;

  test("has the events with their times and in their order [C6]", async () => {
    const events = await asOwner(EVENTS);
    expect(events.slice(0, 5)).toEqual([
      {
        id: 101,
        type: "login_success",
        data: { method: "google" },
        severity: "info",
        at: expect.stringContaining("23:59:59.999999"),
        metadata: { cedrina: { source: "auth" } },
        username: "ada",
      },
      expect.objectContaining({ id: 100, data: { method: "password" }, username: "ada" }),
      expect.objectContaining({
        id: 102,
        type: "login_failed",
        severity: "warning",
        metadata: { cedrina: { event_type: "LOGIN.FAILED" } },
        username: "grace-hopper",
      }),
      expect.objectContaining({
        id: 103,
        severity: "critical",
        username: null,
        metadata: { ticket: 7, cedrina: { source: "admin" } },
      }),
      expect.objectContaining({
        id: 104,
        type: "role_changed",
        data: {},
        metadata: {
          cedrina: { event_type: "role changed!", event_data: ["USER", "ADMIN"], source: "admin" },
        },
        username: "user-8",
      }),
    ]);
    expect(events.map(({ id }) => id)).toEqual([101, 100, 102, 103, 104, 110]);
  });

  test("stays verifiable, before and after the job has made partitions of its months [C6]", async () => {
    const verify = () =>
      withClient(db.url("owner"), (client) =>
        verifyAudit(client, {
          anchors: [],
          folder: undefined,
          signal: new AbortController().signal,
          onProgress: () => {},
        }),
      );
    const events = await asOwner(EVENTS);
    expect(await verify()).toMatchObject({ faultCount: 0, faults: [], imported: 5 });
    const made = await asOwner("select partition_name as name from private.ensure_partitions()");
    expect(made.map(({ name }) => name)).toEqual(
      expect.arrayContaining(
        ["2023_02", "2023_03", "2024_01", "2024_05"].map((month) => `security.security_audit_log_${month}`),
      ),
    );
    expect(await asOwner("select from security.security_audit_log_default")).toEqual([]);
    await asOwner("select private.close_audit_block(10000)");
    expect(await verify()).toMatchObject({ faultCount: 0, faults: [], imported: 5, pending: { entries: 0 } });
    expect(await asOwner(EVENTS)).toEqual(events);
  });
});

test("keeps counters whose window goes on [C7]", async () => {
  expect(
    await asOwner(
      `select x.number::int as id, encode(r.key_hash, 'hex') as key, r.algorithm, r.request_count::int as count, r.tokens_used, r.limit_value,
         r.metadata
       from security.rate_limit_records r join plinth.external_ids x on x.row_id = r.id order by 1`,
    ),
  ).toEqual([
    {
      id: 1,
      key: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
      algorithm: "fixed_window",
      count: 3,
      tokens_used: null,
      limit_value: 100,
      metadata: { endpoint: "/login" },
    },
    {
      id: 2,
      key: expect.stringMatching(/^[0-9a-f]{64}$/),
      algorithm: "token_bucket",
      count: 2,
      tokens_used: expect.stringMatching(/^\d+$/),
      limit_value: 5,
      metadata: { cedrina: { key_hash: "login:192.0.2.7", algorithm: "TOKEN_BUCKET" } },
    },
  ]);
});

test("changes nothing in a second run, and brings what was added in a later one", async () => {
  const before = await hashesOfTables(db);
  const second = await moveIn();
  expect(second).toMatchObject({ isVerified: true, mismatches: [] });
  for (const { relation, imported, present, omitted } of second.tables) {
    const first = report.tables.find((table) => table.relation === relation)!;
    expect({ relation, imported, present, omitted }).toEqual({
      relation,
      imported: 0,
      present: first.imported,
      omitted: first.omitted,
    });
  }
  expect(await hashesOfTables(db)).toEqual(before);

  await withClient(source, (client) =>
    client.query(`
      insert into users (id, username, email, hashed_password) values (40, 'late', 'late@example.org', 'x');
      insert into sessions (id, user_id, session_token, refresh_token, is_active, created_at, expires_at, last_activity_at)
      values (13, 40, 's', 'r', false, now() - interval '2 days', now() + interval '1 day', now() - interval '1 day');
      insert into casbin_rules (id, ptype, v0, v1) values (10, 'g', 'late', 'USER');
      insert into audit_logs (id, user_id, event_type, event_data, created_at) values (111, 40, 'login', '{}', now() - interval '1 day');
      update users set preferences = '{"theme": "blue"}' where id = 8;
    `),
  );
  const third = await moveIn();
  expect(third).toMatchObject({ isVerified: true, mismatches: [] });
  expect(Object.fromEntries(third.tables.map(({ relation, imported }) => [relation, imported]))).toEqual({
    users: 1,
    oauth_profiles: 0,
    sessions: 1,
    casbin_rules: 1,
    audit_logs: 1,
    rate_limit_records: 0,
  });
  expect(
    await asOwner(
      `select s.end_reason, u.username from identity.user_sessions s join identity.users u on u.id = s.user_id
       where s.id = ${OF("sessions", 13)}`,
    ),
  ).toEqual([{ end_reason: "logout", username: "late" }]);
  // A row that differs here since an import that was complete is counted, and what the person did here stays.
  expect(third.tables.find(({ relation }) => relation === "users")!.changedSince).toBeGreaterThan(0);
  expect(
    await asOwner(`select preferences from identity.user_settings where user_id = ${OF("users", 8)}`),
  ).toEqual([{ preferences: { theme: "light" } }]);
});

describe("the document's statements, on the imported result", () => {
  const LOOKUP = `SELECT id, username, email, role, tier, is_active
FROM users 
WHERE username = $1 AND is_active = true;`;
  const AUDIT_RANGE = `SELECT event_type, event_data, created_at
FROM audit_logs 
WHERE user_id = $1 
  AND created_at >= $2 
  AND created_at <= $3
ORDER BY created_at DESC;`;
  const CLEANUP = `DELETE FROM sessions 
WHERE expires_at < NOW() AND is_active = true;`;
  const rowsOf = (caller: CompatCaller, sql: string, ...values: unknown[]) =>
    callerOf(db, "compat_cedrina", caller, async (client) => (await client.query(sql, values)).rows);

  beforeAll(() => enableSystems(db, ["cedrina"]));

  test("find people, events and sessions by the document's own ids [C9]", async () => {
    const grace = {
      id: 4,
      username: "grace-hopper",
      email: "grace@example.org",
      role: "USER",
      tier: "FREE",
      is_active: true,
    };
    const [{ row_id: id }] = await asOwner(`select ${OF("users", 4)} as row_id`);
    for (const caller of ["application", { application: id }, { user: id }] as const) {
      expect(await rowsOf(caller, LOOKUP, "grace-hopper")).toEqual([grace]);
      expect(await rowsOf(caller, AUDIT_RANGE, 4, "2024-01-01", "2024-02-01")).toEqual([
        {
          event_type: "LOGIN.FAILED",
          event_data: { reason: "wrong password" },
          created_at: new Date("2024-01-15T00:00:00Z"),
        },
      ]);
    }
    expect(await rowsOf("analyst", AUDIT_RANGE, 4, "2024-01-01", "2024-02-01")).toEqual([
      { event_type: "login_failed", event_data: null, created_at: new Date("2024-01-15T00:00:00Z") },
    ]);
    expect(await rowsOf({ user: id }, AUDIT_RANGE, 8, "2024-01-01", "2025-01-01")).toEqual([]);
    expect(await rowsOf("application", AUDIT_RANGE, 8, "2024-01-01", "2025-01-01")).toEqual([
      {
        event_type: "role changed!",
        event_data: ["USER", "ADMIN"],
        created_at: new Date("2024-05-01T00:00:00Z"),
      },
    ]);
    expect(await rowsOf("application", "SELECT id, user_id FROM sessions WHERE id = 10")).toEqual([
      { id: 10, user_id: 3 },
    ]);
    expect(
      await rowsOf("application", "SELECT id FROM oauth_profiles WHERE user_id = 3 ORDER BY id"),
    ).toEqual([{ id: 1 }, { id: 3 }]);
    expect(await rowsOf("application", "SELECT id FROM casbin_rules WHERE is_active = false")).toEqual([
      { id: 5 },
    ]);
    expect(
      await rowsOf("application", "SELECT id FROM rate_limit_records WHERE key_hash = 'login:192.0.2.7'"),
    ).toEqual([{ id: 2 }]);
    expect(await rowsOf("application", CLEANUP)).toEqual([]);
  });

  test("number new rows after the imported ones [C1]", async () => {
    expect(
      await rowsOf(
        "application",
        "INSERT INTO sessions (user_id, session_token, refresh_token, expires_at) VALUES (4, 's', 'r', '2123-01-01') RETURNING user_id, id > 13 AS is_new",
      ),
    ).toEqual([{ user_id: 4, is_new: true }]);
    // The highest id of the document's type is taken, and people still register.
    await registerUser(db, "newcomer");
    expect(await rowsOf("application", "SELECT id FROM users WHERE username = 'newcomer'")).toEqual([
      { id: null },
    ]);
  });
});
