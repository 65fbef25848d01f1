-- Schema access as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema access;
comment on schema access is 'Roles, permissions and grants.';
grant usage on schema access to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Types and sequences ---------------------------------------------------------------------------------

-- Explanation of whether an operation is allowed.
create type access.access_explanation as (
  verdict text,
  reason text,
  database_role text,
  operation text,
  object text,
  grants access.explained_grant[],
  policies access.explained_policy[],
  changes text[],
  notes text[]
);

comment on type access.access_explanation is 'Explanation of whether an operation is allowed.';

-- A part of the condition of a policy, with its outcome.
create type access.explained_condition as (
  depth integer,
  operator text,
  condition text,
  outcome boolean,
  is_open boolean,
  error text
);

comment on type access.explained_condition is 'A part of the condition of a policy, with its outcome.';

-- A privilege that an operation needs.
create type access.explained_grant as (
  privilege text,
  object text,
  columns text[],
  missing_columns text[],
  is_held boolean,
  granted_to text
);

comment on type access.explained_grant is 'A privilege that an operation needs.';

-- A row policy that applies to an operation, with its outcome.
create type access.explained_policy as (
  relation text,
  purpose text,
  policy text,
  command text,
  is_permissive boolean,
  description text,
  condition text,
  outcome boolean,
  error text,
  parts access.explained_condition[]
);

comment on type access.explained_policy is 'A row policy that applies to an operation, with its outcome.';

-- Tables ----------------------------------------------------------------------------------------------

-- One row per permission that a policy or function checks.
create table access.permissions (
  id uuid not null default plinth.uuid_v7(),
  permission_name text not null,
  description text not null default ''::text,
  created_at timestamp with time zone not null default now(),
  constraint permissions_pkey primary key (id),
  constraint permissions_permission_name_key unique (permission_name),
  constraint permissions_permission_name_check check (permission_name ~ '^[a-z][a-z0-9_]{0,99}$'::text)
);

alter table access.permissions enable row level security;

create trigger _700_record_data_change
  after insert or delete or update on access.permissions
  for each row
  execute function private.record_data_change('id', '', '', '');

comment on table access.permissions is 'One row per permission that a policy or function checks.';
comment on column access.permissions.id is 'Id (UUIDv7).';
comment on column access.permissions.permission_name is 'Unique name, such as edit_content.';
comment on column access.permissions.description is 'Description of what the permission allows.';
comment on column access.permissions.created_at is 'Time when the permission was created.';

create policy delete_manager on access.permissions
  for delete to :PLINTH_USER
  using ((select access.has_permission('manage_roles'::text)));
comment on policy delete_manager on access.permissions is 'Users with manage_roles delete permissions.';
create policy insert_manager on access.permissions
  for insert to :PLINTH_USER
  with check ((select access.has_permission('manage_roles'::text)));
comment on policy insert_manager on access.permissions is 'Users with manage_roles add permissions.';
create policy select_all on access.permissions
  for select to :PLINTH_USER
  using (true);
comment on policy select_all on access.permissions is 'Signed-in users read all permissions.';
create policy update_manager on access.permissions
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_roles'::text)))
  with check ((select access.has_permission('manage_roles'::text)));
comment on policy update_manager on access.permissions is 'Users with manage_roles change permissions.';

grant
  select,
  insert (permission_name, description),
  update (permission_name, description),
  delete
  on access.permissions to :PLINTH_USER;

-- One row per role and permission it includes.
create table access.role_permissions (
  role_id uuid not null,
  permission_id uuid not null,
  constraint role_permissions_pkey primary key (role_id, permission_id),
  constraint role_permissions_permission_id_fkey foreign key (permission_id) references access.permissions(id) on delete cascade,
  constraint role_permissions_role_id_fkey foreign key (role_id) references access.roles(id) on delete cascade
);

alter table access.role_permissions enable row level security;

create index role_permissions_permission_id_idx on access.role_permissions using btree (permission_id);

create trigger _500_audit
  after insert or delete or update on access.role_permissions
  for each row
  execute function access.audit_role_permission();
create trigger _700_record_data_change
  after insert or delete or update on access.role_permissions
  for each row
  execute function private.record_data_change('role_id,permission_id', '', '', '');

comment on table access.role_permissions is E'@behavior -query:resource:list -query:resource:connection -query:resource:single\nOne row per role and permission it includes.';
comment on column access.role_permissions.role_id is 'The role.';
comment on column access.role_permissions.permission_id is 'The permission that the role includes.';

