--! Previous: sha1:bdbf623d3243eb52024b67fde9591137f1f7fd0c
--! Hash: sha1:27d3b47092c8ca2b290f9d51e6857524b57fe0e7
--! Message: identity wiring

-- What the parts of identity and security say to each other: who is told of what, which ways in are left, what needs a recent
-- sign-in, and how a provider's sign-in counts.
--! Included private/functions/notify_user.sql
-- Tells the owner what happened to their account, with when and from where. An account without an address is not told, and one
-- that is just being deleted neither: waiting for who deletes it could be waiting in a circle.
create or replace function private.notify_user(user_id uuid, template text, variables jsonb default '{}')
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  -- Materialized: the lock comes before the row that points there.
  with account as materialized (
    select u.id, u.email
    from identity.users u
    where u.id = notify_user.user_id
      and u.email is not null
      and u.account_status <> 'deleted'
    for key share skip locked
  )
  select private.queue_mail(a.id, a.email, notify_user.template, private.mail_variables(a.id) || coalesce(notify_user.variables, '{}'))
  from account a
$$;

comment on function private.notify_user(uuid, text, jsonb) is
  'Queues a notification to the account''s address; without an address nothing.';
--! EndIncluded private/functions/notify_user.sql
--! Included private/functions/notification_of.sql
-- Which events of the audit log their owner is told of (OWASP ASVS 5, 6.3.7): the one list. A sign-in, a changed password or
-- address are told where they happen, since more than the event decides about them.
create or replace function private.notification_of(event_type text, event_data jsonb)
  returns text
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select case
    when event_type in (
      'factor_added', 'factor_removed', 'mfa_locked', 'recovery_code_used', 'recovery_codes_replaced', 'passkey_cloned'
    ) then 'mfa-changed'
    when event_type = 'provider_unlinked' then 'oauth-changed'
    -- An account that was just made with a provider has nothing to be told.
    when event_type = 'provider_linked' and event_data ->> 'by' = 'link' then 'oauth-changed'
    when event_type = 'api_token_created' then 'api-token-created'
    when event_type = 'security_settings_changed' then 'security-settings-changed'
    when event_type in ('refresh_token_reused', 'sessions_ended_by_administrator') then 'session-ended'
    when event_type = 'suspicious_activity' then 'suspicious-activity'
  end
$$;

comment on function private.notification_of(text, jsonb) is
  'The mail template that tells an account''s owner of an event of the audit log; null for what they are not told.';
--! EndIncluded private/functions/notification_of.sql
--! Included private/functions/record_security_event.sql
-- The one way into the audit log. Context (address, agent, correlation id, actor) comes from the request's settings.
create or replace function private.record_security_event(
  event_type text,
  user_id uuid,
  event_data jsonb default '{}',
  severity text default 'info'
)
  returns void
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  insert into security.security_audit_log
    (user_id, actor_id, event_type, event_data, severity, source, ip_address, user_agent, correlation_id)
  values (
    -- The account may be gone (a token of a deleted user), the event still counts. Locked as the foreign key would, so that
    -- it cannot go between the look and the insert. One that is just being deleted counts as gone: who deletes it may wait
    -- for a row that the caller has changed, and the two would wait in a circle.
    (select u.id from identity.users u where u.id = record_security_event.user_id for key share skip locked),
    (select u.id from identity.users u where u.id = plinth.current_user_id() for key share skip locked),
    record_security_event.event_type,
    coalesce(record_security_event.event_data, '{}'),
    record_security_event.severity,
    session_user,
    plinth.client_ip(),
    left(plinth.user_agent(), 1000),
    plinth.correlation_id()
  );
  select private.notify_user(record_security_event.user_id, n.template, jsonb_build_object('event', record_security_event.event_type))
  from private.notification_of(record_security_event.event_type, record_security_event.event_data) n (template)
  where n.template is not null
$$;

comment on function private.record_security_event(text, uuid, jsonb, text) is
  'Adds a row to security.security_audit_log with the request''s context, and tells the owner where private.notification_of says so.';
--! EndIncluded private/functions/record_security_event.sql
--! Included private/functions/store_recovery_codes.sql
-- A set of recovery codes in place of the last one. The caller holds the account's row.
create or replace function private.store_recovery_codes(user_id uuid, code_hashes bytea[])
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_had_codes boolean;
begin
  delete from private.recovery_codes c where c.user_id = store_recovery_codes.user_id;
  v_had_codes := found;
  insert into private.recovery_codes (user_id, code_hash)
  select store_recovery_codes.user_id, h
  from unnest(store_recovery_codes.code_hashes) h;
  perform private.record_security_event(
    case when v_had_codes then 'recovery_codes_replaced' else 'recovery_codes_made' end, store_recovery_codes.user_id,
    jsonb_build_object('codes', cardinality(store_recovery_codes.code_hashes))
  );
end
$$;

comment on function private.store_recovery_codes(uuid, bytea[]) is 'Replaces the account''s recovery codes; those of before are dead.';

