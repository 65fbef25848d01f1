import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { generateMasterKey, parseMasterKeys } from "../../src/auth/master-keys.ts";
import { createSealer } from "../../src/auth/sealing.ts";
import { checkBacklogs } from "../../src/cli/doctor/backlogs.ts";
import type { CheckGroup, DoctorContext, Finding } from "../../src/cli/doctor/check.ts";
import { checkDocuments } from "../../src/cli/doctor/documents.ts";
import { checkDrift } from "../../src/cli/doctor/drift.ts";
import { checkJobs } from "../../src/cli/doctor/jobs.ts";
import { checkLogins } from "../../src/cli/doctor/logins.ts";
import { checkMemories } from "../../src/cli/doctor/memories.ts";
import { checkMigrations } from "../../src/cli/doctor/migrations.ts";
import { checkOutsideServices } from "../../src/cli/doctor/outside-services.ts";
import { checkPayments } from "../../src/cli/doctor/payments.ts";
import { checkQueues } from "../../src/cli/doctor/queues.ts";
import { checkRoles } from "../../src/cli/doctor/roles.ts";
import { checkSealedSecrets } from "../../src/cli/doctor/sealed-secrets.ts";
import { checkSecurityRules } from "../../src/cli/doctor/security-rules.ts";
import { checkServer } from "../../src/cli/doctor/server.ts";
import { checkServerSettings } from "../../src/cli/doctor/server-settings.ts";
import { checkSessions } from "../../src/cli/doctor/sessions.ts";
import { checkSettings } from "../../src/cli/doctor/settings.ts";
import { checkStorage } from "../../src/cli/doctor/storage.ts";
import { checkTables } from "../../src/cli/doctor/tables.ts";
import { checkUserData } from "../../src/cli/doctor/user-data.ts";
import { loadConfig } from "../../src/config/config.ts";
import { roleName, rolePlaceholders } from "../../src/config/roles.ts";
import { openDatabase } from "../../src/database/database.ts";
import { PLINTH_HISTORY } from "../../src/database/history.ts";
import { migrateDatabase } from "../../src/database/migrate.ts";
import { JOB_SCHEMA } from "../../src/database/schemas.ts";
import { databaseUrl, type ScratchDatabase } from "../../src/database/scratch-database.ts";
import { QUEUES } from "../../src/jobs/index.ts";
import { until } from "../support/api.ts";
import { createEmptyTestDatabase, testSetup } from "../support/database.ts";
import { FAULTS } from "../support/drift-faults/faults.ts";
import { startSmtpServer, type TestSmtpServer } from "../support/smtp.ts";
import { untilWaiting } from "../support/waiting.ts";
import { cli, databaseEnv } from "./run-cli.ts";

// Each broken thing is broken in one database with roles of its own, examined by the group of its check, and mended.

/** A way in which an installation breaks. */
interface Broken {
  readonly title: string;
  readonly group: CheckGroup;
  readonly check: string;
  readonly status?: "warn" | "fail";
  /** A part of the finding that says what is wrong. */
  readonly says: RegExp;
  /** Breaks it as a superuser, in a transaction that is rolled back; with placeholders for roles. */
  readonly sql?: string | (() => string);
  /** Breaks it outside the transaction. @returns how to mend it */
  readonly broken?: () => Promise<() => Promise<unknown>>;
  /** Settings that differ. */
  readonly env?: () => Record<string, string>;
  /** Shortens the patience of a check. */
  readonly patience?: RegExp;
  /** The server's answer; for things that a test cannot break. */
  readonly reading?: Record<string, unknown>;
  readonly context?: Partial<DoctorContext>;
}

const KEYS = { one: generateMasterKey(1), other: generateMasterKey(1), two: generateMasterKey(2) };

let db: ScratchDatabase;
let admin: pg.Client;
let smtp: TestSmtpServer;
let issuer: Server;
let context: Omit<DoctorContext, "client" | "config" | "database">;
const connections: pg.Client[] = [];