create policy delete_manager on access.role_permissions
  for delete to :PLINTH_USER
  using ((select access.has_permission('manage_roles'::text)));
comment on policy delete_manager on access.role_permissions is 'Users with manage_roles remove permissions from roles.';
create policy insert_manager on access.role_permissions
  for insert to :PLINTH_USER
  with check ((select access.has_permission('manage_roles'::text)));
comment on policy insert_manager on access.role_permissions is 'Users with manage_roles add permissions to roles.';
create policy select_all on access.role_permissions
  for select to :PLINTH_USER
  using (true);
comment on policy select_all on access.role_permissions is 'Signed-in users read the permissions of all roles.';

grant select, insert (role_id, permission_id), delete on access.role_permissions to :PLINTH_USER;

-- One row per role.
create table access.roles (
  id uuid not null default plinth.uuid_v7(),
  role_name text not null,
  description text not null default ''::text,
  rank integer not null default 0,
  created_at timestamp with time zone not null default now(),
  requires_mfa boolean not null default false,
  constraint roles_pkey primary key (id),
  constraint roles_role_name_key unique (role_name),
  constraint roles_role_name_check check (role_name ~ '^[a-z][a-z0-9_]{0,49}$'::text)
);

alter table access.roles enable row level security;

create trigger _100_keep_name
  before update of role_name on access.roles
  for each row
  when ((old.role_name = any (array['admin'::text, 'user'::text])) and new.role_name <> old.role_name)
  execute function access.keep_role_name();
create trigger _500_audit
  before delete on access.roles
  for each row
  execute function access.audit_deleted_role();
create trigger _700_record_data_change
  after insert or delete or update on access.roles
  for each row
  execute function private.record_data_change('id', '', '', '');

comment on table access.roles is 'One row per role.';
comment on column access.roles.id is 'Id (UUIDv7).';
comment on column access.roles.role_name is 'Unique name, such as admin.';
comment on column access.roles.description is 'Purpose of the role.';
comment on column access.roles.rank is 'Rank of the role; the role with the highest rank is shown as the user''s role.';
comment on column access.roles.created_at is 'Time when the role was created.';
comment on column access.roles.requires_mfa is 'Whether the role''s permissions apply only in sessions that passed a second factor.';

create policy delete_manager on access.roles
  for delete to :PLINTH_USER
  using ((select access.has_permission('manage_roles'::text)) and (role_name <> all (array['admin'::text, 'user'::text])));
comment on policy delete_manager on access.roles is 'Users with manage_roles delete roles, except admin and user, which the product depends on.';
create policy insert_manager on access.roles
  for insert to :PLINTH_USER
  with check ((select access.has_permission('manage_roles'::text)));
comment on policy insert_manager on access.roles is 'Users with manage_roles add roles.';
create policy select_all on access.roles
  for select to :PLINTH_USER
  using (true);
comment on policy select_all on access.roles is 'Signed-in users read all roles.';
create policy update_manager on access.roles
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_roles'::text)))
  with check ((select access.has_permission('manage_roles'::text)));
comment on policy update_manager on access.roles is 'Users with manage_roles change roles.';

grant
  select,
  insert (role_name, description, rank, requires_mfa),
  update (role_name, description, rank, requires_mfa),
  delete
  on access.roles to :PLINTH_USER;

