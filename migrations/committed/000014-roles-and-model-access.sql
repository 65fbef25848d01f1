--! Previous: sha1:9e19908a1c5ae23f1a967b801f2c7479af5f157b
--! Hash: sha1:6b7e6364110df81110ba1d411fcde565cc8f496c
--! Message: roles and model access

-- Roles, permissions and model access: grants with a reason, models for roles and plans, an administrator that always remains,
-- and callers who grant no more than they hold.

alter table access.user_roles
  add column reason text,
  add constraint user_roles_reason_check check (length(reason) between 1 and 500);

comment on column access.user_roles.reason is 'Reason of the grant, for auditors; null if none was given.';
comment on column access.user_roles.granted_by is
  'The account that made or last renewed the grant; null if the system did or the account was deleted.';
comment on column access.user_roles.granted_at is 'Time of the grant or its last renewal.';

alter table access.user_model_access
  add column expires_at timestamptz,
  add column reason text,
  add constraint user_model_access_expires_after_granted check (expires_at > granted_at),
  add constraint user_model_access_reason_check check (length(reason) between 1 and 500);

comment on column access.user_model_access.granted_by is
  'The account that made or last changed the grant; null if the system did or the account was deleted.';
comment on column access.user_model_access.granted_at is 'Time of the grant or its last change.';
comment on column access.user_model_access.expires_at is 'Time when the grant expires; null if it does not expire.';
comment on column access.user_model_access.reason is 'Reason of the grant, for auditors; null if none was given.';

create table access.role_model_access (
  role_id uuid not null references access.roles on delete cascade,
  model_id uuid not null references llm.models on delete cascade,
  granted_by uuid default plinth.current_user_id() references identity.users on delete set null,
  granted_at timestamptz not null default now(),
  expires_at timestamptz,
  reason text,
  primary key (role_id, model_id),
  constraint role_model_access_expires_after_granted check (expires_at > granted_at),
  constraint role_model_access_reason_check check (length(reason) between 1 and 500)
);

alter table access.role_model_access enable row level security;

-- Serve the foreign keys.
create index role_model_access_model_id_idx on access.role_model_access (model_id);
create index role_model_access_granted_by_idx on access.role_model_access (granted_by);

comment on table access.role_model_access is 'One row per role and model that all holders of the role may use.';
comment on column access.role_model_access.role_id is 'The role whose holders may use the model.';
comment on column access.role_model_access.model_id is 'The model.';
comment on column access.role_model_access.granted_by is
  'The account that made or last renewed the grant; null if the system did or the account was deleted.';
comment on column access.role_model_access.granted_at is 'Time of the grant or its last renewal.';
comment on column access.role_model_access.expires_at is 'Time when the grant expires; null if it does not expire.';
comment on column access.role_model_access.reason is 'Reason of the grant, for auditors; null if none was given.';

create table access.plan_model_access (
  plan_code text not null,
  model_id uuid not null references llm.models on delete cascade,
  granted_by uuid default plinth.current_user_id() references identity.users on delete set null,
  granted_at timestamptz not null default now(),
  expires_at timestamptz,
  reason text,
  primary key (plan_code, model_id),
  constraint plan_model_access_expires_after_granted check (expires_at > granted_at),
  constraint plan_model_access_reason_check check (length(reason) between 1 and 500)
);

alter table access.plan_model_access enable row level security;

-- Serve the foreign keys.
create index plan_model_access_model_id_idx on access.plan_model_access (model_id);
create index plan_model_access_granted_by_idx on access.plan_model_access (granted_by);

comment on table access.plan_model_access is
  'One row per plan and model that its subscribers may use; the plan free includes all accounts without a subscription.';
comment on column access.plan_model_access.plan_code is 'Code of the plan, such as premium, in all its versions.';
comment on column access.plan_model_access.model_id is 'The model.';
comment on column access.plan_model_access.granted_by is
  'The account that made or last renewed the grant; null if the system did or the account was deleted.';
comment on column access.plan_model_access.granted_at is 'Time of the grant or its last renewal.';
comment on column access.plan_model_access.expires_at is 'Time when the grant expires; null if it does not expire.';
comment on column access.plan_model_access.reason is 'Reason of the grant, for auditors; null if none was given.';

drop trigger _100_keep_last_administrator on identity.users;
drop function private.guard_last_administrator(uuid);
drop function access.grant_role(uuid, text, timestamptz);

--! Included access/private/session_has_second_factor.sql
create or replace function private.session_has_second_factor()
  returns boolean
  language plpgsql
  stable
  parallel safe
  set search_path = pg_catalog
as $$
begin
  return exists (
    select
    from identity.user_sessions s
    where s.id = plinth.current_session_id()
      and s.user_id = plinth.current_user_id()
      and 'mfa' = any (s.authentication_methods)
  );
end
$$;

comment on function private.session_has_second_factor() is
  'Returns whether the session of the signed-in user passed a second factor.';
--! EndIncluded access/private/session_has_second_factor.sql
--! Included access/private/held_permissions.sql
-- The permissions that count in this session, once for each role that has them. In SQL without settings, so that it is inlined
-- into its callers, which run with definer rights.
create or replace function private.held_permissions()
  returns table (permission_id uuid, expires_at timestamptz)
  language sql
  stable
as $$
  select rp.permission_id, ur.expires_at
  from access.user_roles ur
  join identity.users u on u.id = ur.user_id and u.is_active
  join access.roles r on r.id = ur.role_id
  join access.role_permissions rp on rp.role_id = ur.role_id
  where ur.user_id = plinth.current_user_id()
    and (ur.expires_at is null or ur.expires_at > now())
    and (not r.requires_mfa or private.session_has_second_factor())
$$;

comment on function private.held_permissions() is
  'Returns the permissions of the signed-in user that apply in this session, with the expiry of the role that has them.';
--! EndIncluded access/private/held_permissions.sql
--! Included access/private/model_access.sql
-- The only rule of who may use which model: active models of active providers that are public, or granted to the user, to a role
-- of theirs or to their plan. Visitors have neither roles nor a plan. In SQL without settings, so that it is inlined into its
-- callers.
create or replace function private.model_access(user_id uuid)
  returns table (model_id uuid, source text, role_id uuid, plan_code text, expires_at timestamptz)
  language sql
  stable
