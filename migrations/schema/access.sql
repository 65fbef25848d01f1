-- Schema access as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema access;
comment on schema access is 'Roles, permissions and grants.';
grant usage on schema access to :PLINTH_ANONYMOUS, :PLINTH_SERVICE, :PLINTH_USER, :PLINTH_WORKER;

-- Tables ----------------------------------------------------------------------------------------------

-- One row per rule or model that a version created, changed or deleted.
create table access.casbin_changes (
  id bigint generated always as identity,
  version bigint not null,
  model_name text not null,
  rule_id bigint,
  old_values jsonb,
  new_values jsonb,
  constraint casbin_changes_pkey primary key (id),
  constraint casbin_changes_values_check check (old_values is not null or new_values is not null),
  constraint casbin_changes_version_fkey foreign key (version) references access.casbin_versions(version) on delete cascade
);

alter table access.casbin_changes enable row level security;

create index casbin_changes_version_idx on access.casbin_changes using btree (version);

comment on table access.casbin_changes is E'@behavior -query:resource:list -query:resource:connection -query:resource:single\nOne row per rule or model that a version created, changed or deleted.';
comment on column access.casbin_changes.id is 'Number of the change, in the order of the changes.';
comment on column access.casbin_changes.version is 'The version that the change belongs to.';
comment on column access.casbin_changes.model_name is 'Name of the model.';
comment on column access.casbin_changes.rule_id is 'Number of the rule; null for a change of the model itself.';
comment on column access.casbin_changes.old_values is 'Values before the change; null for a new row.';
comment on column access.casbin_changes.new_values is 'Values after the change; null for a deleted row.';

create policy select_manager on access.casbin_changes
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_access_rules'::text)));
comment on policy select_manager on access.casbin_changes is 'Users with manage_access_rules read the changes of rules and models.';

grant select on access.casbin_changes to :PLINTH_USER;

