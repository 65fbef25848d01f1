--! Previous: sha1:eab0286a6d841cb781831853cf86277f69b43deb
--! Hash: sha1:6a34f38108d38d631bcfaafeeb59ba2ca0f58316
--! Message: sign-in completion

-- One end for every way to sign in, so that passwords, other providers and second factors meet the same rule.

-- How and when the person behind a session last showed who they are; sensitive changes ask for a recent time.
alter table identity.user_sessions
  add column authentication_methods text[] not null default '{}',
  add column authenticated_at timestamptz not null default now(),
  add constraint user_sessions_authentication_methods_check
    check (cardinality(authentication_methods) <= 10 and array_position(authentication_methods, null) is null);

comment on column identity.user_sessions.authentication_methods is
  'What was shown to sign in, as amr values of RFC 8176: pwd, otp, hwk, fed; empty for sessions older than the column.';
comment on column identity.user_sessions.authenticated_at is 'When the user last showed who they are in this session.';

drop function private.finish_login(uuid, text, boolean, integer, bytea, text, text, text);
--! Included private/functions/open_session.sql
-- A session with its first refresh token. `methods` says how it was signed in, as amr values of RFC 8176.
create or replace function private.open_session(
  user_id uuid,
  methods text[],
  refresh_token_hash bytea,
  device_name text
)
  returns table (session_id uuid, token_version integer, refresh_expires_at timestamptz)
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  insert into identity.user_sessions (user_id, device_name, authentication_methods, ip_address, user_agent)
  values (
    open_session.user_id, open_session.device_name, open_session.methods, plinth.client_ip(), left(plinth.user_agent(), 1000)
  )
  returning id into session_id;
  select u.token_version into token_version from identity.users u where u.id = open_session.user_id;
  refresh_expires_at := private.issue_refresh_token(session_id, open_session.refresh_token_hash);
  perform private.record_security_event(
    'login_succeeded', open_session.user_id,
    jsonb_build_object('session_id', session_id, 'methods', to_jsonb(open_session.methods))
  );
  return next;
end
$$;

comment on function private.open_session(uuid, text[], bytea, text) is
  'Makes a session and its first refresh token; returns both and the token version to sign with.';
--! EndIncluded private/functions/open_session.sql
--! Included private/functions/complete_sign_in.sql
-- The end of every way to sign in, whatever was shown: password, another provider's word, a passkey. The caller holds the
-- account's row and has found nothing that forbids it (lock, status, network).
create or replace function private.complete_sign_in(
  user_id uuid,
  methods text[],
  refresh_token_hash bytea,
  device_name text,
  challenge_hash bytea
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
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  select o.session_id, o.token_version, o.refresh_expires_at
  into session_id, token_version, refresh_expires_at
  from private.open_session(
    complete_sign_in.user_id, complete_sign_in.methods, complete_sign_in.refresh_token_hash, complete_sign_in.device_name
  ) o;
  return next;
end
$$;

comment on function private.complete_sign_in(uuid, text[], bytea, text, bytea) is
  'Opens a session for an account that has shown enough; the one way there for all kinds of sign-in.';
--! EndIncluded private/functions/complete_sign_in.sql
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
  new_password_hash text default null,
  new_hash_algorithm text default null,
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
    case v_refusal when 'account_locked' then 'locked' else case when v_refusal is null then 'success' else 'failed' end end,
    v_refusal
  );

  if v_refusal is not null then
    perform private.record_security_event(
      'login_failed', v_user.id, jsonb_build_object('reason', v_refusal),
      case when v_refusal in ('wrong_password', 'unknown_account') then 'info' else 'warning' end
    );
    return;
  end if;

  if finish_login.new_password_hash is not null then
    update private.user_passwords p
    set
      password_hash = finish_login.new_password_hash,
      hash_algorithm = finish_login.new_hash_algorithm,
      updated_at = now()
    where p.user_id = v_user.id;
  end if;

  return query
    select c.session_id, c.token_version, c.refresh_expires_at, c.challenge_expires_at, c.challenge_methods
    from private.complete_sign_in(
      v_user.id, array['pwd'], finish_login.refresh_token_hash, finish_login.device_name, finish_login.challenge_hash
    ) c;
end
$$;

comment on function private.finish_login(uuid, text, boolean, integer, bytea, text, text, text, bytea) is
  'Opens a session, or a challenge, if the password matched and nothing forbids it; no row when refused. Counts and audits either way.';
grant execute on function private.finish_login(uuid, text, boolean, integer, bytea, text, text, text, bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/finish_login.sql
