import type { Fault } from "./fault.ts";

export const OWNERS_ROLES_AND_SETTINGS: readonly Fault[] = [
  {
    title: "a table that belongs to a role of the server",
    sql: "alter table llm.chats owner to :PLINTH_WORKER",
    by: "a superuser",
    findings: [["fail", "ownership", "llm.chats belongs to plinth_worker"]],
  },
  {
    title: "a function that belongs to a superuser",
    sql: "alter function identity.logout() owner to current_user",
    by: "a superuser",
    findings: [["fail", "ownership", "identity.logout() belongs to postgres"]],
  },
  {
    title: "a type that belongs to a role of the server",
    sql: "alter type billing.token_balance owner to :PLINTH_SERVICE",
    by: "a superuser",
    findings: [["fail", "ownership", "type billing.token_balance belongs to plinth_service"]],
  },
  {
    title: "a database that belongs to a role of the server",
    sql: "do $$ begin execute format('alter database %I owner to :PLINTH_SERVICE', current_database()); end $$",
    by: "a superuser",
    findings: [["fail", "ownership", "the database belongs to plinth_service"]],
  },
  {
    title: "a role that bypasses row security",
    sql: "alter role :PLINTH_USER bypassrls",
    by: "a superuser",
    findings: [["fail", "roles", "plinth_user bypasses row-level security"]],
  },
  {
    title: "a role that is a superuser",
    sql: "alter role :PLINTH_SERVICE superuser",
    by: "a superuser",
    findings: [["fail", "roles", "plinth_service is superuser"]],
  },
  {
    title: "a role that may replicate",
    sql: "alter role :PLINTH_WORKER replication",
    by: "a superuser",
    findings: [["fail", "roles", "plinth_worker may replicate"]],
  },
  {
    title: "a role that may log in",
    sql: "alter role :PLINTH_USER login",
    by: "an administrator",
    findings: [["fail", "roles", "plinth_user may log in"]],
  },
  {
    title: "a role that inherits",
    sql: "alter role :PLINTH_AUTHENTICATOR inherit",
    by: "an administrator",
    findings: [["fail", "roles", "plinth_authenticator inherits privileges instead of using SET ROLE"]],
  },
  {
    title: "a role that may become another",
    sql: "grant :PLINTH_SERVICE to :PLINTH_AUTHENTICATOR",
    by: "an administrator",
    findings: [
      [
        "fail",
        "roles",
        "plinth_authenticator is a member of plinth_anonymous, plinth_service, plinth_user instead of plinth_anonymous and plinth_user",
      ],
    ],
  },
  {
    title: "a role that may read everything",
    sql: "grant pg_read_all_data to :PLINTH_ANALYST",
    by: "a superuser",
    findings: [["fail", "roles", "plinth_analyst is a member of pg_read_all_data instead of no role"]],
  },
  {
    title: "a role that may grant its role to others",
    sql: "grant :PLINTH_USER to :PLINTH_AUTHENTICATOR with admin option",
    by: "an administrator",
    findings: [["fail", "roles", "plinth_authenticator may grant plinth_user to others"]],
  },
  {
    title: "a stranger who can act as a role",
    sql: "create role :PLINTH_STRANGER; grant :PLINTH_SERVICE to :PLINTH_STRANGER",
    by: "an administrator",
    findings: [["warn", "role-members", "plinth_stranger is a member of plinth_service"]],
  },
  {
    title: "a search path of a role",
    sql: "alter role :PLINTH_AUTHENTICATOR set search_path = public",
    by: "an administrator",
    findings: [
      [
        "fail",
        "drift-access",
        "setting search_path of plinth_authenticator in all databases: not created by the migrations",
      ],
    ],
  },
  {
    title: "a claim that every request would have",
    sql: "alter role :PLINTH_AUTHENTICATOR set jwt.claims.user_id = '00000000-0000-7000-8000-000000000000'",
    by: "an administrator",
    findings: [
      [
        "fail",
        "drift-access",
        "setting jwt.claims.user_id of plinth_authenticator in all databases: not created by the migrations",
      ],
    ],
  },
  {
    title: "a role whose sessions run no triggers",
    sql: "alter role :PLINTH_SERVICE set session_replication_role = replica",
    by: "a superuser",
    findings: [
      [
        "fail",
        "drift-access",
        "setting session_replication_role of plinth_service in all databases: not created by the migrations",
      ],
    ],
  },
  {
    title: "a setting of the database",
    sql: "do $$ begin execute format('alter database %I set row_security = off', current_database()); end $$",
    findings: [
      ["fail", "drift-access", "setting row_security of the database: not created by the migrations"],
    ],
  },
  {
    title: "a lost search path",
    sql: "do $$ begin execute format('alter role :PLINTH_ANALYST in database %I reset search_path', current_database()); end $$",
    by: "an administrator",
    findings: [["warn", "drift-access", "setting search_path of plinth_analyst: missing"]],
  },
];
