create view compat_cedrina.users as
select
  compat_cedrina.serial(x.number) as id,
  p.username::varchar as username,
  p.email::varchar as email,
  null::varchar as hashed_password,
  u.is_active,
  u.is_verified,
  -- As identity.users_role and identity.users_tier, which analysts may not call.
  upper((coalesce(
    (
      select r.role_name
      from access.user_roles ur
      join access.roles r on r.id = ur.role_id
      where ur.user_id = u.id and (ur.expires_at is null or ur.expires_at > now())
      order by r.rank desc, r.role_name
      limit 1
    ),
    'guest'
  )) collate "C")::varchar collate "default" as role,
  upper((coalesce(
    (
      select l.code
      from billing.user_subscriptions s
      join billing.subscription_plans l on l.id = s.plan_id
      where s.user_id = u.id and s.status in ('trialing', 'active', 'past_due')
    ),
    'free'
  )) collate "C")::varchar collate "default" as tier,
  u.created_at,
  u.updated_at,
  u.last_login_at,
  u.failed_login_attempts,
  u.locked_until,
  u.password_changed_at,
  u.email_verified_at,
  p.profile_data,
  case when p.id is not null then s.preferences end as preferences,
  p.metadata
from identity.users u
join plinth.external_ids x on x.system = 'cedrina' and x.relation = 'users' and x.row_id = u.id
join identity.user_settings s on s.user_id = u.id
-- Personal data. Joined and not CASE, so that a lookup by name uses the index of the names.
left join identity.users p on p.id = u.id and (select compat.reads_personal_data());

comment on view compat_cedrina.users is 'Accounts. Grain: one row per account.';
comment on column compat_cedrina.users.id is 'Number of the account.';
comment on column compat_cedrina.users.username is 'Name; null for analysts.';
comment on column compat_cedrina.users.email is 'E-mail address; null for analysts, and if only its hash is stored.';
comment on column compat_cedrina.users.hashed_password is
  'Always null: hashes stay in the schema private, and sign-in verifies passwords. A hash that is inserted or updated is stored.';
comment on column compat_cedrina.users.is_active is 'Whether the account is active. Deactivation ends its sessions.';
comment on column compat_cedrina.users.is_verified is 'Whether the e-mail address is verified.';
comment on column compat_cedrina.users.role is 'Name of the highest-ranking role, in capitals; GUEST without a role.';
comment on column compat_cedrina.users.tier is 'Code of the current plan, in capitals; FREE without a subscription.';
comment on column compat_cedrina.users.created_at is 'Time when the account was created.';
comment on column compat_cedrina.users.updated_at is 'Time of the last change.';
comment on column compat_cedrina.users.last_login_at is 'Time of the last successful sign-in.';
comment on column compat_cedrina.users.failed_login_attempts is 'Number of consecutive wrong passwords.';
comment on column compat_cedrina.users.locked_until is 'Time until which sign-in is locked.';
comment on column compat_cedrina.users.password_changed_at is 'Time when the password was set; null without a password.';
comment on column compat_cedrina.users.email_verified_at is 'Time when the address was verified.';
comment on column compat_cedrina.users.profile_data is 'Profile of the user (JSON object); null for analysts.';
comment on column compat_cedrina.users.preferences is 'Settings of the user (JSON object); null for analysts, and for other users.';
comment on column compat_cedrina.users.metadata is 'Data of the application about the account (JSON object); null for analysts.';

