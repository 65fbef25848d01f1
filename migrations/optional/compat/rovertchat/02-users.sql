-- Two branches, of which one is empty for each caller: with CASE around the name, a sign-in could not use the index of names.
create view compat_rovertchat.users as
with roles as not materialized (
  select
    ur.user_id,
    case when bool_or(r.role_name = 'admin') then 'admin' else 'user' end::compat_rovertchat.userrole as role
  from access.user_roles ur
  join access.roles r on r.id = ur.role_id
  where ur.expires_at is null or ur.expires_at > now()
  group by ur.user_id
)
select
  u.id,
  u.username::varchar as username,
  u.email::varchar as email,
  null::varchar as password_hash,
  coalesce((select r.role from roles r where r.user_id = u.id), 'guest') as role,
  u.created_at at time zone 'UTC' as created_at,
  u.last_login_at at time zone 'UTC' as last_login,
  u.is_active,
  u.token_version
from identity.users u
where (select compat.reads_personal_data())
union all
select
  u.id,
  null,
  null,
  null,
  coalesce((select r.role from roles r where r.user_id = u.id), 'guest'),
  u.created_at at time zone 'UTC',
  u.last_login_at at time zone 'UTC',
  u.is_active,
  u.token_version
from identity.users u
where not (select compat.reads_personal_data());

comment on view compat_rovertchat.users is 'Accounts. Grain: one row per account.';
comment on column compat_rovertchat.users.id is 'Id of the account.';
comment on column compat_rovertchat.users.username is 'Login name, in lower case; null for analysts.';
comment on column compat_rovertchat.users.email is 'E-mail address, in lower case; null for analysts.';
comment on column compat_rovertchat.users.password_hash is
  'Always null: hashes stay in the schema private, and the API verifies passwords (mutation login). A hash that is written is stored.';
comment on column compat_rovertchat.users.role is
  'admin, user, or guest for an account without a role; an account with other roles is a user.';
comment on column compat_rovertchat.users.created_at is 'Time when the account was created, in UTC.';
comment on column compat_rovertchat.users.last_login is 'Time of the last successful sign-in, in UTC.';
comment on column compat_rovertchat.users.is_active is 'Whether the account is active.';
comment on column compat_rovertchat.users.token_version is 'Version of access tokens. Raising it revokes all earlier access tokens.';

create function compat_rovertchat.set_role(user_id uuid, role compat_rovertchat.userrole)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_roles constant text[] := (enum_range(null, set_role.role))[2:];
  v_role text;
begin
  delete from access.user_roles ur
  using access.roles r
  where ur.user_id = set_role.user_id
    and r.id = ur.role_id
    and r.role_name = any (array['user', 'admin'])
    and r.role_name <> all (v_roles);
  foreach v_role in array v_roles loop
    perform access.grant_role(set_role.user_id, v_role)
    where not exists (
      select
      from access.user_roles ur
      join access.roles r on r.id = ur.role_id
      where ur.user_id = set_role.user_id and r.role_name = v_role and ur.expires_at is null
    );
  end loop;
end
$$;

comment on function compat_rovertchat.set_role(uuid, compat_rovertchat.userrole) is
  'Gives an account the role and those below it, and takes those above; other roles stay.';

create function compat_rovertchat.write_users()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'DELETE' then
    delete from identity.users u where u.id = old.id;
    return case when found then old end;
  end if;
  if tg_op = 'INSERT' then
    new.id := coalesce(new.id, plinth.uuid_v7());
    insert into identity.users (id, username, email, account_status, token_version, last_login_at, created_at)
    values (
      new.id, new.username, new.email, case when new.is_active is false then 'disabled' else 'active' end,
      greatest(new.token_version, 1), new.last_login at time zone 'UTC', compat_rovertchat.utc(new.created_at)
    );
    perform compat_rovertchat.set_role(new.id, coalesce(new.role, 'user'));
  else
    if new.username is distinct from old.username then
      update identity.users u set username = new.username where u.id = old.id;
    end if;
    if new.email is distinct from old.email then
      update identity.users u set email = new.email where u.id = old.id;
    end if;
    if new.is_active is distinct from old.is_active then
      update identity.users u set account_status = case when new.is_active then 'active' else 'disabled' end where u.id = old.id;
    end if;
    if new.last_login is distinct from old.last_login then
      update identity.users u set last_login_at = new.last_login at time zone 'UTC' where u.id = old.id;
    end if;
    if new.role is distinct from old.role then
      perform compat_rovertchat.set_role(old.id, new.role);
    end if;
    -- A disabled account has a higher version already.
    if new.token_version <> old.token_version then
      if compat.writes_all() then
        update identity.users u set token_version = new.token_version where u.id = old.id and u.token_version < new.token_version;
      elsif old.id = plinth.current_user_id() then
        perform identity.logout_everywhere();
      else
        perform identity.end_user_sessions(old.id);
      end if;
    end if;
  end if;
  if new.password_hash is not null then
    perform compat.set_password(new.id, new.password_hash);
  end if;
  select v.* into new from compat_rovertchat.users v where v.id = new.id;
  return new;
end
$$;

comment on function compat_rovertchat.write_users() is
  'Trigger: creates, changes and erases accounts. A user who changes the own token version signs out everywhere, an administrator ends another''s sessions.';

call compat.write_through('rovertchat', 'users', 'insert or update or delete');