beforeAll(async () => {
  db = await createEmptyTestDatabase();
  await migrateDatabase({ ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, queues: QUEUES });
  admin = new pg.Client({ connectionString: databaseUrl(testSetup().adminUrl, db.name) });
  await admin.connect();
  smtp = await startSmtpServer({
    authOptional: false,
    onAuth: (_auth, _session, callback) => callback(new Error("wrong password")),
    allowInsecureAuth: true,
  });
  issuer = createServer((_request, response) => {
    response.end(JSON.stringify({ issuer: "https://another.example.com" }));
  }).listen(0, "127.0.0.1");
  context = { role: "owner", freeSpace: async () => ({ free: 50e9, size: 100e9 }) };
});
afterAll(async () => {
  issuer.close();
  await smtp.close();
  await admin.end();
  await db.drop();
});

const env = () => databaseEnv(db);
const owner = () => connect(db.url("owner"));

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  connections.push(client);
  return client;
}

/** The URL of a role with another user, database or port. */
function url(role: Parameters<ScratchDatabase["url"]>[0], changes: Partial<URL>): string {
  return Object.assign(new URL(db.url(role)), changes).href;
}

/** A client whose statements have less patience, or whose first row has other values. */
function altered(client: pg.Client, { patience, reading }: Broken): pg.Client {
  const query = async (text: string, values?: unknown[]) => {
    const result = await client.query(patience ? text.replaceAll(patience, "interval '0'") : text, values);
    const row = result.rows[0];
    for (const name of Object.keys(reading ?? {})) if (row && name in row) row[name] = reading![name];
    return result;
  };
  return Object.assign(Object.create(client), { query });
}

async function findingsOf(broken: Broken): Promise<Finding[]> {
  const config = loadConfig({ ...env(), ...broken.env?.() });
  const database = { ...(await openDatabase(config)), kind: "embedded" as const };
  const mend = await broken.broken?.();
  await admin.query("begin");
  try {
    const sql = typeof broken.sql === "function" ? broken.sql() : broken.sql;
    if (sql) await admin.query(inSql(sql));
    return await broken.group({
      ...context,
      config,
      database,
      client: altered(admin, broken),
      ...broken.context,
    });
  } finally {
    await admin.query("rollback");
    await mend?.();
    await Promise.all(connections.splice(0).map((client) => client.end()));
  }
}

function inSql(text: string): string {
  const { rolePrefix } = db;
  const names = {
    ...rolePlaceholders(rolePrefix, roleName(rolePrefix, "owner")),
    ":PLINTH_STRANGER": `${rolePrefix}_stranger`,
  };
  return Object.entries(names).reduce((sql, [placeholder, name]) => sql.replaceAll(placeholder, name), text);
}

/** A change by hand that another test examines in detail. */
function drift(kind: keyof typeof FAULTS, title: string): string {
  const { sql, by } = FAULTS[kind]!.find((fault) => fault.title === title)!;
  return by ? sql : `set local role :PLINTH_OWNER; ${sql}; reset role`;
}

const inSettings =
  (unknown: readonly string[] = []): CheckGroup =>
  async ({ config }) =>
    checkSettings(config, unknown);
const outside: CheckGroup = async ({ config }) => checkOutsideServices(config);
const external: Partial<DoctorContext> = {
  database: { kind: "external", url: (role: never) => db.url(role) } as unknown as DoctorContext["database"],
};
const THIS_MONTH = "to_char(now() at time zone 'UTC', 'YYYY_MM')";
const NEXT_MONTHS = "to_char(now() at time zone 'UTC' + interval '3 months', 'YYYY_MM')";
const renamePartition = (month: string) =>
  `do $$ begin execute format('alter table security.login_attempts_%s rename to moved', ${month}); end $$`;
const job = (name: string, columns: string, values: string) =>
  `insert into ${JOB_SCHEMA}.job (name, ${columns}) values ('${name}', ${values})`;
const sealedBy = (key: string) =>
  `insert into private.lookup_keys (name, sealed_key)
   values ('email', '${createSealer(parseMasterKeys(key)).seal("lookup key", "x", "email")}')`;
const provider = () =>
  JSON.stringify([
    {
      name: "example",
      issuer: `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`,
      clientId: "plinth",
      redirectUris: ["https://app.example.com/callback"],
    },
  ]);