as $$
  select g.model_id, g.source, g.role_id, g.plan_code, g.expires_at
  from (
    select
      m.id as model_id,
      'public' as source,
      null::uuid as role_id,
      null::text as plan_code,
      null::timestamptz as expires_at
    from llm.models m
    where m.is_public
    union all
    select a.model_id, 'user', null, null, a.expires_at
    from access.user_model_access a
    where a.user_id = model_access.user_id
      and a.is_active
    union all
    select a.model_id, 'role', a.role_id, null, least(a.expires_at, ur.expires_at)
    from access.user_roles ur
    join access.roles r on r.id = ur.role_id
    join access.role_model_access a on a.role_id = ur.role_id
    where ur.user_id = model_access.user_id
      and (
        not r.requires_mfa
        or ur.user_id = plinth.current_user_id() and private.session_has_second_factor()
      )
    union all
    select a.model_id, 'plan', null, a.plan_code, a.expires_at
    from access.plan_model_access a
    where model_access.user_id is not null
      and a.plan_code = private.current_plan_code(model_access.user_id)
  ) g
  join llm.models m on m.id = g.model_id and m.is_active
  join llm.model_providers p on p.id = m.provider_id and p.is_active
  where g.expires_at is null or g.expires_at > now()
$$;

comment on function private.model_access(uuid) is
  'Returns the models that a user may use, once for each source: public, user, role or plan.';
--! EndIncluded access/private/model_access.sql
--! Included access/private/can_user_use_model.sql
-- Same as access.can_use_model, for a user named by a service. In plpgsql, which caches plans: every message asks it.
create or replace function private.can_user_use_model(user_id uuid, model_id uuid)
  returns boolean
  language plpgsql
  stable
  parallel safe
  set search_path = pg_catalog
  set plan_cache_mode = force_generic_plan
as $$
begin
  return exists (
    select from private.model_access(can_user_use_model.user_id) a where a.model_id = can_user_use_model.model_id
  );
end
$$;

comment on function private.can_user_use_model(uuid, uuid) is 'Returns whether a user may use a model.';
--! EndIncluded access/private/can_user_use_model.sql
--! Included access/private/guard_last_administrator.sql
-- Without an administrator no account could grant roles, not even that of an administrator. An account counts if it stays one:
-- active, not being deleted, with the role admin and no expiry. The update of the role makes concurrent changes wait for each
-- other; a lock alone would let a transaction with an older snapshot (REPEATABLE READ) miss the other's change.
create or replace function private.guard_last_administrator()
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_role_id uuid;
begin
  update access.roles r set rank = r.rank where r.role_name = 'admin' returning r.id into v_role_id;
  if not exists (
    select
    from access.user_roles ur
    join identity.users u on u.id = ur.user_id and u.is_active
    where ur.role_id = v_role_id
      and ur.expires_at is null
      and not exists (select from identity.account_deletions d where d.user_id = ur.user_id)
  ) then
    raise exception 'At least one administrator without an expiry must remain.'
      using errcode = 'PL409', hint = 'First grant another active account the role admin without an expiry.';
  end if;
end
$$;

comment on function private.guard_last_administrator() is
  'Raises PL409 unless an active account that is not being deleted holds the role admin without an expiry.';
--! EndIncluded access/private/guard_last_administrator.sql

--! Included access/functions/can_use_model.sql
create or replace function access.can_use_model(model_id uuid)
  returns boolean
  language sql
  stable
  security definer
  parallel safe
  set search_path = pg_catalog
as $$
  select private.can_user_use_model(plinth.current_user_id(), can_use_model.model_id)
$$;

comment on function access.can_use_model(uuid) is 'Returns whether the signed-in user may use the model.';
grant execute on function access.can_use_model(uuid) to :PLINTH_USER;
--! EndIncluded access/functions/can_use_model.sql
--! Included access/functions/grant_role.sql
-- Grant and revoke roles by name. Invoker rights: the policies of access.user_roles decide which callers may.
create or replace function access.grant_role(
  user_id uuid,
  role_name text,
  expires_at timestamptz default null,
  reason text default null
)
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
  insert into access.user_roles as ur (user_id, role_id, expires_at, reason)
  values (grant_role.user_id, v_role_id, grant_role.expires_at, grant_role.reason)
  on conflict on constraint user_roles_pkey do update set expires_at = excluded.expires_at, reason = excluded.reason
  returning * into v_result;
  return v_result;
end
$$;

comment on function access.grant_role(uuid, text, timestamptz, text) is
  'Grants a user a role, or renews the grant with another expiry and reason. Needs manage_roles and, until the expiry, every permission of the role. PL404 for an unknown role, PL409 if no administrator without an expiry would remain.';
grant execute on function access.grant_role(uuid, text, timestamptz, text) to :PLINTH_USER;
--! EndIncluded access/functions/grant_role.sql
--! Included access/functions/has_permission.sql
-- Policies of every domain call this function, so it is created first; plpgsql resolves its tables at run time, when they
-- exist. Definer rights: the caller may not read other users' roles. A single plan serves every user and permission: otherwise each
-- connection plans the join of five tables five times, at ten times the cost of a call.
create or replace function access.has_permission(permission text)
  returns boolean
  language plpgsql
  stable
  security definer
  parallel safe
  set search_path = pg_catalog
  set plan_cache_mode = force_generic_plan
as $$
begin
  return exists (
    select
    from access.user_roles ur
    join identity.users u on u.id = ur.user_id and u.is_active
    join access.roles r on r.id = ur.role_id
    join access.role_permissions rp on rp.role_id = ur.role_id
    join access.permissions p on p.id = rp.permission_id
    where ur.user_id = plinth.current_user_id()
      and (ur.expires_at is null or ur.expires_at > now())
      and p.permission_name = permission
      and (not r.requires_mfa or private.session_has_second_factor())
  );
end
$$;

comment on function access.has_permission(text) is
  'Returns whether the signed-in user, whose account is active, holds the permission through a role that has not expired and, where the role requires it, in a session that passed a second factor.';
grant execute on function access.has_permission(text) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded access/functions/has_permission.sql
--! Included access/functions/may_administer.sql
-- A permission to manage accounts must not reach upwards: otherwise a moderator could disable the administrators who granted
-- the permission, and an attacker who takes over a moderator's account would control all accounts. Compared by permissions and
-- not by rank, which only orders names for display.
create or replace function access.may_administer(user_id uuid)
  returns boolean
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select not exists (
    select rp.permission_id
    from access.user_roles ur
    join access.role_permissions rp on rp.role_id = ur.role_id
    where ur.user_id = may_administer.user_id
      and (ur.expires_at is null or ur.expires_at > now())
    except
    select h.permission_id from private.held_permissions() h
  )
$$;

