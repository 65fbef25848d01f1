--! Previous: sha1:5764399279199bdfc48fe03f7e2e2bb1fec6c8e9
--! Hash: sha1:424747e7a9762949bedb2f1fff9360df3d6fe6f6
--! Message: access

-- Who may do what: users have roles, roles have permissions, policies ask access.has_permission().

create table access.roles (
  id uuid primary key default plinth.uuid_v7(),
  role_name text not null,
  description text not null default '',
  -- Orders the roles for "the role" of an account, which some products show as one word.
  rank integer not null default 0,
  created_at timestamptz not null default now(),
  constraint roles_role_name_key unique (role_name),
  constraint roles_role_name_check check (role_name ~ '^[a-z][a-z0-9_]{0,49}$')
);

alter table access.roles enable row level security;

comment on table access.roles is 'One row per role.';
comment on column access.roles.id is 'UUIDv7.';
comment on column access.roles.role_name is 'Unique name, such as admin.';
comment on column access.roles.description is 'What the role is for.';
comment on column access.roles.rank is 'The highest rank among a user''s roles is shown as the user''s role.';
comment on column access.roles.created_at is 'When the role was made.';

create table access.permissions (
  id uuid primary key default plinth.uuid_v7(),
  permission_name text not null,
  description text not null default '',
  created_at timestamptz not null default now(),
  constraint permissions_permission_name_key unique (permission_name),
  constraint permissions_permission_name_check check (permission_name ~ '^[a-z][a-z0-9_]{0,99}$')
);

alter table access.permissions enable row level security;

comment on table access.permissions is 'One row per permission that a policy or function asks for.';
comment on column access.permissions.id is 'UUIDv7.';
comment on column access.permissions.permission_name is 'Unique name, such as edit_content.';
comment on column access.permissions.description is 'What it allows.';
comment on column access.permissions.created_at is 'When the permission was made.';

create table access.role_permissions (
  role_id uuid not null references access.roles on delete cascade,
  permission_id uuid not null references access.permissions on delete cascade,
  primary key (role_id, permission_id)
);

alter table access.role_permissions enable row level security;

-- Serves the foreign key and "which roles may do this".
create index role_permissions_permission_id_idx on access.role_permissions (permission_id);

comment on table access.role_permissions is 'One row per permission that a role has.';
comment on column access.role_permissions.role_id is 'The role.';
comment on column access.role_permissions.permission_id is 'The permission it has.';

create table access.user_roles (
  user_id uuid not null references identity.users on delete cascade,
  role_id uuid not null references access.roles on delete cascade,
  granted_by uuid default plinth.current_user_id() references identity.users on delete set null,
  granted_at timestamptz not null default now(),
  expires_at timestamptz,
  primary key (user_id, role_id),
  constraint user_roles_expires_after_granted check (expires_at > granted_at)
);

alter table access.user_roles enable row level security;

-- Serve the foreign keys.
create index user_roles_role_id_idx on access.user_roles (role_id);
create index user_roles_granted_by_idx on access.user_roles (granted_by);

comment on table access.user_roles is 'One row per role that a user has.';
comment on column access.user_roles.user_id is 'Who has the role.';
comment on column access.user_roles.role_id is 'The role.';
comment on column access.user_roles.granted_by is 'Who gave it; null for the system or a deleted account.';
comment on column access.user_roles.granted_at is 'When it was given.';
comment on column access.user_roles.expires_at is 'From then on it no longer counts; null means it does not expire.';

insert into access.roles (role_name, description, rank) values
  ('admin', 'Runs the product.', 100),
  ('moderator', 'Keeps the shared content in order.', 50),
  ('user', 'Every registered account.', 10);

insert into access.permissions (permission_name, description) values
  ('edit_content', 'Write the shared library: prompts and content.'),
  ('delete_user', 'Delete an account and all it owns.'),
  ('manage_users', 'See all accounts, disable and enable them.'),
  ('manage_roles', 'Give and take roles, change what they allow.'),
  ('manage_models', 'Write the catalogue of model providers, models and prices.'),
  ('grant_model_access', 'Decide who may use which model.'),
  ('view_audit_log', 'Read all sign-in attempts and security events.');

insert into access.role_permissions (role_id, permission_id)
select r.id, p.id
from access.roles r
cross join access.permissions p
where r.role_name = 'admin'
  or (r.role_name = 'moderator' and p.permission_name = 'edit_content');

--! Included access/functions/grant_role.sql
-- Give and take roles by name. Invoker rights: the policies of access.user_roles decide who may.
create or replace function access.grant_role(user_id uuid, role_name text, expires_at timestamptz default null)
  returns access.user_roles
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_role_id uuid := (select r.id from access.roles r where r.role_name = grant_role.role_name);
  v_result access.user_roles;