/** Keeps a row of the history to put it back. */
const inHistory = async (breaking: string) => {
  const client = await owner();
  const { rows } = await client.query(
    `select * from ${PLINTH_HISTORY}.migrations order by filename desc limit 1`,
  );
  await client.query(breaking);
  return async () => {
    await client.query(`delete from ${PLINTH_HISTORY}.migrations where filename >= $1`, [rows[0].filename]);
    await client.query(
      `insert into ${PLINTH_HISTORY}.migrations select * from json_populate_record(null::${PLINTH_HISTORY}.migrations, $1)`,
      [JSON.stringify(rows[0])],
    );
  };
};
const LAST = `(select max(filename) from ${PLINTH_HISTORY}.migrations)`;

const BROKEN: readonly Broken[] = [
  // The server
  {
    title: "a server that is too old",
    group: checkServer,
    check: "server",
    reading: { version: "14.9", version_number: 140_009 },
    says: /14\.9 is too old/,
  },
  {
    title: "a database in another encoding",
    group: checkServer,
    check: "encoding",
    reading: { encoding: "SQL_ASCII" },
    says: /SQL_ASCII/,
  },
  {
    title: "fsync that is off",
    group: checkServer,
    check: "durability",
    status: "warn",
    reading: { fsync: "off" },
    says: /a crash can destroy the data/,
  },
  {
    title: "a standby",
    group: checkServer,
    check: "primary",
    reading: { in_recovery: true },
    says: /read-only replica/,
  },
  {
    title: "a database that is read-only",
    group: checkServer,
    check: "read-only",
    sql: "set local transaction_read_only = on",
    says: /default_transaction_read_only/,
  },
  {
    title: "a clock that is an hour ahead",
    group: checkServer,
    check: "clock",
    status: "warn",
    reading: { now: new Date(Date.now() + 3_600_000) },
    says: /differs by \d+ s/,
  },
  {
    title: "a URL with an unknown user",
    group: checkServer,
    check: "connection-analyst",
    context: external,
    env: () => ({ PLINTH_ANALYST_URL: url("analyst", { username: "nobody", password: "wrong" }) }),
    says: /PLINTH_ANALYST_URL/,
  },
  {
    title: "a URL to a server that does not run",
    group: checkServer,
    check: "connection-analyst",
    context: external,
    env: () => ({ PLINTH_ANALYST_URL: url("analyst", { port: "1" }) }),
    says: /ECONNREFUSED/,
  },
  {
    title: "a URL that signs in as the owner",
    group: checkServer,
    check: "connection-service",
    context: external,
    env: () => ({ PLINTH_SERVICE_URL: db.url("owner") }),
    says: /signs in as \w+_owner instead of \w+_service/,
  },
  {
    title: "a URL of a superuser",
    group: checkServer,
    check: "connection-worker",
    context: external,
    env: () => ({ PLINTH_WORKER_URL: databaseUrl(testSetup().adminUrl, db.name) }),
    says: /instead of \w+_worker/,
  },
  {
    title: "a URL to another database",
    group: checkServer,
    check: "connection-owner",
    context: external,
    env: () => ({ PLINTH_OWNER_URL: url("owner", { pathname: "/postgres" }) }),
    says: /leads to another database \(postgres\)/,
  },
  // Its settings
  {
    title: "autovacuum that is off",
    group: checkServerSettings,
    check: "autovacuum",
    reading: { autovacuum: "off" },
    says: /Turn both on/,
  },
  {
    title: "triggers that are off",
    group: checkServerSettings,
    check: "triggers-off",
    sql: "set local session_replication_role = replica",
    says: /foreign keys are not checked/,
  },
  {
    title: "a log of all parameters",
    group: checkServerSettings,
    check: "statement-log",
    status: "warn",
    sql: "set local log_statement = 'all'",
    says: /log_parameter_max_length/,
  },
  {
    title: "passwords stored as md5",
    group: checkServerSettings,
    check: "password-encryption",
    status: "warn",
    sql: "set local password_encryption = 'md5'",
    says: /scram-sha-256/,
  },
  {
    title: "backslashes in literals",
    group: checkServerSettings,
    check: "string-literals",
    status: "warn",
    reading: { standard_conforming_strings: "off" },
    says: /standard_conforming_strings/,
  },
  {
    title: "row_security that is off",
    group: checkServerSettings,
    check: "row-security-setting",
    status: "warn",
    sql: "set local row_security = off",
    says: /reset row_security/,
  },
  {
    title: "a short statement_timeout for everything",
    group: checkServerSettings,
    check: "server-timeout",
    status: "warn",
    reading: { statement_timeout: "5000" },
    says: /migrations, jobs and backups/,
  },
  {
    title: "reads that delete damaged rows",
    group: checkServerSettings,
    check: "damaged-pages",
    sql: "set local zero_damaged_pages = on",
    says: /Turn it off/,
  },
  {
    title: "a small lock table",
    group: checkServerSettings,
    check: "lock-table",
    status: "warn",
    reading: { max_locks_per_transaction: "10" },
    says: /64 or more/,
  },
  {
    title: "another collation of the operating system",
    group: checkServerSettings,
    check: "collation",
    status: "warn",
    reading: { collation_recorded: "2.31", collation_actual: "2.36" },
    says: /REINDEX DATABASE/,
  },
  // Sessions
  {
    title: "few free connections",
    group: checkSessions,
    check: "connections",
    status: "warn",
    reading: { connections: 99, connections_limit: 100 },
    says: /99 of 9\d connections/,
  },
  {
    title: "a limit of the database's connections",
    group: checkSessions,
    check: "connections",
    status: "warn",
    sql: () => `alter database ${pg.escapeIdentifier(db.name)} connection limit 0`,
    says: /connection limit -1/,
  },
  {
    title: "a pool that is larger than the server",
    group: checkSessions,
    check: "pool-size",
    status: "warn",
    env: () => ({ PLINTH_POOL_MAX: "1000" }),
    says: /Lower PLINTH_POOL_MAX/,
  },
  {
    title: "a forgotten transaction",
    group: checkSessions,
    check: "idle-transactions",
    status: "warn",
    patience: /interval '5 minutes'/g,
    broken: async () => {
      await (await owner()).query("begin; select 1");
      return async () => {};
    },
    says: /pg_terminate_backend/,
  },
  {
    title: "a transaction that runs for hours",
    group: checkSessions,
    check: "long-transactions",
    status: "warn",
    patience: /interval '1 hour'/g,
    broken: async () => {
      const running = await owner();
      const { rows } = await running.query("select pg_backend_pid() as pid");
      const slept = running.query("select pg_sleep(600)").catch(() => {});
      await until(
        async () =>
          (
            await admin.query("select from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'", [
              rows[0].pid,
            ])
          ).rowCount === 1,
      );
      return async () => {
        await admin.query("select pg_terminate_backend($1)", [rows[0].pid]);
        await slept;
      };
    },
    says: /process \d+ of \w+_owner/,
  },
  {
    title: "a session that waits for a lock",
    group: checkSessions,
    check: "lock-waits",
    status: "warn",
    patience: /interval '1 minute'/g,
    broken: async () => {
      const [holder, waiter] = [await owner(), await owner()];
      await holder.query("begin; lock table private.mail_outbox");
      const waited = waiter.query("select from private.mail_outbox").catch(() => {});
      await untilWaiting(db);
      return async () => {
        await holder.query("rollback");
        await waited;
      };
    },
    says: /blocked by \d+/,
  },
  {
    title: "a prepared transaction that was left",
    group: checkSessions,
    check: "prepared-transactions",
    status: "warn",
    reading: { prepared: ["left"] },
    says: /ROLLBACK PREPARED/,
  },
  {
    title: "a synchronous replica that is gone",
    group: checkSessions,
    check: "synchronous-replication",
    status: "warn",
    reading: { synchronous_names: "gone" },
    says: /commits may wait forever/,
  },
  // Storage
  {
    title: "transaction ids that run out",
    group: checkStorage,
    check: "transaction-ids",
    reading: { xid_age: 2_000_000_000 },
    says: /VACUUM \(FREEZE\)/,
  },
  {
    title: "a replication slot that holds WAL",
    group: checkStorage,
    check: "replication-slots",
    status: "warn",
    reading: { slots: [{ name: "gone", bytes: 5e9 }] },
    says: /gone: 5000 MB/,
  },
  {
    title: "a replication slot that lost its WAL",
    group: checkStorage,
    check: "replication-slots",
    status: "warn",
    reading: { lost_slots: ["late"] },
    says: /pg_drop_replication_slot/,
  },
  {
    title: "an archive that fails",
    group: checkStorage,
    check: "wal-archive",
    reading: { archive_mode: "on", archive_fails: true },
    says: /archive_command/,
  },
  {
    title: "a disk that fills",
    group: checkStorage,
    check: "disk",
    status: "warn",
    context: { freeSpace: async () => ({ free: 5e9, size: 100e9 }) },
    says: /5000 MB free \(5 %\)/,
  },
  {
    title: "a disk that is full",
    group: checkStorage,
    check: "disk",
    context: { freeSpace: async () => ({ free: 1e6, size: 100e9 }) },
    says: /Free some space/,
  },
  // Migrations and changes by hand
  {
    title: "a pending migration",
    group: checkMigrations,
    check: "migrations",
    broken: () => inHistory(`delete from ${PLINTH_HISTORY}.migrations where filename = ${LAST}`),
    says: /1 migrations are pending/,
  },
  {
    title: "a migration of a newer version",
    group: checkMigrations,
    check: "migrations",
    broken: () =>
      inHistory(
        `insert into ${PLINTH_HISTORY}.migrations (hash, previous_hash, filename) select 'sha1:0', hash, '999999-later.sql' from ${PLINTH_HISTORY}.migrations where filename = ${LAST}`,
      ),
    says: /999999-later\.sql|newer|ahead/,
  },
  {
    title: "a migration that was changed",
    group: checkMigrations,
    check: "migrations",
    broken: () =>
      inHistory(`update ${PLINTH_HISTORY}.migrations set hash = 'sha1:0' where filename = ${LAST}`),
    says: /is not the migration that the database has run/,
  },
  {
    title: "an extension that is missing",
    group: checkDrift,
    check: "schema",
    sql: "drop extension pg_trgm cascade",
    says: /objects of the migrations are missing/,
  },
  {
    title: "a policy that lets everyone read",
    group: checkDrift,
    check: "drift-access",
    sql: () => drift("policies", "a policy whose condition is true"),
    says: /policy select_own on identity\.users/,
  },
  {
    title: "a permission check that returns true",
    group: checkDrift,
    check: "drift-functions",
    sql: () => driftOf("a permission check that returns true"),
    says: /Functions differ/,
  },
  {
    title: "a function without a search path",
    group: checkDrift,
    check: "drift-functions",

    sql: () => driftOf("a function without a search path"),
    says: /search path|search_path/,
  },
  {
    title: "a trigger that is disabled",
    group: checkDrift,
    check: "drift-structure",
    sql: () => driftOf("a disabled trigger"),
    says: /enable trigger/,
  },
  {
    title: "an index that is invalid",
    group: checkDrift,
    check: "drift-structure",
    sql: () => driftOf("an invalid index"),
    says: /invalid|valid/,
  },
  {
    title: "a check that old rows may break",
    group: checkDrift,
    check: "drift-structure",
    sql: () => driftOf("a check that old rows may break"),
    says: /NOT VALID|differ/,
  },
  {
    title: "a table that is not ours",
    group: checkDrift,
    check: "drift-extra",
    status: "warn",
    sql: () => driftOf("an added table"),
    says: /Drop what is not yours/,
  },
  {
    title: "a table without row security",
    group: checkTables,
    check: "row-security",
    sql: "alter table llm.chats disable row level security",
    says: /enable row level security/,
  },
  {
    title: "a month without a partition",
    group: checkTables,
    check: "partitions",
    sql: renamePartition(THIS_MONTH),
    says: /no partition for this month/,
  },
  {
    title: "partitions that end soon",
    group: checkTables,
    check: "partitions",
    status: "warn",
    sql: renamePartition(NEXT_MONTHS),
    says: /fewer than 3 months ahead/,
  },
  {
    title: "rows in a default partition",
    group: checkTables,
    check: "partitions",
    status: "warn",
    sql: "insert into security.login_attempts (status, created_at) values ('failed', now() + interval '2 years')",
    says: /default partitions/,
  },
  {
    title: "a materialized view without rows",
    group: checkTables,
    check: "materialized-views",
    sql: "refresh materialized view analytics.content_popularity with no data",
    says: /analytics\.content_popularity/,
  },
  // Roles
  {
    title: "a role that is missing",
    group: checkRoles,
    check: "roles",
    sql: "alter role :PLINTH_ANALYST rename to :PLINTH_STRANGER",
    says: /Roles are missing: \w+_analyst/,
  },
  {
    title: "a role that bypasses row security",
    group: checkRoles,
    check: "roles",
    sql: "alter role :PLINTH_SERVICE bypassrls",
    says: /bypasses row-level security/,
  },
  {
    title: "a stranger who can act as a role",
    group: checkRoles,
    check: "role-members",
    status: "warn",
    sql: "create role :PLINTH_STRANGER; grant :PLINTH_SERVICE to :PLINTH_STRANGER",
    says: /revoke … from …/,
  },
  {
    title: "a table of another owner",
    group: checkRoles,
    check: "ownership",
    sql: "alter table llm.chats owner to :PLINTH_WORKER",
    says: /llm\.chats belongs to/,
  },
  {
    title: "a password that has expired",
    group: checkLogins,
    check: "logins",
    sql: "alter role :PLINTH_SERVICE valid until 'yesterday'",
    says: /_service: \d{4}-/,
  },
  {
    title: "a password that expires soon",
    group: checkLogins,
    check: "logins",
    status: "warn",
    sql: "alter role :PLINTH_WORKER valid until 'tomorrow'",
    says: /within 14 days/,
  },
  {
    title: "a role with few connections",
    group: checkLogins,
    check: "logins",
    status: "warn",
    sql: "alter role :PLINTH_AUTHENTICATOR connection limit 2",
    says: /_authenticator: 2/,
  },
  // Jobs and what waits
  {
    title: "a job queue that is not installed",
    group: checkJobs,
    check: "job-queue",
    sql: `alter schema ${JOB_SCHEMA} rename to moved`,
    says: /not installed/,
  },
  {
    title: "a job queue of another version",
    group: checkJobs,
    check: "job-queue",
    sql: `update ${JOB_SCHEMA}.version set version = version - 1`,
    says: /Run plinth migrate/,
  },
  {
    title: "a worker that is off",
    group: checkJobs,
    check: "worker",
    status: "warn",
    says: /no worker is connected/,
  },
  {
    title: "a job that keeps failing",
    group: checkJobs,
    check: "failing-jobs",
    status: "warn",
    sql: job("deliver-mail", "state, retry_count, output", "'retry', 2, '{\"message\": \"no route\"}'"),
    says: /deliver-mail: 3 attempts, no route/,
  },
  {
    title: "a job that failed after all retries",
    group: checkJobs,
    check: "dead-letters",
    sql: job(
      "dead-letter",
      "state, source_name, source_output",
      "'created', 'deliver-mail', '{\"message\": \"no route\"}'",
    ),
    says: /deliver-mail: 1 failed/,
  },
  {
    title: "a queue that is missing",
    group: checkQueues,
    check: "job-queues",
    sql: `delete from ${JOB_SCHEMA}.queue where name = 'deliver-mail'`,
    says: /deliver-mail/,
  },
  {
    title: "a schedule that is missing",
    group: checkQueues,
    check: "schedules",
    status: "warn",
    sql: `insert into ${JOB_SCHEMA}.schedule (name, cron) values ('deliver-mail', '0 0 1 1 *')`,
    says: /deliver-mail: 0 0 1 1 \* instead of/,
  },
  {
    title: "a queue that is stuck",
    group: checkQueues,
    check: "due-jobs",
    status: "warn",
    sql: job("deliver-mail", "start_after", "now() - interval '1 hour'"),
    says: /deliver-mail: 1 jobs/,
  },
  {
    title: "mail that waits",
    group: checkBacklogs,
    check: "mail-queue",
    status: "warn",
    sql: "insert into private.mail_outbox (to_address, template, created_at) values ('a@example.org', 'verify-email', now() - interval '1 hour')",
    says: /PLINTH_SMTP_URL/,
  },
  {
    title: "mail that was rejected",
    group: checkBacklogs,
    check: "failed-mail",
    status: "warn",
    sql: "insert into private.mail_outbox (to_address, template, status) values ('a@example.org', 'verify-email', 'failed')",
    says: /last_error/,
  },
  {
    title: "a payment event that waits",
    group: checkBacklogs,
    check: "payment-events",
    status: "warn",
    sql: "insert into private.payment_events (provider, provider_event_id, event_type, occurred_at, received_at) values ('stripe', 'evt_1', 'x', now(), now() - interval '1 day')",
    says: /processed_at is null/,
  },
  {
    title: "a server that may execute no document",
    group: checkDocuments,
    check: "documents",
    env: () => ({ PLINTH_DOCUMENTS: "added" }),
    says: /each operation is rejected/,
  },
  {
    title: "a subscription of a deleted account",
    group: checkPayments,
    check: "cancellations",
    status: "warn",
    sql: "insert into private.provider_cancellations (provider, provider_subscription_id, requested_at) values ('stripe', 'sub_old', now() - interval '1 hour')",
    says: /stripe sub_old/,
  },
  {
    title: "vectors that are not enabled",
    group: checkMemories,
    check: "memory-vectors",
    status: "warn",
    env: () => ({ PLINTH_EMBEDDINGS_URL: "http://127.0.0.1:1/v1", PLINTH_EMBEDDINGS_MODEL: "m" }),
    says: /enable-vectors/,
  },
  // Security
  {
    title: "a master key that is missing",
    group: checkSealedSecrets,
    check: "sealed-secrets",
    env: () => ({ PLINTH_MASTER_KEYS: KEYS.two }),
    sql: () => sealedBy(KEYS.one),
    says: /master keys that are not set/,
  },
  {
    title: "a wrong master key",
    group: checkSealedSecrets,
    check: "sealed-secrets",
    env: () => ({ PLINTH_MASTER_KEYS: KEYS.other }),
    sql: () => sealedBy(KEYS.one),
    says: /another key under this version/,
  },
  {
    title: "secrets under an old master key",
    group: checkSealedSecrets,
    check: "sealed-secrets",
    status: "warn",
    env: () => ({ PLINTH_MASTER_KEYS: `${KEYS.one},${KEYS.two}` }),
    sql: () => sealedBy(KEYS.one),
    says: /keys rotate/,
  },
  {
    title: "a rate limit that is off",
    group: checkSecurityRules,
    check: "rate-limit-rules",
    status: "warn",
    sql: "update security.rate_limit_rules set is_enabled = false where rule_name = 'login_per_address'",
    says: /login_per_address: switched off/,
  },
  {
    title: "a rule for suspicious activity that is off",
    group: checkSecurityRules,
    check: "suspicious-activity-rules",
    status: "warn",
    sql: "update security.suspicious_activity_rules set is_enabled = false where rule_name = 'token_reuse'",
    says: /token_reuse: switched off/,
  },
  {
    title: "a table that blocks deletions of accounts",
    group: checkUserData,
    check: "account-deletion",
    sql: "create schema shop authorization :PLINTH_OWNER; create table shop.orders (user_id uuid references identity.users (id))",
    says: /shop\.orders/,
  },
  {
    title: "a weak signing key",
    group: inSettings(),
    check: "signing-keys",
    env: () => ({ PLINTH_JWT_KEYS: "k1:c2hvcnQ" }),
    says: /PLINTH_JWT_KEYS/,
  },
  {
    title: "a weak master key",
    group: inSettings(),
    check: "master-keys",
    env: () => ({ PLINTH_MASTER_KEYS: "1:c2hvcnQ" }),
    says: /PLINTH_MASTER_KEYS/,
  },
  {
    title: "a setting that is misspelled",
    group: inSettings(["PLINTH_PROT"]),
    check: "unknown-setting",
    status: "warn",
    says: /PLINTH_PROT is set but is not a setting/,
  },
  {
    title: "an API that any website may call",
    group: inSettings(),
    check: "cors",
    status: "warn",
    env: () => ({ PLINTH_CORS_ORIGINS: "*" }),
    says: /PLINTH_CORS_ORIGINS/,
  },
  // Other services
  {
    title: "a mail server that does not run",
    group: outside,
    check: "mail-server",
    env: () => ({ PLINTH_SMTP_URL: "smtp://127.0.0.1:1" }),
    says: /ECONNECTION|ESOCKET/,
  },
  {
    title: "a wrong password of the mail server",
    group: outside,
    check: "mail-server",
    env: () => ({ PLINTH_SMTP_URL: smtp.url.replace("//", "//user:secret-password@") }),
    says: /user and the password/,
  },
  {
    title: "Stripe without its webhook",
    group: outside,
    check: "stripe",
    status: "warn",
    env: () => ({ PLINTH_STRIPE_SECRET_KEY: "sk_test_x" }),
    says: /PLINTH_STRIPE_WEBHOOK_SECRET/,
  },
  {
    title: "Stripe without its key",
    group: outside,
    check: "stripe",
    status: "warn",
    env: () => ({ PLINTH_STRIPE_WEBHOOK_SECRET: "whsec_x" }),
    says: /PLINTH_STRIPE_SECRET_KEY/,
  },
  {
    title: "Stripe that cannot be reached",
    group: outside,
    check: "stripe",
    env: () => ({
      PLINTH_STRIPE_SECRET_KEY: "sk_test_x",
      PLINTH_STRIPE_WEBHOOK_SECRET: "whsec_x",
      PLINTH_STRIPE_API_URL: "http://127.0.0.1:1",
    }),
    says: /StripeConnectionError/,
  },
  {
    title: "a sign-in provider that cannot be reached",
    group: outside,
    check: "provider-example",
    status: "warn",
    env: () => ({ PLINTH_OAUTH_PROVIDERS: provider().replace(/127\.0\.0\.1:\d+/, "127.0.0.1:1") }),
    says: /users cannot sign in with it/,
  },
  {
    title: "a sign-in provider with another issuer",
    group: outside,
    check: "provider-example",
    status: "warn",
    env: () => ({ PLINTH_OAUTH_PROVIDERS: provider() }),
    says: /names another issuer/,
  },
  {
    title: "a model that cannot be reached",
    group: outside,
    check: "model-endpoint",
    status: "warn",
    env: () => ({ PLINTH_LLM_URL: "http://127.0.0.1:1/v1" }),
    says: /PLINTH_LLM_URL/,
  },
  {
    title: "an embeddings endpoint that cannot be reached",
    group: outside,
    check: "embeddings-endpoint",
    status: "warn",
    env: () => ({ PLINTH_EMBEDDINGS_URL: "http://127.0.0.1:1/v1", PLINTH_EMBEDDINGS_MODEL: "m" }),
    says: /PLINTH_EMBEDDINGS_URL/,
  },
];

