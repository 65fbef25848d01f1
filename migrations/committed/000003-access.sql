--! Previous: sha1:c8cc6244305e6300a345909c93589606cc1f1d16
--! Hash: sha1:4ba9abfd5043693cf59461e34005b110602fb1b9
--! Message: access

-- Users have roles, roles have permissions, and policies call access.has_permission().

-- Function bodies are checked on first use, so a function may precede the objects that it uses.
set local check_function_bodies = off;

create table access.roles (
  id uuid primary key default plinth.uuid_v7(),
  role_name text not null,
  description text not null default '',
  -- Orders the roles, for products that show one role per account.
  rank integer not null default 0,
  created_at timestamptz not null default now(),
  -- If true, the role grants nothing in a session without a second factor.
  requires_mfa boolean not null default false,
  constraint roles_role_name_key unique (role_name),
  constraint roles_role_name_check check (role_name ~ '^[a-z][a-z0-9_]{0,49}$')
);

alter table access.roles enable row level security;

comment on table access.roles is 'One row per role.';
comment on column access.roles.id is 'Id (UUIDv7).';
comment on column access.roles.role_name is 'Unique name, such as admin.';
comment on column access.roles.description is 'Purpose of the role.';
comment on column access.roles.rank is 'Rank of the role; the role with the highest rank is shown as the user''s role.';
comment on column access.roles.created_at is 'Time when the role was created.';
comment on column access.roles.requires_mfa is
  'Whether the role''s permissions apply only in sessions that passed a second factor.';

create table access.permissions (
  id uuid primary key default plinth.uuid_v7(),
  permission_name text not null,
  description text not null default '',
  created_at timestamptz not null default now(),
  constraint permissions_permission_name_key unique (permission_name),
  constraint permissions_permission_name_check check (permission_name ~ '^[a-z][a-z0-9_]{0,99}$')
);

alter table access.permissions enable row level security;

comment on table access.permissions is 'One row per permission that a policy or function checks.';
comment on column access.permissions.id is 'Id (UUIDv7).';
comment on column access.permissions.permission_name is 'Unique name, such as edit_content.';
comment on column access.permissions.description is 'Description of what the permission allows.';
comment on column access.permissions.created_at is 'Time when the permission was created.';

create table access.role_permissions (
  role_id uuid not null references access.roles on delete cascade,
  permission_id uuid not null references access.permissions on delete cascade,
  primary key (role_id, permission_id)
);

alter table access.role_permissions enable row level security;

-- Serves the foreign key, and the query for the roles with a permission.
create index role_permissions_permission_id_idx on access.role_permissions (permission_id);

comment on table access.role_permissions is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n'
  'One row per role and permission it includes.';
comment on column access.role_permissions.role_id is 'The role.';
comment on column access.role_permissions.permission_id is 'The permission that the role includes.';

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

comment on table access.user_roles is
  E'@behavior -insert -update -delete\n'
  'One row per user and role.';
comment on column access.user_roles.user_id is 'The user who has the role.';
comment on column access.user_roles.role_id is 'The role.';
comment on column access.user_roles.granted_by is
  'The account that granted the role; null if the system granted it or the account was deleted.';
comment on column access.user_roles.granted_at is 'Time of the grant.';
comment on column access.user_roles.expires_at is 'Time when the role expires; null if it does not expire.';

create table access.user_model_access (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  -- References llm.models, which a later file creates.
  model_id uuid not null,
  granted_by uuid default plinth.current_user_id() references identity.users on delete set null,
  granted_at timestamptz not null default now(),
  is_active boolean not null default true,
  constraint user_model_access_user_id_model_id_key unique (user_id, model_id)
);

alter table access.user_model_access enable row level security;

-- Serve the foreign keys; the unique key serves user_id.
create index user_model_access_model_id_idx on access.user_model_access (model_id);
create index user_model_access_granted_by_idx on access.user_model_access (granted_by);

comment on table access.user_model_access is 'One row per user and model granted to them; public models need no grant.';
comment on column access.user_model_access.id is 'Id (UUIDv7).';
comment on column access.user_model_access.user_id is 'The user who may use the model.';
comment on column access.user_model_access.model_id is 'The model.';
comment on column access.user_model_access.granted_by is
  'The account that granted access; null if the system granted it or the account was deleted.';
comment on column access.user_model_access.granted_at is 'Time of the grant.';
comment on column access.user_model_access.is_active is 'Whether the grant applies; false suspends it and keeps its history.';