begin
  if v_role_id is null then
    raise exception 'There is no role of that name.'
      using errcode = 'PL404', schema = 'access', table = 'roles', column = 'role_name';
  end if;
  insert into access.user_roles as ur (user_id, role_id, expires_at)
  values (grant_role.user_id, v_role_id, grant_role.expires_at)
  on conflict on constraint user_roles_pkey do update set expires_at = excluded.expires_at
  returning * into v_result;
  return v_result;
end
$$;

comment on function access.grant_role(uuid, text, timestamptz) is
  'Gives a user a role, or changes when it expires. Needs manage_roles. PL404 for an unknown role.';
grant execute on function access.grant_role(uuid, text, timestamptz) to :PLINTH_USER;

create or replace function access.revoke_role(user_id uuid, role_name text)
  returns access.user_roles
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_result access.user_roles;
begin
  delete from access.user_roles ur
  using access.roles r
  where r.id = ur.role_id
    and ur.user_id = revoke_role.user_id
    and r.role_name = revoke_role.role_name
  returning ur.* into v_result;
  if v_result is null then
    raise exception 'The user does not have that role, or you may not take it.' using errcode = 'PL404';
  end if;
  return v_result;
end
$$;

comment on function access.revoke_role(uuid, text) is
  'Takes a role from a user. Needs manage_roles. PL404 when the user does not have it or the caller may not take it.';
grant execute on function access.revoke_role(uuid, text) to :PLINTH_USER;
--! EndIncluded access/functions/grant_role.sql
--! Included access/triggers/role_permissions.sql
-- What a role allows is a matter of security: every change of it is an event, whoever does it and however.
create or replace function access.audit_role_permission()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_row access.role_permissions := case when tg_op = 'DELETE' then old else new end;
begin
  perform private.record_security_event(
    case when tg_op = 'DELETE' then 'role_permission_removed' else 'role_permission_added' end,
    null,
    jsonb_build_object(
      'role_id', v_row.role_id,
      'role_name', (select r.role_name from access.roles r where r.id = v_row.role_id),
      'permission_name', (select p.permission_name from access.permissions p where p.id = v_row.permission_id)
    ),
    'warning'
  );
  return null;
end
$$;

comment on function access.audit_role_permission() is
  'Trigger: writes role_permission_added or role_permission_removed to the audit log.';

create or replace trigger _500_audit
  after insert or update or delete on access.role_permissions
  for each row
  execute function access.audit_role_permission();

-- Deleting a role takes it from everybody; this event, before the others, still knows its name.
create or replace function access.audit_deleted_role()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.record_security_event(
    'role_deleted', null, jsonb_build_object('role_id', old.id, 'role_name', old.role_name), 'warning'
  );
  return old;
end
$$;

comment on function access.audit_deleted_role() is 'Trigger: writes role_deleted to the audit log.';

create or replace trigger _500_audit
  before delete on access.roles
  for each row
  execute function access.audit_deleted_role();
--! EndIncluded access/triggers/role_permissions.sql
--! Included access/triggers/user_roles.sql
-- Roles given and taken are security events, whoever does it and however.
create or replace function access.audit_user_role()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_row access.user_roles := case when tg_op = 'DELETE' then old else new end;
begin
  perform private.record_security_event(
    case when tg_op = 'DELETE' then 'role_revoked' else 'role_granted' end,
    v_row.user_id,
    jsonb_build_object(
      'user_id', v_row.user_id,
      'role_id', v_row.role_id,
      'role_name', (select r.role_name from access.roles r where r.id = v_row.role_id),
      'expires_at', v_row.expires_at
    ),
    -- A role that permits something is worth a look; the plain one of every new account is not.
    case
      when tg_op <> 'DELETE' and exists (select from access.role_permissions rp where rp.role_id = v_row.role_id)
      then 'warning'
      else 'info'
    end
  );
  return null;
end
$$;

comment on function access.audit_user_role() is 'Trigger: writes role_granted or role_revoked to the audit log.';

create or replace trigger _500_audit
  after insert or update or delete on access.user_roles
  for each row
  execute function access.audit_user_role();
--! EndIncluded access/triggers/user_roles.sql
--! Included access/policies/roles.sql
-- Every signed-in user may know which roles there are; manage_roles changes them.
revoke all on access.roles from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (role_name, description, rank),
  update (role_name, description, rank),
  delete
  on access.roles to :PLINTH_USER;

drop policy if exists select_all on access.roles;
create policy select_all on access.roles
  for select to :PLINTH_USER
  using (true);
comment on policy select_all on access.roles is 'Signed-in users read all roles.';

drop policy if exists insert_manager on access.roles;
create policy insert_manager on access.roles
  for insert to :PLINTH_USER
  with check ((select access.has_permission('manage_roles')));
comment on policy insert_manager on access.roles is 'The permission manage_roles adds roles.';

drop policy if exists update_manager on access.roles;
create policy update_manager on access.roles
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_roles')))
  with check ((select access.has_permission('manage_roles')));
