import { checkDrift } from "../../../src/cli/doctor/drift.ts";
import { checkLogins } from "../../../src/cli/doctor/logins.ts";
import { checkMigrations } from "../../../src/cli/doctor/migrations.ts";
import { checkRoles } from "../../../src/cli/doctor/roles.ts";
import { checkTables } from "../../../src/cli/doctor/tables.ts";
import { PLINTH_HISTORY } from "../../../src/database/history.ts";
import { FAULTS } from "../../support/drift-faults/faults.ts";
import type { Broken, Installation } from "./installation.ts";

/** A change by hand that another test examines in detail. */
function drift(title: string): string {
  const { sql, by } = Object.values(FAULTS)
    .flat()
    .find((fault) => fault.title === title)!;
  return by ? sql : `set local role :PLINTH_OWNER; ${sql}; reset role`;
}

const THIS_MONTH = "to_char(now() at time zone 'UTC', 'YYYY_MM')";
const NEXT_MONTHS = "to_char(now() at time zone 'UTC' + interval '3 months', 'YYYY_MM')";
const renamePartition = (month: string) =>
  `do $$ begin execute format('alter table security.login_attempts_%s rename to moved', ${month}); end $$`;

/** Keeps a row of the history to put it back. */
const inHistory = async (at: Installation, breaking: string) => {
  const client = await at.owner();
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

/** Migrations, changes by hand, tables and roles. */
export const brokenDatabase = (at: Installation): readonly Broken[] => [
  {
    title: "a pending migration",
    group: checkMigrations,
    check: "migrations",
    broken: () => inHistory(at, `delete from ${PLINTH_HISTORY}.migrations where filename = ${LAST}`),
    says: /1 migrations are pending/,
  },
  {
    title: "a migration of a newer version",
    group: checkMigrations,
    check: "migrations",
    broken: () =>
      inHistory(
        at,
        `insert into ${PLINTH_HISTORY}.migrations (hash, previous_hash, filename) select 'sha1:0', hash, '999999-later.sql' from ${PLINTH_HISTORY}.migrations where filename = ${LAST}`,
      ),
    says: /999999-later\.sql|newer|ahead/,
  },
  {
    title: "a migration that was changed",
    group: checkMigrations,
    check: "migrations",
    broken: () =>
      inHistory(at, `update ${PLINTH_HISTORY}.migrations set hash = 'sha1:0' where filename = ${LAST}`),
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
    sql: () => drift("a policy whose condition is true"),
    says: /policy select_own on identity\.users/,
  },
  {
    title: "a permission check that returns true",
    group: checkDrift,
    check: "drift-functions",
    sql: () => drift("a permission check that returns true"),
    says: /Functions differ/,
  },
  {
    title: "a function without a search path",
    group: checkDrift,
    check: "drift-functions",
    sql: () => drift("a function without a search path"),
    says: /search path|search_path/,
  },
  {
    title: "a trigger that is disabled",
    group: checkDrift,
    check: "drift-structure",
    sql: () => drift("a disabled trigger"),
    says: /enable trigger/,
  },
  {
    title: "an index that is invalid",
    group: checkDrift,
    check: "drift-structure",
    sql: () => drift("an invalid index"),
    says: /invalid|valid/,
  },
  {
    title: "a check that old rows may break",
    group: checkDrift,
    check: "drift-structure",
    sql: () => drift("a check that old rows may break"),
    says: /NOT VALID|differ/,
  },
  {
    title: "a table that is not ours",
    group: checkDrift,
    check: "drift-extra",
    status: "warn",
    sql: () => drift("an added table"),
    says: /move your own objects/,
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
    title: "an analyst whose statements have no limit",
    group: checkRoles,
    check: "analyst-limits",
    status: "warn",
    sql: "do $$ begin execute format('alter role :PLINTH_ANALYST in database %I reset statement_timeout', current_database()); end $$",
    says: /set statement_timeout = '5min'/,
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
];
