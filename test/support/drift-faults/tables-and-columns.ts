import type { Fault } from "./fault.ts";

export const TABLES_AND_COLUMNS: readonly Fault[] = [
  {
    title: "a column without its default",
    sql: "alter table identity.users alter column token_version drop default",
    findings: [
      ["fail", "drift-structure", "column token_version of identity.users: expected default 1, found none"],
    ],
  },
  {
    title: "a column that may be null",
    sql: "alter table private.user_passwords alter column password_hash drop not null",
    findings: [
      [
        "fail",
        "drift-structure",
        "column password_hash of private.user_passwords: expected not null yes, found no",
      ],
    ],
  },
  {
    title: "a column of another type",
    sql: "alter table billing.token_grants alter column priority type bigint",
    findings: [
      [
        "fail",
        "drift-structure",
        "column priority of billing.token_grants: expected type integer, found bigint",
      ],
    ],
  },
  {
    title: "a column that is no longer computed",
    sql: "alter table identity.users alter column is_verified drop expression",
    findings: [
      [
        "fail",
        "drift-structure",
        "column is_verified of identity.users: expected default email_verified_at IS NOT NULL, found none; expected generated stored, found none",
      ],
    ],
  },
  {
    title: "an added column",
    sql: "alter table identity.users add column note text",
    findings: [["warn", "drift-extra", "column note of identity.users: not created by the migrations"]],
  },
  {
    title: "a dropped column",
    sql: "alter table private.room_passwords drop column updated_at",
    findings: [["fail", "schema", "column updated_at of private.room_passwords"]],
  },
  {
    title: "a column with other statistics",
    sql: "alter table identity.users alter column username set statistics 5",
    findings: [
      ["warn", "drift-structure", "column username of identity.users: expected statistics none, found 5"],
    ],
  },
  {
    title: "a table with another fill factor",
    sql: "alter table llm.chats set (fillfactor = 70)",
    findings: [
      ["warn", "drift-structure", "table llm.chats: expected storage options none, found fillfactor=70"],
    ],
  },
  {
    title: "a table that a crash empties",
    sql: "alter table private.token_blacklist set unlogged",
    findings: [
      [
        "fail",
        "drift-structure",
        "table private.token_blacklist: expected persistence permanent, found unlogged",
      ],
    ],
  },
  {
    title: "a dropped table",
    sql: "drop table private.room_passwords cascade",
    findings: [["fail", "schema", "table or view private.room_passwords"]],
  },
  {
    title: "an added table",
    sql: "create table private.copy as select * from identity.users; alter table private.copy enable row level security",
    findings: [["warn", "drift-extra", "table private.copy: not created by the migrations"]],
  },
  {
    title: "a table whose rows appear in another",
    sql: "create table private.more () inherits (private.token_blacklist); alter table private.more enable row level security",
    findings: [["fail", "drift-extra", "table private.more: not created by the migrations"]],
  },
  {
    title: "a column of a partition without its default",
    sql: "alter table security.login_attempts_default alter column created_at drop default",
    findings: [
      [
        "fail",
        "drift-structure",
        "column created_at of security.login_attempts_default: expected default now(), found none",
      ],
    ],
  },
  {
    title: "a detached partition",
    sql: "alter table security.login_attempts detach partition security.login_attempts_default",
    findings: [
      ["warn", "drift-extra", "table security.login_attempts_default: not created by the migrations"],
    ],
  },
];