-- One row per user and model granted to them; public models need no grant.
create table access.user_model_access (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  model_id uuid not null,
  granted_by uuid default plinth.current_user_id(),
  granted_at timestamp with time zone not null default now(),
  is_active boolean not null default true,
  constraint user_model_access_pkey primary key (id),
  constraint user_model_access_user_id_model_id_key unique (user_id, model_id),
  constraint user_model_access_granted_by_fkey foreign key (granted_by) references identity.users(id) on delete set null,
  constraint user_model_access_model_id_fkey foreign key (model_id) references llm.models(id) on delete cascade,
  constraint user_model_access_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table access.user_model_access enable row level security;

create index user_model_access_granted_by_idx on access.user_model_access using btree (granted_by);
create index user_model_access_model_id_idx on access.user_model_access using btree (model_id);

create trigger _700_record_data_change
  after insert or delete or update on access.user_model_access
  for each row
  execute function private.record_data_change('id', 'user_id', '', '');

comment on table access.user_model_access is 'One row per user and model granted to them; public models need no grant.';
comment on column access.user_model_access.id is 'Id (UUIDv7).';
comment on column access.user_model_access.user_id is 'The user who may use the model.';
comment on column access.user_model_access.model_id is 'The model.';
comment on column access.user_model_access.granted_by is 'The account that granted access; null if the system granted it or the account was deleted.';
comment on column access.user_model_access.granted_at is 'Time of the grant.';
comment on column access.user_model_access.is_active is 'Whether the grant applies; false suspends it and keeps its history.';

create policy all_manager on access.user_model_access
  for all to :PLINTH_USER
  using ((select access.has_permission('grant_model_access'::text)))
  with check ((select access.has_permission('grant_model_access'::text)));
comment on policy all_manager on access.user_model_access is 'Users with grant_model_access read, make and revoke all grants.';
create policy select_own on access.user_model_access
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on access.user_model_access is 'Users read the grants made to them.';

grant
  select,
  insert (user_id, model_id, is_active),
  update (is_active),
  delete
  on access.user_model_access to :PLINTH_USER;

-- One row per user and role.
create table access.user_roles (
  user_id uuid not null,
  role_id uuid not null,
  granted_by uuid default plinth.current_user_id(),
  granted_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone,
  constraint user_roles_pkey primary key (user_id, role_id),
  constraint user_roles_expires_after_granted check (expires_at > granted_at),
  constraint user_roles_granted_by_fkey foreign key (granted_by) references identity.users(id) on delete set null,
  constraint user_roles_role_id_fkey foreign key (role_id) references access.roles(id) on delete cascade,
  constraint user_roles_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table access.user_roles enable row level security;

create index user_roles_granted_by_idx on access.user_roles using btree (granted_by);
create index user_roles_role_id_idx on access.user_roles using btree (role_id);

create trigger _500_audit
  after insert or delete or update on access.user_roles
  for each row
  execute function access.audit_user_role();
create trigger _700_record_data_change
  after insert or delete or update on access.user_roles
  for each row
  execute function private.record_data_change('user_id,role_id', 'user_id', '', '');

comment on table access.user_roles is E'@behavior -insert -update -delete\nOne row per user and role.';
comment on column access.user_roles.user_id is 'The user who has the role.';
comment on column access.user_roles.role_id is 'The role.';
comment on column access.user_roles.granted_by is 'The account that granted the role; null if the system granted it or the account was deleted.';
comment on column access.user_roles.granted_at is 'Time of the grant.';
comment on column access.user_roles.expires_at is 'Time when the role expires; null if it does not expire.';

create policy all_manager on access.user_roles
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_roles'::text)))
  with check ((select access.has_permission('manage_roles'::text)));
comment on policy all_manager on access.user_roles is 'Users with manage_roles read, grant and revoke all roles.';
create policy select_own on access.user_roles
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on access.user_roles is 'Users read their own roles.';
create policy select_user_manager on access.user_roles
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_users'::text)));
comment on policy select_user_manager on access.user_roles is 'Users who manage accounts read the accounts'' roles.';

grant
  select,
  insert (user_id, role_id, expires_at),
  update (expires_at),
  delete
  on access.user_roles to :PLINTH_USER;

-- Functions -------------------------------------------------------------------------------------------

-- Returns the verdict on an operation, its reason, and what would have to change, from the outcomes that access.explain_access found.
create or replace function access.access_conclusion(evaluated_case jsonb)
  returns access.access_explanation
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/access/functions/access_conclusion.sql

comment on function access.access_conclusion(evaluated_case jsonb) is E'@behavior -*\nReturns the verdict on an operation, its reason, and what would have to change, from the outcomes that access.explain_access found.';
revoke execute on function access.access_conclusion(evaluated_case jsonb) from public;
grant execute on function access.access_conclusion(evaluated_case jsonb) to :PLINTH_USER;

-- Trigger: writes role_deleted to the audit log.
create or replace function access.audit_deleted_role()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/triggers/roles.sql

comment on function access.audit_deleted_role() is 'Trigger: writes role_deleted to the audit log.';
revoke execute on function access.audit_deleted_role() from public;

-- Trigger: writes role_permission_added or role_permission_removed to the audit log.
create or replace function access.audit_role_permission()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/triggers/role_permissions.sql

comment on function access.audit_role_permission() is 'Trigger: writes role_permission_added or role_permission_removed to the audit log.';
revoke execute on function access.audit_role_permission() from public;

-- Trigger: writes role_granted or role_revoked to the audit log.
create or replace function access.audit_user_role()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/triggers/user_roles.sql

comment on function access.audit_user_role() is 'Trigger: writes role_granted or role_revoked to the audit log.';
revoke execute on function access.audit_user_role() from public;

-- Returns whether the signed-in user may use the model.
create or replace function access.can_use_model(model_id uuid)
  returns boolean
  language sql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/can_use_model.sql

comment on function access.can_use_model(model_id uuid) is 'Returns whether the signed-in user may use the model.';
revoke execute on function access.can_use_model(model_id uuid) from public;
grant execute on function access.can_use_model(model_id uuid) to :PLINTH_USER;

-- Explains whether a user or a visitor may select, insert, update or delete a row, or execute a function: the verdict, the grants and policies that decide, and what would have to change. Shows outcomes, never values of the row. Needs explain_access; the question is recorded in the audit log. PL403 without the permission, PL404 for an unknown account, table or function.
create or replace function access.explain_access(operation text, object text, user_id uuid default null::uuid, key jsonb default null::jsonb, new_values jsonb default null::jsonb, database_role text default null::text, session_id uuid default null::uuid, returns_row boolean default false)
  returns access.access_explanation
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/access/functions/explain_access.sql

comment on function access.explain_access(operation text, object text, user_id uuid, key jsonb, new_values jsonb, database_role text, session_id uuid, returns_row boolean) is 'Explains whether a user or a visitor may select, insert, update or delete a row, or execute a function: the verdict, the grants and policies that decide, and what would have to change. Shows outcomes, never values of the row. Needs explain_access; the question is recorded in the audit log. PL403 without the permission, PL404 for an unknown account, table or function.';
revoke execute on function access.explain_access(operation text, object text, user_id uuid, key jsonb, new_values jsonb, database_role text, session_id uuid, returns_row boolean) from public;
grant execute on function access.explain_access(operation text, object text, user_id uuid, key jsonb, new_values jsonb, database_role text, session_id uuid, returns_row boolean) to :PLINTH_USER;

-- Grants a user a role, or changes when it expires. Needs manage_roles. PL404 for an unknown role.
create or replace function access.grant_role(user_id uuid, role_name text, expires_at timestamp with time zone default null::timestamp with time zone)
  returns access.user_roles
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/access/functions/grant_role.sql

comment on function access.grant_role(user_id uuid, role_name text, expires_at timestamp with time zone) is 'Grants a user a role, or changes when it expires. Needs manage_roles. PL404 for an unknown role.';
revoke execute on function access.grant_role(user_id uuid, role_name text, expires_at timestamp with time zone) from public;
grant execute on function access.grant_role(user_id uuid, role_name text, expires_at timestamp with time zone) to :PLINTH_USER;

-- Returns whether the signed-in user, whose account is active, holds the permission through a role that has not expired and, where the role requires it, in a session that passed a second factor.
create or replace function access.has_permission(permission text)
  returns boolean
  language plpgsql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/has_permission.sql

comment on function access.has_permission(permission text) is 'Returns whether the signed-in user, whose account is active, holds the permission through a role that has not expired and, where the role requires it, in a session that passed a second factor.';
revoke execute on function access.has_permission(permission text) from public;
grant execute on function access.has_permission(permission text) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Trigger: rejects renaming the roles admin and user (PL409).
create or replace function access.keep_role_name()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/access/triggers/roles.sql

comment on function access.keep_role_name() is 'Trigger: rejects renaming the roles admin and user (PL409).';
revoke execute on function access.keep_role_name() from public;

-- Returns the outcome of a part of a condition from those of its parts; null if it depends on a row.
create or replace function access.known_outcome(parts jsonb, place integer default 0)
  returns boolean
  language plpgsql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/access/functions/known_outcome.sql

comment on function access.known_outcome(parts jsonb, place integer) is E'@behavior -*\nReturns the outcome of a part of a condition from those of its parts; null if it depends on a row.';
revoke execute on function access.known_outcome(parts jsonb, place integer) from public;
grant execute on function access.known_outcome(parts jsonb, place integer) to :PLINTH_USER;

-- Returns whether the signed-in user holds every permission that the other account holds.
create or replace function access.may_administer(user_id uuid)
  returns boolean
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/may_administer.sql

comment on function access.may_administer(user_id uuid) is E'@behavior -*\nReturns whether the signed-in user holds every permission that the other account holds.';
revoke execute on function access.may_administer(user_id uuid) from public;
grant execute on function access.may_administer(user_id uuid) to :PLINTH_USER;

-- Returns private.access_case to a user with explain_access and records the question. PL403 without the permission.
create or replace function access.permitted_access_case(user_id uuid, operation text, object text, key jsonb, new_values jsonb, database_role text, returns_row boolean)
  returns jsonb
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/permitted_access_case.sql

comment on function access.permitted_access_case(user_id uuid, operation text, object text, key jsonb, new_values jsonb, database_role text, returns_row boolean) is E'@behavior -*\nReturns private.access_case to a user with explain_access and records the question. PL403 without the permission.';
revoke execute on function access.permitted_access_case(user_id uuid, operation text, object text, key jsonb, new_values jsonb, database_role text, returns_row boolean) from public;
grant execute on function access.permitted_access_case(user_id uuid, operation text, object text, key jsonb, new_values jsonb, database_role text, returns_row boolean) to :PLINTH_USER;

-- Returns the text of a condition without the sub-selects and casts that do not help to read it.
create or replace function access.readable_condition(condition text)
  returns text
  language sql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/access/functions/readable_condition.sql

comment on function access.readable_condition(condition text) is E'@behavior -*\nReturns the text of a condition without the sub-selects and casts that do not help to read it.';
revoke execute on function access.readable_condition(condition text) from public;
grant execute on function access.readable_condition(condition text) to :PLINTH_USER;

-- Returns what must hold so that a part of a condition gets the wanted outcome, as the end of a sentence.
create or replace function access.required_change(parts jsonb, place integer default 0, wanted boolean default true)
  returns text
  language plpgsql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/access/functions/required_change.sql

comment on function access.required_change(parts jsonb, place integer, wanted boolean) is E'@behavior -*\nReturns what must hold so that a part of a condition gets the wanted outcome, as the end of a sentence.';
revoke execute on function access.required_change(parts jsonb, place integer, wanted boolean) from public;
grant execute on function access.required_change(parts jsonb, place integer, wanted boolean) to :PLINTH_USER;

-- Revokes a user's role. Needs manage_roles. PL404 when the user does not have it or the caller may not revoke it.
create or replace function access.revoke_role(user_id uuid, role_name text)
  returns access.user_roles
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/access/functions/revoke_role.sql

comment on function access.revoke_role(user_id uuid, role_name text) is 'Revokes a user''s role. Needs manage_roles. PL404 when the user does not have it or the caller may not revoke it.';
revoke execute on function access.revoke_role(user_id uuid, role_name text) from public;
grant execute on function access.revoke_role(user_id uuid, role_name text) to :PLINTH_USER;

-- Returns what would have to change so that a row passes the policies of a step, as sentences.
create or replace function access.step_changes(step jsonb, database_role text)
  returns text[]
  language sql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/access/functions/step_changes.sql

comment on function access.step_changes(step jsonb, database_role text) is E'@behavior -*\nReturns what would have to change so that a row passes the policies of a step, as sentences.';
revoke execute on function access.step_changes(step jsonb, database_role text) from public;
grant execute on function access.step_changes(step jsonb, database_role text) to :PLINTH_USER;

-- Returns whether a row passes the policies of a step; null if it depends on a row.
create or replace function access.step_outcome(step jsonb)
  returns boolean
  language sql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/access/functions/step_outcome.sql

comment on function access.step_outcome(step jsonb) is E'@behavior -*\nReturns whether a row passes the policies of a step; null if it depends on a row.';
revoke execute on function access.step_outcome(step jsonb) from public;
grant execute on function access.step_outcome(step jsonb) to :PLINTH_USER;

-- Returns the ids of the models that the caller may use: public ones and those granted to them.
create or replace function access.usable_model_ids()
  returns setof uuid
  language sql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/usable_model_ids.sql

comment on function access.usable_model_ids() is E'@behavior -*\nReturns the ids of the models that the caller may use: public ones and those granted to them.';
revoke execute on function access.usable_model_ids() from public;
grant execute on function access.usable_model_ids() to :PLINTH_ANONYMOUS, :PLINTH_USER;
