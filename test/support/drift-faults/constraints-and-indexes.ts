import type { Fault } from "./fault.ts";

export const CONSTRAINTS_AND_INDEXES: readonly Fault[] = [
  {
    title: "a dropped check",
    sql: "alter table billing.usage_tracking drop constraint usage_tracking_token_count_is_not_negative",
    findings: [
      ["fail", "schema", "constraint usage_tracking_token_count_is_not_negative on billing.usage_tracking"],
    ],
  },
  {
    title: "a check that is always true",
    sql: "alter table identity.users drop constraint users_username_check; alter table identity.users add constraint users_username_check check (true)",
    findings: [
      [
        "fail",
        "drift-structure",
        "constraint users_username_check on identity.users: expected definition CHECK (username ~ '^[a-z0-9]([a-z0-9_.-]{0,98}[a-z0-9])?$'::text AND length(user…, found CHECK (true)",
      ],
    ],
  },
  {
    title: "a check that old rows may break",
    sql: "alter table identity.users drop constraint users_phone_number_check; alter table identity.users add constraint users_phone_number_check check (phone_number ~ '^\\+[1-9][0-9]{6,14}$') not valid",
    findings: [
      [
        "fail",
        "drift-structure",
        "constraint users_phone_number_check on identity.users: expected definition CHECK (phone_number ~ '^\\+[1-9][0-9]{6,14}$'::text), found CHECK (phone_number ~ '^\\+[1-9][0-9]{6,14}$'::text) NOT VALID",
      ],
    ],
  },
  {
    title: "a dropped foreign key",
    sql: "alter table llm.chats drop constraint chats_user_id_fkey",
    findings: [["fail", "schema", "constraint chats_user_id_fkey on llm.chats"]],
  },
  {
    title: "a foreign key with another action",
    sql: "alter table private.user_passwords drop constraint user_passwords_user_id_fkey; alter table private.user_passwords add constraint user_passwords_user_id_fkey foreign key (user_id) references identity.users (id)",
    findings: [
      [
        "fail",
        "drift-structure",
        "constraint user_passwords_user_id_fkey on private.user_passwords: expected definition FOREIGN KEY (user_id) REFERENCES identity.users(id) ON DELETE CASCADE, found FOREIGN KEY (user_id) REFERENCES identity.users(id)",
      ],
    ],
  },
  {
    title: "a dropped unique constraint",
    sql: "alter table identity.users drop constraint users_email_key",
    findings: [["fail", "schema", "constraint users_email_key on identity.users"]],
  },
  {
    title: "an added constraint",
    sql: "alter table llm.chats add constraint more check (true)",
    findings: [["warn", "drift-extra", "constraint more on llm.chats: not created by the migrations"]],
  },
  {
    title: "a constraint whose index is invalid",
    sql: "update pg_index set indisvalid = false where indexrelid = 'identity.users_username_key'::regclass",
    by: "a superuser",
    findings: [
      [
        "fail",
        "drift-structure",
        "constraint users_username_key on identity.users: expected invalid index no, found yes",
      ],
    ],
  },
  {
    title: "a dropped index",
    sql: "drop index llm.chats_user_id_updated_at_idx",
    findings: [["fail", "schema", "index chats_user_id_updated_at_idx on llm.chats"]],
  },
  {
    title: "an invalid index",
    sql: "update pg_index set indisvalid = false where indexrelid = 'identity.users_created_at_idx'::regclass",
    by: "a superuser",
    findings: [
      [
        "fail",
        "drift-structure",
        "index users_created_at_idx on identity.users: expected invalid no, found yes",
      ],
    ],
  },
  {
    title: "an index that is no longer unique",
    sql: "drop index llm.chats_user_id_import_key_idx; create index chats_user_id_import_key_idx on llm.chats (user_id, import_key) where import_key is not null",
    findings: [
      [
        "fail",
        "drift-structure",
        "index chats_user_id_import_key_idx on llm.chats: expected unique yes, found no",
      ],
    ],
  },
  {
    title: "an index on other columns",
    sql: "drop index llm.chats_user_id_updated_at_idx; create index chats_user_id_updated_at_idx on llm.chats (updated_at, user_id)",
    findings: [
      [
        "fail",
        "drift-structure",
        "index chats_user_id_updated_at_idx on llm.chats: expected definition using btree (user_id, updated_at DESC), found using btree (updated_at, user_id)",
      ],
    ],
  },
  {
    title: "an added index",
    sql: "create index more_idx on llm.chats (title)",
    findings: [["warn", "drift-extra", "index more_idx on llm.chats: not created by the migrations"]],
  },
  {
    title: "an added index on a partition",
    sql: "create index more_idx on security.login_attempts_default (id)",
    findings: [
      [
        "warn",
        "drift-extra",
        "index more_idx on security.login_attempts_default: not created by the migrations",
      ],
    ],
  },
];