insert into access.roles (role_name, rank, description) values
  ('admin', 100, 'Runs the product.'),
  ('moderator', 50, 'Keeps the shared content in order.'),
  ('user', 10, 'Every registered account.');

insert into access.permissions (permission_name, description) values
  ('edit_content', 'Write the shared library: prompts and content.'),
  ('delete_user', 'Delete an account and all it owns.'),
  ('manage_users', 'See all accounts, disable and enable them.'),
  ('manage_roles', 'Give and take roles, change what they allow.'),
  ('manage_models', 'Write the catalogue of model providers, models and prices.'),
  ('grant_model_access', 'Decide who may use which model.'),
  ('view_audit_log', 'Read all sign-in attempts and security events.'),
  ('manage_security', 'Tune rate limits and the rules of suspicious activity.'),
  ('manage_consents', 'Write and publish what users are asked to consent to.'),
  ('manage_plans', 'Make and change subscription plans and their prices.'),
  ('manage_subscriptions', 'See all subscriptions and payments; give, pause and end subscriptions.'),
  ('moderate_general_chat', 'Run the general chat: its slow mode, delete messages and mute people.'),
  ('manage_content_access', 'Allow or deny single users single pieces of content.'),
  ('manage_skills', 'Write the catalogue of skills, assess people''s skills and report their training.');

insert into access.role_permissions (role_id, permission_id)
select r.id, p.id
from access.roles r
cross join access.permissions p
where r.role_name = 'admin'
  or (r.role_name = 'moderator' and p.permission_name in ('edit_content', 'moderate_general_chat'));

--! Included access/functions/can_use_model.sql
create or replace function access.can_use_model(model_id uuid)
  returns boolean
  language sql
  stable
  security definer
  parallel safe
  set search_path = pg_catalog
as $$
  select exists (select from access.usable_model_ids() as usable (id) where usable.id = can_use_model.model_id)
$$;

comment on function access.can_use_model(uuid) is 'Returns whether the signed-in user may use the model.';
grant execute on function access.can_use_model(uuid) to :PLINTH_USER;
--! EndIncluded access/functions/can_use_model.sql
--! Included access/functions/grant_role.sql
-- Grant and revoke roles by name. Invoker rights: the policies of access.user_roles decide which callers may.
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
    raise exception 'Role not found.'
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
  'Grants a user a role, or changes when it expires. Needs manage_roles. PL404 for an unknown role.';
grant execute on function access.grant_role(uuid, text, timestamptz) to :PLINTH_USER;
--! EndIncluded access/functions/grant_role.sql
--! Included access/functions/revoke_role.sql
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
    raise exception 'The user does not have that role, or you may not revoke it.' using errcode = 'PL404';
  end if;
  return v_result;
end
$$;

comment on function access.revoke_role(uuid, text) is
  'Revokes a user''s role. Needs manage_roles. PL404 when the user does not have it or the caller may not revoke it.';
grant execute on function access.revoke_role(uuid, text) to :PLINTH_USER;
--! EndIncluded access/functions/revoke_role.sql
--! Included access/functions/usable_model_ids.sql
-- The models the user may use: active models of active providers that are public or granted. One set for all policies.
create or replace function access.usable_model_ids()
  returns setof uuid
  language sql
  stable
  security definer
  parallel safe
  set search_path = pg_catalog
as $$
  select m.id
  from llm.models m
  join llm.model_providers p on p.id = m.provider_id
  where m.is_active
    and p.is_active
    and (
      m.is_public
      or exists (
        select
        from access.user_model_access a
        where a.user_id = plinth.current_user_id()
          and a.model_id = m.id
          and a.is_active
      )
    )
$$;

comment on function access.usable_model_ids() is
  E'@behavior -*\nReturns the ids of the models that the caller may use: public ones and those granted to them.';
grant execute on function access.usable_model_ids() to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded access/functions/usable_model_ids.sql
--! Included access/private/can_user_use_model.sql
-- Same as access.can_use_model, for a user named by a service.
create or replace function private.can_user_use_model(user_id uuid, model_id uuid)
  returns boolean
  language sql
  stable
  parallel safe
  set search_path = pg_catalog
as $$
  select exists (
    select
    from llm.models m
    join llm.model_providers p on p.id = m.provider_id
    where m.id = can_user_use_model.model_id
      and m.is_active
      and p.is_active
      and (
        m.is_public
        or exists (
          select
          from access.user_model_access a
          where a.user_id = can_user_use_model.user_id
            and a.model_id = m.id
            and a.is_active
        )
      )
  )