comment on function access.may_administer(uuid) is
  E'@behavior -*\nReturns whether the signed-in user holds every permission that the other account holds.';
grant execute on function access.may_administer(uuid) to :PLINTH_USER;
--! EndIncluded access/functions/may_administer.sql
--! Included access/functions/may_assign_permission.sql
-- No caller gives away more than they hold themselves, nor for longer: otherwise a user with manage_roles could grant themselves
-- every other permission, and a temporary administrator could become a permanent one.
create or replace function access.may_assign_permission(permission_id uuid, until timestamptz)
  returns boolean
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select exists (
    select
    from private.held_permissions() h
    where h.permission_id = may_assign_permission.permission_id
      and coalesce(h.expires_at, 'infinity') >= may_assign_permission.until
  )
$$;

comment on function access.may_assign_permission(uuid, timestamptz) is
  E'@behavior -*\nReturns whether the signed-in user holds the permission until the given time.';
grant execute on function access.may_assign_permission(uuid, timestamptz) to :PLINTH_USER;
--! EndIncluded access/functions/may_assign_permission.sql
--! Included access/functions/may_grant_models.sql
create or replace function access.may_grant_models(until timestamptz)
  returns boolean
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select access.may_assign_permission(p.id, may_grant_models.until)
  from access.permissions p
  where p.permission_name = 'grant_model_access'
$$;

comment on function access.may_grant_models(timestamptz) is
  E'@behavior -*\nReturns whether the signed-in user holds grant_model_access until the given time.';
grant execute on function access.may_grant_models(timestamptz) to :PLINTH_USER;
--! EndIncluded access/functions/may_grant_models.sql
--! Included access/functions/may_assign_role.sql
-- The rule of access.may_assign_permission for all that a role gives: its permissions and its models. Models may be given away by
-- users with grant_model_access, and by others as far as they may use them.
create or replace function access.may_assign_role(role_id uuid, until timestamptz)
  returns boolean
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select not exists (
    select
    from access.role_permissions rp
    where rp.role_id = may_assign_role.role_id
      and not access.may_assign_permission(rp.permission_id, may_assign_role.until)
  )
  and (
    access.may_grant_models(may_assign_role.until)
    or not exists (
      select
      from access.role_model_access a
      where a.role_id = may_assign_role.role_id
        and not exists (
          select
          from private.model_access(plinth.current_user_id()) m
          where m.model_id = a.model_id
            -- A subscription may end, and a model may cease to be public.
            and case when m.source in ('plan', 'public') then now() else coalesce(m.expires_at, 'infinity') end
              >= least(may_assign_role.until, a.expires_at)
        )
    )
  )
$$;

comment on function access.may_assign_role(uuid, timestamptz) is
  E'@behavior -*\nReturns whether the signed-in user holds all that the role gives until the given time.';
grant execute on function access.may_assign_role(uuid, timestamptz) to :PLINTH_USER;
--! EndIncluded access/functions/may_assign_role.sql
--! Included access/functions/model_access_of.sql
-- The reasons why a user may use models. Another user's reasons are for those who grant access.
create or replace function access.model_access_of(user_id uuid default plinth.current_user_id())
  returns table (model_id uuid, source text, role_id uuid, plan_code text, expires_at timestamptz)
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  if model_access_of.user_id is distinct from plinth.current_user_id() and not access.has_permission('grant_model_access') then
    raise exception 'This needs the permission grant_model_access.' using errcode = 'PL403';
  end if;
  return query
  select a.model_id, a.source, a.role_id, a.plan_code, a.expires_at
  from private.model_access(model_access_of.user_id) a
  order by a.model_id, a.source, a.role_id;
end
$$;

comment on function access.model_access_of(uuid) is
  'Returns the models that a user may use, the caller by default, once for each source: public, user, role or plan. Needs grant_model_access for another user (PL403).';
grant execute on function access.model_access_of(uuid) to :PLINTH_USER;
--! EndIncluded access/functions/model_access_of.sql
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
  'Revokes a user''s role. Needs manage_roles and every permission of the role. PL404 when the user does not have it or the caller may not revoke it, PL409 if no administrator without an expiry would remain.';
grant execute on function access.revoke_role(uuid, text) to :PLINTH_USER;
--! EndIncluded access/functions/revoke_role.sql
--! Included access/functions/usable_model_ids.sql
-- The models that the caller may use, as one set for all policies. In plpgsql, which caches plans: every list asks for it.
create or replace function access.usable_model_ids()
  returns setof uuid
  language plpgsql
  stable
  security definer
  parallel safe
  set search_path = pg_catalog
  set plan_cache_mode = force_generic_plan
as $$
begin
  return query select a.model_id from private.model_access(plinth.current_user_id()) a;
end
$$;

comment on function access.usable_model_ids() is
  E'@behavior -*\nReturns the ids of the models that the caller may use: public ones and those granted to them, their roles or their plan.';
grant execute on function access.usable_model_ids() to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded access/functions/usable_model_ids.sql
--! Included access/functions/user_roles_is_expired.sql
create or replace function access.user_roles_is_expired(ur access.user_roles)
  returns boolean
  language sql
  stable
  parallel safe
as $$
  select coalesce(ur.expires_at <= now(), false)
$$;

comment on function access.user_roles_is_expired(access.user_roles) is
  'Returns whether the role has expired; grantRole renews it.';
grant execute on function access.user_roles_is_expired(access.user_roles) to :PLINTH_USER;
--! EndIncluded access/functions/user_roles_is_expired.sql

--! Included access/views/effective_permissions.sql
-- Each permission that a user has now, once for each role that gives it. Invoker rights: the policies of access.user_roles decide
-- whose roles a caller sees. A permission whose role requires a second factor counts only in sessions that passed one.
create or replace view access.effective_permissions
  with (security_invoker = true)
as
select
  ur.user_id,
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
where (ur.expires_at is null or ur.expires_at > now())
  -- Of active accounts, which all users see.
  and exists (select from identity.profiles a where a.id = ur.user_id);

comment on view access.effective_permissions is
  E'@primaryKey user_id,permission_id,role_id\n'
  '@foreignKey (user_id) references identity.users (id)\n'
  '@foreignKey (permission_id) references access.permissions (id)\n'
  '@foreignKey (role_id) references access.roles (id)\n'
  'Grain: one row per permission of an active user and role that gives it now.';
