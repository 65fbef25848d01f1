-- Schema access as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema access;
comment on schema access is 'Roles, permissions and grants.';
grant usage on schema access to :PLINTH_ANONYMOUS, :PLINTH_SERVICE, :PLINTH_USER, :PLINTH_WORKER;

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

-- Verdict of an access explanation.
create domain access.access_verdict as text
  constraint access_verdict_check check (value = any (array['allowed'::text, 'denied'::text, 'no_row'::text, 'depends_on_row'::text, 'unknown'::text]));

comment on domain access.access_verdict is 'Verdict of an access explanation.';
comment on constraint access_verdict_check on domain access.access_verdict is E'allowed: The statement succeeds.\ndenied: A grant is missing, or a policy hides or rejects the row.\nno_row: No row has this key.\ndepends_on_row: The policies depend on a row that was not named.\nunknown: A policy or a default writes, which an explanation may not.';

-- Role of the API in the database.
create domain access.api_role as text
  constraint api_role_check check (value = any (array['user'::text, 'anonymous'::text]));

comment on domain access.api_role is 'Role of the API in the database.';
comment on constraint api_role_check on domain access.api_role is E'user: Signed-in users.\nanonymous: Visitors.';

-- Operator that connects the parts of a policy's condition.
create domain access.condition_operator as text
  constraint condition_operator_check check (value = any (array['and'::text, 'or'::text, 'not'::text]));

comment on domain access.condition_operator is 'Operator that connects the parts of a policy''s condition.';
comment on constraint condition_operator_check on domain access.condition_operator is E'and: Every part must hold.\nor: One part must hold.\nnot: The part must not hold.';

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

-- Operation that an access explanation is about.
create domain access.explained_operation as text
  constraint explained_operation_check check (value = any (array['select'::text, 'insert'::text, 'update'::text, 'delete'::text, 'execute'::text]));

comment on domain access.explained_operation is 'Operation that an access explanation is about.';
comment on constraint explained_operation_check on domain access.explained_operation is E'select: Reads a row.\ninsert: Creates a row.\nupdate: Changes a row.\ndelete: Deletes a row.\nexecute: Calls a function.';

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

-- Source of the access to a model.
create domain access.model_access_source as text
  constraint model_access_source_check check (value = any (array['public'::text, 'user'::text, 'role'::text, 'plan'::text]));

comment on domain access.model_access_source is 'Source of the access to a model.';
comment on constraint model_access_source_check on domain access.model_access_source is E'public: Every user may use the model.\nuser: Granted to the user.\nrole: Granted to a role of the user.\nplan: Granted to the user''s plan.';

-- Command that a row policy applies to.
create domain access.policy_command as text
  constraint policy_command_check check (value = any (array['select'::text, 'insert'::text, 'update'::text, 'delete'::text, 'all'::text]));

comment on domain access.policy_command is 'Command that a row policy applies to.';
comment on constraint policy_command_check on domain access.policy_command is E'select: Reading rows.\ninsert: Creating rows.\nupdate: Changing rows.\ndelete: Deleting rows.\nall: Every command.';

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

create policy select_auditor on access.casbin_changes
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log'::text)));
comment on policy select_auditor on access.casbin_changes is 'Users with view_audit_log read the changes of rules and models.';
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
  constraint casbin_versions_pkey primary key (version),
  constraint casbin_versions_reason_check check (length(reason) <= 500)
);

alter table access.casbin_versions enable row level security;

comment on table access.casbin_versions is 'One row per change of the access rules or models.';
comment on column access.casbin_versions.version is 'Number of the version, in the order of the changes.';
comment on column access.casbin_versions.created_at is 'Time of the change.';
comment on column access.casbin_versions.created_by is 'Id of the account, or the database role, that made the change.';
comment on column access.casbin_versions.reason is 'Reason of the change, such as the version that it restores.';

create policy select_auditor on access.casbin_versions
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log'::text)));
comment on policy select_auditor on access.casbin_versions is 'Users with view_audit_log read the versions of rules and models.';
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

create trigger _100_keep_role_management
  before delete on access.permissions
  for each row
  when (old.permission_name = 'manage_roles'::text)
  execute function access.keep_role_management();
create trigger _101_keep_role_management
  before update of permission_name on access.permissions
  for each row
  when (old.permission_name = 'manage_roles'::text and new.permission_name <> old.permission_name)
  execute function access.keep_role_management();
