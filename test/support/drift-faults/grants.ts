import type { Fault } from "./fault.ts";

export const GRANTS: readonly Fault[] = [
  {
    title: "a grant on a table of secrets",
    sql: "grant select on private.user_passwords to :PLINTH_ANONYMOUS",
    findings: [
      [
        "fail",
        "drift-access",
        "grant to plinth_anonymous on private.user_passwords: expected none, found select",
      ],
    ],
  },
  {
    title: "a grant on a column",
    sql: "grant update (is_verified) on identity.users to :PLINTH_USER",
    findings: [
      [
        "fail",
        "drift-access",
        "grant to plinth_user on identity.users: expected update (profile_data, username), found update (is_verified, profile_data, username)",
      ],
    ],
  },
  {
    title: "a grant on a table to every role",
    sql: "grant select on llm.messages to public",
    findings: [["fail", "drift-access", "grant to public on llm.messages: expected none, found select"]],
  },
  {
    title: "a grant on a table to a stranger",
    sql: "create role :PLINTH_STRANGER; grant select on billing.payments to :PLINTH_STRANGER",
    by: "an administrator",
    findings: [
      ["fail", "drift-access", "grant to plinth_stranger on billing.payments: expected none, found select"],
    ],
  },
  {
    title: "a grant that may be passed on",
    sql: "grant select on llm.chats to :PLINTH_USER with grant option",
    findings: [
      [
        "fail",
        "drift-access",
        "grant to plinth_user on llm.chats: expected select, found select with grant option",
      ],
    ],
  },
  {
    title: "a grant on a view",
    sql: "grant select on analytics.account_security to :PLINTH_USER",
    findings: [
      [
        "fail",
        "drift-access",
        "grant to plinth_user on analytics.account_security: expected none, found select",
      ],
    ],
  },
  {
    title: "a grant on a sequence",
    sql: "grant usage on sequence private.request_digests_id_seq to :PLINTH_USER",
    findings: [
      [
        "fail",
        "drift-access",
        "grant to plinth_user on private.request_digests_id_seq: expected none, found usage",
      ],
    ],
  },
  {
    title: "a grant on a partition",
    sql: "grant select on security.login_attempts_default to :PLINTH_USER",
    findings: [
      [
        "fail",
        "drift-access",
        "grant to plinth_user on security.login_attempts_default: expected none, found select",
      ],
    ],
  },
  {
    title: "a grant on a private function",
    sql: "grant execute on function private.record_security_event to :PLINTH_USER",
    findings: [
      [
        "fail",
        "drift-access",
        "grant to plinth_user on function private.record_security_event(event_type text, user_id uuid, event_data jsonb, severity text): expected none, found execute",
      ],
    ],
  },
  {
    title: "a function that every role may call",
    sql: "grant execute on function private.ensure_partitions to public",
    findings: [
      [
        "fail",
        "drift-access",
        "grant to public on function private.ensure_partitions(months_ahead integer): expected none, found execute",
      ],
    ],
  },
  {
    title: "a grant on a private schema",
    sql: "grant usage on schema private to :PLINTH_ANONYMOUS",
    findings: [
      ["fail", "drift-access", "grant to plinth_anonymous on schema private: expected none, found usage"],
    ],
  },
  {
    title: "a role that may create objects in a schema",
    sql: "grant create on schema plinth to :PLINTH_USER",
    findings: [
      ["fail", "drift-access", "grant to plinth_user on schema plinth: expected none, found create"],
    ],
  },
  {
    title: "a role that may create schemas",
    sql: "do $$ begin execute format('grant create, temporary on database %I to :PLINTH_USER', current_database()); end $$",
    findings: [
      [
        "fail",
        "drift-access",
        "grant to plinth_user on the database: expected none, found create, temporary",
      ],
    ],
  },
  {
    title: "a database that every role may use",
    sql: "do $$ begin execute format('grant connect on database %I to public', current_database()); end $$",
    findings: [["fail", "drift-access", "grant to public on the database: expected none, found connect"]],
  },
  {
    title: "a grant on the job queue",
    sql: "grant usage on schema plinth_jobs to :PLINTH_USER; grant select on plinth_jobs.job to :PLINTH_USER",
    findings: [
      [
        "fail",
        "drift-access",
        "grant to plinth_user on plinth_jobs.job: expected none, found select",
        "grant to plinth_user on schema plinth_jobs: expected none, found usage",
      ],
    ],
  },
  {
    title: "a grant on the migration history",
    sql: "grant insert on plinth_migrate.migrations to :PLINTH_SERVICE",
    findings: [
      [
        "fail",
        "drift-access",
        "grant to plinth_service on plinth_migrate.migrations: expected none, found insert",
      ],
    ],
  },
  {
    title: "a revoked grant on a table",
    sql: "revoke delete on llm.chats from :PLINTH_USER",
    findings: [["fail", "drift-access", "grant to plinth_user on llm.chats: expected delete, found none"]],
  },
  {
    title: "a revoked grant on a function",
    sql: "revoke execute on function identity.logout() from :PLINTH_USER",
    findings: [
      [
        "fail",
        "drift-access",
        "grant to plinth_user on function identity.logout(): expected execute, found none",
      ],
    ],
  },
  {
    title: "a privilege that the owner lacks",
    sql: "revoke insert on llm.chats from :PLINTH_OWNER",
    findings: [["fail", "drift-access", "privileges of the owner on llm.chats: expected insert, found none"]],
  },
  {
    title: "privileges on future tables",
    sql: "alter default privileges grant select on tables to :PLINTH_ANONYMOUS",
    findings: [
      [
        "fail",
        "drift-access",
        "default privileges for the owner on tables in all schemas: expected none, found select to plinth_anonymous",
      ],
    ],
  },
  {
    title: "privileges on future tables of a schema",
    sql: "alter default privileges in schema llm grant select on tables to :PLINTH_ANALYST",
    findings: [
      [
        "fail",
        "drift-access",
        "default privileges for the owner on tables in schema llm: expected none, found select to plinth_analyst",
      ],
    ],
  },
  {
    title: "future functions that every role may call",
    sql: "alter default privileges grant execute on functions to public",
    findings: [
      ["fail", "drift-access", "default privileges for the owner on functions in all schemas: missing"],
    ],
  },
  {
    title: "a grant on the catalogue of password hashes",
    sql: "grant select on pg_catalog.pg_authid to :PLINTH_USER",
    by: "a superuser",
    findings: [
      [
        "fail",
        "drift-access",
        "grant to plinth_user on pg_catalog.pg_authid: expected none, found some privilege",
      ],
    ],
  },
  {
    title: "a grant on a function that reads files",
    sql: "grant execute on function pg_catalog.pg_read_file(text) to :PLINTH_WORKER",
    by: "a superuser",
    findings: [
      [
        "fail",
        "drift-access",
        "grant to plinth_worker on pg_catalog.pg_read_file(pg_catalog.text): expected none, found some privilege",
      ],
    ],
  },
  {
    title: "a grant on the setting that disables triggers",
    sql: "grant set on parameter session_replication_role to :PLINTH_SERVICE",
    by: "a superuser",
    findings: [
      [
        "fail",
        "drift-access",
        "grant to plinth_service on parameter session_replication_role: expected none, found set",
      ],
    ],
  },
];