comment on column access.effective_permissions.user_id is 'The user who has the permission.';
comment on column access.effective_permissions.permission_id is 'The permission.';
comment on column access.effective_permissions.permission_name is 'Name of the permission, such as edit_content.';
comment on column access.effective_permissions.role_id is 'The role that gives the permission.';
comment on column access.effective_permissions.role_name is 'Name of the role, such as moderator.';
comment on column access.effective_permissions.expires_at is
  'Time when the role of the user expires; null if it does not expire.';
comment on column access.effective_permissions.requires_second_factor is
  'Whether the permission applies only in sessions that passed a second factor.';
revoke all on access.effective_permissions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on access.effective_permissions to :PLINTH_USER;
--! EndIncluded access/views/effective_permissions.sql

--! Included access/policies/permissions.sql
-- Every signed-in user may list the permissions; users with manage_roles add and describe them, and delete those that they hold.
-- No update of the name: code and policies ask for it, so that a renamed permission would become another one.
revoke all on access.permissions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (permission_name, description),
  update (description),
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
comment on policy update_manager on access.permissions is 'Users with manage_roles describe permissions.';

drop policy if exists delete_manager on access.permissions;
create policy delete_manager on access.permissions
  for delete to :PLINTH_USER
  using ((select access.has_permission('manage_roles')) and access.may_assign_permission(id, now()));
comment on policy delete_manager on access.permissions is 'Users with manage_roles delete permissions that they hold.';
--! EndIncluded access/policies/permissions.sql
--! Included access/policies/plan_model_access.sql
-- Users with grant_model_access see, make and revoke the grants to plans. Users see their models.
revoke all on access.plan_model_access from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (plan_code, model_id, expires_at, reason),
  update (expires_at, reason),
  delete
  on access.plan_model_access to :PLINTH_USER;

drop policy if exists all_manager on access.plan_model_access;
create policy all_manager on access.plan_model_access
  for all to :PLINTH_USER
  using ((select access.has_permission('grant_model_access')))
  with check ((select access.has_permission('grant_model_access')));
comment on policy all_manager on access.plan_model_access is
  'Users with grant_model_access read, make and revoke all grants to plans.';
--! EndIncluded access/policies/plan_model_access.sql
--! Included access/policies/role_model_access.sql
-- Users see the grants to their roles; users with grant_model_access see, make and revoke all grants.
revoke all on access.role_model_access from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (role_id, model_id, expires_at, reason),
  update (expires_at, reason),
  delete
  on access.role_model_access to :PLINTH_USER;

drop policy if exists select_own on access.role_model_access;
create policy select_own on access.role_model_access
  for select to :PLINTH_USER
  using (role_id = any (array(select ur.role_id from access.user_roles ur where ur.user_id = (select plinth.current_user_id()))));
comment on policy select_own on access.role_model_access is 'Users read the grants made to their roles.';

drop policy if exists all_manager on access.role_model_access;
create policy all_manager on access.role_model_access
  for all to :PLINTH_USER
  using ((select access.has_permission('grant_model_access')))
  with check ((select access.has_permission('grant_model_access')));
comment on policy all_manager on access.role_model_access is
  'Users with grant_model_access read, make and revoke all grants to roles.';
--! EndIncluded access/policies/role_model_access.sql
--! Included access/policies/role_permissions.sql
-- Every signed-in user may list the permissions of roles; users with manage_roles add and remove those that they hold.
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
  with check (
    (select access.has_permission('manage_roles')) and access.may_assign_permission(permission_id, 'infinity')
  );
comment on policy insert_manager on access.role_permissions is
  'Users with manage_roles add to roles the permissions that they hold without an expiry.';

drop policy if exists delete_manager on access.role_permissions;
create policy delete_manager on access.role_permissions
  for delete to :PLINTH_USER
  using ((select access.has_permission('manage_roles')) and access.may_assign_permission(permission_id, now()));
comment on policy delete_manager on access.role_permissions is
  'Users with manage_roles remove from roles the permissions that they hold.';
--! EndIncluded access/policies/role_permissions.sql
--! Included access/policies/roles.sql
-- Every signed-in user may list the roles; users with manage_roles add some, and change those that give no more than they hold.
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
  using ((select access.has_permission('manage_roles')) and access.may_assign_role(id, now()));
comment on policy update_manager on access.roles is
  'Users with manage_roles change roles that give no more than they hold.';

drop policy if exists delete_manager on access.roles;
create policy delete_manager on access.roles
  for delete to :PLINTH_USER
  -- Registration grants the user role, and no user could grant the admin role again.
  using (
    (select access.has_permission('manage_roles'))
    and role_name not in ('admin', 'user')
    and access.may_assign_role(id, now())
  );
comment on policy delete_manager on access.roles is
  'Users with manage_roles delete roles that give no more than they hold, except admin and user, which the product depends on.';
--! EndIncluded access/policies/roles.sql
--! Included access/policies/user_model_access.sql
-- Users see the grants made to them; users with grant_model_access see, make and revoke all grants.
revoke all on access.user_model_access from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (user_id, model_id, is_active, expires_at, reason),
  update (is_active, expires_at, reason),
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
-- Users see their own roles; users with manage_roles see all, and grant and revoke the roles that give no more than they hold.
revoke all on access.user_roles from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, insert (user_id, role_id, expires_at, reason), update (expires_at, reason), delete on access.user_roles to :PLINTH_USER;

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
drop policy if exists select_manager on access.user_roles;
create policy select_manager on access.user_roles
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_roles')));
comment on policy select_manager on access.user_roles is 'Users with manage_roles read all roles of users.';

drop policy if exists insert_manager on access.user_roles;
create policy insert_manager on access.user_roles
  for insert to :PLINTH_USER
  with check (
    (select access.has_permission('manage_roles')) and access.may_assign_role(role_id, coalesce(expires_at, 'infinity'))
  );
comment on policy insert_manager on access.user_roles is
  'Users with manage_roles grant roles that give no more than they hold, and for no longer.';

drop policy if exists update_manager on access.user_roles;
create policy update_manager on access.user_roles
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_roles')) and access.may_assign_role(role_id, now()))
  with check (
    (select access.has_permission('manage_roles')) and access.may_assign_role(role_id, coalesce(expires_at, 'infinity'))
  );
comment on policy update_manager on access.user_roles is
  'Users with manage_roles renew roles that give no more than they hold, and for no longer.';

drop policy if exists delete_manager on access.user_roles;
create policy delete_manager on access.user_roles
  for delete to :PLINTH_USER
  using ((select access.has_permission('manage_roles')) and access.may_assign_role(role_id, now()));
comment on policy delete_manager on access.user_roles is
  'Users with manage_roles revoke roles that give no more than they hold.';