create trigger _400_give_to_admin
  after insert on access.permissions
  for each row
  execute function access.give_permission_to_admin();
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
  using ((select access.has_permission('manage_roles'::text)) and access.may_assign_permission(id, now()));
comment on policy delete_manager on access.permissions is 'Users with manage_roles delete permissions that they hold.';
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
comment on policy update_manager on access.permissions is 'Users with manage_roles describe permissions.';

grant
  select,
  insert (permission_name, description),
  update (description),
  delete
  on access.permissions to :PLINTH_USER;

-- One row per plan and model that its subscribers may use; the plan free includes all accounts without a subscription.
create table access.plan_model_access (
  plan_code text not null,
  model_id uuid not null,
  granted_by uuid default plinth.current_user_id(),
  granted_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone,
  reason text,
  constraint plan_model_access_pkey primary key (plan_code, model_id),
  constraint plan_model_access_expires_after_granted check (expires_at > granted_at),
  constraint plan_model_access_reason_check check (length(reason) >= 1 and length(reason) <= 500),
  constraint plan_model_access_granted_by_fkey foreign key (granted_by) references identity.users(id) on delete set null,
  constraint plan_model_access_model_id_fkey foreign key (model_id) references llm.models(id) on delete cascade
);

alter table access.plan_model_access enable row level security;

create index plan_model_access_granted_by_idx on access.plan_model_access using btree (granted_by);
create index plan_model_access_model_id_idx on access.plan_model_access using btree (model_id);

create trigger _100_sign_grant
  before update on access.plan_model_access
  for each row
  when (old.granted_at = new.granted_at and (old.expires_at is distinct from new.expires_at or old.reason is distinct from new.reason))
  execute function access.sign_grant();
create trigger _200_check_expiry
  before insert or update of expires_at on access.plan_model_access
  for each row
  execute function access.check_expiry();
create trigger _400_check_plan_code
  after insert or update of plan_code on access.plan_model_access
  for each row
  execute function access.check_plan_code();
create trigger _400_limit_model_grant
  after insert or update on access.plan_model_access
  for each row
  execute function access.limit_model_grant();
create trigger _700_record_data_change
  after insert or delete or update on access.plan_model_access
  for each row
  execute function private.record_data_change('plan_code,model_id', '', '', '');

comment on table access.plan_model_access is 'One row per plan and model that its subscribers may use; the plan free includes all accounts without a subscription.';
comment on column access.plan_model_access.plan_code is 'Code of the plan, such as premium, in all its versions.';
comment on column access.plan_model_access.model_id is 'The model.';
comment on column access.plan_model_access.granted_by is 'The account that made or last renewed the grant; null if the system did or the account was deleted.';
comment on column access.plan_model_access.granted_at is 'Time of the grant or its last renewal.';
comment on column access.plan_model_access.expires_at is 'Time when the grant expires; null if it does not expire.';
comment on column access.plan_model_access.reason is 'Reason of the grant, for auditors; null if none was given.';

create policy all_manager on access.plan_model_access
  for all to :PLINTH_USER
  using ((select access.has_permission('grant_model_access'::text)))
  with check ((select access.has_permission('grant_model_access'::text)));
comment on policy all_manager on access.plan_model_access is 'Users with grant_model_access read, make and revoke all grants to plans.';

grant
  select,
  insert (plan_code, model_id, expires_at, reason),
  update (expires_at, reason),
  delete
  on access.plan_model_access to :PLINTH_USER;

-- One row per role and model that all holders of the role may use.
create table access.role_model_access (
  role_id uuid not null,
  model_id uuid not null,
  granted_by uuid default plinth.current_user_id(),
  granted_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone,
  reason text,
  constraint role_model_access_pkey primary key (role_id, model_id),
  constraint role_model_access_expires_after_granted check (expires_at > granted_at),
  constraint role_model_access_reason_check check (length(reason) >= 1 and length(reason) <= 500),
  constraint role_model_access_granted_by_fkey foreign key (granted_by) references identity.users(id) on delete set null,
  constraint role_model_access_model_id_fkey foreign key (model_id) references llm.models(id) on delete cascade,
  constraint role_model_access_role_id_fkey foreign key (role_id) references access.roles(id) on delete cascade
);

alter table access.role_model_access enable row level security;

create index role_model_access_granted_by_idx on access.role_model_access using btree (granted_by);
create index role_model_access_model_id_idx on access.role_model_access using btree (model_id);