-- One row per access model in Casbin's format: how requests are matched with rules.
create table access.casbin_models (
  name text not null default 'default'::text,
  definition text not null,
  description text not null default ''::text,
  compiled jsonb not null,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  created_by character varying(100) default coalesce(plinth.current_user_id()::text, session_user::text),
  updated_by character varying(100) default coalesce(plinth.current_user_id()::text, session_user::text),
  constraint casbin_models_pkey primary key (name),
  constraint casbin_models_compiled_check check (jsonb_typeof(compiled) = 'object'::text),
  constraint casbin_models_definition_check check (length(definition) <= 20000),
  constraint casbin_models_name_check check (name ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$'::text)
);

alter table access.casbin_models enable row level security;

create trigger _100_lock
  before insert or delete or update on access.casbin_models
  for each statement
  execute function private.lock_casbin();
create trigger _200_compile
  before insert or update of definition, compiled on access.casbin_models
  for each row
  execute function private.compile_casbin_model();
create trigger _300_touch
  before update on access.casbin_models
  for each row
  execute function private.touch_casbin();
create trigger _400_recheck_rules
  after update of definition on access.casbin_models
  for each row
  when ((old.compiled - '{e,m}'::text[]) <> (new.compiled - '{e,m}'::text[]) or old.compiled <> new.compiled and (new.compiled -> 'checks'::text) <> '{}'::jsonb)
  execute function private.recheck_casbin_rules();
create trigger _500_record_delete
  after delete on access.casbin_models referencing old table as old_rows
  for each statement
  execute function private.record_casbin_changes('name');
create trigger _500_record_insert
  after insert on access.casbin_models referencing new table as new_rows
  for each statement
  execute function private.record_casbin_changes('name');
create trigger _500_record_update
  after update on access.casbin_models referencing old table as old_rows new table as new_rows
  for each statement
  execute function private.record_casbin_changes('name');
create trigger _700_record_data_change
  after insert or delete or update on access.casbin_models
  for each row
  execute function private.record_data_change('name', '', 'updated_at,compiled', '');

comment on table access.casbin_models is 'One row per access model in Casbin''s format: how requests are matched with rules.';
comment on column access.casbin_models.name is 'Unique name; functions use the model default if none is named.';
comment on column access.casbin_models.definition is 'Text of the model, as in Casbin''s .conf files.';
comment on column access.casbin_models.description is 'Purpose of the model.';
comment on column access.casbin_models.compiled is E'@behavior -*\nParsed form of the definition; a trigger writes it.';
comment on column access.casbin_models.created_at is 'Time when the model was created.';
comment on column access.casbin_models.updated_at is 'Time of the last change.';
comment on column access.casbin_models.created_by is 'Id of the account, or the database role, that created the model.';
comment on column access.casbin_models.updated_by is 'Id of the account, or the database role, of the last change.';

create policy all_manager on access.casbin_models
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_access_rules'::text)))
  with check ((select access.has_permission('manage_access_rules'::text)));
comment on policy all_manager on access.casbin_models is 'Users with manage_access_rules read and change the models.';

grant
  select,
  insert (name, definition, description),
  update (definition, description),
  delete
  on access.casbin_models to :PLINTH_USER;

-- One row per access rule in Casbin's format.
create table access.casbin_rules (
  id bigint generated by default as identity,
  model_name text not null default 'default'::text,
  ptype character varying(10) not null,
  v0 character varying(256),
  v1 character varying(256),
  v2 character varying(256),
  v3 character varying(256),
  v4 character varying(256),
  v5 character varying(256),
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  created_by character varying(100) default coalesce(plinth.current_user_id()::text, session_user::text),
  updated_by character varying(100) default coalesce(plinth.current_user_id()::text, session_user::text),
  is_active boolean not null default true,
  compiled jsonb,
  constraint casbin_rules_pkey primary key (id),
  constraint casbin_rules_model_name_fkey foreign key (model_name) references access.casbin_models(name) on update cascade
);

alter table access.casbin_rules enable row level security;

create index casbin_rules_is_active_idx on access.casbin_rules using btree (is_active);
create index casbin_rules_model_name_idx on access.casbin_rules using btree (model_name, ptype, id);
create index casbin_rules_ptype_idx on access.casbin_rules using btree (ptype);
create index casbin_rules_v0_idx on access.casbin_rules using btree (v0, ptype, model_name, v1);
create index casbin_rules_v1_idx on access.casbin_rules using btree (v1, ptype, model_name, v2);

create trigger _100_lock
  before insert or delete or update on access.casbin_rules
  for each statement
  execute function private.lock_casbin();
create trigger _200_check
  before insert or update on access.casbin_rules
  for each row
  execute function private.check_casbin_rule();
create trigger _300_touch
  before update on access.casbin_rules
  for each row
  execute function private.touch_casbin();
create trigger _500_record_delete
  after delete on access.casbin_rules referencing old table as old_rows
  for each statement
  execute function private.record_casbin_changes('id');
create trigger _500_record_insert
  after insert on access.casbin_rules referencing new table as new_rows
  for each statement
  execute function private.record_casbin_changes('id');
create trigger _500_record_update
  after update on access.casbin_rules referencing old table as old_rows new table as new_rows
  for each statement
  execute function private.record_casbin_changes('id');

comment on table access.casbin_rules is 'One row per access rule in Casbin''s format.';
comment on column access.casbin_rules.id is 'Number of the rule; rules of equal priority apply in this order.';
comment on column access.casbin_rules.model_name is 'The model that the rule belongs to.';
comment on column access.casbin_rules.ptype is 'Type of the rule: p, p2 … for policies, g, g2 … for roles.';
comment on column access.casbin_rules.v0 is 'First value of the rule, as the model defines it.';
comment on column access.casbin_rules.v1 is 'Second value of the rule.';
comment on column access.casbin_rules.v2 is 'Third value of the rule.';
comment on column access.casbin_rules.v3 is 'Fourth value of the rule.';
comment on column access.casbin_rules.v4 is 'Fifth value of the rule.';
comment on column access.casbin_rules.v5 is 'Sixth value of the rule.';
comment on column access.casbin_rules.created_at is 'Time when the rule was created.';
comment on column access.casbin_rules.updated_at is 'Time of the last change.';
comment on column access.casbin_rules.created_by is 'Id of the account, or the database role, that created the rule.';
comment on column access.casbin_rules.updated_by is 'Id of the account, or the database role, of the last change.';
comment on column access.casbin_rules.is_active is 'Whether the rule applies.';
comment on column access.casbin_rules.compiled is E'@behavior -*\nPatterns and conditions of the rule in parsed form; a trigger writes it.';

create policy all_manager on access.casbin_rules
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_access_rules'::text)))
  with check ((select access.has_permission('manage_access_rules'::text)));
comment on policy all_manager on access.casbin_rules is 'Users with manage_access_rules read and change the rules.';

grant
  select,
  insert (model_name, ptype, v0, v1, v2, v3, v4, v5, is_active),
  update (ptype, v0, v1, v2, v3, v4, v5, is_active),
  delete
  on access.casbin_rules to :PLINTH_USER;

-- One row per change of the access rules or models.
create table access.casbin_versions (
  version bigint generated always as identity,
  created_at timestamp with time zone not null default now(),
  created_by character varying(100) not null default coalesce(plinth.current_user_id()::text, session_user::text),
  reason text not null default ''::text,
  constraint casbin_versions_pkey primary key (version)
);

alter table access.casbin_versions enable row level security;

comment on table access.casbin_versions is 'One row per change of the access rules or models.';
comment on column access.casbin_versions.version is 'Number of the version, in the order of the changes.';
comment on column access.casbin_versions.created_at is 'Time of the change.';
comment on column access.casbin_versions.created_by is 'Id of the account, or the database role, that made the change.';
comment on column access.casbin_versions.reason is 'Reason of the change, such as the version that it restores.';

create policy select_manager on access.casbin_versions
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_access_rules'::text)));
comment on policy select_manager on access.casbin_versions is 'Users with manage_access_rules read the versions of rules and models.';

grant select on access.casbin_versions to :PLINTH_USER;

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

-- Returns the objects that rules allow the signed-in user to act on by name; none without a user. access.casbin_pattern returns further ones. PL404 for an unknown model, PL422 if rules depend on more of an object than its name.
create or replace function access.casbin_objects(act text, context jsonb default '{}'::jsonb, model text default 'default'::text)
  returns setof text
  language plpgsql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/casbin_objects.sql

comment on function access.casbin_objects(act text, context jsonb, model text) is E'@behavior -*\nReturns the objects that rules allow the signed-in user to act on by name; none without a user. access.casbin_pattern returns further ones. PL404 for an unknown model, PL422 if rules depend on more of an object than its name.';
revoke execute on function access.casbin_objects(act text, context jsonb, model text) from public;
grant execute on function access.casbin_objects(act text, context jsonb, model text) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns a regular expression for the objects that rules allow the signed-in user to act on by a pattern; null without any. PL404 for an unknown model, PL422 if rules depend on more of an object than its name.
create or replace function access.casbin_pattern(act text, context jsonb default '{}'::jsonb, model text default 'default'::text)
  returns text
  language plpgsql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/casbin_pattern.sql

comment on function access.casbin_pattern(act text, context jsonb, model text) is E'@behavior -*\nReturns a regular expression for the objects that rules allow the signed-in user to act on by a pattern; null without any. PL404 for an unknown model, PL422 if rules depend on more of an object than its name.';
revoke execute on function access.casbin_pattern(act text, context jsonb, model text) from public;
grant execute on function access.casbin_pattern(act text, context jsonb, model text) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns what the signed-in user may do by the access rules, for access.casbin_permits; nothing without a user. PL404 for an unknown model, PL422 for a model without sub and obj or a context that lacks a value.
create or replace function access.casbin_permit(act text, context jsonb default '{}'::jsonb, model text default 'default'::text)
  returns jsonb
  language plpgsql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/casbin_permit.sql

comment on function access.casbin_permit(act text, context jsonb, model text) is E'@behavior -*\nReturns what the signed-in user may do by the access rules, for access.casbin_permits; nothing without a user. PL404 for an unknown model, PL422 for a model without sub and obj or a context that lacks a value.';
revoke execute on function access.casbin_permit(act text, context jsonb, model text) from public;
grant execute on function access.casbin_permit(act text, context jsonb, model text) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns whether an object is among those that access.casbin_permit returned. Errors as of access.enforce.
create or replace function access.casbin_permits(permit jsonb, obj text)
  returns boolean
  language plpgsql
  stable parallel safe; -- fixtures/access/functions/casbin_permits.sql

comment on function access.casbin_permits(permit jsonb, obj text) is E'@behavior -*\nReturns whether an object is among those that access.casbin_permit returned. Errors as of access.enforce.';
revoke execute on function access.casbin_permits(permit jsonb, obj text) from public;
grant execute on function access.casbin_permits(permit jsonb, obj text) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns whether the access rules allow the subject to act on the object. The subject of a user is the user's id; asking about others needs manage_access_rules. PL403 without it, PL404 for an unknown model, PL422 for a context without a value that the model reads.
create or replace function access.enforce(sub text, obj text, act text, context jsonb default '{}'::jsonb, model text default 'default'::text)
  returns boolean
  language plpgsql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/enforce.sql

comment on function access.enforce(sub text, obj text, act text, context jsonb, model text) is 'Returns whether the access rules allow the subject to act on the object. The subject of a user is the user''s id; asking about others needs manage_access_rules. PL403 without it, PL404 for an unknown model, PL422 for a context without a value that the model reads.';
revoke execute on function access.enforce(sub text, obj text, act text, context jsonb, model text) from public;
grant execute on function access.enforce(sub text, obj text, act text, context jsonb, model text) to :PLINTH_SERVICE, :PLINTH_USER, :PLINTH_WORKER;

-- Returns whether the access rules allow a subject to act on an object, either with attributes. Errors as of access.enforce; a subject with attributes is another subject than the caller.
create or replace function access.enforce_abac(sub jsonb, obj jsonb, act text, context jsonb default '{}'::jsonb, model text default 'default'::text)
  returns boolean
  language plpgsql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/enforce_abac.sql

comment on function access.enforce_abac(sub jsonb, obj jsonb, act text, context jsonb, model text) is E'@behavior -*\nReturns whether the access rules allow a subject to act on an object, either with attributes. Errors as of access.enforce; a subject with attributes is another subject than the caller.';
revoke execute on function access.enforce_abac(sub jsonb, obj jsonb, act text, context jsonb, model text) from public;
grant execute on function access.enforce_abac(sub jsonb, obj jsonb, act text, context jsonb, model text) to :PLINTH_SERVICE, :PLINTH_USER, :PLINTH_WORKER;

-- Returns those of the objects on which the access rules allow the subject to act. The subject and the errors are those of access.enforce.
create or replace function access.enforce_many(sub text, objs text[], act text, context jsonb default '{}'::jsonb, model text default 'default'::text)
  returns setof text
  language plpgsql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/enforce_many.sql

comment on function access.enforce_many(sub text, objs text[], act text, context jsonb, model text) is 'Returns those of the objects on which the access rules allow the subject to act. The subject and the errors are those of access.enforce.';
revoke execute on function access.enforce_many(sub text, objs text[], act text, context jsonb, model text) from public;
grant execute on function access.enforce_many(sub text, objs text[], act text, context jsonb, model text) to :PLINTH_SERVICE, :PLINTH_USER, :PLINTH_WORKER;

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

-- Returns whether the signed-in user holds every permission that the other account holds.
create or replace function access.may_administer(user_id uuid)
  returns boolean
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/may_administer.sql

comment on function access.may_administer(user_id uuid) is E'@behavior -*\nReturns whether the signed-in user holds every permission that the other account holds.';
revoke execute on function access.may_administer(user_id uuid) from public;
grant execute on function access.may_administer(user_id uuid) to :PLINTH_USER;

-- Replaces a model and all its rules in one version, or returns null if nothing changes. Rules are lists such as ["p", "alice", "data1", "read"]. Needs manage_access_rules: PL403 without it, PL422 for a model or rule outside the grammar.
create or replace function access.replace_casbin_policy(model text, definition text, rules jsonb, reason text default ''::text)
  returns access.casbin_versions
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/replace_casbin_policy.sql

comment on function access.replace_casbin_policy(model text, definition text, rules jsonb, reason text) is 'Replaces a model and all its rules in one version, or returns null if nothing changes. Rules are lists such as ["p", "alice", "data1", "read"]. Needs manage_access_rules: PL403 without it, PL422 for a model or rule outside the grammar.';
revoke execute on function access.replace_casbin_policy(model text, definition text, rules jsonb, reason text) from public;
grant execute on function access.replace_casbin_policy(model text, definition text, rules jsonb, reason text) to :PLINTH_USER;

-- Restores all access rules and models as of a version, as a new version. Needs manage_access_rules: PL403 without it, PL404 for an unknown version.
create or replace function access.restore_casbin_version(version bigint)
  returns access.casbin_versions
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/restore_casbin_version.sql

comment on function access.restore_casbin_version(version bigint) is 'Restores all access rules and models as of a version, as a new version. Needs manage_access_rules: PL403 without it, PL404 for an unknown version.';
revoke execute on function access.restore_casbin_version(version bigint) from public;
grant execute on function access.restore_casbin_version(version bigint) to :PLINTH_USER;

-- Revokes a user's role. Needs manage_roles. PL404 when the user does not have it or the caller may not revoke it.
create or replace function access.revoke_role(user_id uuid, role_name text)
  returns access.user_roles
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/access/functions/revoke_role.sql

comment on function access.revoke_role(user_id uuid, role_name text) is 'Revokes a user''s role. Needs manage_roles. PL404 when the user does not have it or the caller may not revoke it.';
revoke execute on function access.revoke_role(user_id uuid, role_name text) from public;
grant execute on function access.revoke_role(user_id uuid, role_name text) to :PLINTH_USER;

-- Returns the ids of the models that the caller may use: public ones and those granted to them.
create or replace function access.usable_model_ids()
  returns setof uuid
  language sql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/usable_model_ids.sql

comment on function access.usable_model_ids() is E'@behavior -*\nReturns the ids of the models that the caller may use: public ones and those granted to them.';
revoke execute on function access.usable_model_ids() from public;
grant execute on function access.usable_model_ids() to :PLINTH_ANONYMOUS, :PLINTH_USER;