--! EndIncluded access/policies/user_roles.sql

--! Included access/triggers/keep_last_administrator.sql
-- At least one administrator remains, whoever writes and by whichever path: revoking, an expiry, a disabled or deleted account,
-- plain SQL of the owner. The deletion of an account deletes its roles, and so arrives here as well. After the statement, so that
-- one statement may replace an administrator.
create or replace function private.keep_last_administrator()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'TRUNCATE' then
    perform private.guard_last_administrator();
    return null;
  end if;
  if not exists (select from access.roles r where r.role_name = 'admin' and r.id in (old.role_id, new.role_id)) then
    return null;
  end if;
  -- A grant that expires must not be the only one.
  if new.expires_at is not null
    or tg_op = 'DELETE' and old.expires_at is null
    or tg_op = 'UPDATE' and (old.role_id, old.user_id) <> (new.role_id, new.user_id)
  then
    perform private.guard_last_administrator();
  end if;
  -- The account may count at once, so it must not be disabled or deleted by a transaction that does not see this grant yet.
  perform from identity.users u where u.id = new.user_id for share;
  return null;
end
$$;

comment on function private.keep_last_administrator() is
  'Trigger: rejects a change of roles after which no administrator without an expiry remains (PL409).';

create or replace trigger _300_keep_last_administrator
  after insert or update or delete on access.user_roles
  for each row
  execute function private.keep_last_administrator();

create or replace trigger _301_keep_last_administrator
  after truncate on access.user_roles
  for each statement
  execute function private.keep_last_administrator();

-- The argument is the column with the account's id.
create or replace function private.keep_last_administrator_account()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  if exists (
    select
    from access.user_roles ur
    join access.roles r on r.id = ur.role_id and r.role_name = 'admin'
    where ur.user_id = (to_jsonb(new) ->> tg_argv[0])::uuid
  ) then
    perform private.guard_last_administrator();
  end if;
  return null;
end
$$;

comment on function private.keep_last_administrator_account() is
  'Trigger: rejects disabling or deleting the account of the last administrator (PL409). Argument: column with the account''s id.';

create or replace trigger _300_keep_last_administrator
  after update on identity.users
  for each row
  when (old.is_active and not new.is_active)
  execute function private.keep_last_administrator_account('id');

create or replace trigger _300_keep_last_administrator
  after insert on identity.account_deletions
  for each row
  execute function private.keep_last_administrator_account('user_id');
--! EndIncluded access/triggers/keep_last_administrator.sql
--! Included access/triggers/keep_role_management.sql
-- Without manage_roles in the role admin, no account could give it back.
create or replace function access.keep_role_management()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  -- The rows of permissions have other columns.
  if tg_table_name = 'role_permissions' then
    if not exists (
      select
      from access.roles r
      cross join access.permissions p
      where r.id = old.role_id and r.role_name = 'admin'
        and p.id = old.permission_id and p.permission_name = 'manage_roles'
    ) then
      return case tg_op when 'DELETE' then old else new end;
    end if;
  end if;
  raise exception 'The role admin must keep the permission manage_roles.' using errcode = 'PL409';
end
$$;

comment on function access.keep_role_management() is
  'Trigger: rejects removing manage_roles from the role admin, and deleting or renaming that permission (PL409).';

create or replace trigger _100_keep_role_management
  before delete on access.permissions
  for each row
  when (old.permission_name = 'manage_roles')
  execute function access.keep_role_management();

create or replace trigger _101_keep_role_management
  before update of permission_name on access.permissions
  for each row
  when (old.permission_name = 'manage_roles' and new.permission_name <> old.permission_name)
  execute function access.keep_role_management();

create or replace trigger _100_keep_role_management
  before delete or update on access.role_permissions
  for each row
  execute function access.keep_role_management();
--! EndIncluded access/triggers/keep_role_management.sql
--! Included access/triggers/permissions.sql
-- No caller may grant a permission that they do not hold, so an account must hold each new one: the role admin has all.
create or replace function access.give_permission_to_admin()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  insert into access.role_permissions (role_id, permission_id)
  select r.id, new.id from access.roles r where r.role_name = 'admin';
  return null;
end
$$;

comment on function access.give_permission_to_admin() is 'Trigger: adds each new permission to the role admin.';

create or replace trigger _400_give_to_admin
  after insert on access.permissions
  for each row
  execute function access.give_permission_to_admin();
--! EndIncluded access/triggers/permissions.sql
--! Included access/triggers/plan_model_access.sql
-- Plans have versions, which share a code, so that no foreign key can name one. A misspelt code would silently grant nothing.
-- After the policies, so that others do not learn from it which codes exist.
create or replace function access.check_plan_code()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  if not exists (select from billing.subscription_plans p where p.code = new.plan_code) then
    raise exception 'Plan not found.'
      using errcode = 'PL404', schema = 'access', table = 'plan_model_access', column = 'plan_code';
  end if;
  return null;
end
$$;

comment on function access.check_plan_code() is 'Trigger: rejects the code of a plan that does not exist (PL404).';

create or replace trigger _400_check_plan_code
  after insert or update of plan_code on access.plan_model_access
  for each row
  execute function access.check_plan_code();
--! EndIncluded access/triggers/plan_model_access.sql
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