create trigger _100_sign_grant
  before update on access.role_model_access
  for each row
  when (old.granted_at = new.granted_at and (old.expires_at is distinct from new.expires_at or old.reason is distinct from new.reason))
  execute function access.sign_grant();
create trigger _200_check_expiry
  before insert or update of expires_at on access.role_model_access
  for each row
  execute function access.check_expiry();
create trigger _400_limit_model_grant
  after insert or update on access.role_model_access
  for each row
  execute function access.limit_model_grant();
create trigger _700_record_data_change
  after insert or delete or update on access.role_model_access
  for each row
  execute function private.record_data_change('role_id,model_id', '', '', '');

comment on table access.role_model_access is 'One row per role and model that all holders of the role may use.';
comment on column access.role_model_access.role_id is 'The role whose holders may use the model.';
comment on column access.role_model_access.model_id is 'The model.';
comment on column access.role_model_access.granted_by is 'The account that made or last renewed the grant; null if the system did or the account was deleted.';
comment on column access.role_model_access.granted_at is 'Time of the grant or its last renewal.';
comment on column access.role_model_access.expires_at is 'Time when the grant expires; null if it does not expire.';
comment on column access.role_model_access.reason is 'Reason of the grant, for auditors; null if none was given.';

create policy all_manager on access.role_model_access
  for all to :PLINTH_USER
  using ((select access.has_permission('grant_model_access'::text)))
  with check ((select access.has_permission('grant_model_access'::text)));
comment on policy all_manager on access.role_model_access is 'Users with grant_model_access read, make and revoke all grants to roles.';
create policy select_own on access.role_model_access
  for select to :PLINTH_USER
  using (role_id = any ((array( select ur.role_id
   from access.user_roles ur
  where ur.user_id = (select plinth.current_user_id())))));
comment on policy select_own on access.role_model_access is 'Users read the grants made to their roles.';

grant
  select,
  insert (role_id, model_id, expires_at, reason),
  update (expires_at, reason),
  delete
  on access.role_model_access to :PLINTH_USER;

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

create trigger _100_keep_role_management
  before delete or update on access.role_permissions
  for each row
  execute function access.keep_role_management();
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
  using ((select access.has_permission('manage_roles'::text)) and access.may_assign_permission(permission_id, now()));
comment on policy delete_manager on access.role_permissions is 'Users with manage_roles remove from roles the permissions that they hold.';
create policy insert_manager on access.role_permissions
  for insert to :PLINTH_USER
  with check ((select access.has_permission('manage_roles'::text)) and access.may_assign_permission(permission_id, 'infinity'::timestamp with time zone));
comment on policy insert_manager on access.role_permissions is 'Users with manage_roles add to roles the permissions that they hold without an expiry.';
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
create trigger _100_keep_role
  before delete on access.roles
  for each row
  when (old.role_name = any (array['admin'::text, 'user'::text]))
  execute function access.keep_role_name();
create trigger _500_audit
  before delete on access.roles
  for each row
  execute function access.audit_deleted_role();
create trigger _500_audit_required_second_factor
  after update of requires_mfa on access.roles
  for each row
  when (new.requires_mfa and not old.requires_mfa)
  execute function access.audit_required_second_factor();
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
  using ((select access.has_permission('manage_roles'::text)) and (role_name <> all (array['admin'::text, 'user'::text])) and access.may_assign_role(id, now()));
comment on policy delete_manager on access.roles is 'Users with manage_roles delete roles that give no more than they hold, except admin and user, which the product depends on.';
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
  using ((select access.has_permission('manage_roles'::text)) and access.may_assign_role(id, now()));
comment on policy update_manager on access.roles is 'Users with manage_roles change roles that give no more than they hold.';

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
  expires_at timestamp with time zone,
  reason text,
  constraint user_model_access_pkey primary key (id),
  constraint user_model_access_user_id_model_id_key unique (user_id, model_id),
  constraint user_model_access_expires_after_granted check (expires_at > granted_at),
  constraint user_model_access_reason_check check (length(reason) >= 1 and length(reason) <= 500),
  constraint user_model_access_granted_by_fkey foreign key (granted_by) references identity.users(id) on delete set null,
  constraint user_model_access_model_id_fkey foreign key (model_id) references llm.models(id) on delete cascade,
  constraint user_model_access_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table access.user_model_access enable row level security;