create or replace function private.regenerate_recovery_codes(code_hashes bytea[])
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id uuid := plinth.current_user_id();
begin
  perform from identity.users u where u.id = v_user_id for no key update;
  perform private.require_recent_authentication();
  if not exists (select from identity.mfa_factors f where f.user_id = v_user_id and f.confirmed_at is not null) then
    raise exception 'Recovery codes stand in for a second factor, and you have none.'
      using errcode = 'PL409', hint = 'Enrol one with startTotp or startPasskeyRegistration.';
  end if;
  perform private.store_recovery_codes(v_user_id, regenerate_recovery_codes.code_hashes);
end
$$;

comment on function private.regenerate_recovery_codes(bytea[]) is
  'New recovery codes for the user who asks. Needs a recent sign-in (PL403) and a confirmed factor (PL409).';
grant execute on function private.regenerate_recovery_codes(bytea[]) to :PLINTH_SERVICE;
--! EndIncluded private/functions/store_recovery_codes.sql

drop function private.has_another_way_in(uuid, uuid);
--! Included private/functions/has_another_way_in.sql
-- Nobody may lock themselves out: an account keeps a password, a provider or a passkey. A code of an app is no way in by itself.
create or replace function private.has_another_way_in(user_id uuid, except_id uuid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select exists (select from private.user_passwords p where p.user_id = has_another_way_in.user_id)
    or exists (
      select
      from identity.oauth_profiles o
      where o.user_id = has_another_way_in.user_id and o.id is distinct from has_another_way_in.except_id
    )
    or exists (
      select
      from identity.mfa_factors f
      where f.user_id = has_another_way_in.user_id
        and f.kind = 'passkey'
        and f.confirmed_at is not null
        and f.id is distinct from has_another_way_in.except_id
    )
$$;

comment on function private.has_another_way_in(uuid, uuid) is
  'Whether an account could be signed in to without this profile or factor (null: as it is). The caller holds the account''s row.';
--! EndIncluded private/functions/has_another_way_in.sql
--! Included identity/functions/mfa_factors.sql
-- Removing a second factor is what a thief of a session would do first, so it asks for a recent sign-in.
create or replace function identity.remove_mfa_factor(factor_id uuid)
  returns identity.mfa_factors
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id uuid := plinth.current_user_id();
  v_factor identity.mfa_factors;
begin
  perform from identity.users u where u.id = v_user_id for no key update;
  perform private.require_recent_authentication();
  select f.* into v_factor
  from identity.mfa_factors f
  where f.id = remove_mfa_factor.factor_id and f.user_id = v_user_id;
  if v_factor.id is null then
    raise exception 'You have no such second factor.' using errcode = 'PL404';
  end if;
  if v_factor.confirmed_at is not null and not private.has_another_way_in(v_user_id, v_factor.id) then
    raise exception 'Without it you could not sign in any more.'
      using errcode = 'PL409', hint = 'Set a password, link a provider or add another passkey first.';
  end if;
  delete from identity.mfa_factors f where f.id = v_factor.id;
  if cardinality(private.second_factors(v_user_id)) = 0 then
    if v_factor.confirmed_at is not null
      and exists (select from private.user_passwords p where p.user_id = v_user_id and not p.suffices_alone)
    then
      raise exception 'Your password is too short to be all that protects the account.'
        using errcode = 'PL409', hint = 'Change it to one of 15 characters or more first.';
    end if;
    delete from private.recovery_codes c where c.user_id = v_user_id;
    delete from private.mfa_attempts a where a.user_id = v_user_id;
  end if;
  perform private.record_security_event(
    'factor_removed', v_user_id,
    jsonb_build_object('factor_id', v_factor.id, 'kind', v_factor.kind, 'was_confirmed', v_factor.confirmed_at is not null),
    'warning'
  );
  return v_factor;
end
$$;

comment on function identity.remove_mfa_factor(uuid) is
  'Removes one of the user''s own second factors. Needs a recent sign-in (PL403 otherwise); PL404 for an unknown one, PL409 when no way to sign in, or a short password alone, would be left.';
grant execute on function identity.remove_mfa_factor(uuid) to :PLINTH_USER;

-- The codes themselves are nobody's to read; how many are left is the owner's.
create or replace function identity.recovery_codes_left()
  returns integer
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select count(*)::integer
  from private.recovery_codes c
  where c.user_id = plinth.current_user_id()
    and c.used_at is null
$$;

comment on function identity.recovery_codes_left() is 'How many of the user''s recovery codes still work.';
grant execute on function identity.recovery_codes_left() to :PLINTH_USER;
--! EndIncluded identity/functions/mfa_factors.sql
drop function private.factor_may_go(uuid, uuid);
--! Included private/functions/check_provider_change.sql
-- What must hold before an account's ways in may change, for linking and unlinking alike: the one place for it. The account's
-- row is locked first (account, session, token).
create or replace function private.check_provider_change()
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  perform from identity.users u where u.id = plinth.current_user_id() and u.account_status = 'active' for no key update;
  if not found then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  perform
  from identity.user_sessions s
  where s.id = plinth.current_session_id()
    and s.user_id = plinth.current_user_id()
    and s.ended_at is null
    and s.expires_at > now()
  for key share;
  if not found then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  perform private.require_recent_authentication();
end
$$;

comment on function private.check_provider_change() is
  'Lets the signed-in account go on to change its providers, its row locked; PL401 without a live session, PL403 without a recent sign-in.';
--! EndIncluded private/functions/check_provider_change.sql
--! Included identity/functions/unlink_provider.sql
-- Takes a provider away from the account that asks, with the tokens it gave us. The account's row is locked, so that of two
-- requests that each leave the other's way in, one is refused.
create or replace function identity.unlink_provider(provider text)
  returns identity.oauth_profiles
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_profile identity.oauth_profiles;
begin
  perform private.check_provider_change();
  select o.* into v_profile
  from identity.oauth_profiles o
  where o.user_id = plinth.current_user_id() and o.provider = unlink_provider.provider;
  if v_profile.id is null then
    raise exception 'Your account has no such provider.' using errcode = 'PL404', column = 'provider';
  end if;
  if not private.has_another_way_in(v_profile.user_id, v_profile.id) then
    raise exception 'This provider is the only way into your account.'
      using errcode = 'PL409', column = 'provider', hint = 'Set a password, link another provider or add a passkey first.';
  end if;
  delete from identity.oauth_profiles o where o.id = v_profile.id;
  perform private.record_security_event(
    'provider_unlinked', v_profile.user_id, jsonb_build_object('provider', v_profile.provider)
  );
  return v_profile;
end
$$;

comment on function identity.unlink_provider(text) is
  'Ends signing in with a provider and forgets its tokens. Needs a recent sign-in (PL403 otherwise); PL409 for the only way in, PL404 if it is not linked.';
grant execute on function identity.unlink_provider(text) to :PLINTH_USER;
--! EndIncluded identity/functions/unlink_provider.sql
--! Included private/functions/create_api_token.sql
-- The secret is made and hashed outside; here is decided whether there may be one more token. The account's row is the lock,
-- so that parallel requests are counted one after the other.
create or replace function private.create_api_token(
  user_id uuid,
  session_id uuid,
  name text,
  scopes text[],
  expires_at timestamptz,
  token_prefix text,
  token_hash bytea
)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_authenticated_at timestamptz;
  v_expires_at timestamptz := coalesce(create_api_token.expires_at, now() + interval '90 days');
  v_id uuid;
begin
  perform private.refuse_api_token();
  perform from identity.users u where u.id = create_api_token.user_id and u.account_status = 'active' for no key update;
  if found then
    select s.authenticated_at into v_authenticated_at
    from identity.user_sessions s
    where s.id = create_api_token.session_id
      and s.user_id = create_api_token.user_id
      and s.ended_at is null
      and s.expires_at > now();
  end if;
  if v_authenticated_at is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  -- A token outlives the session: whoever finds an open browser must not take one away.
  if v_authenticated_at < now() - interval '10 minutes' then
    raise exception 'This needs a recent sign-in.' using errcode = 'PL403', hint = 'Confirm it is you with reauthenticate.';
  end if;

  if create_api_token.scopes is null
    or cardinality(create_api_token.scopes) = 0
    or array_position(create_api_token.scopes, null) is not null
    or not create_api_token.scopes <@ array['read', 'write']
  then
    raise exception 'Scopes are read and write.'
      using errcode = 'PL422', schema = 'identity', table = 'api_tokens', column = 'scopes';
  end if;
  if not (v_expires_at > now() and v_expires_at <= now() + interval '366 days') then
    raise exception 'A token expires within 366 days.'
      using errcode = 'PL422', schema = 'identity', table = 'api_tokens', column = 'expires_at';
  end if;
  if (
    select count(*) >= 50
    from identity.api_tokens t
    where t.user_id = create_api_token.user_id and t.revoked_at is null and t.expires_at > now()
  ) then
    raise exception 'There may be 50 live tokens.'
      using errcode = 'PL402', hint = 'Revoke one that is not needed.';
  end if;

  insert into identity.api_tokens (user_id, name, token_prefix, scopes, expires_at)
  values (
    create_api_token.user_id,
    create_api_token.name,
    create_api_token.token_prefix,
    case when 'write' = any (create_api_token.scopes) then array['read', 'write'] else array['read'] end,
    v_expires_at
  )
  returning id into v_id;
  insert into private.api_token_hashes (token_id, token_hash) values (v_id, create_api_token.token_hash);
  perform private.record_security_event(
    'api_token_created', create_api_token.user_id,
    jsonb_build_object('token_id', v_id, 'scopes', to_jsonb(create_api_token.scopes), 'expires_at', v_expires_at)
  );
  return v_id;
end
$$;

comment on function private.create_api_token(uuid, uuid, text, text[], timestamptz, text, bytea) is
  'Adds an API token to the account of a session that was signed in recently; returns its id. PL401, PL402 (50 live ones), PL403, PL422.';
grant execute on function private.create_api_token(uuid, uuid, text, text[], timestamptz, text, bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/create_api_token.sql

-- A token that a competitor ended must not look alive to a transaction that began earlier.
--! Included private/functions/reset_password.sql
-- Sets a password with a token from the account's mail; one winner, whoever races. Opens no session and shows no second factor:
-- signing in comes after. Everything that was signed in ends. The lock is lifted: it guards the old password against guessing,
-- which is gone, and left in place it would let anybody keep the owner out with wrong guesses (OWASP Forgot Password Cheat
-- Sheet; NIST SP 800-63B-4 section 4.2 counts recovery as showing who one is).
create or replace function private.reset_password(
  token_hash bytea,
  new_password_hash text,
  new_hash_algorithm text,
  suffices_alone boolean,
  history_length integer
)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user identity.users;
  v_ended integer;
begin
  select u.* into v_user
  from identity.users u
  where u.id = (select t.user_id from private.password_reset_tokens t where t.token_hash = reset_password.token_hash)
  for no key update;
  -- Looked at only now, with the account locked: who waited for a winner finds the token used, or ended by the clock of a
  -- transaction that began after this one.
  update private.password_reset_tokens t
  set used_at = now()
  where t.token_hash = reset_password.token_hash
    and t.used_at is null
    and t.expires_at > clock_timestamp()
    and v_user.account_status = 'active';
  if not found then
    perform private.record_security_event(
      'password_reset_failed', v_user.id, jsonb_build_object('reason', 'token_not_valid'), 'warning'
    );
    return false;
  end if;

  perform private.set_password(
    v_user.id, reset_password.new_password_hash, reset_password.new_hash_algorithm, reset_password.suffices_alone,
    reset_password.history_length
  );
  update identity.users u
  set
    password_changed_at = now(), token_version = u.token_version + 1, failed_login_attempts = 0, locked_until = null
  where u.id = v_user.id;
  v_ended := private.end_sessions(v_user.id, 'password_changed');
  delete from private.refresh_tokens t where t.user_id = v_user.id;
  perform private.record_security_event(
    'password_reset', v_user.id,
    jsonb_build_object('ended_sessions', v_ended, 'lifted_lock', coalesce(v_user.locked_until > now(), false)), 'warning'
  );
  perform private.notify_user(v_user.id, 'password-changed', jsonb_build_object('by_reset', true));
  return true;
end
$$;

comment on function private.reset_password(bytea, text, text, boolean, integer) is
  'Sets a password with a single-use token and ends all sessions; false for a token that is not valid.';
grant execute on function private.reset_password(bytea, text, text, boolean, integer) to :PLINTH_SERVICE;
--! EndIncluded private/functions/reset_password.sql
--! Included private/functions/verify_email.sql
-- A link was opened: the address it was sent to is the account's, and its only one. The old one is told. Links sent to the old
-- address no longer set passwords.
create or replace function private.verify_email(token_hash bytea)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user identity.users;
  v_address text;
  v_hash bytea;
begin
  select u.* into v_user
  from identity.users u
  where u.id = (select v.user_id from private.user_verifications v where v.token_hash = verify_email.token_hash)
  for no key update;
  -- Looked at only now, with the account locked: who waited for a winner finds the token used, or ended by the clock of a
  -- transaction that began after this one.
  update private.user_verifications v
  set used_at = now()
  where v.token_hash = verify_email.token_hash
    and v.kind = 'email'
    and v.used_at is null
    and v.expires_at > clock_timestamp()
    and v_user.account_status = 'active'
  returning v.new_value, v.hashed_email into v_address, v_hash;
  if v_address is null then
    perform private.record_security_event(
      'email_verification_failed', v_user.id, jsonb_build_object('reason', 'token_not_valid')
    );
    return false;
  end if;

  if v_address is not distinct from v_user.email then
    update identity.users u set email_verified_at = now() where u.id = v_user.id;
    perform private.record_security_event('email_verified', v_user.id);
    return true;
  end if;

  begin
    update identity.users u set email = v_address, hashed_email = v_hash, email_verified_at = now() where u.id = v_user.id;
  exception
    when unique_violation then
      -- Somebody else proved it first.
      perform private.record_security_event(
        'email_verification_failed', v_user.id, jsonb_build_object('reason', 'address_taken')
      );
      return false;
  end;
  update private.password_reset_tokens t
  set expires_at = now()
  where t.user_id = v_user.id and t.expires_at > now() and t.used_at is null;
  if v_user.email is not null then
    perform private.queue_mail(v_user.id, v_user.email, 'email-changed', private.mail_variables(v_user.id));
  end if;
  perform private.record_security_event('email_changed', v_user.id, '{}', 'warning');
  return true;
end
$$;

comment on function private.verify_email(bytea) is
  'Makes the address a link was sent to the account''s verified one; false for a token that is not valid.';
grant execute on function private.verify_email(bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/verify_email.sql
--! Included private/functions/verify_phone.sql
-- One try at the code, counted before it is checked outside: guesses in parallel, from any session, are five in all.
create or replace function private.take_phone_attempt(user_id uuid)
  returns table (verification_id uuid, code_hash text)
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  update private.user_verifications v
  set attempts = v.attempts + 1
  where v.user_id = take_phone_attempt.user_id
    and v.kind = 'phone'
    and v.used_at is null
    and v.expires_at > clock_timestamp()
    and v.attempts < 5
  returning v.id, v.code_hash
$$;

comment on function private.take_phone_attempt(uuid) is
  'Counts a try at the account''s live code and returns its hash; no row when there is none or its five tries are spent.';
grant execute on function private.take_phone_attempt(uuid) to :PLINTH_SERVICE;

-- The number becomes the account's if the code was right and is still the live one.
create or replace function private.finish_phone_verification(user_id uuid, verification_id uuid, code_matches boolean)
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user identity.users;
  v_number text;
begin
  select u.* into v_user from identity.users u where u.id = finish_phone_verification.user_id for no key update;
  update private.user_verifications v
  set used_at = now()
  where v.id = finish_phone_verification.verification_id
    and v.user_id = v_user.id
    and v.kind = 'phone'
    and v.used_at is null
    and v.expires_at > clock_timestamp()
    and v_user.account_status = 'active'
    and coalesce(finish_phone_verification.code_matches, false)
  returning v.new_value into v_number;
  if v_number is null then
    perform private.record_security_event(
      'phone_verification_failed', v_user.id, jsonb_build_object('reason', 'code_not_valid')
    );
    return 'refused';
  end if;

  begin
    update identity.users u set phone_number = v_number, phone_verified_at = now() where u.id = v_user.id;
  exception
    when unique_violation then
      -- Told to somebody who has just shown that they hold the number.
      perform private.record_security_event(
        'phone_verification_failed', v_user.id, jsonb_build_object('reason', 'number_taken')
      );
      return 'taken';
  end;
  perform private.record_security_event('phone_verified', v_user.id);
  if v_user.phone_number is distinct from v_number then
    perform private.notify_user(v_user.id, 'phone-changed');
  end if;
  return 'verified';
end
$$;

comment on function private.finish_phone_verification(uuid, uuid, boolean) is
  'Makes a number the account''s after its code was checked; returns verified, refused or taken.';
grant execute on function private.finish_phone_verification(uuid, uuid, boolean) to :PLINTH_SERVICE;
--! EndIncluded private/functions/verify_phone.sql

-- Nothing hands over a new hash any more: private.replace_password_hash looks at the old one first.
drop function private.finish_login(uuid, text, boolean, integer, bytea, text, text, text, bytea);
--! Included private/functions/finish_login.sql
-- Decides a sign-in whose password was checked outside. Always commits something: a refused attempt is counted and audited.
-- The account's row is locked first, so that parallel guesses are counted one by one and the lock holds for all of them.
-- Whoever needs several locks takes them in one order, account, session, token, so that nobody waits in a circle.
create or replace function private.finish_login(
  user_id uuid,
  identifier text,
  password_matches boolean,
  checked_token_version integer,
  refresh_token_hash bytea,
  device_name text default null,
  challenge_hash bytea default null
)
  returns table (
    session_id uuid,
    token_version integer,
    refresh_expires_at timestamptz,
    challenge_expires_at timestamptz,
    challenge_methods text[]
  )
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user identity.users;
  v_refusal text;
begin
  select u.* into v_user from identity.users u where u.id = finish_login.user_id for no key update;

  v_refusal := case
    when v_user.id is null then 'unknown_account'
    when v_user.locked_until > now() then 'account_locked'
    when not coalesce(finish_login.password_matches, false) then 'wrong_password'
    -- Changed between the check and now.
    when v_user.token_version is distinct from finish_login.checked_token_version then 'wrong_password'
    when v_user.account_status <> 'active' then 'account_disabled'
    when not private.network_is_allowed(v_user.id) then 'network_not_allowed'
  end;

  if v_refusal is null then
    select c.session_id, c.token_version, c.refresh_expires_at, c.challenge_expires_at, c.challenge_methods
    into session_id, token_version, refresh_expires_at, challenge_expires_at, challenge_methods
    from private.complete_sign_in(
      v_user.id, array['pwd'], finish_login.refresh_token_hash, finish_login.device_name, finish_login.challenge_hash
    ) c;
  end if;

  perform security.track_login_attempt(
    v_user.id,
    -- A name of nobody may be a password typed into the wrong field: it is kept so that repeats can be told, not read.
    case
      when v_user.id is null and finish_login.identifier !~ '@'
      then 'sha256:' || left(encode(sha256(convert_to(lower(finish_login.identifier), 'UTF8')), 'hex'), 16)
      else finish_login.identifier
    end,
    plinth.client_ip(),
    plinth.user_agent(),
    case
      when v_refusal = 'account_locked' then 'locked'
      when v_refusal is not null then 'failed'
      -- Half way is no success: it must not clear the count of failures, or knowing the password would hide guesses.
      when session_id is null then 'challenged'
      else 'success'
    end,
    v_refusal
  );

  if v_refusal is not null then
    perform private.record_security_event(
      'login_failed', v_user.id, jsonb_build_object('reason', v_refusal),
      case when v_refusal in ('wrong_password', 'unknown_account') then 'info' else 'warning' end
    );
    return;
  end if;
  return next;
end
$$;

comment on function private.finish_login(uuid, text, boolean, integer, bytea, text, bytea) is
  'Opens a session, or a challenge, if the password matched and nothing forbids it; no row when refused. Counts and audits either way.';
grant execute on function private.finish_login(uuid, text, boolean, integer, bytea, text, bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/finish_login.sql

drop function private.finish_provider_sign_in(uuid, text, text, boolean, jsonb, text, text, timestamptz, boolean, boolean, bytea, bytea);
drop function private.register_by_provider(text, text, text);
--! Included private/functions/register_by_provider.sql
-- A name that the account may have, from whatever the provider calls the person.
create or replace function private.username_from(suggestion text)
  returns text
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select case when length(cleaned) >= 2 then cleaned else 'user' end
  from (
    select trim(
      both '._-' from left(
        trim(both '._-' from regexp_replace(lower(split_part(coalesce(username_from.suggestion, ''), '@', 1)), '[^a-z0-9_.-]+', '-', 'g')),
        80
      )
    ) as cleaned
  ) c
$$;

comment on function private.username_from(text) is 'A well-formed username made of a name or address; not necessarily a free one.';

-- An account for somebody a provider sent, without a password: private.user_passwords has no row, so that no password fits.
-- `verified_email` is an address that a trusted provider verified, or null; nothing else may be put here. Its keyed hash stands
-- beside it, and in its place in privacy mode.
-- Another account's address is never taken, and that account is never opened:
-- - Somebody verified it there: no account is made (null), since it would be the person's second one. The caller may say so,
--   because who comes this way has just proved to own the address.
-- - Nobody verified it there: whoever registered may have done so to lie in wait for the owner (pre-hijacking). The new account
--   is made without the address, so that its owner is neither led into the prepared account nor kept out.
create or replace function private.register_by_provider(
  suggested_username text,
  verified_email text,
  verified_email_hash bytea,
  display_name text
)
  returns uuid
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_name text := private.username_from(suggested_username);
  v_email text := lower(trim(verified_email));
  v_hash bytea := verified_email_hash;
  v_user_id uuid;
begin
  -- A conflict is a name or an address taken, perhaps just now: look again.
  for v_attempt in 1..20 loop
    if exists (
      select from identity.users u where (u.email = v_email or u.hashed_email = v_hash) and u.email_verified_at is not null
    ) then
      return null;
    end if;
    if exists (select from identity.users u where u.email = v_email or u.hashed_email = v_hash) then
      v_email := null;
      v_hash := null;
    end if;
    insert into identity.users (username, email, hashed_email, email_verified_at)
    values (
      case v_attempt when 1 then v_name else v_name || '-' || left(replace(gen_random_uuid()::text, '-', ''), 8) end,
      v_email,
      v_hash,
      case when v_email is not null or v_hash is not null then now() end
    )
    on conflict do nothing
    returning id into v_user_id;
    exit when v_user_id is not null;
  end loop;
  if v_user_id is null then
    raise exception 'No free name was found; try again.' using errcode = 'PL409';
  end if;

  insert into identity.user_settings (user_id, display_name)
  values (v_user_id, nullif(trim(left(regexp_replace(display_name, '[[:cntrl:]]', '', 'g'), 100)), ''));
  insert into identity.user_security_settings (user_id) values (v_user_id);
  insert into access.user_roles (user_id, role_id)
  select v_user_id, r.id from access.roles r where r.role_name = 'user';
  perform private.record_security_event('user_registered', v_user_id, jsonb_build_object('by', 'provider'));
  return v_user_id;
end
$$;

comment on function private.register_by_provider(text, text, bytea, text) is
  'Makes an account without a password and with a free name; returns its id, or null if somebody else verified the address here.';
--! EndIncluded private/functions/register_by_provider.sql
--! Included private/functions/finish_provider_sign_in.sql
-- Decides a sign-in for which a provider vouched; the answer was checked outside (signature, issuer, audience, nonce, PKCE).
-- Only (provider, subject) says whose account it is: an address never does, verified or not. `verified_email` is what a trusted
-- provider verified, with its keyed hash, for a new account; in privacy mode the hash alone. Always commits something: a
-- refusal is counted and audited. Locks: subject, account, session, token.
create or replace function private.finish_provider_sign_in(
  flow_id uuid,
  provider_user_id text,
  email text,
  email_verified boolean,
  user_info jsonb,
  access_token_sealed text,
  refresh_token_sealed text,
  token_expires_at timestamptz,
  may_register boolean,
  verified_email text,
  verified_email_hash bytea,
  refresh_token_hash bytea,
  challenge_hash bytea
)
  returns table (
    outcome text,
    user_id uuid,
    session_id uuid,
    token_version integer,
    refresh_expires_at timestamptz,
    challenge_expires_at timestamptz,
    challenge_methods text[]
  )
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_flow private.oauth_states;
  v_user_id uuid;
  v_user identity.users;
  v_is_new boolean := false;
  v_refusal text;
begin
  -- What private.take_provider_flow took; it ends here, so that one answer opens one session.
  delete from private.oauth_states s
  where s.id = finish_provider_sign_in.flow_id and s.purpose = 'sign_in' and s.used_at is not null
  returning s.* into v_flow;
  if v_flow.id is null then
    outcome := 'refused';
    return next;
    return;
  end if;

  perform private.lock_provider_subject(v_flow.provider, finish_provider_sign_in.provider_user_id);
  select o.user_id into v_user_id
  from identity.oauth_profiles o
  where o.provider = v_flow.provider and o.provider_user_id = finish_provider_sign_in.provider_user_id;

  if v_user_id is not null then
    select u.* into v_user from identity.users u where u.id = v_user_id for no key update;
    -- Unlinked, or deleted, while we waited for the account.
    perform
    from identity.oauth_profiles o
    where o.provider = v_flow.provider
      and o.provider_user_id = finish_provider_sign_in.provider_user_id
      and o.user_id = v_user.id;
    if not found then
      v_user := null;
      v_refusal := 'unlinked';
    end if;
  elsif not finish_provider_sign_in.may_register then
    v_refusal := 'not_registered';
  else
    v_user_id := private.register_by_provider(
      coalesce(
        finish_provider_sign_in.user_info ->> 'preferred_username',
        finish_provider_sign_in.email,
        finish_provider_sign_in.user_info ->> 'name'
      ),
      finish_provider_sign_in.verified_email,
      finish_provider_sign_in.verified_email_hash,
      finish_provider_sign_in.user_info ->> 'name'
    );
    v_is_new := v_user_id is not null;
    select u.* into v_user from identity.users u where u.id = v_user_id for no key update;
    if v_user.id is null then
      v_refusal := 'address_taken';
    end if;
  end if;

  v_refusal := coalesce(
    v_refusal,
    case
      when v_user.locked_until > now() then 'account_locked'
      when v_user.account_status <> 'active' then 'account_disabled'
      when not private.network_is_allowed(v_user.id) then 'network_not_allowed'
    end
  );

  if v_refusal is not null then
    perform security.track_login_attempt(
      v_user.id, v_user.username, plinth.client_ip(), plinth.user_agent(),
      case v_refusal when 'account_locked' then 'locked' else 'failed' end, v_refusal
    );
    perform private.record_security_event(
      'provider_sign_in_failed', v_user.id,
      jsonb_build_object('provider', v_flow.provider, 'purpose', 'sign_in', 'reason', v_refusal), 'warning'
    );
    outcome := case when v_refusal in ('not_registered', 'address_taken') then v_refusal else 'refused' end;
    return next;
    return;
  end if;

  perform private.save_provider_profile(
    v_user.id,
    v_flow.provider,
    finish_provider_sign_in.provider_user_id,
    finish_provider_sign_in.email,
    finish_provider_sign_in.email_verified,
    finish_provider_sign_in.user_info,
    finish_provider_sign_in.access_token_sealed,
    finish_provider_sign_in.refresh_token_sealed,
    finish_provider_sign_in.token_expires_at,
    now()
  );
  if v_is_new then
    perform private.record_security_event(
      'provider_linked', v_user.id, jsonb_build_object('provider', v_flow.provider, 'by', 'registration')
    );
  end if;
  perform private.record_security_event(
    'provider_sign_in', v_user.id, jsonb_build_object('provider', v_flow.provider)
  );

  outcome := 'accepted';
  user_id := v_user.id;
  select c.session_id, c.token_version, c.refresh_expires_at, c.challenge_expires_at, c.challenge_methods
  into session_id, token_version, refresh_expires_at, challenge_expires_at, challenge_methods
  from private.complete_sign_in(
    v_user.id,
    array['fed'],
    finish_provider_sign_in.refresh_token_hash,
    v_flow.device_name,
    finish_provider_sign_in.challenge_hash
  ) c;
  perform security.track_login_attempt(
    v_user.id, v_user.username, plinth.client_ip(), plinth.user_agent(),
    -- Half way is no success (see private.finish_login).
    case when session_id is null then 'challenged' else 'success' end, null
  );
  return next;
end
$$;

comment on function private.finish_provider_sign_in(uuid, text, text, boolean, jsonb, text, text, timestamptz, boolean, text, bytea, bytea, bytea) is
  'Opens a session, or a challenge, for whom a provider vouched; outcome accepted, refused, not_registered or address_taken. Counts and audits.';
grant execute on function private.finish_provider_sign_in(uuid, text, text, boolean, jsonb, text, text, timestamptz, boolean, text, bytea, bytea, bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/finish_provider_sign_in.sql

--! Included identity/views/user_security_status.sql
-- How safe my account is, on one row. Invoker rights, so the tables' policies decide; and only one's own row, because other
-- people's sessions are hidden even from who may see their accounts, and none is not zero. Without claims, the owner in psql,
-- it shows everybody. Columns of later parts are added at the end.
create or replace view identity.user_security_status
  with (security_invoker = true)
as
select
  u.id as user_id,
  u.account_status,
  u.is_verified,
  coalesce(u.locked_until > now(), false) as is_locked,
  u.locked_until,
  u.failed_login_attempts,
  u.last_login_at,
  u.password_changed_at,
  extract(day from now() - u.password_changed_at)::integer as password_age_days,
  (
    select count(*)
    from identity.user_sessions s
    where s.user_id = u.id and s.ended_at is null and s.expires_at > now()
  ) as live_sessions,
  exists (
    select
    from identity.mfa_factors f
    where f.user_id = u.id and f.confirmed_at is not null
  ) as mfa_enabled
from identity.users u
where u.id = plinth.current_user_id() or plinth.current_user_id() is null;

comment on view identity.user_security_status is
  E'@primaryKey user_id\n@foreignKey (user_id) references identity.users (id)|@fieldName user|@foreignFieldName securityStatus\nOne row per account: its state as far as signing in is concerned. Users read their own.';
comment on column identity.user_security_status.user_id is 'The account.';
comment on column identity.user_security_status.account_status is 'active, disabled or deleted.';
comment on column identity.user_security_status.is_verified is 'Whether the e-mail address is verified.';
comment on column identity.user_security_status.is_locked is 'Whether sign-in is refused now because of wrong passwords.';
comment on column identity.user_security_status.locked_until is 'When the last lock ends or ended; null after a success.';
comment on column identity.user_security_status.failed_login_attempts is 'Wrong passwords in a row.';
comment on column identity.user_security_status.last_login_at is 'Last successful sign-in.';
comment on column identity.user_security_status.password_changed_at is 'When the password was set.';
comment on column identity.user_security_status.password_age_days is 'Whole days since then.';
comment on column identity.user_security_status.live_sessions is 'Devices signed in now.';
comment on column identity.user_security_status.mfa_enabled is 'Whether a password alone does not sign in: the account has a confirmed second factor.';
revoke all on identity.user_security_status from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.user_security_status to :PLINTH_USER;
--! EndIncluded identity/views/user_security_status.sql
--! Included analytics/views/account_security.sql
-- The state of all accounts, without names and addresses: identity.user_security_status for people who count.
create or replace view analytics.account_security
  with (security_barrier = true)
as
select
  u.id as user_id,
  u.account_status,
  u.is_verified,
  coalesce(u.locked_until > now(), false) as is_locked,
  u.failed_login_attempts,
  coalesce(s.live_sessions, 0) as live_sessions,
  extract(day from now() - u.password_changed_at)::integer as password_age_days,
  u.last_login_at,
  u.created_at,
  exists (
    select
    from identity.mfa_factors f
    where f.user_id = u.id and f.confirmed_at is not null
  ) as mfa_enabled
from identity.users u
left join (
  select s.user_id, count(*) as live_sessions
  from identity.user_sessions s
  where s.ended_at is null and s.expires_at > now()
  group by s.user_id
) s on s.user_id = u.id;

comment on view analytics.account_security is 'Grain: one row per account. How it stands with signing in.';
comment on column analytics.account_security.user_id is 'The account.';
comment on column analytics.account_security.account_status is 'active, disabled or deleted.';
comment on column analytics.account_security.is_verified is 'Whether the e-mail address is verified.';
comment on column analytics.account_security.is_locked is 'Whether sign-in is refused now because of wrong passwords.';
comment on column analytics.account_security.failed_login_attempts is 'Wrong passwords in a row.';
comment on column analytics.account_security.live_sessions is 'Devices signed in now.';
comment on column analytics.account_security.password_age_days is 'Whole days since the password was set; null without one.';
comment on column analytics.account_security.last_login_at is 'Last successful sign-in.';
comment on column analytics.account_security.created_at is 'When the account was made.';
comment on column analytics.account_security.mfa_enabled is 'Whether the account has a confirmed second factor.';
grant select on analytics.account_security to :PLINTH_ANALYST;
--! EndIncluded analytics/views/account_security.sql