create or replace trigger _700_record_data_change
  after insert or update or delete on access.role_model_access
  for each row
  execute function private.record_data_change('role_id,model_id', '', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.plan_model_access
  for each row
  execute function private.record_data_change('plan_code,model_id', '', '', '');
--! EndIncluded access/triggers/record_data_change.sql
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
-- would be lost just as a deleted one, and could then be deleted, too.
create or replace function access.keep_role_name()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  raise exception '%', case tg_op
    when 'DELETE' then 'The roles admin and user cannot be deleted.'
    else 'The roles admin and user cannot be renamed.'
  end
    using errcode = 'PL409', schema = 'access', table = 'roles', column = 'role_name';
end
$$;

comment on function access.keep_role_name() is 'Trigger: rejects renaming and deleting the roles admin and user (PL409).';

create or replace trigger _100_keep_name
  before update of role_name on access.roles
  for each row
  when (old.role_name in ('admin', 'user') and new.role_name <> old.role_name)
  execute function access.keep_role_name();

create or replace trigger _100_keep_role
  before delete on access.roles
  for each row
  when (old.role_name in ('admin', 'user'))
  execute function access.keep_role_name();

-- A role that begins to require a second factor grants nothing to holders without one until they add it.
create or replace function access.audit_required_second_factor()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_holders integer;
  v_without integer;
begin
  select count(*), count(*) filter (where private.second_factors(ur.user_id) = '{}')
  into v_holders, v_without
  from access.user_roles ur
  where ur.role_id = new.id
    and (ur.expires_at is null or ur.expires_at > now());
  perform private.record_security_event(
    'role_requires_second_factor',
    null,
    jsonb_build_object(
      'role_id', new.id, 'role_name', new.role_name, 'holders', v_holders, 'holders_without_factor', v_without
    ),
    case when v_without > 0 then 'warning' else 'info' end
  );
  if v_without > 0 then
    raise warning '% of % holders of the role % have no second factor.', v_without, v_holders, new.role_name
      using hint = 'The role grants them nothing until they add one and sign in with it.';
  end if;
  return null;
end
$$;

comment on function access.audit_required_second_factor() is
  'Trigger: writes role_requires_second_factor to the audit log, and warns if holders of the role have no second factor.';

create or replace trigger _500_audit_required_second_factor
  after update of requires_mfa on access.roles
  for each row
  when (new.requires_mfa and not old.requires_mfa)
  execute function access.audit_required_second_factor();
--! EndIncluded access/triggers/roles.sql
--! Included access/triggers/sign_grant.sql
-- A renewed grant is a new decision: it names the account that made it and the time, not those of the first grant.
create or replace function access.sign_grant()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  new.granted_by := plinth.current_user_id();
  new.granted_at := now();
  return new;
end
$$;

comment on function access.sign_grant() is 'Trigger: records the account that changed a grant, and the time.';

create or replace trigger _100_sign_grant
  before update on access.user_roles
  for each row
  when (old.granted_at = new.granted_at and (old.expires_at, old.reason) is distinct from (new.expires_at, new.reason))
  execute function access.sign_grant();

create or replace trigger _100_sign_grant
  before update on access.user_model_access
  for each row
  when (
    old.granted_at = new.granted_at
    and (old.expires_at, old.reason, old.is_active) is distinct from (new.expires_at, new.reason, new.is_active)
  )
  execute function access.sign_grant();

create or replace trigger _100_sign_grant
  before update on access.role_model_access
  for each row
  when (old.granted_at = new.granted_at and (old.expires_at, old.reason) is distinct from (new.expires_at, new.reason))
  execute function access.sign_grant();

create or replace trigger _100_sign_grant
  before update on access.plan_model_access
  for each row
  when (old.granted_at = new.granted_at and (old.expires_at, old.reason) is distinct from (new.expires_at, new.reason))
  execute function access.sign_grant();
--! EndIncluded access/triggers/sign_grant.sql
--! Included access/triggers/check_expiry.sql
-- In a trigger, so that the error names the column that the caller chose; the constraint compares two.
create or replace function access.check_expiry()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if new.expires_at <= new.granted_at then
    raise exception 'The expiry must be after the grant.'
      using errcode = 'PL422', schema = tg_table_schema, table = tg_table_name, column = 'expires_at';
  end if;
  return new;
end
$$;

comment on function access.check_expiry() is 'Trigger: PL422 for a grant that expires before it begins.';

create or replace trigger _200_check_expiry
  before insert or update of expires_at on access.user_roles
  for each row
  execute function access.check_expiry();

create or replace trigger _200_check_expiry
  before insert or update of expires_at on access.user_model_access
  for each row
  execute function access.check_expiry();

create or replace trigger _200_check_expiry
  before insert or update of expires_at on access.role_model_access
  for each row
  execute function access.check_expiry();

create or replace trigger _200_check_expiry
  before insert or update of expires_at on access.plan_model_access
  for each row
  execute function access.check_expiry();
--! EndIncluded access/triggers/check_expiry.sql
--! Included access/triggers/limit_model_grant.sql
-- A user with grant_model_access for a time could otherwise keep a model for ever. After the policies, which ask for the permission.
create or replace function access.limit_model_grant()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if plinth.current_user_id() is not null and not access.may_grant_models(coalesce(new.expires_at, 'infinity')) then
    raise exception 'You may grant no model for longer than you hold grant_model_access.'
      using errcode = 'PL403', column = 'expires_at';
  end if;
  return null;
end
$$;

comment on function access.limit_model_grant() is
  'Trigger: PL403 for a grant that ends after the caller''s own permission to make it.';

create or replace trigger _400_limit_model_grant
  after insert or update on access.user_model_access
  for each row
  execute function access.limit_model_grant();

create or replace trigger _400_limit_model_grant
  after insert or update on access.role_model_access
  for each row
  execute function access.limit_model_grant();

create or replace trigger _400_limit_model_grant
  after insert or update on access.plan_model_access
  for each row
  execute function access.limit_model_grant();
--! EndIncluded access/triggers/limit_model_grant.sql
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
    )
    -- Not of a revoked role: the account may be being deleted, with all that is written about it.
    || case when tg_op = 'DELETE' then '{}' else jsonb_build_object('reason', v_row.reason) end,
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

--! Included identity/functions/delete_my_account.sql
-- Requests the deletion of the caller's own account. The account stays complete until the grace period is over, and its owner
-- can sign in and cancel. Other sessions and API tokens, which could act for the account elsewhere, end at once. The session
-- that makes the request stays, so that a mistake can be corrected at once.
create or replace function identity.delete_my_account()
  returns identity.account_deletions
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id constant uuid := plinth.current_user_id();
  v_deletion identity.account_deletions;
  v_ended integer;
begin
  perform private.refuse_api_token();
  perform private.require_recent_authentication();
  -- Account before the rest: the one lock order.
  perform from identity.users u where u.id = v_user_id for no key update;
  select d.* into v_deletion from identity.account_deletions d where d.user_id = v_user_id;
  if v_deletion.user_id is not null then
    return v_deletion;
  end if;

  insert into identity.account_deletions (user_id, due_at, next_attempt_at)
  select v_user_id, now() + s.deletion_grace_period, now() + s.deletion_grace_period
  from identity.data_rights_settings s
  returning * into strict v_deletion;
  v_ended := private.end_sessions(v_user_id, 'account_deletion', plinth.current_session_id());
  update identity.api_tokens t set revoked_at = now() where t.user_id = v_user_id and t.revoked_at is null;
  perform private.record_security_event(
    'account_deletion_requested', v_user_id,
    jsonb_build_object('due_at', v_deletion.due_at, 'ended_sessions', v_ended), 'warning'
  );
  perform private.notify_user(
    v_user_id, 'account-deletion-requested', jsonb_build_object('due_at', v_deletion.due_at)
  );
  return v_deletion;
