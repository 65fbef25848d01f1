--! Previous: sha1:6a34f38108d38d631bcfaafeeb59ba2ca0f58316
--! Hash: sha1:291c67a0db25aa4617ce279328d39be844a07e26
--! Message: account administration

-- Administrators act on accounts that may do no more than themselves.

alter table identity.user_sessions
  drop constraint user_sessions_end_reason_check,
  add constraint user_sessions_end_reason_check check (
    end_reason in (
      'logout', 'logout_everywhere', 'ended_by_user', 'ended_by_administrator', 'password_changed', 'token_reuse',
      'account_disabled', 'expired'
    )
  );

comment on column identity.user_sessions.end_reason is
  'logout, logout_everywhere, ended_by_user, ended_by_administrator, password_changed, token_reuse, account_disabled or expired.';

--! Included access/functions/may_administer.sql
-- A permission to manage accounts must not reach up: who may disable accounts could otherwise disable the administrators
-- who gave it, and whoever takes over a moderator's account would own all. Compared by permissions and not by rank, which
-- only orders names for display.
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
    select rp.permission_id
    from access.user_roles ur
    join identity.users u on u.id = ur.user_id and u.is_active
    join access.role_permissions rp on rp.role_id = ur.role_id
    where ur.user_id = plinth.current_user_id()
      and (ur.expires_at is null or ur.expires_at > now())
  )
$$;

comment on function access.may_administer(uuid) is
  E'@behavior -*\nWhether the signed-in user holds every permission that the other account holds.';
grant execute on function access.may_administer(uuid) to :PLINTH_USER;
--! EndIncluded access/functions/may_administer.sql
--! Included private/functions/require_administration.sql
-- What may be done with somebody else's account, and never with one that may do more than oneself. The answer is the same
-- for an account that does not exist, so that ids cannot be probed by who has no permission.
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
    raise exception 'The account may do more than you.' using errcode = 'PL403';
  end if;
end
$$;

comment on function private.require_administration(uuid) is
  'PL403 unless the signed-in user has manage_users and every permission of the account.';
--! EndIncluded private/functions/require_administration.sql
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
  perform private.require_administration(set_account_status.user_id);
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
  'Disables, enables or soft-deletes an account. Needs manage_users and every permission of the account (PL403); PL404 for an unknown one.';
grant execute on function identity.set_account_status(uuid, text) to :PLINTH_USER;
--! EndIncluded identity/functions/set_account_status.sql
--! Included identity/functions/unlock_account.sql
-- For the owner who calls support because somebody else's guesses keep the account locked.
create or replace function identity.unlock_account(user_id uuid)
  returns identity.users
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user identity.users;
begin
  perform private.require_administration(unlock_account.user_id);
  update identity.users u
  set failed_login_attempts = 0, locked_until = null
  where u.id = unlock_account.user_id
  returning u.* into v_user;
  if v_user.id is null then
    raise exception 'There is no such account.' using errcode = 'PL404';
  end if;
  perform private.record_security_event('account_unlocked', v_user.id);
  return v_user;
end
$$;

comment on function identity.unlock_account(uuid) is
  'Lets a locked account sign in again now. Needs manage_users and every permission of the account (PL403); PL404 for an unknown one.';
grant execute on function identity.unlock_account(uuid) to :PLINTH_USER;
--! EndIncluded identity/functions/unlock_account.sql
--! Included identity/functions/end_user_sessions.sql
-- For an account that is suspected to be in other hands: its owner signs in again, whoever else was in does not.
create or replace function identity.end_user_sessions(user_id uuid)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_ended integer;
begin
  perform private.require_administration(end_user_sessions.user_id);
  update identity.users u set token_version = u.token_version + 1 where u.id = end_user_sessions.user_id;
  if not found then
    raise exception 'There is no such account.' using errcode = 'PL404';
  end if;
  v_ended := private.end_sessions(end_user_sessions.user_id, 'ended_by_administrator');
  perform private.record_security_event(
    'sessions_ended_by_administrator', end_user_sessions.user_id, jsonb_build_object('sessions', v_ended), 'warning'
  );
  return v_ended;
end
$$;

comment on function identity.end_user_sessions(uuid) is
  'Ends all sessions and tokens of an account at once; returns how many sessions. Needs manage_users and every permission of the account (PL403); PL404 for an unknown one.';
grant execute on function identity.end_user_sessions(uuid) to :PLINTH_USER;
--! EndIncluded identity/functions/end_user_sessions.sql
--! Included identity/policies/users.sql
-- An account is its owner's, and an administrator's business. Everybody else sees identity.profiles.
revoke all on identity.users from :PLINTH_ANONYMOUS, :PLINTH_USER;
-- No insert: accounts are made by private.register_user. No e-mail, status or counters either: those change by functions.
grant select, update (username, profile_data), delete on identity.users to :PLINTH_USER;
-- currentUser is null for a visitor instead of an error: the column is readable, no row is.
grant select on identity.users to :PLINTH_ANONYMOUS;

drop policy if exists select_own on identity.users;
create policy select_own on identity.users
  for select to :PLINTH_USER
  using (id = (select plinth.current_user_id()));
comment on policy select_own on identity.users is 'Users read their own account.';

drop policy if exists select_managed on identity.users;
create policy select_managed on identity.users
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_users')) or (select access.has_permission('delete_user')));
comment on policy select_managed on identity.users is 'Who may manage or delete users reads all accounts.';

drop policy if exists update_own on identity.users;
create policy update_own on identity.users
  for update to :PLINTH_USER
  using (id = (select plinth.current_user_id()))
  with check (id = (select plinth.current_user_id()));
comment on policy update_own on identity.users is 'Users change their own name and profile.';

drop policy if exists delete_permitted on identity.users;
create policy delete_permitted on identity.users
  for delete to :PLINTH_USER
  using ((select access.has_permission('delete_user')) and access.may_administer(id));
comment on policy delete_permitted on identity.users is
  'The permission delete_user removes an account and all it owns, unless the account may do more.';
--! EndIncluded identity/policies/users.sql
