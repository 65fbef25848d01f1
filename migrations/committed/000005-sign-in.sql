--! Previous: sha1:424747e7a9762949bedb2f1fff9360df3d6fe6f6
--! Hash: sha1:3bc557c279fb8990f3bf925a218310fcf4d2b662
--! Message: sign-in

-- Secrets of accounts, and the functions the API's service may call with them. Policies: none, on purpose. Row security is on
-- and no role but the owner is granted anything, so these tables are reached only through the functions below.

-- One password per account, as a PHC string: the salt and the cost are inside it.
create table private.user_passwords (
  user_id uuid primary key references identity.users on delete cascade,
  password_hash text not null,
  hash_algorithm text not null default 'argon2id',
  updated_at timestamptz not null default now(),
  constraint user_passwords_hash_algorithm_check check (hash_algorithm in ('argon2id', 'bcrypt')),
  constraint user_passwords_password_hash_check check (
    case hash_algorithm
      when 'argon2id' then password_hash ~ '^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$'
      when 'bcrypt' then password_hash ~ '^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$'
    end
  )
);

alter table private.user_passwords enable row level security;

-- "Does anybody still have one?" is asked at each sign-in.
create index user_passwords_bcrypt_idx on private.user_passwords (user_id) where hash_algorithm = 'bcrypt';

comment on table private.user_passwords is 'One row per account with a password. Readable by no API role.';
comment on column private.user_passwords.user_id is 'Whose password.';
comment on column private.user_passwords.password_hash is 'PHC string (argon2id) or modular crypt string (bcrypt).';
comment on column private.user_passwords.hash_algorithm is 'argon2id (default) or bcrypt (brought along; replaced at the next sign-in).';
comment on column private.user_passwords.updated_at is 'When the hash was last set.';

-- Refresh tokens rotate (RFC 9700, section 4.14.2): each is used once and has at most one successor.
create table private.refresh_tokens (
  id uuid primary key default plinth.uuid_v7(),
  session_id uuid not null,
  user_id uuid not null,
  -- No foreign key: setting it null when the parent is cleaned up would lock tokens in another order than everybody else.
  parent_id uuid,
  token_hash bytea not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz,
  -- The successor encrypted under the token itself: who repeats a lost request gets the same answer, a dump tells nothing.
  successor_sealed bytea,
  constraint refresh_tokens_session_id_user_id_fkey
    foreign key (session_id, user_id) references identity.user_sessions (id, user_id) on delete cascade,
  constraint refresh_tokens_token_hash_key unique (token_hash),
  constraint refresh_tokens_parent_id_key unique (parent_id),
  constraint refresh_tokens_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint refresh_tokens_used_with_successor check ((used_at is null) = (successor_sealed is null))
);

alter table private.refresh_tokens enable row level security;

-- At most one live token a session, whatever races.
create unique index refresh_tokens_one_live_per_session_key on private.refresh_tokens (session_id) where used_at is null;
-- Serves the foreign key, and "the whole family of this session".
create index refresh_tokens_session_id_user_id_idx on private.refresh_tokens (session_id, user_id);
-- The clean-up job.
create index refresh_tokens_expires_at_idx on private.refresh_tokens (expires_at);

comment on table private.refresh_tokens is 'One row per refresh token; a session''s tokens are one family, a chain of which the last is live.';
comment on column private.refresh_tokens.id is 'UUIDv7.';
comment on column private.refresh_tokens.session_id is 'The session; all its tokens are one family.';
comment on column private.refresh_tokens.user_id is 'The session''s owner.';
comment on column private.refresh_tokens.parent_id is 'The token it replaced, which may have been cleaned up since; null for the first.';
comment on column private.refresh_tokens.token_hash is 'SHA-256 of the token; the token itself is nowhere.';
comment on column private.refresh_tokens.created_at is 'When it was issued.';
comment on column private.refresh_tokens.expires_at is 'From then on it is refused.';
comment on column private.refresh_tokens.used_at is 'When it was exchanged for its successor; null while live.';
comment on column private.refresh_tokens.successor_sealed is 'The successor, encrypted under a key derived from this token.';