function driftOf(title: string): string {
  const kind = Object.keys(FAULTS).find((each) => FAULTS[each]!.some((fault) => fault.title === title))!;
  return drift(kind, title);
}

/** Findings of the tests' own server: its settings have no keys, no worker has used it, and fsync is off to save time. */
const OF_TESTS = ["worker", "schedules", "signing-keys", "master-keys", "unknown-setting", "durability"];

describe(`doctor tells ${BROKEN.length} broken things`, () => {
  // First, because a rolled back row leaves its page in a default partition.
  test("none of them where nothing is broken", async () => {
    expect(BROKEN.length).toBeGreaterThanOrEqual(49);
    const groups = new Map(
      BROKEN.filter(({ group }) => group !== outside).map((broken) => [broken.group, broken]),
    );
    const checks = new Set(BROKEN.map(({ check }) => check));
    for (const { group, context: own } of groups.values()) {
      const findings = await findingsOf({
        title: "",
        check: "",
        says: /./,
        group,
        ...(own?.database && { context: external }),
      });
      const troubles = findings.filter(
        ({ check, status }) => checks.has(check) && !["ok", "skipped"].includes(status),
      );
      const names = troubles.map(({ check }) => check).filter((check) => !OF_TESTS.includes(check));
      expect(names).toEqual([]);
    }
  });

  test.each(BROKEN)("$title: $check", async (broken) => {
    const { check, status = "fail", says } = broken;
    const finding = (await findingsOf(broken)).find((each) => each.check === check);
    expect(finding).toMatchObject({ status, hint: expect.stringMatching(/\S+/) });
    expect([finding!.message, finding!.hint, ...(finding!.details ?? [])].join("\n")).toMatch(says);
    expect(JSON.stringify(finding)).not.toMatch(/secret-password|sk_test_x/);
  });
});

test("an invalid setting is a finding with the setting's name", async () => {
  const { code, stdout } = await cli(["doctor", "--json"], { env: { ...env(), PLINTH_POOL_MAX: "many" } });
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({
    healthy: false,
    findings: [{ check: "settings", status: "fail", message: expect.stringContaining("PLINTH_POOL_MAX") }],
  });
});
