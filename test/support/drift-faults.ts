// Changes by hand that `plinth doctor` must name, each alone. The findings are all that are not "ok".

export interface Fault {
  readonly title: string;
  readonly sql: string;
  /** The role that can make the change; the owner if omitted. */
  readonly by?: "an administrator" | "a superuser";
  /** Status, check and details. */
  readonly findings: readonly (readonly [status: "fail" | "warn", check: string, ...details: string[]])[];
}

export const FAULTS: Readonly<Record<string, readonly Fault[]>> = {
  policies: [
    {
      title: "a policy whose condition is true",
      sql: "alter policy select_own on identity.users using (true)",
      findings: [
        [
          "fail",
          "drift-access",
          "policy select_own on identity.users: expected using id = (( SELECT plinth.current_user_id() AS current_user_id)), found true",
        ],
      ],
    },
    {
      title: "a policy whose check is true",
      sql: "alter policy update_own on identity.users with check (true)",
      findings: [
        [
          "fail",
          "drift-access",
          "policy update_own on identity.users: expected with check id = (( SELECT plinth.current_user_id() AS current_user_id)), found true",
        ],
      ],
    },
    {
      title: "a policy for every role",
      sql: "alter policy all_own on llm.chats to public",
      findings: [
        ["fail", "drift-access", "policy all_own on llm.chats: expected to plinth_user, found public"],
      ],
    },
    {
      title: "a policy for another role",
      sql: "alter policy select_auditor on security.login_attempts to :PLINTH_ANONYMOUS",
      findings: [
        [
          "fail",
          "drift-access",
          "policy select_auditor on security.login_attempts: expected to plinth_user, found plinth_anonymous",
        ],
      ],
    },
    {
      title: "a policy for other commands",
      sql: "drop policy select_own on security.login_attempts; create policy select_own on security.login_attempts to :PLINTH_USER using (user_id = (select plinth.current_user_id()))",
      findings: [
        [
          "fail",
          "drift-access",
          "policy select_own on security.login_attempts: expected command select, found all",
        ],
      ],
    },
    {
      title: "a dropped policy",
      sql: "drop policy delete_permitted on identity.users",
      findings: [["fail", "schema", "policy delete_permitted on identity.users"]],
    },
    {
      title: "an added policy on a table of secrets",
      sql: "create policy backdoor on private.user_passwords for select to :PLINTH_USER using (true)",
      findings: [
        ["fail", "drift-access", "policy backdoor on private.user_passwords: not created by the migrations"],
      ],
    },
    {
      title: "an added policy that only restricts",
      sql: "create policy narrower on llm.chats as restrictive for select to :PLINTH_USER using (not is_archived)",
      findings: [["warn", "drift-access", "policy narrower on llm.chats: not created by the migrations"]],
    },
    {
      title: "a table without row security",
      sql: "alter table llm.messages disable row level security",
      findings: [["fail", "row-security", "llm.messages"]],
    },
    {
      title: "a partition without row security",
      sql: "alter table security.audit_trail_default disable row level security",
      findings: [["fail", "row-security", "security.audit_trail_default"]],
    },
    {
      title: "a table whose owner is subject to row security",
      sql: "alter table identity.users force row level security",
      findings: [
        ["fail", "drift-access", "table identity.users: expected forced row security no, found yes"],
      ],
    },
  ],
  grants: [
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
      findings: [
        ["fail", "drift-access", "privileges of the owner on llm.chats: expected insert, found none"],
      ],
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
  ],
  functions: [
    {
      title: "a function that returns null",
      sql: "create or replace function plinth.current_user_id() returns uuid language sql stable parallel safe as 'select null::uuid'",
      findings: [["fail", "drift-functions", "function plinth.current_user_id(): the body differs"]],
    },
    {
      title: "a permission check that returns true",
      sql: "create or replace function access.has_permission(permission text) returns boolean language plpgsql stable parallel safe security definer set search_path = pg_catalog set plan_cache_mode = force_generic_plan as 'begin return true; end'",
      findings: [
        ["fail", "drift-functions", "function access.has_permission(permission text): the body differs"],
      ],
    },
    {
      title: "another parsed body",
      sql: "create or replace function plinth.announce(topic text, sequence bigint) returns void language sql set search_path = pg_catalog begin atomic select pg_notify('plinth_live', topic); end",
      findings: [
        [
          "fail",
          "drift-functions",
          "function plinth.announce(topic text, sequence bigint): the body differs",
        ],
      ],
    },
    {
      title: "a function without its owner's rights",
      sql: "alter function identity.logout() security invoker",
      findings: [
        ["fail", "drift-functions", "function identity.logout(): expected security definer yes, found no"],
      ],
    },
    {
      title: "a function with its owner's rights",
      sql: "alter function identity.viewer() security definer",
      findings: [
        ["fail", "drift-functions", "function identity.viewer(): expected security definer no, found yes"],
      ],
    },
    {
      title: "a function without a search path",
      sql: "alter function identity.logout() reset search_path",
      findings: [
        [
          "fail",
          "drift-functions",
          "function identity.logout(): expected settings search_path=pg_catalog, found none",
        ],
      ],
    },
    {
      title: "a function with another search path",
      sql: "alter function identity.logout() set search_path = public",
      findings: [
        [
          "fail",
          "drift-functions",
          "function identity.logout(): expected settings search_path=pg_catalog, found search_path=public",
        ],
      ],
    },
    {
      title: "a function with another volatility",
      sql: "alter function identity.users_role(identity.users) volatile",
      findings: [
        [
          "fail",
          "drift-functions",
          "function identity.users_role(u identity.users): expected volatility stable, found volatile",
        ],
      ],
    },
    {
      title: "a function that ignores null",
      sql: "alter function identity.unlock_account(uuid) strict",
      findings: [
        [
          "fail",
          "drift-functions",
          "function identity.unlock_account(user_id uuid): expected strict no, found yes",
        ],
      ],
    },
    {
      title: "a function that policies may run first",
      sql: "alter function identity.users_tier(identity.users) leakproof",
      by: "a superuser",
      findings: [
        [
          "fail",
          "drift-functions",
          "function identity.users_tier(u identity.users): expected leakproof no, found yes",
        ],
      ],
    },
    {
      title: "a function with another cost",
      sql: "alter function identity.users_tier(identity.users) cost 5000",
      findings: [
        [
          "warn",
          "drift-functions",
          "function identity.users_tier(u identity.users): expected cost none, found 5000",
        ],
      ],
    },
    {
      title: "a function with another default",
      sql: "create or replace function private.ensure_partitions(months_ahead integer default 0) returns table (partition_name text) language plpgsql security definer set search_path = pg_catalog set timezone = 'UTC' as 'begin end'",
      findings: [
        [
          "fail",
          "drift-functions",
          "function private.ensure_partitions(months_ahead integer): the body differs; expected arguments months_ahead integer DEFAULT 3, found months_ahead integer DEFAULT 0",
        ],
      ],
    },
    {
      title: "a function without its smart tag",
      sql: "comment on function identity.viewer() is 'The signed-in account.'",
      findings: [
        [
          "fail",
          "drift-functions",
          "function identity.viewer(): expected tags @name currentUser, found none",
        ],
      ],
    },
    {
      title: "a dropped function",
      sql: "drop function identity.unlock_account(uuid)",
      findings: [["fail", "schema", "function identity.unlock_account"]],
    },
    {
      title: "a renamed function",
      sql: "alter function identity.unlock_account(uuid) rename to unlock",
      findings: [
        ["fail", "schema", "function identity.unlock_account"],
        [
          "fail",
          "drift-access",
          "grant to plinth_user on function identity.unlock(user_id uuid): expected none, found execute",
        ],
        ["fail", "drift-extra", "function identity.unlock(user_id uuid): not created by the migrations"],
      ],
    },
    {
      title: "an added function with the owner's rights",
      sql: "create function identity.backdoor() returns setof private.user_passwords language sql security definer as 'select * from private.user_passwords'",
      findings: [["fail", "drift-extra", "function identity.backdoor(): not created by the migrations"]],
    },
    {
      title: "an added function",
      sql: "create function identity.helper() returns integer language sql as 'select 1'",
      findings: [["warn", "drift-extra", "function identity.helper(): not created by the migrations"]],
    },
    {
      title: "an added overload",
      sql: "create function access.has_permission(permission text, scope text) returns boolean language sql as 'select true'",
      findings: [
        [
          "warn",
          "drift-extra",
          "function access.has_permission(permission text, scope text): not created by the migrations",
        ],
      ],
    },
    {
      title: "an added function of machine code",
      sql: "create function plinth.identity(xid) returns xid language internal as 'xid_age'; revoke execute on function plinth.identity from public; alter function plinth.identity owner to :PLINTH_OWNER",
      by: "a superuser",
      findings: [["fail", "drift-extra", "function plinth.identity(xid): not created by the migrations"]],
    },
    {
      title: "an added function of machine code in another schema",
      sql: "create function public.identity(xid) returns xid language internal as 'xid_age'",
      by: "a superuser",
      findings: [["warn", "drift-extra", "function public.identity(xid): not created by the migrations"]],
    },
    {
      title: "a function hidden in an extension",
      sql: "create function plinth.hidden() returns integer language sql security definer as 'select 1'; alter extension pg_trgm add function plinth.hidden()",
      findings: [["fail", "drift-extra", "function plinth.hidden(): not created by the migrations"]],
    },
    {
      title: "a function in the system's schema",
      sql: "create function pg_catalog.lower(integer) returns integer language sql as 'select 1'",
      by: "a superuser",
      findings: [
        ["warn", "drift-extra", "function pg_catalog.lower(integer): not created by the migrations"],
      ],
    },
  ],
  triggers: [
    {
      title: "a disabled trigger",
      sql: "alter table identity.users disable trigger _700_record_data_change",
      findings: [
        [
          "fail",
          "drift-structure",
          "trigger _700_record_data_change on identity.users: expected enabled yes, found no",
        ],
      ],
    },
    {
      title: "a trigger that only replicas run",
      sql: "alter table identity.users enable replica trigger _100_normalize",
      findings: [
        [
          "fail",
          "drift-structure",
          "trigger _100_normalize on identity.users: expected enabled yes, found on replicas only",
        ],
      ],
    },
    {
      title: "a dropped trigger",
      sql: "drop trigger _200_guard_token_version on identity.users",
      findings: [["fail", "schema", "trigger _200_guard_token_version on identity.users"]],
    },
    {
      title: "a trigger with another condition",
      sql: "drop trigger _500_revoke_tokens on identity.users; create trigger _500_revoke_tokens after update on identity.users for each row when (false) execute function private.revoke_user_tokens()",
      findings: [
        [
          "fail",
          "drift-structure",
          "trigger _500_revoke_tokens on identity.users: expected definition … FOR EACH ROW WHEN (new.token_version > old.token_version) EXECUTE FUNCTION priv…, found … FOR EACH ROW WHEN (false) EXECUTE FUNCTION private.revoke_user_tokens()",
        ],
      ],
    },
    {
      title: "an added trigger",
      sql: "create trigger spy after insert on identity.users for each row execute function plinth.touch_updated_at()",
      findings: [["warn", "drift-extra", "trigger spy on identity.users: not created by the migrations"]],
    },
    {
      title: "a foreign key without triggers",
      sql: "alter table private.user_passwords disable trigger all",
      by: "a superuser",
      findings: [
        [
          "fail",
          "drift-structure",
          "constraint user_passwords_user_id_fkey on private.user_passwords: expected disabled triggers no, found yes",
        ],
      ],
    },
    {
      title: "an event trigger",
      sql: "create function public.on_ddl() returns event_trigger language plpgsql as 'begin end'; create event trigger spy on ddl_command_end execute function public.on_ddl()",
      by: "a superuser",
      findings: [["warn", "drift-extra", "event trigger spy: not created by the migrations"]],
    },
    {
      title: "a rule",
      sql: "create rule spy as on update to llm.chats do also notify spy",
      findings: [["fail", "drift-extra", "rule spy on llm.chats: not created by the migrations"]],
    },
  ],
  "constraints and indexes": [
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
  ],
  "tables and columns": [
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
  ],
  "views and other objects": [
    {
      title: "a view with its owner's rights",
      sql: "alter view billing.active_user_subscriptions set (security_invoker = false)",
      findings: [
        [
          "fail",
          "drift-structure",
          "view billing.active_user_subscriptions: expected options security_invoker=true, found security_invoker=false",
        ],
      ],
    },
    {
      title: "a view without a security barrier",
      sql: "alter view identity.profiles reset (security_barrier)",
      findings: [
        [
          "fail",
          "drift-structure",
          "view identity.profiles: expected options security_barrier=true, found none",
        ],
      ],
    },
    {
      title: "a view of other rows",
      sql: "create or replace view identity.profiles with (security_barrier) as select u.id, u.username, s.display_name, s.avatar_url, u.created_at from identity.users u left join identity.user_settings s on s.user_id = u.id",
      findings: [["fail", "drift-structure", "view identity.profiles: the definition differs"]],
    },
    {
      title: "a view of another column",
      sql: "create or replace view billing.current_model_prices with (security_invoker = true) as select model_id, currency, input_price_per_million_tokens, input_price_per_million_tokens as output_price_per_million_tokens, cached_input_price_per_million_tokens, effective_from, effective_to, reasoning_price_per_million_tokens from billing.model_prices p where tstzrange(effective_from, effective_to) @> now()",
      findings: [["fail", "drift-structure", "view billing.current_model_prices: the definition differs"]],
    },
    {
      title: "an added view that analysts may read",
      sql: "create view analytics.leak as select * from private.user_passwords; grant select on analytics.leak to :PLINTH_ANALYST",
      findings: [
        ["fail", "drift-access", "grant to plinth_analyst on analytics.leak: expected none, found select"],
        ["warn", "drift-extra", "view analytics.leak: not created by the migrations"],
      ],
    },
    {
      title: "a type with another attribute",
      sql: "alter type billing.token_balance add attribute more text",
      findings: [
        [
          "fail",
          "drift-structure",
          "type billing.token_balance: expected definition …ling.grant_balance[], found …ling.grant_balance[], more text",
        ],
      ],
    },
    {
      title: "a sequence with another step",
      sql: "alter sequence private.request_digests_id_seq increment by 10",
      findings: [
        [
          "fail",
          "drift-structure",
          "sequence private.request_digests_id_seq: expected sequence bigint increment 1 minimum 1 maximum 9223372036854775807 start 1 cache 1, found bigint increment 10 minimum 1 maximum 9223372036854775807 start 1 cache 1",
        ],
      ],
    },
    {
      title: "another text search configuration",
      sql: "alter text search configuration plinth.english_words alter mapping for asciiword with simple",
      findings: [
        [
          "fail",
          "drift-structure",
          "text search configuration plinth.english_words: expected mapping …h_words; asciiword: plinth.english_words; email: simple; file: simple; float: si…, found …h_words; asciiword: simple; email: simple; file: simple; float: simple; host: si…",
        ],
      ],
    },
    {
      title: "an extension in a schema of Plinth",
      sql: "create extension citext schema plinth",
      findings: [["fail", "drift-extra", "extension citext: not created by the migrations"]],
    },
    {
      title: "an operator",
      sql: "create operator plinth.=== (leftarg = integer, rightarg = integer, function = int4eq)",
      findings: [
        ["fail", "drift-extra", "operator plinth.===(integer,integer): not created by the migrations"],
      ],
    },
    {
      title: "a cast",
      sql: "create cast (text as cidr) with inout as implicit",
      by: "a superuser",
      findings: [["fail", "drift-extra", "cast (text as cidr): not created by the migrations"]],
    },
    {
      title: "a publication",
      sql: "create publication spy for table identity.users",
      findings: [["warn", "drift-extra", "publication spy: not created by the migrations"]],
    },
  ],
  "owners, roles and settings": [
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
  ],
};