-- Access tokens that must not be believed although they have not expired. Servers hold the rows in memory.
create table private.token_blacklist (
  id uuid primary key default plinth.uuid_v7(),
  kind text not null,
  -- No foreign key: the row must outlive a deleted session or account.
  subject_id uuid not null,
  token_version integer,
  reason text not null,
  created_at timestamptz not null default clock_timestamp(),
  -- No access token lives longer than a day (PLINTH_ACCESS_TOKEN_SECONDS is capped); five minutes for clocks that differ.
  expires_at timestamptz not null default now() + interval '1 day 5 minutes',
  constraint token_blacklist_kind_check check (kind in ('token', 'session', 'user')),
  constraint token_blacklist_token_version_only_for_users check (token_version is null or kind = 'user')
);

alter table private.token_blacklist enable row level security;

create index token_blacklist_subject_id_idx on private.token_blacklist (subject_id);
create index token_blacklist_expires_at_idx on private.token_blacklist (expires_at);

comment on table private.token_blacklist is 'Revoked access tokens: one row per revoked token, session or account, until none of its tokens can be valid.';
comment on column private.token_blacklist.id is 'UUIDv7.';
comment on column private.token_blacklist.kind is 'What is revoked: one token, a session''s tokens, or a user''s.';
comment on column private.token_blacklist.subject_id is 'jti, session id or user id.';
comment on column private.token_blacklist.token_version is 'For a user: tokens of a lower version are revoked; null means all.';
comment on column private.token_blacklist.reason is 'Why, such as logout.';
comment on column private.token_blacklist.created_at is 'When it was revoked.';
comment on column private.token_blacklist.expires_at is 'From then on the row is useless and is deleted.';

--! Included private/triggers/revocation.sql
-- Ending a session, raising a token_version and deleting an account revoke access tokens in the same transaction, whoever
-- does it, psql included; the notification reaches every server when the transaction commits.

create or replace function private.revoke_session_tokens()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  insert into private.token_blacklist (kind, subject_id, reason)
  select 'session', old.id, case when tg_op = 'DELETE' then 'session_deleted' else new.end_reason end;
  -- The family dies with its session: a refresh token is live only while its session is.
  return null;
end
$$;

comment on function private.revoke_session_tokens() is 'Trigger: revokes the access tokens of a session that ended or was deleted.';

create or replace trigger _500_revoke_tokens
  after update of ended_at on identity.user_sessions
  for each row
  when (old.ended_at is null and new.ended_at is not null)
  execute function private.revoke_session_tokens();

create or replace trigger _500_revoke_tokens_of_deleted
  after delete on identity.user_sessions
  for each row
  when (old.ended_at is null)
  execute function private.revoke_session_tokens();

create or replace function private.revoke_user_tokens()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'DELETE' then
    insert into private.token_blacklist (kind, subject_id, reason)
    values ('user', old.id, 'account_deleted');
    perform private.record_security_event('account_deleted', null, jsonb_build_object('user_id', old.id), 'warning');
    return null;
  end if;
  insert into private.token_blacklist (kind, subject_id, token_version, reason)
  values ('user', new.id, new.token_version, 'token_version_raised');
  if new.account_status <> 'active' then
    update identity.user_sessions s
    set ended_at = now(), end_reason = 'account_disabled'
    where s.user_id = new.id and s.ended_at is null;
  end if;
  return null;
end
$$;

comment on function private.revoke_user_tokens() is
  'Trigger: revokes a user''s access tokens when token_version grows or the account is disabled or deleted.';

-- No "of token_version": the guard trigger raises it on its own when an account is disabled.
create or replace trigger _500_revoke_tokens
  after update on identity.users
  for each row
  when (new.token_version > old.token_version)
  execute function private.revoke_user_tokens();

create or replace trigger _500_revoke_tokens_of_deleted
  after delete on identity.users
  for each row
  execute function private.revoke_user_tokens();

-- Any role may listen and notify, so the notification carries nothing: it only says that there is something to read with
-- private.list_revocations, which only the service may.
create or replace function private.notify_revocation()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform pg_notify('plinth_revocation', '');
  return null;