$$;

comment on function private.can_user_use_model(uuid, uuid) is 'Returns whether a user may use a model.';
--! EndIncluded access/private/can_user_use_model.sql
--! Included access/private/guard_last_administrator.sql
-- Without an administrator no account could grant roles, not even that of an administrator. The lock on the role's row lets one
-- of two administrators who leave at the same moment succeed. An administrator whose account is being deleted does not count.
create or replace function private.guard_last_administrator(user_id uuid)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_role_id uuid;
begin
  select r.id into v_role_id from access.roles r where r.role_name = 'admin';
  if not exists (
    select
    from access.user_roles ur
    where ur.role_id = v_role_id
      and ur.user_id = guard_last_administrator.user_id
      and (ur.expires_at is null or ur.expires_at > now())
  ) then
    return;
  end if;
  perform from access.roles r where r.id = v_role_id for no key update;
  if not exists (
    select
    from access.user_roles ur
    join identity.users u on u.id = ur.user_id and u.is_active
    where ur.role_id = v_role_id
      and ur.user_id <> guard_last_administrator.user_id
      and (ur.expires_at is null or ur.expires_at > now())
      and not exists (select from identity.account_deletions d where d.user_id = ur.user_id)
  ) then
    raise exception 'You are the last administrator.'
      using errcode = 'PL409', hint = 'Give another account the role admin first.';
  end if;
end
$$;

comment on function private.guard_last_administrator(uuid) is
  'Raises PL409 if the account is the only active one with the role admin that is not being deleted.';
--! EndIncluded access/private/guard_last_administrator.sql
--! Included access/private/require_administration.sql
-- The check for acting on another user's account: it must not have permissions that the caller lacks. The error is the same for
-- an account that does not exist, so that callers without the permission cannot probe ids.
create or replace function private.require_administration(user_id uuid)
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if not access.has_permission('manage_users') then
    raise exception 'This needs the permission manage_users.' using errcode = 'PL403';
  end if;
  if not access.may_administer(require_administration.user_id) then
    raise exception 'The account has permissions that you do not have.' using errcode = 'PL403';
  end if;
end
$$;

comment on function private.require_administration(uuid) is
  'Raises PL403 unless the signed-in user has manage_users and every permission of the account.';
