import { readFileSync } from "node:fs";
import { chmod, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from "@jest/globals";
import { generateMasterKey, parseMasterKeys } from "../../src/auth/master-keys.ts";
import { createSealer } from "../../src/auth/sealing.ts";
import { generateAsymmetricSigningKey, generateSigningKey } from "../../src/auth/signing-keys.ts";
import type { CheckGroup, Finding } from "../../src/cli/doctor/check.ts";
import { examineDatabase } from "../../src/cli/doctor/doctor.ts";
import { checkJobs } from "../../src/cli/doctor/jobs.ts";
import { checkMigrations } from "../../src/cli/doctor/migrations.ts";
import { checkPayments } from "../../src/cli/doctor/payments.ts";
import { checkSealedSecrets } from "../../src/cli/doctor/sealed-secrets.ts";
import { checkSecurityRules } from "../../src/cli/doctor/security-rules.ts";
import { checkServer } from "../../src/cli/doctor/server.ts";
import { checkSettings } from "../../src/cli/doctor/settings.ts";
import { checkTables } from "../../src/cli/doctor/tables.ts";
import { checkUserData } from "../../src/cli/doctor/user-data.ts";
import { loadConfig, unknownSettings } from "../../src/config/config.ts";
import { roleName } from "../../src/config/roles.ts";
import { openDatabase } from "../../src/database/database.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { databaseUrl, type ScratchDatabase } from "../../src/database/scratch-database.ts";
import { QUEUES } from "../../src/jobs/index.ts";
import { createEmptyTestDatabase, testSetup, withClient } from "../support/database.ts";
import { cli, databaseEnv } from "./run-cli.ts";
import { runHere } from "./run-here.ts";

// With its own roles: roles belong to the server, and other tests read theirs while this one breaks some.
let db: ScratchDatabase;
let adminUrl: string;
beforeAll(async () => {
  db = await createEmptyTestDatabase();
  adminUrl = databaseUrl(testSetup().adminUrl, db.name);
  await migrateDatabase({ ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, queues: QUEUES });
  // As many as are wanted, also if a month begins during the tests.
  await sql(db.url("owner"), "select private.ensure_partitions(4)");
});
afterEach(() => {
  jest.restoreAllMocks();
});
afterAll(async () => {
  await db.drop();
});

const byCheck = (findings: readonly Finding[]): Record<string, Finding> =>
  Object.fromEntries(findings.map((finding) => [finding.check, finding]));

async function examine(env = databaseEnv(db)): Promise<Record<string, Finding>> {
  const config = loadConfig(env);
  return byCheck(await examineDatabase(config, await openDatabase(config)));
}

/** One group of checks, as doctor runs it: all of them compare the whole catalogue each time. */
async function examineBy(group: CheckGroup, env = databaseEnv(db)): Promise<Record<string, Finding>> {
  const config = loadConfig(env);
  const database = await openDatabase(config);
  return withClient(db.url("owner"), async (client) =>
    byCheck(await group({ config, database, client, role: "owner" })),
  );
}

const sql = (url: string, text: string) => withClient(url, (client) => client.query(text));

/** Breaks something for one examination. */
async function whileBroken(
  breaking: string,
  mending: string,
  { url = db.url("owner"), group }: { url?: string; group?: CheckGroup } = {},
): Promise<Record<string, Finding>> {
  await sql(url, breaking);
  try {
    return await (group ? examineBy(group) : examine());
  } finally {
    await sql(url, mending);
  }
}

/** Moves the partitions of some months from now away, and all of them back. */
const movePartitions = (months: readonly number[]): string =>
  `do $$ declare m text; begin
     for m in
       select to_char(now() at time zone 'UTC' + make_interval(months => n), 'YYYY_MM') from unnest(array[${months}]) n
     loop execute format('alter table security.login_attempts_%1$s rename to moved_%1$s', m); end loop;
   end $$`;
const PUT_BACK = `
  do $$ declare p text; begin
    for p in select relname from pg_class where relnamespace = 'security'::regnamespace and relname ~ '^moved_\\d+_\\d+$'
    loop execute format('alter table security.%I rename to %I', p, replace(p, 'moved', 'login_attempts')); end loop;
  end $$`;

const role = (name: Parameters<typeof roleName>[1]): string => `"${roleName(db.rolePrefix, name)}"`;

describe("the command", () => {
  test("creates no database where none exists, and reports it", async () => {
    const folder = await mkdtemp(join(tmpdir(), "plinth-doctor-"));
    try {
      const env = { PLINTH_DATA: join(folder, "data") };
      const { code, stdout } = await runHere(["doctor", "--json"], { env });
      expect(code).toBe(1);
      expect(byCheck(JSON.parse(stdout).findings).server).toMatchObject({
        status: "fail",
        message: expect.stringContaining(env.PLINTH_DATA),
        hint: expect.stringMatching(/PLINTH_DATA.*plinth start/),
      });
      expect(await readdir(folder)).toEqual([]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("finds a migrated database healthy, prints one JSON document and exits with 0 [C13]", async () => {
    const { code, stdout, stderr } = await cli(["doctor", "--json"], { env: databaseEnv(db) });
    const report = JSON.parse(stdout) as { healthy: boolean; findings: Finding[] };
    expect(report.findings.filter(({ status }) => status === "fail")).toEqual([]);
    expect({ code, healthy: report.healthy, stderr }).toEqual({ code: 0, healthy: true, stderr: "" });
    for (const finding of report.findings)
      if (finding.status === "warn") expect(finding.hint).toEqual(expect.any(String));
    expect(stdout).not.toContain(new URL(db.url("owner")).password);
  });

  test("exits with 1 if a check fails, and says what to do", async () => {
    const env = { PLINTH_OWNER_URL: "postgres://nobody@127.0.0.1:1/nowhere" };
    const { code, stdout } = await cli(["doctor", "--json"], { env });
    expect(code).toBe(1);
    expect(byCheck(JSON.parse(stdout).findings).server).toMatchObject({
      status: "fail",
      hint: expect.any(String),
    });
    const forPeople = await runHere(["doctor"], { env });
    expect(forPeople.code).toBe(1);
    expect(forPeople.stdout).toMatch(/^FAIL {4}server: /m);
  });
});

describe("a weak security rule is a warning and fails no check", () => {
  test("reports rate limits that are off or too high", async () => {
    const findings = await whileBroken(
      `update security.rate_limit_rules set is_enabled = false where rule_name = 'login_per_address';
       update security.rate_limit_rules set limit_value = 100000 where rule_name = 'password_change_per_account'`,
      `update security.rate_limit_rules set is_enabled = true, limit_value = 300 where rule_name = 'login_per_address';
       update security.rate_limit_rules set limit_value = 10 where rule_name = 'password_change_per_account'`,
      { group: checkSecurityRules },
    );
    expect(findings["rate-limit-rules"]).toMatchObject({
      status: "warn",
      hint: expect.any(String),
      details: ["login_per_address: switched off", "password_change_per_account: allows 100000 an hour"],
    });
    expect(findings["suspicious-activity-rules"]).toMatchObject({ status: "ok" });
  });

  test("reports rules for suspicious activity that find nothing", async () => {
    const findings = await whileBroken(
      `update security.suspicious_activity_rules set is_enabled = false where rule_name = 'token_reuse';
       update security.suspicious_activity_rules set threshold = 5000 where rule_name = 'password_spraying'`,
      `update security.suspicious_activity_rules set is_enabled = true where rule_name = 'token_reuse';
       update security.suspicious_activity_rules set threshold = 20 where rule_name = 'password_spraying'`,
      { group: checkSecurityRules },
    );
    expect(findings["suspicious-activity-rules"]).toMatchObject({
      status: "warn",
      details: ["password_spraying: threshold is 5000", "token_reuse: switched off"],
    });
    expect(findings["rate-limit-rules"]).toMatchObject({ status: "ok" });
  });
});

describe("a fault fails its own check only", () => {
  const failing = (findings: Record<string, Finding>): string[] =>
    Object.values(findings)
      .filter(({ status }) => status === "fail")
      .map(({ check }) => check);

  test("reports a table without row-level security", async () => {
    const findings = await whileBroken(
      "alter table llm.chats disable row level security",
      "alter table llm.chats enable row level security",
    );
    expect(failing(findings)).toEqual(["row-security"]);
    expect(findings["row-security"]!.details).toEqual(["llm.chats"]);
  });

  test("reports a partition without row-level security", async () => {
    const findings = await whileBroken(
      "alter table security.login_attempts_default disable row level security",
      "alter table security.login_attempts_default enable row level security",
      { group: checkTables },
    );
    expect(findings["row-security"]!.details).toEqual(["security.login_attempts_default"]);
  });

  test("reports a role that is a member of another", async () => {
    const findings = await whileBroken(
      `grant ${role("user")} to ${role("analyst")}`,
      `revoke ${role("user")} from ${role("analyst")}`,
      { url: adminUrl },
    );
    expect(failing(findings)).toEqual(["roles"]);
    expect(findings.roles!.details).toEqual([expect.stringContaining("_analyst is a member of")]);
  });

  test("reports a role that owns a table", async () => {
    const findings = await whileBroken(
      `grant create on schema llm to ${role("worker")}; create table llm.stray (); alter table llm.stray enable row level security; alter table llm.stray owner to ${role("worker")}; revoke create on schema llm from ${role("worker")}`,
      "drop table llm.stray",
      { url: adminUrl },
    );
    expect(failing(findings)).toEqual(["ownership"]);
    expect(findings.ownership!.details).toEqual([expect.stringContaining("llm.stray belongs to")]);
  });

  test("reports a database that was never migrated", async () => {
    const elsewhere = databaseUrl(db.url("owner"), "postgres");
    const findings = await examine({ ...databaseEnv(db), PLINTH_OWNER_URL: elsewhere });
    expect(findings.migrations).toMatchObject({
      status: "fail",
      hint: expect.stringContaining("plinth migrate"),
    });
    expect(findings["job-queue"]).toMatchObject({ status: "fail" });
  });

  test("reports a job queue of another version", async () => {
    const findings = await whileBroken(
      "update plinth_jobs.version set version = version - 1",
      "update plinth_jobs.version set version = version + 1",
    );
    expect(failing(findings)).toEqual(["job-queue"]);
    expect(findings["job-queue"]).toMatchObject({ hint: expect.stringContaining("plinth migrate") });
  });

  test("reports a month without a partition", async () => {
    // The next month may begin during the examination.
    const findings = await whileBroken(movePartitions([0, 1]), PUT_BACK);
    expect(failing(findings)).toEqual(["partitions"]);
  });
});

describe("a coming fault is a warning", () => {
  test("warns about partitions that end soon", async () => {
    const findings = await whileBroken(movePartitions([3]), PUT_BACK, { group: checkTables });
    expect(findings.partitions).toMatchObject({ status: "warn", details: ["security.login_attempts"] });
  });

  test("warns about expired tokens that are not deleted", async () => {
    const findings = await whileBroken(
      `with u as (
         insert into identity.users (username, email) values ('old', 'old@example.com') returning id
       ), s as (
         insert into identity.user_sessions (user_id, created_at, last_activity_at, expires_at)
         select id, now() - interval '3 days', now() - interval '3 days', now() - interval '2 days' from u
         returning id, user_id
       )
       insert into private.refresh_tokens (session_id, user_id, token_hash, created_at, expires_at)
       select id, user_id, sha256('x'), now() - interval '3 days', now() - interval '2 days' from s`,
      "delete from identity.users where username = 'old'",
      { group: checkTables },
    );
    expect(findings["token-backlog"]).toMatchObject({ status: "warn" });
  });

  test("warns about a missing worker", async () => {
    expect((await examineBy(checkJobs)).worker).toMatchObject({ status: "warn" });
  });
});

test("runs the possible checks without the owner's URL, and names the skipped ones", async () => {
  const { PLINTH_OWNER_URL: _, PLINTH_WORKER_URL: __, ...env } = databaseEnv(db);
  const findings = await examine(env);
  expect(findings["row-security"]).toMatchObject({ status: "ok" });
  for (const check of ["migrations", "token-backlog", "jobs", "connection-owner"])
    expect(findings[check]).toMatchObject({ status: "skipped" });
});

test("names the role of a URL that does not work", async () => {
  const wrong = new URL(db.url("analyst"));
  // A wrong password alone is not enough: a server may trust every local connection.
  wrong.username = "nobody";
  wrong.password = "wrong-password";
  const findings = await examine({ ...databaseEnv(db), PLINTH_ANALYST_URL: wrong.href });
  expect(findings["connection-analyst"]).toMatchObject({
    status: "fail",
    hint: expect.stringContaining("PLINTH_ANALYST_URL"),
  });
  // The other connections get the same result as before: ok, or a warning if the server is remote and not encrypted.
  const { "connection-worker": worker } = await examineBy(checkServer);
  expect(worker?.status).not.toBe("fail");
  expect(findings["connection-worker"]).toEqual(worker);
  expect(JSON.stringify(findings)).not.toContain("wrong-password");
});

test("does not take a late answer of the server for a wrong clock", async () => {
  const config = loadConfig(databaseEnv(db));
  const database = { ...(await openDatabase(config)), kind: "embedded" as const };
  const { now } = Date;
  let late = 0;
  jest.spyOn(Date, "now").mockImplementation(() => now() + late);
  const findings = await withClient(db.url("owner"), async (client) => {
    const query = async (text: string) => {
      const result = await client.query(text);
      late = 30_000;
      return result;
    };
    const slow = Object.assign(Object.create(client), { query });
    return checkServer({ config, database, client: slow, role: "owner" });
  });
  expect(byCheck(findings).clock).toBeUndefined();
});

describe("reports that a restored database lacks", () => {
  // All at once, because a comparison reads the whole catalogue.
  const LOST: readonly (readonly [name: string, breaking: string, mending: string])[] = [
    [
      "table or view learning.skills",
      "alter table learning.skills rename to gone",
      "alter table learning.gone rename to skills",
    ],
    [
      "table or view analytics.consent_counts",
      "alter view analytics.consent_counts rename to gone",
      "alter view analytics.gone rename to consent_counts",
    ],
    [
      "function identity.unlock_account",
      "alter function identity.unlock_account rename to gone",
      "alter function identity.gone rename to unlock_account",
    ],
    [
      "policy select_own on identity.users",
      "alter policy select_own on identity.users rename to gone",
      "alter policy gone on identity.users rename to select_own",
    ],
    [
      "trigger _900_notify on private.token_blacklist",
      "alter trigger _900_notify on private.token_blacklist rename to gone",
      "alter trigger gone on private.token_blacklist rename to _900_notify",
    ],
  ];
  const look = async () => (await examineBy(checkMigrations)).schema!;
  let schema: Finding;
  beforeAll(async () => {
    expect(await look()).toMatchObject({ status: "ok" });
    for (const [, breaking] of LOST) await sql(db.url("owner"), breaking);
    schema = await look();
  });
  afterAll(async () => {
    for (const [, , mending] of LOST) await sql(db.url("owner"), mending);
    expect(await look()).toMatchObject({ status: "ok" });
  });

  test.each(LOST.map(([name]) => name))("%s", (name) => {
    expect(schema).toMatchObject({ status: "fail", hint: expect.stringContaining("Backups") });
    expect(schema.details).toContain(name);
  });
});

describe("settings", () => {
  const settings = (env: Record<string, string>) => byCheck(checkSettings(loadConfig(env)));

  test("warns about an unknown name and knows every name in docs/settings.md", () => {
    const env = {
      PLINTH_PROT: "8080",
      PLINTH_PORT: "8080",
      PLINTH_JWT_KEYS_FILE: "/keys",
      PLINTH_OWNER_URL: "",
    };
    expect(unknownSettings(env)).toEqual(["PLINTH_PROT"]);
    expect(byCheck(checkSettings(loadConfig(env), unknownSettings(env)))["unknown-setting"]).toMatchObject({
      status: "warn",
      message: expect.stringContaining("PLINTH_PROT"),
    });
    const page = readFileSync(new URL("../../docs/settings.md", import.meta.url), "utf8");
    const names = [...page.matchAll(/PLINTH_[A-Z_]*[A-Z]\b/g)].map(([name]) => name);
    expect(unknownSettings(Object.fromEntries(names.map((name) => [name, ""])))).toEqual([]);
  });

  test.each([
    ["cors", { PLINTH_CORS_ORIGINS: "*" }],
    ["exposure", { PLINTH_HOST: "0.0.0.0" }],
    ["password-history", { PLINTH_PASSWORD_HISTORY: "0" }],
    ["passkeys", { PLINTH_OWNER_URL: "postgres://a@b/c" }],
    ["access-token-life", { PLINTH_ACCESS_TOKEN_SECONDS: "86400" }],
    ["signing-keys", { PLINTH_OWNER_URL: "postgres://a@b/c" }],
    ["master-keys", { PLINTH_OWNER_URL: "postgres://a@b/c" }],
    ["master-keys", { PLINTH_MASTER_KEYS: [1, 2, 3, 4, 5].map(generateMasterKey).join(",") }],
  ])("warns about a weak setting: %s", (check, env) => {
    expect(settings({})[check]?.status ?? "ok").toBe("ok");
    expect(settings(env as Record<string, string>)[check]).toMatchObject({ status: "warn" });
  });

  test("fails on a signing key that is too short, without repeating it", () => {
    const finding = settings({ PLINTH_JWT_KEYS: "k1:c2hvcnQ" })["signing-keys"];
    expect(finding).toMatchObject({ status: "fail" });
    expect(JSON.stringify(finding)).not.toContain("c2hvcnQ");
  });

  test("names the key that signs, with its algorithm", () => {
    const [first, second] = [generateAsymmetricSigningKey(), generateSigningKey()];
    const kid = (key: string) => key.split(":")[0];
    expect(settings({ PLINTH_JWT_KEYS: `${first},${second}` })["signing-keys"]).toMatchObject({
      status: "ok",
      message: `2 signing keys: ${kid(first)} (ES256) signs; ${kid(second)} (HS256) still verify.`,
    });
  });

  test("fails on a weak master key, without repeating it, and on a key file that others can read", async () => {
    const weak = Buffer.alloc(32, 7).toString("base64url");
    const finding = settings({ PLINTH_MASTER_KEYS: `1:${weak}` })["master-keys"];
    expect(finding).toMatchObject({ status: "fail" });
    expect(JSON.stringify(finding)).not.toContain(weak);

    const folder = await mkdtemp(join(tmpdir(), "plinth-doctor-"));
    try {
      const PLINTH_MASTER_KEYS_FILE = join(folder, "keys");
      await writeFile(PLINTH_MASTER_KEYS_FILE, generateMasterKey(1));
      await chmod(PLINTH_MASTER_KEYS_FILE, 0o640);
      expect(settings({ PLINTH_MASTER_KEYS_FILE })["master-keys"]).toMatchObject({ status: "fail" });
      await chmod(PLINTH_MASTER_KEYS_FILE, 0o600);
      expect(settings({ PLINTH_MASTER_KEYS_FILE })["master-keys"]).toMatchObject({ status: "ok" });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("fails on a secrets file that others can read", async () => {
    const folder = await mkdtemp(join(tmpdir(), "plinth-doctor-"));
    try {
      const file = join(folder, "secrets.json");
      await writeFile(file, "{}");
      await chmod(file, 0o644);
      expect(settings({ PLINTH_DATA: folder }).secrets).toMatchObject({ status: "fail" });
      await chmod(file, 0o600);
      expect(settings({ PLINTH_DATA: folder }).secrets).toMatchObject({ status: "ok" });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

test("reports subscriptions of deleted accounts that were not cancelled", async () => {
  const look = async (env: Record<string, string> = {}) =>
    (await examineBy(checkPayments, { ...databaseEnv(db), ...env })).cancellations;
  expect(await look()).toMatchObject({ status: "ok" });
  await sql(
    db.url("owner"),
    `insert into private.provider_cancellations (provider, provider_subscription_id, requested_at)
     values ('stripe', 'sub_old', now() - interval '1 hour'), ('stripe', 'sub_new', now())`,
  );
  try {
    expect(await look()).toMatchObject({
      status: "warn",
      hint: expect.stringContaining("PLINTH_STRIPE_SECRET_KEY"),
      details: ["stripe sub_old: not tried yet"],
    });
    expect((await look({ PLINTH_STRIPE_SECRET_KEY: "sk_test_x" }))?.hint).toContain("keeps retrying");
  } finally {
    await sql(db.url("owner"), "delete from private.provider_cancellations");
  }
});

test("reports secrets under an old or missing master key, and addresses without a hash", async () => {
  const [one, two] = [generateMasterKey(1), generateMasterKey(2)];
  const look = (env: Record<string, string>) => examineBy(checkSealedSecrets, { ...databaseEnv(db), ...env });
  expect((await look({ PLINTH_MASTER_KEYS: one }))["sealed-secrets"]).toMatchObject({ status: "ok" });
  await sql(
    db.url("owner"),
    `insert into identity.users (username, email) values ('sealed', 'sealed@example.org');
     insert into private.lookup_keys (name, sealed_key)
     values ('email', '${createSealer(parseMasterKeys(one)).seal("lookup key", "x", "email")}')`,
  );
  try {
    const fine = await look({ PLINTH_MASTER_KEYS: one });
    expect(fine["sealed-secrets"]).toMatchObject({ status: "ok" });
    expect(fine["email-hashes"]).toMatchObject({ status: "warn", hint: "Run plinth keys hash-emails." });
    // A migration leaves an address in this state if it is older than the normal form.
    await sql(
      db.url("owner"),
      `alter table identity.users disable trigger _100_normalize;
       insert into identity.users (username, email, has_irregular_address) values ('old', 'a\u200bb@example.org', true);
       alter table identity.users enable trigger _100_normalize`,
    );
    expect((await look({ PLINTH_MASTER_KEYS: one }))["email-hashes"]).toMatchObject({
      status: "warn",
      details: ["old"],
    });
    await sql(db.url("owner"), "delete from identity.users where username = 'old'");
    const behind = await look({ PLINTH_MASTER_KEYS: `${one},${two}`, PLINTH_PRIVACY_MODE: "on" });
    expect(behind["sealed-secrets"]).toMatchObject({
      status: "warn",
      hint: "Run plinth keys rotate.",
      details: ["private.lookup_keys.sealed_key: 1 under version 1"],
    });
    expect(behind["email-hashes"]).toMatchObject({
      status: "warn",
      hint: expect.stringContaining("--forget-addresses"),
    });
    expect((await look({ PLINTH_MASTER_KEYS: two }))["sealed-secrets"]).toMatchObject({ status: "fail" });
    expect((await look({}))["sealed-secrets"]).toMatchObject({ status: "skipped" });
  } finally {
    await sql(
      db.url("owner"),
      "delete from identity.users where username = 'sealed'; delete from private.lookup_keys",
    );
  }
});

test("names an application's tables that block deletions of accounts, outlive them, or are left out of exports", async () => {
  const findings = await whileBroken(
    `create schema shop;
     create table shop.invoices (id uuid references identity.users);
     create table shop.sign_ups (user_id uuid);
     create table shop.coupons (invited_by uuid references identity.users (id) on delete cascade, code text primary key);
     create table shop.uses (code text references shop.coupons)`,
    "drop schema shop cascade",
    { group: checkUserData },
  );
  expect(findings["account-deletion"]).toMatchObject({
    status: "fail",
    details: [
      'shop.invoices: invoices_id_fkey refers to identity.users without "on delete cascade" or "on delete set null"',
      'shop.uses: uses_code_fkey refers to shop.coupons without "on delete cascade" or "on delete set null"',
    ],
  });
  expect(findings["undeclared-user-data"]).toMatchObject({
    status: "warn",
    details: ["shop.sign_ups: user_id has no foreign key and no tag @userId"],
  });
  expect(findings["data-exports"]).toMatchObject({
    status: "warn",
    details: ["shop.uses: refers to shop.coupons, but no rule says whose its rows are"],
  });
  expect(findings["unclassified-user-data"]).toMatchObject({
    status: "warn",
    details: ["shop.coupons: invited_by, code", "shop.invoices: id", "shop.sign_ups: user_id"],
  });
  expect((await examineBy(checkUserData))["account-deletion"]).toMatchObject({ status: "ok" });
});