create index user_model_access_granted_by_idx on access.user_model_access using btree (granted_by);
create index user_model_access_model_id_idx on access.user_model_access using btree (model_id);

create trigger _100_sign_grant
  before update on access.user_model_access
  for each row
  when (old.granted_at = new.granted_at and (old.expires_at is distinct from new.expires_at or old.reason is distinct from new.reason or old.is_active is distinct from new.is_active))
  execute function access.sign_grant();
create trigger _200_check_expiry
  before insert or update of expires_at on access.user_model_access
  for each row
  execute function access.check_expiry();
create trigger _400_limit_model_grant
  after insert or update on access.user_model_access
  for each row
  execute function access.limit_model_grant();
create trigger _700_record_data_change
  after insert or delete or update on access.user_model_access
  for each row
  execute function private.record_data_change('id', 'user_id', '', '');

comment on table access.user_model_access is 'One row per user and model granted to them; public models need no grant.';
comment on column access.user_model_access.id is 'Id (UUIDv7).';
comment on column access.user_model_access.user_id is 'The user who may use the model.';
comment on column access.user_model_access.model_id is 'The model.';
comment on column access.user_model_access.granted_by is 'The account that made or last changed the grant; null if the system did or the account was deleted.';
comment on column access.user_model_access.granted_at is 'Time of the grant or its last change.';
comment on column access.user_model_access.is_active is 'Whether the grant applies; false suspends it and keeps its history.';
comment on column access.user_model_access.expires_at is 'Time when the grant expires; null if it does not expire.';
comment on column access.user_model_access.reason is 'Reason of the grant, for auditors; null if none was given.';

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
  insert (user_id, model_id, is_active, expires_at, reason),
  update (is_active, expires_at, reason),
  delete
  on access.user_model_access to :PLINTH_USER;