--! EndIncluded access/private/require_administration.sql
--! Included access/triggers/record_data_change.sql
create or replace trigger _700_record_data_change
  after insert or update or delete on access.roles
  for each row
  execute function private.record_data_change('id', '', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.permissions
  for each row
  execute function private.record_data_change('id', '', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.role_permissions
  for each row
  execute function private.record_data_change('role_id,permission_id', '', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.user_roles
  for each row
  execute function private.record_data_change('user_id,role_id', 'user_id', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.user_model_access
  for each row
  execute function private.record_data_change('id', 'user_id', '', '');
--! EndIncluded access/triggers/record_data_change.sql
--! Included access/triggers/role_permissions.sql
-- The permissions of a role are a security matter: every change is an event, from any writer and by any path.
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
--! EndIncluded access/triggers/role_permissions.sql
--! Included access/triggers/roles.sql
-- Deleting a role revokes it from all its users; this trigger runs first, while the role's name is still known.
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

-- The product depends on two roles: registration grants user by its name, and no user could grant admin again. A renamed role
-- would be lost just as a deleted one (see access/policies/roles.sql), and could then be deleted, too.
create or replace function access.keep_role_name()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  raise exception 'The roles admin and user cannot be renamed.'
    using errcode = 'PL409', schema = 'access', table = 'roles', column = 'role_name';
end
$$;

comment on function access.keep_role_name() is 'Trigger: rejects renaming the roles admin and user (PL409).';

create or replace trigger _100_keep_name
  before update of role_name on access.roles
  for each row
  when (old.role_name in ('admin', 'user') and new.role_name <> old.role_name)
  execute function access.keep_role_name();
--! EndIncluded access/triggers/roles.sql
--! Included access/triggers/user_roles.sql
-- Granting and revoking a role are security events, from any writer and by any path.
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
    -- A role with permissions deserves attention; the plain role of every new account does not.
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
--! Included access/triggers/users.sql
-- Also applies to administrators who delete their own account with the permission delete_user. The owner of the database, who can
-- create another administrator, is not stopped.
create or replace function private.keep_last_administrator()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.guard_last_administrator(old.id);
  return old;
end
$$;

comment on function private.keep_last_administrator() is 'Trigger: prevents the last administrator from deleting their own account.';

create or replace trigger _100_keep_last_administrator
  before delete on identity.users
  for each row
  when (old.id = plinth.current_user_id())
  execute function private.keep_last_administrator();
--! EndIncluded access/triggers/users.sql
--! Included access/policies/permissions.sql
-- Every signed-in user may list the permissions; users with manage_roles change them.
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
comment on policy insert_manager on access.permissions is 'Users with manage_roles add permissions.';

drop policy if exists update_manager on access.permissions;
create policy update_manager on access.permissions
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_roles')))
  with check ((select access.has_permission('manage_roles')));
comment on policy update_manager on access.permissions is 'Users with manage_roles change permissions.';

drop policy if exists delete_manager on access.permissions;
create policy delete_manager on access.permissions
  for delete to :PLINTH_USER
  using ((select access.has_permission('manage_roles')));
comment on policy delete_manager on access.permissions is 'Users with manage_roles delete permissions.';
--! EndIncluded access/policies/permissions.sql
--! Included access/policies/role_permissions.sql
-- Every signed-in user may list the permissions of roles; users with manage_roles change them.
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
comment on policy select_all on access.role_permissions is 'Signed-in users read the permissions of all roles.';

drop policy if exists insert_manager on access.role_permissions;
create policy insert_manager on access.role_permissions
  for insert to :PLINTH_USER
  with check ((select access.has_permission('manage_roles')));
comment on policy insert_manager on access.role_permissions is 'Users with manage_roles add permissions to roles.';

drop policy if exists delete_manager on access.role_permissions;
create policy delete_manager on access.role_permissions
  for delete to :PLINTH_USER
  using ((select access.has_permission('manage_roles')));
comment on policy delete_manager on access.role_permissions is 'Users with manage_roles remove permissions from roles.';
--! EndIncluded access/policies/role_permissions.sql
--! Included access/policies/roles.sql
-- Every signed-in user may list the roles; users with manage_roles change them.
revoke all on access.roles from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (role_name, description, rank, requires_mfa),
  update (role_name, description, rank, requires_mfa),
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
comment on policy insert_manager on access.roles is 'Users with manage_roles add roles.';

drop policy if exists update_manager on access.roles;
create policy update_manager on access.roles
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_roles')))
  with check ((select access.has_permission('manage_roles')));
comment on policy update_manager on access.roles is 'Users with manage_roles change roles.';

drop policy if exists delete_manager on access.roles;
create policy delete_manager on access.roles
  for delete to :PLINTH_USER
  -- Registration grants the user role, and no user could grant the admin role again.
  using ((select access.has_permission('manage_roles')) and role_name not in ('admin', 'user'));
comment on policy delete_manager on access.roles is
  'Users with manage_roles delete roles, except admin and user, which the product depends on.';
--! EndIncluded access/policies/roles.sql
--! Included access/policies/user_model_access.sql
-- Users see the grants made to them; users with grant_model_access see, make and revoke all grants.
revoke all on access.user_model_access from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (user_id, model_id, is_active),
  update (is_active),
  delete
  on access.user_model_access to :PLINTH_USER;

drop policy if exists select_own on access.user_model_access;
create policy select_own on access.user_model_access
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on access.user_model_access is 'Users read the grants made to them.';

drop policy if exists all_manager on access.user_model_access;
create policy all_manager on access.user_model_access
  for all to :PLINTH_USER
  using ((select access.has_permission('grant_model_access')))
  with check ((select access.has_permission('grant_model_access')));
comment on policy all_manager on access.user_model_access is
  'Users with grant_model_access read, make and revoke all grants.';
--! EndIncluded access/policies/user_model_access.sql
--! Included access/policies/user_roles.sql
-- Users see their own roles; users with manage_roles see, grant and revoke all roles.
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
comment on policy select_user_manager on access.user_roles is 'Users who manage accounts read the accounts'' roles.';

drop policy if exists all_manager on access.user_roles;
create policy all_manager on access.user_roles
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_roles')))
  with check ((select access.has_permission('manage_roles')));
comment on policy all_manager on access.user_roles is 'Users with manage_roles read, grant and revoke all roles.';
--! EndIncluded access/policies/user_roles.sql