end
$$;

comment on function identity.delete_my_account() is
  'Requests the deletion of the signed-in account after the grace period; ends its other sessions and API tokens at once. A repeated call returns the pending deletion. Needs a recent sign-in (PL403 otherwise); PL409 for the last administrator.';
grant execute on function identity.delete_my_account() to :PLINTH_USER;
--! EndIncluded identity/functions/delete_my_account.sql
--! Included identity/private/delete_due_account.sql
-- A single account in each transaction: a killed worker has deleted it completely or not at all, and the next worker finds it due. An
-- account that cannot be deleted (its owner became the last administrator) does not block the others; it is retried later. Locks
-- the account before the deletion, as identity.cancel_account_deletion does.
create or replace function private.delete_due_account()
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user identity.users;
  v_variables jsonb;
begin
  select u.* into v_user
  from identity.users u
  join identity.account_deletions d on d.user_id = u.id
  where d.due_at <= now() and d.next_attempt_at <= now()
  order by d.next_attempt_at, d.user_id
  limit 1
  for update of u skip locked;
  if v_user.id is null then
    return null;
  end if;
  -- Checked again with the account locked: the deletion may have been canceled in between.
  perform from identity.account_deletions d where d.user_id = v_user.id and d.due_at <= now() for update;
  if not found then
    return 'canceled';
  end if;

  v_variables := private.mail_variables(v_user.id) - 'ip_address' - 'device';
  begin
    delete from identity.users u where u.id = v_user.id;
  exception
    -- A conflict between two transactions: the whole deletion is retried.
    when deadlock_detected or serialization_failure or query_canceled then
      raise;
    when others then
      update identity.account_deletions d
      set
        attempts = d.attempts + 1,
        next_attempt_at = now() + least(interval '1 day', interval '5 minutes' * power(2, least(d.attempts, 10))),
        last_failure = sqlstate
      where d.user_id = v_user.id;
      return 'postponed';
  end;
  -- Addressed to an address instead of the deleted account. The row is deleted when the mail has been sent.
  if v_user.email is not null then
    perform private.queue_mail(
      null, v_user.email, 'account-deleted', v_variables, expires_at => now() + interval '2 days'
    );
  end if;
  return 'deleted';
end
$$;

comment on function private.delete_due_account() is
  'Deletes one account whose deletion is due; returns deleted, postponed, canceled, or null when none is due.';
grant execute on function private.delete_due_account() to :PLINTH_WORKER;
--! EndIncluded identity/private/delete_due_account.sql
--! Included billing/private/current_plan_code.sql
-- The plan whose limits apply to a user: the same as identity.users_tier, for any caller.
create or replace function private.current_plan_code(user_id uuid)
  returns text
  language sql
  stable
as $$
  select coalesce(
    (
      select p.code
      from billing.user_subscriptions s
      join billing.subscription_plans p on p.id = s.plan_id
      where s.user_id = current_plan_code.user_id
        and s.status in ('trialing', 'active', 'past_due')
      limit 1
    ),
    'free'
  )
$$;

comment on function private.current_plan_code(uuid) is
  'Returns the code of the user''s plan (trialing, active or past_due), or free.';
--! EndIncluded billing/private/current_plan_code.sql
--! Included billing/private/reserve_tokens.sql
-- Reserves tokens for a call to a model, all or none, before the call is made: a caller with a hold can pay for it. One round
-- trip, O(grants in force), never O(events).
create or replace function private.reserve_tokens(
  user_id uuid,
  model_id uuid,
  max_tokens bigint,
  idempotency_key text,
  ttl interval default '5 minutes',
  at timestamptz default now()
)
  returns billing.token_holds
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_ledger record;
  v_is_locked boolean;
  v_next timestamptz;
  v_grant record;
  v_check record;
  v_hold billing.token_holds;
  v_taken record;