-- One row per user and role.
create table access.user_roles (
  user_id uuid not null,
  role_id uuid not null,
  granted_by uuid default plinth.current_user_id(),
  granted_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone,
  reason text,
  constraint user_roles_pkey primary key (user_id, role_id),
  constraint user_roles_expires_after_granted check (expires_at > granted_at),
  constraint user_roles_reason_check check (length(reason) >= 1 and length(reason) <= 500),
  constraint user_roles_granted_by_fkey foreign key (granted_by) references identity.users(id) on delete set null,
  constraint user_roles_role_id_fkey foreign key (role_id) references access.roles(id) on delete cascade,
  constraint user_roles_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table access.user_roles enable row level security;

create index user_roles_granted_by_idx on access.user_roles using btree (granted_by);
create index user_roles_role_id_idx on access.user_roles using btree (role_id);

create trigger _100_sign_grant
  before update on access.user_roles
  for each row
  when (old.granted_at = new.granted_at and (old.expires_at is distinct from new.expires_at or old.reason is distinct from new.reason))
  execute function access.sign_grant();
create trigger _200_check_expiry
  before insert or update of expires_at on access.user_roles
  for each row
  execute function access.check_expiry();
create trigger _300_keep_last_administrator
  after insert or delete or update on access.user_roles
  for each row
  execute function private.keep_last_administrator();
create trigger _301_keep_last_administrator
  after truncate on access.user_roles
  for each statement
  execute function private.keep_last_administrator();
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
comment on column access.user_roles.granted_by is 'The account that made or last renewed the grant; null if the system did or the account was deleted.';
comment on column access.user_roles.granted_at is 'Time of the grant or its last renewal.';
comment on column access.user_roles.expires_at is 'Time when the role expires; null if it does not expire.';
comment on column access.user_roles.reason is 'Reason of the grant, for auditors; null if none was given.';

create policy delete_manager on access.user_roles
  for delete to :PLINTH_USER
  using ((select access.has_permission('manage_roles'::text)) and access.may_assign_role(role_id, now()));
comment on policy delete_manager on access.user_roles is 'Users with manage_roles revoke roles that give no more than they hold.';
create policy insert_manager on access.user_roles
  for insert to :PLINTH_USER
  with check ((select access.has_permission('manage_roles'::text)) and access.may_assign_role(role_id, coalesce(expires_at, 'infinity'::timestamp with time zone)));
comment on policy insert_manager on access.user_roles is 'Users with manage_roles grant roles that give no more than they hold, and for no longer.';
create policy select_manager on access.user_roles
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_roles'::text)));
comment on policy select_manager on access.user_roles is 'Users with manage_roles read all roles of users.';
create policy select_own on access.user_roles
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on access.user_roles is 'Users read their own roles.';
create policy select_user_manager on access.user_roles
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_users'::text)));
comment on policy select_user_manager on access.user_roles is 'Users who manage accounts read the accounts'' roles.';
create policy update_manager on access.user_roles
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_roles'::text)) and access.may_assign_role(role_id, now()))
  with check ((select access.has_permission('manage_roles'::text)) and access.may_assign_role(role_id, coalesce(expires_at, 'infinity'::timestamp with time zone)));
comment on policy update_manager on access.user_roles is 'Users with manage_roles renew roles that give no more than they hold, and for no longer.';

grant
  select,
  insert (user_id, role_id, expires_at, reason),
  update (expires_at, reason),
  delete
  on access.user_roles to :PLINTH_USER;

-- Views -----------------------------------------------------------------------------------------------

-- Grain: one row per permission of an active user and role that gives it now.
create view access.effective_permissions with (security_invoker=true) as
 select ur.user_id,
    p.id as permission_id,
    p.permission_name,
    r.id as role_id,
    r.role_name,
    ur.expires_at,
    r.requires_mfa as requires_second_factor
   from access.user_roles ur
     join access.roles r on r.id = ur.role_id
     join access.role_permissions rp on rp.role_id = ur.role_id
     join access.permissions p on p.id = rp.permission_id
  where (ur.expires_at is null or ur.expires_at > now()) and (exists ( select
           from identity.profiles a
          where a.id = ur.user_id));

comment on view access.effective_permissions is E'@primaryKey user_id,permission_id,role_id\n@foreignKey (user_id) references identity.users (id)\n@foreignKey (permission_id) references access.permissions (id)\n@foreignKey (role_id) references access.roles (id)\nGrain: one row per permission of an active user and role that gives it now.';
comment on column access.effective_permissions.user_id is 'The user who has the permission.';
comment on column access.effective_permissions.permission_id is 'The permission.';
comment on column access.effective_permissions.permission_name is 'Name of the permission, such as edit_content.';
comment on column access.effective_permissions.role_id is 'The role that gives the permission.';
comment on column access.effective_permissions.role_name is 'Name of the role, such as moderator.';
comment on column access.effective_permissions.expires_at is 'Time when the role of the user expires; null if it does not expire.';
comment on column access.effective_permissions.requires_second_factor is 'Whether the permission applies only in sessions that passed a second factor.';

grant select on access.effective_permissions to :PLINTH_USER;

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

-- Trigger: writes role_requires_second_factor to the audit log, and warns if holders of the role have no second factor.
create or replace function access.audit_required_second_factor()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/triggers/roles.sql

comment on function access.audit_required_second_factor() is 'Trigger: writes role_requires_second_factor to the audit log, and warns if holders of the role have no second factor.';
revoke execute on function access.audit_required_second_factor() from public;

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

-- Trigger: PL422 for a grant that expires before it begins.
create or replace function access.check_expiry()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/access/triggers/check_expiry.sql

comment on function access.check_expiry() is 'Trigger: PL422 for a grant that expires before it begins.';
revoke execute on function access.check_expiry() from public;

-- Trigger: rejects the code of a plan that does not exist (PL404).
create or replace function access.check_plan_code()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/triggers/plan_model_access.sql

comment on function access.check_plan_code() is 'Trigger: rejects the code of a plan that does not exist (PL404).';
revoke execute on function access.check_plan_code() from public;

-- Returns whether the access rules allow the subject to act on the object. The subject of a user is the user's id; asking about others needs manage_access_rules. PL403 without it, PL404 for an unknown model, PL422 for a context without a value that the model reads.
create or replace function access.enforce(sub text, obj text, act text, context jsonb default '{}'::jsonb, model text default 'default'::text)
  returns boolean
  language plpgsql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/enforce.sql

comment on function access.enforce(sub text, obj text, act text, context jsonb, model text) is 'Returns whether the access rules allow the subject to act on the object. The subject of a user is the user''s id; asking about others needs manage_access_rules. PL403 without it, PL404 for an unknown model, PL422 for a context without a value that the model reads.';
revoke execute on function access.enforce(sub text, obj text, act text, context jsonb, model text) from public;
grant execute on function access.enforce(sub text, obj text, act text, context jsonb, model text) to :PLINTH_ANONYMOUS, :PLINTH_SERVICE, :PLINTH_USER, :PLINTH_WORKER;

-- Returns whether the access rules allow a subject to act on an object, either with attributes. Errors as of access.enforce; a subject with attributes is another subject than the caller.
create or replace function access.enforce_abac(sub jsonb, obj jsonb, act text, context jsonb default '{}'::jsonb, model text default 'default'::text)
  returns boolean
  language plpgsql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/enforce_abac.sql

comment on function access.enforce_abac(sub jsonb, obj jsonb, act text, context jsonb, model text) is E'@behavior -*\nReturns whether the access rules allow a subject to act on an object, either with attributes. Errors as of access.enforce; a subject with attributes is another subject than the caller.';
revoke execute on function access.enforce_abac(sub jsonb, obj jsonb, act text, context jsonb, model text) from public;
grant execute on function access.enforce_abac(sub jsonb, obj jsonb, act text, context jsonb, model text) to :PLINTH_SERVICE, :PLINTH_USER, :PLINTH_WORKER;

-- Returns those of the objects on which the access rules allow the subject to act. The subject and the errors are those of access.enforce; PL422 for more than 10,000 objects.
create or replace function access.enforce_many(sub text, objs text[], act text, context jsonb default '{}'::jsonb, model text default 'default'::text)
  returns setof text
  language plpgsql
  stable parallel safe security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/enforce_many.sql

comment on function access.enforce_many(sub text, objs text[], act text, context jsonb, model text) is 'Returns those of the objects on which the access rules allow the subject to act. The subject and the errors are those of access.enforce; PL422 for more than 10,000 objects.';
revoke execute on function access.enforce_many(sub text, objs text[], act text, context jsonb, model text) from public;
grant execute on function access.enforce_many(sub text, objs text[], act text, context jsonb, model text) to :PLINTH_SERVICE, :PLINTH_USER, :PLINTH_WORKER;

-- Explains whether a user or a visitor may select, insert, update or delete a row, or execute a function: the verdict, the grants and policies that decide, and what would have to change. Shows outcomes, never values of the row. Needs explain_access; the question is recorded in the audit log. PL403 without the permission, PL404 for an unknown account, table or function.
create or replace function access.explain_access(operation text, object text, user_id uuid default null::uuid, key jsonb default null::jsonb, new_values jsonb default null::jsonb, database_role text default null::text, session_id uuid default null::uuid, returns_row boolean default false)
  returns access.access_explanation
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/access/functions/explain_access.sql

comment on function access.explain_access(operation text, object text, user_id uuid, key jsonb, new_values jsonb, database_role text, session_id uuid, returns_row boolean) is 'Explains whether a user or a visitor may select, insert, update or delete a row, or execute a function: the verdict, the grants and policies that decide, and what would have to change. Shows outcomes, never values of the row. Needs explain_access; the question is recorded in the audit log. PL403 without the permission, PL404 for an unknown account, table or function.';
revoke execute on function access.explain_access(operation text, object text, user_id uuid, key jsonb, new_values jsonb, database_role text, session_id uuid, returns_row boolean) from public;
grant execute on function access.explain_access(operation text, object text, user_id uuid, key jsonb, new_values jsonb, database_role text, session_id uuid, returns_row boolean) to :PLINTH_USER;

-- Trigger: adds each new permission to the role admin.
create or replace function access.give_permission_to_admin()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/triggers/permissions.sql

comment on function access.give_permission_to_admin() is 'Trigger: adds each new permission to the role admin.';
revoke execute on function access.give_permission_to_admin() from public;

-- Grants a user a role, or renews the grant with another expiry and reason. Needs manage_roles and, until the expiry, every permission of the role. PL404 for an unknown role, PL409 if no administrator without an expiry would remain.
create or replace function access.grant_role(user_id uuid, role_name text, expires_at timestamp with time zone default null::timestamp with time zone, reason text default null::text)
  returns access.user_roles
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/access/functions/grant_role.sql

comment on function access.grant_role(user_id uuid, role_name text, expires_at timestamp with time zone, reason text) is 'Grants a user a role, or renews the grant with another expiry and reason. Needs manage_roles and, until the expiry, every permission of the role. PL404 for an unknown role, PL409 if no administrator without an expiry would remain.';
revoke execute on function access.grant_role(user_id uuid, role_name text, expires_at timestamp with time zone, reason text) from public;
grant execute on function access.grant_role(user_id uuid, role_name text, expires_at timestamp with time zone, reason text) to :PLINTH_USER;

-- Returns whether the signed-in user, whose account is active, holds the permission through a role that has not expired and, where the role requires it, in a session that passed a second factor.
create or replace function access.has_permission(permission text)
  returns boolean
  language plpgsql
  stable parallel safe security definer
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_generic_plan'; -- fixtures/access/functions/has_permission.sql

comment on function access.has_permission(permission text) is 'Returns whether the signed-in user, whose account is active, holds the permission through a role that has not expired and, where the role requires it, in a session that passed a second factor.';
revoke execute on function access.has_permission(permission text) from public;
grant execute on function access.has_permission(permission text) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Trigger: rejects removing manage_roles from the role admin, and deleting or renaming that permission (PL409).
create or replace function access.keep_role_management()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/triggers/keep_role_management.sql

comment on function access.keep_role_management() is 'Trigger: rejects removing manage_roles from the role admin, and deleting or renaming that permission (PL409).';
revoke execute on function access.keep_role_management() from public;

-- Trigger: rejects renaming and deleting the roles admin and user (PL409).
create or replace function access.keep_role_name()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/access/triggers/roles.sql

comment on function access.keep_role_name() is 'Trigger: rejects renaming and deleting the roles admin and user (PL409).';
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

-- Trigger: PL403 for a grant that ends after the caller's own permission to make it.
create or replace function access.limit_model_grant()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/access/triggers/limit_model_grant.sql

comment on function access.limit_model_grant() is 'Trigger: PL403 for a grant that ends after the caller''s own permission to make it.';
revoke execute on function access.limit_model_grant() from public;

-- Returns whether the signed-in user holds every permission that the other account holds.
create or replace function access.may_administer(user_id uuid)
  returns boolean
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/may_administer.sql

comment on function access.may_administer(user_id uuid) is E'@behavior -*\nReturns whether the signed-in user holds every permission that the other account holds.';
revoke execute on function access.may_administer(user_id uuid) from public;
grant execute on function access.may_administer(user_id uuid) to :PLINTH_USER;

-- Returns whether the signed-in user holds the permission until the given time.
create or replace function access.may_assign_permission(permission_id uuid, until timestamp with time zone)
  returns boolean
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/may_assign_permission.sql

comment on function access.may_assign_permission(permission_id uuid, until timestamp with time zone) is E'@behavior -*\nReturns whether the signed-in user holds the permission until the given time.';
revoke execute on function access.may_assign_permission(permission_id uuid, until timestamp with time zone) from public;
grant execute on function access.may_assign_permission(permission_id uuid, until timestamp with time zone) to :PLINTH_USER;

-- Returns whether the signed-in user holds all that the role gives until the given time.
create or replace function access.may_assign_role(role_id uuid, until timestamp with time zone)
  returns boolean
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/may_assign_role.sql

comment on function access.may_assign_role(role_id uuid, until timestamp with time zone) is E'@behavior -*\nReturns whether the signed-in user holds all that the role gives until the given time.';
revoke execute on function access.may_assign_role(role_id uuid, until timestamp with time zone) from public;
grant execute on function access.may_assign_role(role_id uuid, until timestamp with time zone) to :PLINTH_USER;

-- Returns whether the signed-in user holds grant_model_access until the given time.
create or replace function access.may_grant_models(until timestamp with time zone)
  returns boolean
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/may_grant_models.sql

comment on function access.may_grant_models(until timestamp with time zone) is E'@behavior -*\nReturns whether the signed-in user holds grant_model_access until the given time.';
revoke execute on function access.may_grant_models(until timestamp with time zone) from public;
grant execute on function access.may_grant_models(until timestamp with time zone) to :PLINTH_USER;

-- Returns the models that a user may use, the caller by default, once for each source: public, user, role or plan. Needs grant_model_access for another user (PL403).
create or replace function access.model_access_of(user_id uuid default plinth.current_user_id())
  returns table(model_id uuid, source text, role_id uuid, plan_code text, expires_at timestamp with time zone, account_id uuid)
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/model_access_of.sql

comment on function access.model_access_of(user_id uuid) is 'Returns the models that a user may use, the caller by default, once for each source: public, user, role or plan. Needs grant_model_access for another user (PL403).';
revoke execute on function access.model_access_of(user_id uuid) from public;
grant execute on function access.model_access_of(user_id uuid) to :PLINTH_USER;

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

-- Replaces a model and all its rules in one version, or returns null if nothing changes. Rules are lists such as ["p", "alice", "data1", "read"]. Needs manage_access_rules: PL403 without it, PL422 for a model or rule outside the grammar.
create or replace function access.replace_casbin_policy(model text, definition text, rules jsonb, reason text default ''::text)
  returns access.casbin_versions
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/replace_casbin_policy.sql

comment on function access.replace_casbin_policy(model text, definition text, rules jsonb, reason text) is 'Replaces a model and all its rules in one version, or returns null if nothing changes. Rules are lists such as ["p", "alice", "data1", "read"]. Needs manage_access_rules: PL403 without it, PL422 for a model or rule outside the grammar.';
revoke execute on function access.replace_casbin_policy(model text, definition text, rules jsonb, reason text) from public;
grant execute on function access.replace_casbin_policy(model text, definition text, rules jsonb, reason text) to :PLINTH_USER;

-- Returns what must hold so that a part of a condition gets the wanted outcome, as the end of a sentence.
create or replace function access.required_change(parts jsonb, place integer default 0, wanted boolean default true)
  returns text
  language plpgsql
  immutable
  set search_path to 'pg_catalog'; -- fixtures/access/functions/required_change.sql

comment on function access.required_change(parts jsonb, place integer, wanted boolean) is E'@behavior -*\nReturns what must hold so that a part of a condition gets the wanted outcome, as the end of a sentence.';
revoke execute on function access.required_change(parts jsonb, place integer, wanted boolean) from public;
grant execute on function access.required_change(parts jsonb, place integer, wanted boolean) to :PLINTH_USER;

-- Restores all access rules and models as of a version, as a new version. Needs manage_access_rules: PL403 without it, PL404 for an unknown version.
create or replace function access.restore_casbin_version(version bigint)
  returns access.casbin_versions
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/access/functions/restore_casbin_version.sql

comment on function access.restore_casbin_version(version bigint) is 'Restores all access rules and models as of a version, as a new version. Needs manage_access_rules: PL403 without it, PL404 for an unknown version.';
revoke execute on function access.restore_casbin_version(version bigint) from public;
grant execute on function access.restore_casbin_version(version bigint) to :PLINTH_USER;

-- Revokes a user's role. Needs manage_roles and every permission of the role. PL404 when the user does not have it or the caller may not revoke it, PL409 if no administrator without an expiry would remain.
create or replace function access.revoke_role(user_id uuid, role_name text)
  returns access.user_roles
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/access/functions/revoke_role.sql

comment on function access.revoke_role(user_id uuid, role_name text) is 'Revokes a user''s role. Needs manage_roles and every permission of the role. PL404 when the user does not have it or the caller may not revoke it, PL409 if no administrator without an expiry would remain.';
revoke execute on function access.revoke_role(user_id uuid, role_name text) from public;
grant execute on function access.revoke_role(user_id uuid, role_name text) to :PLINTH_USER;

-- Trigger: records the account that changed a grant, and the time.
create or replace function access.sign_grant()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/access/triggers/sign_grant.sql

comment on function access.sign_grant() is 'Trigger: records the account that changed a grant, and the time.';
revoke execute on function access.sign_grant() from public;

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

-- Returns the ids of the models that the caller may use: public ones and those granted to them, their roles or their plan.
create or replace function access.usable_model_ids()
  returns setof uuid
  language plpgsql
  stable parallel safe security definer
  set search_path to 'pg_catalog'
  set plan_cache_mode to 'force_generic_plan'; -- fixtures/access/functions/usable_model_ids.sql

comment on function access.usable_model_ids() is E'@behavior -*\nReturns the ids of the models that the caller may use: public ones and those granted to them, their roles or their plan.';
revoke execute on function access.usable_model_ids() from public;
grant execute on function access.usable_model_ids() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns whether the role has expired; grantRole renews it.
create or replace function access.user_roles_is_expired(ur access.user_roles)
  returns boolean
  language sql
  stable parallel safe; -- fixtures/access/functions/user_roles_is_expired.sql

comment on function access.user_roles_is_expired(ur access.user_roles) is 'Returns whether the role has expired; grantRole renews it.';
revoke execute on function access.user_roles_is_expired(ur access.user_roles) from public;
grant execute on function access.user_roles_is_expired(ur access.user_roles) to :PLINTH_USER;