end
$$;

comment on function private.notify_revocation() is 'Trigger: tells every server of a revocation through NOTIFY plinth_revocation.';

create or replace trigger _900_notify
  after insert on private.token_blacklist
  for each statement
  execute function private.notify_revocation();
--! EndIncluded private/triggers/revocation.sql
--! Included private/functions/end_sessions.sql
-- Ends a user's live sessions, all or all but one; returns how many.
create or replace function private.end_sessions(user_id uuid, reason text, except_session_id uuid default null)
  returns integer
  language sql
  volatile
  set search_path = pg_catalog
as $$
  with ended as (
    update identity.user_sessions s
    set ended_at = now(), end_reason = end_sessions.reason
    where s.user_id = end_sessions.user_id
      and s.ended_at is null
      and s.id is distinct from end_sessions.except_session_id
    returning s.id
  )
  select count(*)::integer from ended
$$;

comment on function private.end_sessions(uuid, text, uuid) is 'Ends a user''s live sessions but one; returns how many.';
--! EndIncluded private/functions/end_sessions.sql
--! Included private/functions/register_user.sql
-- An account with everything that belongs to it, or nothing.
create or replace function private.register_user(
  username text,
  email text,
  display_name text,
  password_hash text,
  hash_algorithm text
)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id uuid;
begin
  insert into identity.users (username, email, password_changed_at)
  values (register_user.username, register_user.email, now())
  returning id into v_user_id;

  insert into identity.user_settings (user_id, display_name) values (v_user_id, nullif(trim(register_user.display_name), ''));
  insert into identity.user_security_settings (user_id) values (v_user_id);
  insert into private.user_passwords (user_id, password_hash, hash_algorithm)
  values (v_user_id, register_user.password_hash, register_user.hash_algorithm);
  insert into access.user_roles (user_id, role_id)
  select v_user_id, r.id from access.roles r where r.role_name = 'user';

  perform private.record_security_event('user_registered', v_user_id);
  return v_user_id;
end
$$;

comment on function private.register_user(text, text, text, text, text) is
  'Makes an account with settings, password and the role user; returns its id. 23505 names the taken field.';
grant execute on function private.register_user(text, text, text, text, text) to :PLINTH_SERVICE;
--! EndIncluded private/functions/register_user.sql
--! Included private/functions/find_login.sql
-- What the service needs to check a password. It tells nothing of locks or status: those are decided, counted and
-- audited in private.finish_login, after the same work was done for everybody. The token_version goes back there: if it has
-- grown since, the password that was checked may not be the password any more.
-- Always one row, so that the last column is known for unknown accounts too: as long as anybody still has a bcrypt hash, which
-- takes longer to check, the service answers every refusal equally late.
create or replace function private.find_login(identifier text)
  returns table (
    user_id uuid,
    password_hash text,
    hash_algorithm text,
    token_version integer,
    bcrypt_is_in_use boolean
  )
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select
    account.id,
    account.password_hash,
    account.hash_algorithm,
    account.token_version,
    exists (select from private.user_passwords b where b.hash_algorithm = 'bcrypt')
  from (values (true)) as always (one)
  left join (
    select u.id, u.username, u.email, u.token_version, p.password_hash, p.hash_algorithm
    from identity.users u
    join private.user_passwords p on p.user_id = u.id
  ) account
    -- A username has no @ and an address has one, so at most one account answers.
    on account.username = lower(trim(find_login.identifier))
    or account.email = lower(trim(find_login.identifier))
$$;

comment on function private.find_login(text) is
  'Password hash of the account with this username or e-mail address; one row of nulls when there is none.';
grant execute on function private.find_login(text) to :PLINTH_SERVICE;

create or replace function private.find_password(user_id uuid)
  returns table (password_hash text, hash_algorithm text, token_version integer)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select p.password_hash, p.hash_algorithm, u.token_version
  from private.user_passwords p
  join identity.users u on u.id = p.user_id
  where p.user_id = find_password.user_id
$$;