begin
  if reserve_tokens.max_tokens between 1 and 1000000000000 is not true then
    raise exception 'The number of tokens to hold must be from 1 to 10^12.' using errcode = 'PL422', column = 'max_tokens';
  end if;
  if length(reserve_tokens.idempotency_key) between 1 and 255 is not true then
    raise exception 'An idempotency key must have 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  if reserve_tokens.ttl between interval '1 second' and interval '24 hours' is not true then
    raise exception 'A hold must last from 1 second to 24 hours.' using errcode = 'PL422', column = 'ttl';
  end if;
  -- Nearly always the ledger is up to date, the first grant has enough and the key is new; then four small statements suffice.
  -- Nothing is locked where the account is needed first, because the holder of the ledger's lock must not wait for the account.
  -- The check therefore reads the row version from before the lock wait; re-reading it here would run the query while holding the
  -- lock.
  select
    t.next_hold_expires_at,
    (t.last_reset < date_trunc('month', reserve_tokens.at, 'UTC') or t.next_hold_expires_at <= reserve_tokens.at) is true as is_due,
    private.can_user_use_model(reserve_tokens.user_id, reserve_tokens.model_id) as has_model,
    exists (select from billing.usage_limits l where l.is_hard) as has_limits
  into v_ledger
  from billing.usage_tracking t
  where t.user_id = reserve_tokens.user_id
    and (select e.entitled_until > now() from billing.usage_tracking e where e.user_id = reserve_tokens.user_id)
  for no key update of t;
  v_is_locked := found;
  if v_is_locked and not v_ledger.is_due and v_ledger.has_model and not v_ledger.has_limits then
    select
      f.id,
      f.amount is null or f.amount - f.consumed - f.held >= reserve_tokens.max_tokens as has_enough,
      exists (
        select
        from billing.token_holds h
        where h.user_id = reserve_tokens.user_id and h.idempotency_key = reserve_tokens.idempotency_key
      ) as is_repeated
    into v_grant
    from billing.token_grants f
    where f.user_id = reserve_tokens.user_id
      and f.retired_at is null
      and f.starts_at <= reserve_tokens.at
      and (f.expires_at is null or f.expires_at > reserve_tokens.at)
    order by f.priority, f.expires_at, f.created_at, f.id
    limit 1;
    if v_grant.has_enough and not v_grant.is_repeated then
      update billing.token_grants g set held = g.held + reserve_tokens.max_tokens where g.id = v_grant.id;
      insert into billing.token_holds (
        user_id, model_id, max_tokens, grant_ids, grant_tokens, idempotency_key, expires_at, created_at
      )
      values (
        reserve_tokens.user_id, reserve_tokens.model_id, reserve_tokens.max_tokens, array[v_grant.id],
        array[reserve_tokens.max_tokens], reserve_tokens.idempotency_key, reserve_tokens.at + reserve_tokens.ttl,
        reserve_tokens.at
      )
      returning * into v_hold;
      -- Rare: the next hold to end is usually an earlier one.
      if v_ledger.next_hold_expires_at <= v_hold.expires_at is not true then
        update billing.usage_tracking t set next_hold_expires_at = v_hold.expires_at where t.user_id = v_hold.user_id;
      end if;
      return v_hold;
    end if;
  end if;

  perform private.ensure_grants_at(reserve_tokens.user_id, now(), not v_is_locked)
  where not exists (
    select from billing.usage_tracking t where t.user_id = reserve_tokens.user_id and t.entitled_until > now()
  );
  v_next := private.lock_usage(reserve_tokens.user_id, reserve_tokens.at);

  select h.* into v_hold
  from billing.token_holds h
  where h.user_id = reserve_tokens.user_id and h.idempotency_key = reserve_tokens.idempotency_key;
  if found then
    if v_hold.model_id is distinct from reserve_tokens.model_id
      or v_hold.max_tokens <> reserve_tokens.max_tokens
      or v_hold.expires_at - v_hold.created_at <> reserve_tokens.ttl
    then
      raise exception 'The idempotency key was already used with other arguments.'
        using errcode = 'PL409', column = 'idempotency_key';
    end if;
    return v_hold;
  end if;

  select
    private.can_user_use_model(reserve_tokens.user_id, reserve_tokens.model_id) as has_model,
    exists (select from billing.usage_limits l where l.is_hard) as has_limits
  into v_check;
  -- The same answer for a model that the user may not use and for one that does not exist.
  if not v_check.has_model then
    raise exception 'Model not found.' using errcode = 'PL404', column = 'model_id';
  end if;
  if v_check.has_limits and private.limits_passed(
    reserve_tokens.user_id, reserve_tokens.model_id, reserve_tokens.max_tokens, true, reserve_tokens.at
  ) > 0 then
    raise exception 'A usage limit does not allow that many tokens.'
      using errcode = 'PL402', hint = 'The limit resets with the next day or month (UTC).';
  end if;
  v_taken := private.take_tokens(reserve_tokens.user_id, reserve_tokens.max_tokens, true, reserve_tokens.at);
  if v_taken.missing > 0 then
    raise exception 'Not enough tokens are left.'
      using errcode = 'PL402', hint = format('%s are missing.', v_taken.missing);
  end if;

  insert into billing.token_holds (
    user_id, model_id, max_tokens, grant_ids, grant_tokens, idempotency_key, expires_at, created_at
  )
  values (
    reserve_tokens.user_id, reserve_tokens.model_id, reserve_tokens.max_tokens, v_taken.grant_ids, v_taken.grant_tokens,
    reserve_tokens.idempotency_key, reserve_tokens.at + reserve_tokens.ttl, reserve_tokens.at
  )
  returning * into v_hold;
  if v_next <= v_hold.expires_at is not true then
    update billing.usage_tracking t set next_hold_expires_at = v_hold.expires_at where t.user_id = v_hold.user_id;
  end if;
  return v_hold;
end
$$;

comment on function private.reserve_tokens(uuid, uuid, bigint, text, interval, timestamptz) is
  'Reserves tokens for a call; the same key again returns the same hold. PL402 when grants or hard limits do not cover it, PL409 for a key used for another request, PL404 for an unknown user and for a model that the user may not use.';
grant execute on function private.reserve_tokens(uuid, uuid, bigint, text, interval, timestamptz) to :PLINTH_SERVICE;
--! EndIncluded billing/private/reserve_tokens.sql
--! Included billing/functions/reserve_tokens.sql
-- A client may reserve its own tokens for its application server to settle: it can only reserve from its own balance, for
-- minutes. It may neither settle nor release, because it could then report less usage.
create or replace function billing.reserve_tokens(model_id uuid, max_tokens bigint, idempotency_key text)
  returns billing.token_holds
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.require_user_id();
  return private.reserve_tokens(
    plinth.current_user_id(), reserve_tokens.model_id, reserve_tokens.max_tokens, reserve_tokens.idempotency_key
  );
end
$$;

comment on function billing.reserve_tokens(uuid, bigint, text) is
  'Reserves tokens of the signed-in user for five minutes; the same key again returns the same hold. QUOTA_EXCEEDED when the tokens left do not cover it, CONFLICT for a key that was used with other arguments, NOT_FOUND for a model that the user may not use.';
grant execute on function billing.reserve_tokens(uuid, bigint, text) to :PLINTH_USER;
--! EndIncluded billing/functions/reserve_tokens.sql
--! Included analytics/views/permission_holders.sql
-- Holders by permission, for reviews of access: a permission with many holders, or with none, deserves a question. Counts the rows
-- of access.effective_permissions, which runs with the rights of its reader and so not for analysts.
create or replace view analytics.permission_holders
  with (security_barrier = true)
as
select
  p.permission_name,
  count(distinct h.role_id) as roles,
  count(distinct h.user_id) as users,
  count(distinct h.user_id) filter (where h.expires_at is null) as users_without_expiry,
  count(distinct h.user_id) filter (where not h.requires_mfa) as users_without_second_factor,
  min(h.expires_at) as next_expiry_at
from access.permissions p
left join (
  select rp.permission_id, ur.user_id, ur.role_id, ur.expires_at, r.requires_mfa
  from access.user_roles ur
  join identity.users u on u.id = ur.user_id and u.is_active
  join access.roles r on r.id = ur.role_id
  join access.role_permissions rp on rp.role_id = ur.role_id
  where ur.expires_at is null or ur.expires_at > now()
) h on h.permission_id = p.id
group by p.permission_name;

comment on view analytics.permission_holders is 'Grain: one row per permission, with the number of active users who hold it now.';
comment on column analytics.permission_holders.permission_name is 'Name of the permission, such as edit_content.';
comment on column analytics.permission_holders.roles is 'Number of roles through which users hold it.';
comment on column analytics.permission_holders.users is 'Number of active users who hold it.';
comment on column analytics.permission_holders.users_without_expiry is 'Number of users who hold it without an expiry.';
comment on column analytics.permission_holders.users_without_second_factor is
  'Number of users who hold it also in sessions without a second factor.';
comment on column analytics.permission_holders.next_expiry_at is 'Time of the next expiry; null if none expires.';
grant select on analytics.permission_holders to :PLINTH_ANALYST;
--! EndIncluded analytics/views/permission_holders.sql
