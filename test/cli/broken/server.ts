import pg from "pg";
import { checkServer } from "../../../src/cli/doctor/server.ts";
import { checkServerSettings } from "../../../src/cli/doctor/server-settings.ts";
import { checkSessions } from "../../../src/cli/doctor/sessions.ts";
import { checkStorage } from "../../../src/cli/doctor/storage.ts";
import { databaseUrl } from "../../../src/database/scratch-database.ts";
import { until } from "../../support/api.ts";
import { testSetup } from "../../support/database.ts";
import { untilWaiting } from "../../support/waiting.ts";
import type { Broken, Installation } from "./installation.ts";

/** The server, its settings, its sessions and its storage. */
export const brokenServer = (at: Installation): readonly Broken[] => [
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
    context: at.external,
    env: () => ({ PLINTH_ANALYST_URL: at.url("analyst", { username: "nobody", password: "wrong" }) }),
    says: /PLINTH_ANALYST_URL/,
  },
  {
    title: "a URL to a server that does not run",
    group: checkServer,
    check: "connection-analyst",
    context: at.external,
    env: () => ({ PLINTH_ANALYST_URL: at.url("analyst", { port: "1" }) }),
    says: /ECONNREFUSED/,
  },
  {
    title: "a URL that signs in as the owner",
    group: checkServer,
    check: "connection-service",
    context: at.external,
    env: () => ({ PLINTH_SERVICE_URL: at.db.url("owner") }),
    says: /signs in as \w+_owner instead of \w+_service/,
  },
  {
    title: "a URL of a superuser",
    group: checkServer,
    check: "connection-worker",
    context: at.external,
    env: () => ({ PLINTH_WORKER_URL: databaseUrl(testSetup().adminUrl, at.db.name) }),
    says: /instead of \w+_worker/,
  },
  {
    title: "a URL to another database",
    group: checkServer,
    check: "connection-owner",
    context: at.external,
    env: () => ({ PLINTH_OWNER_URL: at.url("owner", { pathname: "/postgres" }) }),
    says: /leads to another database \(postgres\)/,
  },
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
    reading: { row_security: "off" },
    says: /reset row_security/,
  },
  {
    title: "transactions that fail when they meet",
    group: checkServerSettings,
    check: "isolation",
    status: "warn",
    reading: { default_transaction_isolation: "serializable" },
    says: /40001/,
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
    sql: () => `alter database ${pg.escapeIdentifier(at.db.name)} connection limit 0`,
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
      await (await at.owner()).query("begin; select 1");
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
      const running = await at.owner();
      const { rows } = await running.query("select pg_backend_pid() as pid");
      const slept = running.query("select pg_sleep(600)").catch(() => {});
      await until(
        async () =>
          (
            await at.admin.query("select from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'", [
              rows[0].pid,
            ])
          ).rowCount === 1,
      );
      return async () => {
        await at.admin.query("select pg_terminate_backend($1)", [rows[0].pid]);
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
      const [holder, waiter] = [await at.owner(), await at.owner()];
      await holder.query("begin; lock table private.mail_outbox");
      const waited = waiter.query("select from private.mail_outbox").catch(() => {});
      await untilWaiting(at.db);
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
];