comment on function private.find_password(uuid) is 'Password hash of an account, to check the current password before a change.';
grant execute on function private.find_password(uuid) to :PLINTH_SERVICE;
--! EndIncluded private/functions/find_login.sql
--! Included private/functions/issue_refresh_token.sql
-- A refresh token lives as long as its session may stay unused, and never past the session's absolute limit.
create or replace function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid default null)
  returns timestamptz
  language sql
  volatile
  set search_path = pg_catalog
as $$
  insert into private.refresh_tokens (session_id, user_id, parent_id, token_hash, expires_at)
  select
    s.id,
    s.user_id,
    issue_refresh_token.parent_id,
    issue_refresh_token.token_hash,
    least(s.expires_at, now() + coalesce(make_interval(mins => ss.session_timeout_minutes), interval '30 days'))
  from identity.user_sessions s
  left join identity.user_security_settings ss on ss.user_id = s.user_id
  where s.id = issue_refresh_token.session_id
  returning expires_at
$$;

comment on function private.issue_refresh_token(uuid, bytea, uuid) is
  'Adds a refresh token to a session; returns when it expires.';
--! EndIncluded private/functions/issue_refresh_token.sql
--! Included private/functions/network_is_allowed.sql
-- The user's own rule: sign-in and refresh only from these networks. Without an address (psql) the rule cannot be kept,
-- so the answer is no.
create or replace function private.network_is_allowed(user_id uuid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select not exists (
    select
    from identity.user_security_settings s
    where s.user_id = network_is_allowed.user_id
      and s.allowed_networks is not null
      and not coalesce(plinth.client_ip() <<= any (s.allowed_networks), false)
  )
$$;

comment on function private.network_is_allowed(uuid) is 'Whether the request comes from a network the user allows.';
--! EndIncluded private/functions/network_is_allowed.sql
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
  new_hash_algorithm text default null
)
  returns table (session_id uuid, token_version integer, refresh_expires_at timestamptz)
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

  insert into identity.user_sessions (user_id, device_name, ip_address, user_agent)
  values (v_user.id, finish_login.device_name, plinth.client_ip(), left(plinth.user_agent(), 1000))
  returning id into session_id;

  token_version := v_user.token_version;
  refresh_expires_at := private.issue_refresh_token(session_id, finish_login.refresh_token_hash);
  perform private.record_security_event('login_succeeded', v_user.id, jsonb_build_object('session_id', session_id));
  return next;
end
$$;

comment on function private.finish_login(uuid, text, boolean, integer, bytea, text, text, text) is
  'Opens a session if the password matched and nothing forbids it; no row when refused. Counts and audits either way.';
grant execute on function private.finish_login(uuid, text, boolean, integer, bytea, text, text, text) to :PLINTH_SERVICE;
--! EndIncluded private/functions/finish_login.sql
--! Included private/functions/rotate_refresh_token.sql
-- Exchanges a refresh token for its successor (RFC 9700, section 4.14.2).
--   rotated   the token was live; the successor's hash is stored
--   replayed  the token is the immediate parent of the live one and was used less than a minute ago: a lost response, so the
--             caller gets the same successor again
--   refused   anything else. A used token that is older than that is stolen, by whoever came first or second: the session
--             ends. It is an answer and not an exception, or the end of the session would be rolled back with it.
create or replace function private.rotate_refresh_token(
  presented_hash bytea,
  successor_hash bytea,
  successor_sealed bytea
)
  returns table (
    outcome text,
    user_id uuid,
    session_id uuid,
    token_version integer,
    sealed bytea,
    refresh_expires_at timestamptz
  )
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_token private.refresh_tokens;
  v_successor private.refresh_tokens;
  v_session identity.user_sessions;
  v_user identity.users;
  v_idle_limit interval;