-- A plan costs money, so only the application without a user's claims sets it.
create function compat_cedrina.set_tier(user_id uuid, tier text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_plan_id uuid;
begin
  if plinth.current_user_id() is not null then
    raise exception 'Only the application sets a tier.' using errcode = 'PL403';
  end if;
  if lower(tier collate "C") = 'free' then
    perform private.transition_subscription(s.id, 'canceled', now())
    from private.lock_subscriber(set_tier.user_id, now()) s
    where s.id is not null;
    return;
  end if;
  select p.id into v_plan_id
  from billing.subscription_plans p
  where p.code = lower(tier collate "C") and p.is_active and p.superseded_at is null
  order by p.billing_cycle <> 'monthly', p.currency
  limit 1;
  if v_plan_id is null then
    raise exception 'There is no plan %.', lower(tier collate "C") using errcode = 'PL404', column = 'tier';
  end if;
  perform private.grant_subscription_at(set_tier.user_id, v_plan_id, now());
end
$$;

comment on function compat_cedrina.set_tier(uuid, text) is
  'Grants an account a period of the plan with this code, or ends its subscription for free. PL403 with a user''s claims, PL404 for an unknown plan.';
grant execute on function compat_cedrina.set_tier(uuid, text) to :PLINTH_APPLICATION;

-- The document has one role per account: the new one replaces the one that is shown. Each account keeps the role user.
create function compat_cedrina.set_role(user_id uuid, old_role text, new_role text)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  perform access.grant_role(set_role.user_id, lower(new_role collate "C"));
  if lower(old_role collate "C") not in ('user', 'guest') then
    perform access.revoke_role(set_role.user_id, lower(old_role collate "C"));
  end if;
end
$$;

comment on function compat_cedrina.set_role(uuid, text, text) is
  'Grants a role and revokes the one before, with the caller''s rights. PL404 for an unknown role.';
grant execute on function compat_cedrina.set_role(uuid, text, text) to :PLINTH_APPLICATION;

-- With the caller's rights: users may do here what they may do in the API. A new account has the values of its INSERT, and
-- otherwise those of a new account.
create function compat_cedrina.write_users()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_id uuid;
  v_old compat_cedrina.users;
begin
  if tg_op = 'INSERT' then
    v_id := compat.create_account(new.username, new.email, new.hashed_password, new.created_at);
    new.id := compat.new_number('cedrina', 'users', v_id, new.id);
    select v.* into v_old from compat_cedrina.users v where v.id = new.id;
    new := jsonb_populate_record(v_old, (
      select jsonb_object_agg(n.key, n.value)
      from jsonb_each(to_jsonb(new) - '{username,email,hashed_password,created_at}'::text[]) n
      where n.value <> 'null'
    ));
  else
    v_id := compat.row_id('cedrina', 'users', old.id);
    v_old := old;
  end if;
  if tg_op = 'DELETE' then
    delete from identity.users u where u.id = v_id;
    return case when found then old end;
  end if;

  -- First, because only an active account has a subscription.
  if new.is_active and not v_old.is_active then
    update identity.users u set account_status = 'active' where u.id = v_id;
  end if;
  if (new.username, new.profile_data) is distinct from (v_old.username, v_old.profile_data) then
    update identity.users u
    set username = new.username, profile_data = coalesce(new.profile_data, '{}')
    where u.id = v_id;
  end if;
  if new.preferences is distinct from v_old.preferences then
    update identity.user_settings s set preferences = coalesce(new.preferences, '{}') where s.user_id = v_id;
  end if;
  if new.hashed_password is not null then
    perform compat.set_password(v_id, new.hashed_password);
  end if;
  if upper(new.role collate "C") is distinct from v_old.role then
    perform compat_cedrina.set_role(v_id, v_old.role, new.role);
  end if;
  if upper(new.tier collate "C") is distinct from v_old.tier then
    perform compat_cedrina.set_tier(v_id, new.tier);
  end if;
  if new.is_verified is distinct from v_old.is_verified and new.email_verified_at is not distinct from v_old.email_verified_at then
    new.email_verified_at := case when new.is_verified then now() end;
  end if;
  if new.email is distinct from v_old.email then
    perform compat.set_email(v_id, new.email);
  end if;
  if (new.is_active, new.email_verified_at, new.last_login_at, new.failed_login_attempts, new.locked_until,
      new.password_changed_at, new.metadata)
    is distinct from (v_old.is_active, v_old.email_verified_at, v_old.last_login_at, v_old.failed_login_attempts,
      v_old.locked_until, v_old.password_changed_at, v_old.metadata)
  then
    if not compat.writes_all() then
      raise exception 'Only the application, without the claims of a user, changes the state of an account.' using errcode = 'PL403';
    end if;
    update identity.users u
    set
      account_status = case when v_old.is_active and not new.is_active then 'disabled' else u.account_status end,
      -- A new address has lost its proof, and a new password has the time that was set with it.
      email_verified_at = case
        when new.email_verified_at is distinct from v_old.email_verified_at then new.email_verified_at
        else u.email_verified_at
      end,
      last_login_at = new.last_login_at,
      failed_login_attempts = coalesce(new.failed_login_attempts, 0),
      locked_until = new.locked_until,
      password_changed_at = case
        when new.password_changed_at is distinct from v_old.password_changed_at then new.password_changed_at
        else u.password_changed_at
      end,
      metadata = coalesce(new.metadata, '{}')
    where u.id = v_id;
  end if;
  select v.* into new from compat_cedrina.users v where v.id = compat.number_of('cedrina', 'users', v_id);
  return new;
end
$$;

comment on function compat_cedrina.write_users() is
  'Trigger: creates, changes and erases accounts. PL403 for the state of an account with a user''s claims, PL404 for an unknown role or tier, 23505 for a name, an address or a number that is taken.';

call compat.write_through('cedrina', 'users', 'insert or update or delete');

grant insert, update, delete on compat_cedrina.users to :PLINTH_APPLICATION;
grant update (username, profile_data, preferences) on compat_cedrina.users to :PLINTH_USER;