comment on policy update_manager on access.roles is 'The permission manage_roles changes roles.';

drop policy if exists delete_manager on access.roles;
create policy delete_manager on access.roles
  for delete to :PLINTH_USER
  -- Registration gives the one and nobody could give the other back.
  using ((select access.has_permission('manage_roles')) and role_name not in ('admin', 'user'));
comment on policy delete_manager on access.roles is
  'The permission manage_roles removes roles, but not admin and user, on which the product stands.';
--! EndIncluded access/policies/roles.sql
--! Included access/policies/permissions.sql
-- Every signed-in user may know which permissions there are; manage_roles changes them.
revoke all on access.permissions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (permission_name, description),
  update (permission_name, description),
  delete
  on access.permissions to :PLINTH_USER;

drop policy if exists select_all on access.permissions;
create policy select_all on access.permissions
  for select to :PLINTH_USER
  using (true);
comment on policy select_all on access.permissions is 'Signed-in users read all permissions.';

drop policy if exists insert_manager on access.permissions;
create policy insert_manager on access.permissions
  for insert to :PLINTH_USER
  with check ((select access.has_permission('manage_roles')));
comment on policy insert_manager on access.permissions is 'The permission manage_roles adds permissions.';

drop policy if exists update_manager on access.permissions;
create policy update_manager on access.permissions
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_roles')))
  with check ((select access.has_permission('manage_roles')));
comment on policy update_manager on access.permissions is 'The permission manage_roles changes permissions.';

drop policy if exists delete_manager on access.permissions;
create policy delete_manager on access.permissions
  for delete to :PLINTH_USER
  using ((select access.has_permission('manage_roles')));
comment on policy delete_manager on access.permissions is 'The permission manage_roles removes permissions.';
--! EndIncluded access/policies/permissions.sql
--! Included access/policies/role_permissions.sql
-- Every signed-in user may know which permissions of roles there are; manage_roles changes them.
revoke all on access.role_permissions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (role_id, permission_id),
  delete
  on access.role_permissions to :PLINTH_USER;

drop policy if exists select_all on access.role_permissions;
create policy select_all on access.role_permissions
  for select to :PLINTH_USER
  using (true);
comment on policy select_all on access.role_permissions is 'Signed-in users read all permissions of roles.';

drop policy if exists insert_manager on access.role_permissions;
create policy insert_manager on access.role_permissions
  for insert to :PLINTH_USER
  with check ((select access.has_permission('manage_roles')));
comment on policy insert_manager on access.role_permissions is 'The permission manage_roles adds permissions of roles.';

drop policy if exists delete_manager on access.role_permissions;
create policy delete_manager on access.role_permissions
  for delete to :PLINTH_USER
  using ((select access.has_permission('manage_roles')));
comment on policy delete_manager on access.role_permissions is 'The permission manage_roles removes permissions of roles.';
--! EndIncluded access/policies/role_permissions.sql
--! Included access/policies/user_roles.sql
-- Users see their own roles; manage_roles sees, gives and takes everybody's.
revoke all on access.user_roles from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, insert (user_id, role_id, expires_at), update (expires_at), delete on access.user_roles to :PLINTH_USER;

drop policy if exists select_own on access.user_roles;
create policy select_own on access.user_roles
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on access.user_roles is 'Users read their own roles.';

drop policy if exists select_user_manager on access.user_roles;
create policy select_user_manager on access.user_roles
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_users')));
comment on policy select_user_manager on access.user_roles is 'Who manages accounts reads their roles.';

drop policy if exists all_manager on access.user_roles;
create policy all_manager on access.user_roles
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_roles')))
  with check ((select access.has_permission('manage_roles')));
comment on policy all_manager on access.user_roles is 'The permission manage_roles reads, gives and takes all roles.';
--! EndIncluded access/policies/user_roles.sql
--! Included identity/functions/set_account_status.sql
-- Disabling an account ends its sessions and tokens at once (triggers on identity.users).
create or replace function identity.set_account_status(user_id uuid, account_status text)
  returns identity.users
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user identity.users;
begin
  if not access.has_permission('manage_users') then
    raise exception 'Changing an account''s status needs the permission manage_users.' using errcode = 'PL403';
  end if;
  update identity.users u
  set account_status = set_account_status.account_status
  where u.id = set_account_status.user_id
  returning u.* into v_user;
  if v_user.id is null then
    raise exception 'There is no such account.' using errcode = 'PL404';
  end if;
  perform private.record_security_event(
    'account_status_changed', v_user.id, jsonb_build_object('account_status', v_user.account_status), 'warning'
  );
  return v_user;
end
$$;

comment on function identity.set_account_status(uuid, text) is
  'Disables, enables or soft-deletes an account. Needs manage_users (PL403); PL404 for an unknown account.';
grant execute on function identity.set_account_status(uuid, text) to :PLINTH_USER;
--! EndIncluded identity/functions/set_account_status.sql