begin
  outcome := 'refused';

  select t.* into v_token from private.refresh_tokens t where t.token_hash = rotate_refresh_token.presented_hash;
  if v_token.id is null then
    return next;
    return;
  end if;

  -- Account before session, the one order of locks (see private.finish_login).
  perform from identity.users u where u.id = v_token.user_id for key share;
  -- The session's row is the family's lock: parallel refreshes, logout and reuse wait for each other here.
  select s.* into v_session from identity.user_sessions s where s.id = v_token.session_id for update;
  select t.* into v_token from private.refresh_tokens t where t.id = v_token.id;
  select u.* into v_user from identity.users u where u.id = v_session.user_id;

  if v_token.id is null or v_session.ended_at is not null or v_user.account_status <> 'active' then
    return next;
    return;
  end if;
  select coalesce(make_interval(mins => ss.session_timeout_minutes), interval '30 days') into v_idle_limit
  from identity.users u
  left join identity.user_security_settings ss on ss.user_id = u.id
  where u.id = v_user.id;
  -- A used token is judged by its use below: a replay must not end the session because the token is old by now.
  if v_session.expires_at <= now()
    or (
      v_token.used_at is null
      and (v_token.expires_at <= now() or v_session.last_activity_at <= now() - v_idle_limit)
    )
  then
    update identity.user_sessions s set ended_at = now(), end_reason = 'expired' where s.id = v_session.id;
    return next;
    return;
  end if;

  if v_token.used_at is not null then
    select t.* into v_successor from private.refresh_tokens t where t.parent_id = v_token.id;
    if v_successor.id is null or v_successor.used_at is not null or v_token.used_at < now() - interval '1 minute' then
      update identity.user_sessions s set ended_at = now(), end_reason = 'token_reuse' where s.id = v_session.id;
      perform private.record_security_event(
        'refresh_token_reused', v_user.id, jsonb_build_object('session_id', v_session.id), 'critical'
      );
      return next;
      return;
    end if;
  end if;

  if not private.network_is_allowed(v_user.id) then
    perform private.record_security_event(
      'refresh_refused', v_user.id,
      jsonb_build_object('session_id', v_session.id, 'reason', 'network_not_allowed'), 'warning'
    );
    return next;
    return;
  end if;

  user_id := v_user.id;
  session_id := v_session.id;
  token_version := v_user.token_version;

  if v_token.used_at is not null then
    outcome := 'replayed';
    sealed := v_token.successor_sealed;
    refresh_expires_at := v_successor.expires_at;
    return next;
    return;
  end if;

  update private.refresh_tokens t
  set used_at = now(), successor_sealed = rotate_refresh_token.successor_sealed
  where t.id = v_token.id;
  refresh_expires_at :=
    private.issue_refresh_token(v_session.id, rotate_refresh_token.successor_hash, v_token.id);
  update identity.user_sessions s
  set
    last_activity_at = now(),
    ip_address = coalesce(plinth.client_ip(), s.ip_address),
    user_agent = coalesce(left(plinth.user_agent(), 1000), s.user_agent)
  where s.id = v_session.id;
  outcome := 'rotated';
  return next;
end
$$;

comment on function private.rotate_refresh_token(bytea, bytea, bytea) is
  'Exchanges a refresh token for its successor: rotated, replayed (same successor again) or refused.';
grant execute on function private.rotate_refresh_token(bytea, bytea, bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/rotate_refresh_token.sql
--! Included private/functions/change_password.sql
-- Sets a new password after the current one was checked outside. Every other session ends and every access token dies; the
-- session that asks goes on with a new refresh token. A wrong current password counts like a wrong password at sign-in, or
-- a stolen access token could guess it here.
create or replace function private.change_password(
  user_id uuid,
  session_id uuid,
  password_matches boolean,
  checked_token_version integer,
  new_password_hash text,
  new_hash_algorithm text,
  refresh_token_hash bytea
)
  returns table (token_version integer, refresh_expires_at timestamptz)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user identity.users;
  v_session identity.user_sessions;
  v_refusal text;
begin
  select u.* into v_user from identity.users u where u.id = change_password.user_id for no key update;
  select s.* into v_session
  from identity.user_sessions s
  where s.id = change_password.session_id and s.user_id = v_user.id and s.ended_at is null and s.expires_at > now()
  for update;

  v_refusal := case
    when v_session.id is null or v_user.account_status <> 'active' then 'session_ended'
    when v_user.locked_until > now() then 'account_locked'
    when not coalesce(change_password.password_matches, false) then 'wrong_password'
    -- Changed between the check and now.
    when v_user.token_version is distinct from change_password.checked_token_version then 'wrong_password'
  end;
  if v_refusal is not null then
    if v_refusal = 'wrong_password' then
      perform security.track_login_attempt(
        v_user.id, v_user.username, plinth.client_ip(), plinth.user_agent(), 'failed', 'wrong_password'
      );
    end if;
    perform private.record_security_event(
      'password_change_failed', change_password.user_id, jsonb_build_object('reason', v_refusal), 'warning'
    );
    return;
  end if;

  update private.user_passwords p
  set
    password_hash = change_password.new_password_hash,
    hash_algorithm = change_password.new_hash_algorithm,
    updated_at = now()
  where p.user_id = v_user.id;

  update identity.users u
  set password_changed_at = now(), token_version = u.token_version + 1, failed_login_attempts = 0
  where u.id = v_user.id
  returning u.token_version into token_version;

  perform private.end_sessions(v_user.id, 'password_changed', v_session.id);
  -- The old family of this session ends as well; its tokens are forgotten, so they are simply unknown.
  delete from private.refresh_tokens t where t.session_id = v_session.id;
  refresh_expires_at := private.issue_refresh_token(v_session.id, change_password.refresh_token_hash);
  perform private.record_security_event('password_changed', v_user.id);
  return next;
end
$$;

comment on function private.change_password(uuid, uuid, boolean, integer, text, text, bytea) is
  'Sets a new password, ends the other sessions and all access tokens; no row when refused. Counts and audits either way.';
grant execute on function private.change_password(uuid, uuid, boolean, integer, text, text, bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/change_password.sql
--! Included private/functions/revocations.sql
-- What a server loads when it starts to listen and, for the last minutes only, at each notification; and what it asks while
-- it cannot listen.
create or replace function private.list_revocations(max_age interval default '1 day 5 minutes')
  returns table (kind text, subject_id uuid, token_version integer, expires_at timestamptz)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select b.kind, b.subject_id, b.token_version, b.expires_at
  from private.token_blacklist b
  where b.expires_at > now()
    and b.created_at > now() - list_revocations.max_age
$$;

comment on function private.list_revocations(interval) is
  'Revocations not older than max_age, which is the longest life of an access token.';
grant execute on function private.list_revocations(interval) to :PLINTH_SERVICE;

create or replace function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer)
  returns boolean
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select exists (
    select
    from identity.users u
    join identity.user_sessions s on s.user_id = u.id
    where u.id = is_token_live.user_id
      and u.account_status = 'active'
      and u.token_version = is_token_live.token_version
      and s.id = is_token_live.session_id
      and s.ended_at is null
      and s.expires_at > now()
      and not exists (
        select from private.token_blacklist b where b.kind = 'token' and b.subject_id = is_token_live.token_id
      )
  )
$$;

comment on function private.is_token_live(uuid, uuid, uuid, integer) is
  'Whether an access token with these claims is still to be believed.';
grant execute on function private.is_token_live(uuid, uuid, uuid, integer) to :PLINTH_SERVICE;
--! EndIncluded private/functions/revocations.sql
--! Included private/functions/delete_expired_tokens.sql
-- One batch of the token clean-up: refresh tokens past their time and revocations nobody can need. Small batches keep
-- locks and the write-ahead log short; the job repeats until a batch is not full.
create or replace function private.delete_expired_tokens(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_refresh integer;
  v_blacklist integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;

  with expired as (
    select t.id
    from private.refresh_tokens t
    where t.expires_at <= now()
    order by t.expires_at
    limit batch_size
    for update skip locked
  )
  delete from private.refresh_tokens t using expired e where t.id = e.id;
  get diagnostics v_refresh = row_count;

  with expired as (
    select b.id
    from private.token_blacklist b
    where b.expires_at <= now()
    order by b.expires_at
    limit batch_size - v_refresh
    for update skip locked
  )
  delete from private.token_blacklist b using expired e where b.id = e.id;
  get diagnostics v_blacklist = row_count;
  return v_refresh + v_blacklist;
end
$$;

comment on function private.delete_expired_tokens(integer) is
  'Deletes up to batch_size expired refresh tokens and revocations; returns how many.';
grant execute on function private.delete_expired_tokens(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/delete_expired_tokens.sql
--! Included private/functions/end_expired_sessions.sql
-- One batch of the session clean-up: ends sessions past their absolute limit or unused for too long, and forgets those that
-- ended 90 days ago (the audit log keeps the events).
create or replace function private.end_expired_sessions(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_ended integer;
  v_deleted integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;

  with expired as (
    select s.id
    from identity.user_sessions s
    left join identity.user_security_settings ss on ss.user_id = s.user_id
    where s.ended_at is null
      and (
        s.expires_at <= now()
        or s.last_activity_at
          <= now() - coalesce(make_interval(mins => ss.session_timeout_minutes), interval '30 days')
      )
    limit batch_size
    for update of s skip locked
  )
  update identity.user_sessions s
  set ended_at = now(), end_reason = 'expired'
  from expired e
  where s.id = e.id;
  get diagnostics v_ended = row_count;

  with old as (
    select s.id
    from identity.user_sessions s
    where s.ended_at < now() - interval '90 days'
    limit batch_size - v_ended
    for update skip locked
  )
  delete from identity.user_sessions s using old o where s.id = o.id;
  get diagnostics v_deleted = row_count;
  return v_ended + v_deleted;
end
$$;

comment on function private.end_expired_sessions(integer) is
  'Ends up to batch_size expired sessions and deletes those ended 90 days ago; returns how many.';
grant execute on function private.end_expired_sessions(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/end_expired_sessions.sql
--! Included identity/functions/logout.sql
-- Signing out, three ways. Definer rights: sessions are not the user's to update but through here. Repeating a call is
-- harmless and says so by its answer.

create or replace function identity.logout()
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  -- Account before session, the one order of locks (see private.finish_login).
  perform from identity.users u where u.id = plinth.current_user_id() for key share;
  update identity.user_sessions s
  set ended_at = now(), end_reason = 'logout'
  where s.id = plinth.current_session_id()
    and s.user_id = plinth.current_user_id()
    and s.ended_at is null;
  if found then
    perform private.record_security_event('logout', plinth.current_user_id());
  end if;
  return found;
end
$$;

comment on function identity.logout() is 'Ends the session that asks, its access and refresh tokens at once; false when it had ended.';
grant execute on function identity.logout() to :PLINTH_USER;

create or replace function identity.logout_everywhere()
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_ended integer;
begin
  if plinth.current_user_id() is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  update identity.users u set token_version = u.token_version + 1 where u.id = plinth.current_user_id();
  v_ended := private.end_sessions(plinth.current_user_id(), 'logout_everywhere');
  perform private.record_security_event('logout_everywhere', plinth.current_user_id(), jsonb_build_object('sessions', v_ended));
  return v_ended;
end
$$;

comment on function identity.logout_everywhere() is 'Ends all sessions of the user who asks, this one included; returns how many.';
grant execute on function identity.logout_everywhere() to :PLINTH_USER;

create or replace function identity.end_session(session_id uuid)
  returns identity.user_sessions
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_session identity.user_sessions;
begin
  perform from identity.users u where u.id = plinth.current_user_id() for key share;
  update identity.user_sessions s
  set ended_at = now(), end_reason = 'ended_by_user'
  where s.id = end_session.session_id
    and s.user_id = plinth.current_user_id()
    and s.ended_at is null
  returning s.* into v_session;
  if v_session.id is null then
    raise exception 'You have no such live session.' using errcode = 'PL404';
  end if;
  perform private.record_security_event('session_ended', v_session.user_id, jsonb_build_object('session_id', v_session.id));
  return v_session;
end
$$;

comment on function identity.end_session(uuid) is 'Ends one of the user''s own sessions; PL404 when there is no such live session.';
grant execute on function identity.end_session(uuid) to :PLINTH_USER;
--! EndIncluded identity/functions/logout.sql
