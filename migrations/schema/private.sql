-- Schema private as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema private;
comment on schema private is 'Secrets and the functions of the API''s service and the job worker. No API role may enter.';
grant usage on schema private to :PLINTH_SERVICE, :PLINTH_WORKER;

-- Tables ----------------------------------------------------------------------------------------------

-- One row per sign-in or link under way at another provider; works once, for ten minutes.
create table private.oauth_states (
  id uuid not null default plinth.uuid_v7(),
  flow_hash bytea not null,
  state_hash bytea not null,
  provider text not null,
  purpose text not null,
  user_id uuid,
  session_id uuid,
  redirect_uri text not null,
  secrets_sealed text not null,
  device_name text,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null default now() + '00:10:00'::interval,
  used_at timestamp with time zone,
  constraint oauth_states_pkey primary key (id),
  constraint oauth_states_flow_hash_key unique (flow_hash),
  constraint oauth_states_state_hash_key unique (state_hash),
  constraint oauth_states_device_name_check check (length(device_name) >= 1 and length(device_name) <= 100 and device_name !~ '[[:cntrl:]]'::text),
  constraint oauth_states_hashes_are_sha256 check (octet_length(flow_hash) = 32 and octet_length(state_hash) = 32),
  constraint oauth_states_link_has_a_session check ((purpose = 'link'::text) = (session_id is not null) and (session_id is null) = (user_id is null)),
  constraint oauth_states_provider_check check (provider ~ '^[a-z][a-z0-9_-]{0,49}$'::text),
  constraint oauth_states_purpose_check check (purpose = any (array['sign_in'::text, 'link'::text])),
  constraint oauth_states_redirect_uri_check check (length(redirect_uri) >= 1 and length(redirect_uri) <= 2048),
  constraint oauth_states_session_id_user_id_fkey foreign key (session_id, user_id) references identity.user_sessions(id, user_id) on delete cascade
);

alter table private.oauth_states enable row level security;

create index oauth_states_expires_at_idx on private.oauth_states using btree (expires_at);
create index oauth_states_session_id_user_id_idx on private.oauth_states using btree (session_id, user_id);

comment on table private.oauth_states is 'One row per sign-in or link under way at another provider; works once, for ten minutes.';
comment on column private.oauth_states.id is 'UUIDv7.';
comment on column private.oauth_states.flow_hash is 'SHA-256 of the flow token, which only the client that began holds.';
comment on column private.oauth_states.state_hash is 'SHA-256 of the state that the provider gives back.';
comment on column private.oauth_states.provider is 'Name of the provider in the settings.';
comment on column private.oauth_states.purpose is 'sign_in, or link: add the provider to the account that is signed in.';
comment on column private.oauth_states.user_id is 'Who links; null for a sign-in.';
comment on column private.oauth_states.session_id is 'The session that links, and the only one that may finish; null for a sign-in.';
comment on column private.oauth_states.redirect_uri is 'Where the provider sends the browser back to.';
comment on column private.oauth_states.secrets_sealed is 'PKCE code verifier and nonce (JSON), sealed for the purpose "oauth flow".';
comment on column private.oauth_states.device_name is 'Name for the session to be made.';
comment on column private.oauth_states.created_at is 'When the client asked to begin.';
comment on column private.oauth_states.expires_at is 'From then on it is refused.';
comment on column private.oauth_states.used_at is 'When somebody came back with it; it does not work again.';

-- One row per account at another provider: its tokens of the last sign-in, sealed.
create table private.oauth_tokens (
  profile_id uuid not null,
  access_token_sealed text not null,
  refresh_token_sealed text,
  key_version integer not null generated always as ("substring"(access_token_sealed, '^v([1-9][0-9]{0,5})[.]'::text)::integer) stored,
  updated_at timestamp with time zone not null default now(),
  constraint oauth_tokens_pkey primary key (profile_id),
  constraint oauth_tokens_are_sealed check (access_token_sealed ~ '^v[1-9][0-9]{0,5}[.][A-Za-z0-9_-]{38,}$'::text and refresh_token_sealed ~ '^v[1-9][0-9]{0,5}[.][A-Za-z0-9_-]{38,}$'::text),
  constraint oauth_tokens_are_small check (length(access_token_sealed) <= 32768 and length(refresh_token_sealed) <= 32768),
  constraint oauth_tokens_have_one_key_version check (split_part(access_token_sealed, '.'::text, 1) = split_part(refresh_token_sealed, '.'::text, 1)),
  constraint oauth_tokens_profile_id_fkey foreign key (profile_id) references identity.oauth_profiles(id) on delete cascade
);

alter table private.oauth_tokens enable row level security;

create index oauth_tokens_key_version_idx on private.oauth_tokens using btree (key_version);

comment on table private.oauth_tokens is 'One row per account at another provider: its tokens of the last sign-in, sealed.';
comment on column private.oauth_tokens.profile_id is 'Whose tokens.';
comment on column private.oauth_tokens.access_token_sealed is 'Access token, sealed for the purpose "oauth token".';
comment on column private.oauth_tokens.refresh_token_sealed is 'Refresh token, sealed likewise; null if the provider gave none.';
comment on column private.oauth_tokens.key_version is 'Version of the master key that sealed both.';
comment on column private.oauth_tokens.updated_at is 'When the provider gave them.';

-- One row per refresh token; a session's tokens are one family, a chain of which the last is live.
create table private.refresh_tokens (
  id uuid not null default plinth.uuid_v7(),
  session_id uuid not null,
  user_id uuid not null,
  parent_id uuid,
  token_hash bytea not null,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null,
  used_at timestamp with time zone,
  successor_sealed bytea,
  constraint refresh_tokens_pkey primary key (id),
  constraint refresh_tokens_parent_id_key unique (parent_id),
  constraint refresh_tokens_token_hash_key unique (token_hash),
  constraint refresh_tokens_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint refresh_tokens_used_with_successor check ((used_at is null) = (successor_sealed is null)),
  constraint refresh_tokens_session_id_user_id_fkey foreign key (session_id, user_id) references identity.user_sessions(id, user_id) on delete cascade
);

alter table private.refresh_tokens enable row level security;

create index refresh_tokens_expires_at_idx on private.refresh_tokens using btree (expires_at);
create unique index refresh_tokens_one_live_per_session_key on private.refresh_tokens using btree (session_id) where (used_at is null);
create index refresh_tokens_session_id_user_id_idx on private.refresh_tokens using btree (session_id, user_id);

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

-- Revoked access tokens: one row per revoked token, session or account, until none of its tokens can be valid.
create table private.token_blacklist (
  id uuid not null default plinth.uuid_v7(),
  kind text not null,
  subject_id uuid not null,
  token_version integer,
  reason text not null,
  created_at timestamp with time zone not null default clock_timestamp(),
  expires_at timestamp with time zone not null default now() + '1 day 00:05:00'::interval,
  constraint token_blacklist_pkey primary key (id),
  constraint token_blacklist_kind_check check (kind = any (array['token'::text, 'session'::text, 'user'::text])),
  constraint token_blacklist_token_version_only_for_users check (token_version is null or kind = 'user'::text)
);

alter table private.token_blacklist enable row level security;

create index token_blacklist_expires_at_idx on private.token_blacklist using btree (expires_at);
create index token_blacklist_subject_id_idx on private.token_blacklist using btree (subject_id);

create trigger _900_notify
  after insert on private.token_blacklist
  for each statement
  execute function private.notify_revocation();

comment on table private.token_blacklist is 'Revoked access tokens: one row per revoked token, session or account, until none of its tokens can be valid.';
comment on column private.token_blacklist.id is 'UUIDv7.';
comment on column private.token_blacklist.kind is 'What is revoked: one token, a session''s tokens, or a user''s.';
comment on column private.token_blacklist.subject_id is 'jti, session id or user id.';
comment on column private.token_blacklist.token_version is 'For a user: tokens of a lower version are revoked; null means all.';
comment on column private.token_blacklist.reason is 'Why, such as logout.';
comment on column private.token_blacklist.created_at is 'When it was revoked.';
comment on column private.token_blacklist.expires_at is 'From then on the row is useless and is deleted.';

-- One row per account with a password. Readable by no API role.
create table private.user_passwords (
  user_id uuid not null,
  password_hash text not null,
  hash_algorithm text not null default 'argon2id'::text,
  updated_at timestamp with time zone not null default now(),
  constraint user_passwords_pkey primary key (user_id),
  constraint user_passwords_hash_algorithm_check check (hash_algorithm = any (array['argon2id'::text, 'bcrypt'::text])),
  constraint user_passwords_password_hash_check check (
case hash_algorithm
    when 'argon2id'::text then password_hash ~ '^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$'::text
    when 'bcrypt'::text then password_hash ~ '^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$'::text
    else null::boolean
end),
  constraint user_passwords_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.user_passwords enable row level security;

create index user_passwords_bcrypt_idx on private.user_passwords using btree (user_id) where (hash_algorithm = 'bcrypt'::text);

comment on table private.user_passwords is 'One row per account with a password. Readable by no API role.';
comment on column private.user_passwords.user_id is 'Whose password.';
comment on column private.user_passwords.password_hash is 'PHC string (argon2id) or modular crypt string (bcrypt).';
comment on column private.user_passwords.hash_algorithm is 'argon2id (default) or bcrypt (brought along; replaced at the next sign-in).';
comment on column private.user_passwords.updated_at is 'When the hash was last set.';

-- Functions -------------------------------------------------------------------------------------------

-- Sets a new password, ends the other sessions and all access tokens; no row when refused. Counts and audits either way.
create or replace function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea)
  returns table(token_version integer, refresh_expires_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea) is 'Sets a new password, ends the other sessions and all access tokens; no row when refused. Counts and audits either way.';
revoke execute on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea) from public;
grant execute on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea) to :PLINTH_SERVICE;

-- Lets the signed-in account go on to change its providers, its row locked; PL401 without a live session.
create or replace function private.check_provider_change()
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
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
end
$$;

comment on function private.check_provider_change() is 'Lets the signed-in account go on to change its providers, its row locked; PL401 without a live session.';
revoke execute on function private.check_provider_change() from public;

-- Opens a session for an account that has shown enough; the one way there for all kinds of sign-in.
create or replace function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone, challenge_expires_at timestamp with time zone, challenge_methods text[])
  language plpgsql
  set search_path to 'pg_catalog'
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

comment on function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea) is 'Opens a session for an account that has shown enough; the one way there for all kinds of sign-in.';
revoke execute on function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea) from public;

-- Deletes up to batch_size expired refresh tokens, revocations and sign-ins at providers; returns how many.
create or replace function private.delete_expired_tokens(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_refresh integer;
  v_blacklist integer;
  v_flows integer;
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

  with expired as (
    select s.id
    from private.oauth_states s
    where s.expires_at <= now()
    order by s.expires_at
    limit batch_size - v_refresh - v_blacklist
    for update skip locked
  )
  delete from private.oauth_states s using expired e where s.id = e.id;
  get diagnostics v_flows = row_count;
  return v_refresh + v_blacklist + v_flows;
end
$$;

comment on function private.delete_expired_tokens(batch_size integer) is 'Deletes up to batch_size expired refresh tokens, revocations and sign-ins at providers; returns how many.';
revoke execute on function private.delete_expired_tokens(batch_size integer) from public;
grant execute on function private.delete_expired_tokens(batch_size integer) to :PLINTH_WORKER;

-- Ends up to batch_size expired sessions and deletes those ended 90 days ago; returns how many.
create or replace function private.end_expired_sessions(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.end_expired_sessions(batch_size integer) is 'Ends up to batch_size expired sessions and deletes those ended 90 days ago; returns how many.';
revoke execute on function private.end_expired_sessions(batch_size integer) from public;
grant execute on function private.end_expired_sessions(batch_size integer) to :PLINTH_WORKER;

-- Ends a user's live sessions but one; returns how many.
create or replace function private.end_sessions(user_id uuid, reason text, except_session_id uuid default null::uuid)
  returns integer
  language sql
  set search_path to 'pg_catalog'
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

comment on function private.end_sessions(user_id uuid, reason text, except_session_id uuid) is 'Ends a user''s live sessions but one; returns how many.';
revoke execute on function private.end_sessions(user_id uuid, reason text, except_session_id uuid) from public;

-- Makes the missing monthly partitions of all logs, from this month to months_ahead later; returns the names made.
create or replace function private.ensure_partitions(months_ahead integer default 3)
  returns table(partition_name text)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'
as $$
declare
  v_table record;
  v_month timestamptz;
  v_next timestamptz;
  v_name text;
  v_default text;
begin
  if months_ahead is null or months_ahead not between 0 and 120 then
    raise exception 'months_ahead must be from 0 to 120.' using errcode = 'PL422';
  end if;
  for v_table in
    select c.oid, n.nspname, c.relname
    from pg_partitioned_table p
    join pg_class c on c.oid = p.partrelid
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum = p.partattrs[0]
    where p.partstrat = 'r'
      and p.partnatts = 1
      and a.attname = 'created_at'
      and n.nspname in ('identity', 'access', 'billing', 'llm', 'rooms', 'learning', 'security', 'private')
    order by n.nspname, c.relname
  loop
    v_default := v_table.relname || '_default';
    if to_regclass(format('%I.%I', v_table.nspname, v_default)) is null then
      perform private.lock_for_new_partition(v_table.oid);
    end if;
    if to_regclass(format('%I.%I', v_table.nspname, v_default)) is null then
      execute format('create table %1$I.%2$I partition of %1$I.%3$I default', v_table.nspname, v_default, v_table.relname);
      execute format('alter table %I.%I enable row level security', v_table.nspname, v_default);
      execute format(
        'comment on table %I.%I is %L', v_table.nspname, v_default,
        format('Rows of %s whose month has no partition yet.', v_table.relname)
      );
      partition_name := format('%I.%I', v_table.nspname, v_default);
      return next;
    end if;

    for v_month in
      select generate_series(
        date_trunc('month', now()), date_trunc('month', now()) + make_interval(months => months_ahead), interval '1 month'
      )
    loop
      v_next := v_month + interval '1 month';
      v_name := v_table.relname || to_char(v_month, '_YYYY_MM');
      continue when to_regclass(format('%I.%I', v_table.nspname, v_name)) is not null;
      perform private.lock_for_new_partition(v_table.oid);
      -- Another maker may have been first.
      continue when to_regclass(format('%I.%I', v_table.nspname, v_name)) is not null;
      execute format(
        'create table %1$I.%2$I (like %1$I.%3$I including defaults including constraints)',
        v_table.nspname, v_name, v_table.relname
      );
      -- Reached through the parent, the parent's policies decide; reached directly there are none, so no rows.
      execute format('alter table %I.%I enable row level security', v_table.nspname, v_name);
      execute format(
        'comment on table %I.%I is %L', v_table.nspname, v_name,
        format('Rows of %s made in %s.', v_table.relname, to_char(v_month, 'YYYY-MM'))
      );
      execute format(
        'with moved as (delete from %1$I.%2$I where created_at >= $1 and created_at < $2 returning *)
         insert into %1$I.%3$I select * from moved',
        v_table.nspname, v_default, v_name
      ) using v_month, v_next;
      execute format(
        'alter table %1$I.%2$I attach partition %1$I.%3$I for values from (%4$L) to (%5$L)',
        v_table.nspname, v_table.relname, v_name, v_month, v_next
      );
      partition_name := format('%I.%I', v_table.nspname, v_name);
      return next;
    end loop;
  end loop;
end
$$;

comment on function private.ensure_partitions(months_ahead integer) is 'Makes the missing monthly partitions of all logs, from this month to months_ahead later; returns the names made.';
revoke execute on function private.ensure_partitions(months_ahead integer) from public;
grant execute on function private.ensure_partitions(months_ahead integer) to :PLINTH_WORKER;

-- Ends a flow whose answer was not accepted; audited with the reason.
create or replace function private.fail_provider_flow(flow_id uuid, reason text)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_flow private.oauth_states;
begin
  perform from identity.users u where u.id = plinth.current_user_id() for key share;
  delete from private.oauth_states s
  where s.id = fail_provider_flow.flow_id and s.used_at is not null
  returning s.* into v_flow;
  if v_flow.id is null then
    return;
  end if;
  if v_flow.purpose = 'sign_in' then
    perform security.track_login_attempt(
      null, null, plinth.client_ip(), plinth.user_agent(), 'failed', 'provider_refused'
    );
  end if;
  perform private.record_security_event(
    'provider_sign_in_failed', v_flow.user_id,
    jsonb_build_object(
      'provider', v_flow.provider, 'purpose', v_flow.purpose, 'reason', left(fail_provider_flow.reason, 100)
    ),
    'warning'
  );
end
$$;

comment on function private.fail_provider_flow(flow_id uuid, reason text) is 'Ends a flow whose answer was not accepted; audited with the reason.';
revoke execute on function private.fail_provider_flow(flow_id uuid, reason text) from public;
grant execute on function private.fail_provider_flow(flow_id uuid, reason text) to :PLINTH_SERVICE;

-- Password hash of the account with this username or e-mail address; one row of nulls when there is none.
create or replace function private.find_login(identifier text)
  returns table(user_id uuid, password_hash text, hash_algorithm text, token_version integer, bcrypt_is_in_use boolean)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
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

comment on function private.find_login(identifier text) is 'Password hash of the account with this username or e-mail address; one row of nulls when there is none.';
revoke execute on function private.find_login(identifier text) from public;
grant execute on function private.find_login(identifier text) to :PLINTH_SERVICE;

-- Password hash of an account, to check the current password before a change.
create or replace function private.find_password(user_id uuid)
  returns table(password_hash text, hash_algorithm text, token_version integer)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select p.password_hash, p.hash_algorithm, u.token_version
  from private.user_passwords p
  join identity.users u on u.id = p.user_id
  where p.user_id = find_password.user_id
$$;

comment on function private.find_password(user_id uuid) is 'Password hash of an account, to check the current password before a change.';
revoke execute on function private.find_password(user_id uuid) from public;
grant execute on function private.find_password(user_id uuid) to :PLINTH_SERVICE;

-- Opens a session, or a challenge, if the password matched and nothing forbids it; no row when refused. Counts and audits either way.
create or replace function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text default null::text, new_password_hash text default null::text, new_hash_algorithm text default null::text, challenge_hash bytea default null::bytea)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone, challenge_expires_at timestamp with time zone, challenge_methods text[])
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, new_password_hash text, new_hash_algorithm text, challenge_hash bytea) is 'Opens a session, or a challenge, if the password matched and nothing forbids it; no row when refused. Counts and audits either way.';
revoke execute on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, new_password_hash text, new_hash_algorithm text, challenge_hash bytea) from public;
grant execute on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, new_password_hash text, new_hash_algorithm text, challenge_hash bytea) to :PLINTH_SERVICE;

-- Links an account at a provider to the session's account; outcome linked, refused, belongs_to_another or has_another. Audited.
create or replace function private.finish_provider_link(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone)
  returns table(outcome text, profile_id uuid)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_flow private.oauth_states;
  v_owner_id uuid;
begin
  select s.* into v_flow from private.oauth_states s where s.id = finish_provider_link.flow_id;
  perform private.lock_provider_subject(v_flow.provider, finish_provider_link.provider_user_id);
  perform from identity.users u where u.id = v_flow.user_id and u.account_status = 'active' for no key update;
  if found then
    perform
    from identity.user_sessions s
    where s.id = v_flow.session_id and s.ended_at is null and s.expires_at > now()
    for key share;
  end if;
  if found then
    delete from private.oauth_states s
    where s.id = v_flow.id
      and s.purpose = 'link'
      and s.used_at is not null
      and s.user_id = plinth.current_user_id()
      and s.session_id = plinth.current_session_id();
  end if;
  if not found then
    outcome := 'refused';
    return next;
    return;
  end if;

  select o.user_id into v_owner_id
  from identity.oauth_profiles o
  where o.provider = v_flow.provider and o.provider_user_id = finish_provider_link.provider_user_id;
  outcome := case
    when v_owner_id <> v_flow.user_id then 'belongs_to_another'
    when v_owner_id is null and exists (
      select from identity.oauth_profiles o where o.user_id = v_flow.user_id and o.provider = v_flow.provider
    ) then 'has_another'
    else 'linked'
  end;

  if outcome = 'linked' then
    profile_id := private.save_provider_profile(
      v_flow.user_id,
      v_flow.provider,
      finish_provider_link.provider_user_id,
      finish_provider_link.email,
      finish_provider_link.email_verified,
      finish_provider_link.user_info,
      finish_provider_link.access_token_sealed,
      finish_provider_link.refresh_token_sealed,
      finish_provider_link.token_expires_at,
      null
    );
    perform private.record_security_event(
      'provider_linked', v_flow.user_id, jsonb_build_object('provider', v_flow.provider, 'by', 'link')
    );
  else
    perform private.record_security_event(
      'provider_link_failed', v_flow.user_id,
      jsonb_build_object('provider', v_flow.provider, 'reason', outcome), 'warning'
    );
  end if;
  return next;
end
$$;

comment on function private.finish_provider_link(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone) is 'Links an account at a provider to the session''s account; outcome linked, refused, belongs_to_another or has_another. Audited.';
revoke execute on function private.finish_provider_link(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone) from public;
grant execute on function private.finish_provider_link(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone) to :PLINTH_SERVICE;

-- Opens a session, or a challenge, for whom a provider vouched; outcome accepted, refused, not_registered or address_taken. Counts and audits.
create or replace function private.finish_provider_sign_in(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, trusts_email boolean, may_register boolean, refresh_token_hash bytea, challenge_hash bytea)
  returns table(outcome text, user_id uuid, session_id uuid, token_version integer, refresh_expires_at timestamp with time zone, challenge_expires_at timestamp with time zone, challenge_methods text[])
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
      case
        when finish_provider_sign_in.trusts_email and finish_provider_sign_in.email_verified
        then finish_provider_sign_in.email
      end,
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

  perform security.track_login_attempt(
    v_user.id,
    v_user.username,
    plinth.client_ip(),
    plinth.user_agent(),
    case v_refusal when 'account_locked' then 'locked' else case when v_refusal is null then 'success' else 'failed' end end,
    v_refusal
  );

  if v_refusal is not null then
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

  return query
    select
      'accepted', v_user.id, c.session_id, c.token_version, c.refresh_expires_at, c.challenge_expires_at, c.challenge_methods
    from private.complete_sign_in(
      v_user.id,
      array['fed'],
      finish_provider_sign_in.refresh_token_hash,
      v_flow.device_name,
      finish_provider_sign_in.challenge_hash
    ) c;
end
$$;

comment on function private.finish_provider_sign_in(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, trusts_email boolean, may_register boolean, refresh_token_hash bytea, challenge_hash bytea) is 'Opens a session, or a challenge, for whom a provider vouched; outcome accepted, refused, not_registered or address_taken. Counts and audits.';
revoke execute on function private.finish_provider_sign_in(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, trusts_email boolean, may_register boolean, refresh_token_hash bytea, challenge_hash bytea) from public;
grant execute on function private.finish_provider_sign_in(flow_id uuid, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, trusts_email boolean, may_register boolean, refresh_token_hash bytea, challenge_hash bytea) to :PLINTH_SERVICE;

-- Whether an account could still be signed in to without this profile (null: as it is). The caller holds the account's row.
create or replace function private.has_another_way_in(user_id uuid, except_profile_id uuid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select exists (select from private.user_passwords p where p.user_id = has_another_way_in.user_id)
    or exists (
      select
      from identity.oauth_profiles o
      where o.user_id = has_another_way_in.user_id and o.id is distinct from has_another_way_in.except_profile_id
    )
$$;

comment on function private.has_another_way_in(user_id uuid, except_profile_id uuid) is 'Whether an account could still be signed in to without this profile (null: as it is). The caller holds the account''s row.';
revoke execute on function private.has_another_way_in(user_id uuid, except_profile_id uuid) from public;

-- Imports an array of models with prices; one answer a model: inserted, updated, unchanged or rejected with the reason.
create or replace function private.import_models(models jsonb, make_public boolean default false)
  returns table(ordinal integer, outcome text, message text)
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_model jsonb;
  v_provider_id uuid;
  v_model_id uuid;
  v_inserted boolean;
  v_changed boolean;
  v_count integer;
begin
  for v_model, ordinal in
    select m.value, m.ordinality::integer from jsonb_array_elements(import_models.models) with ordinality m
  loop
    message := null;
    begin
      -- Without this a file that forgot its prices would remove them.
      if jsonb_typeof(v_model -> 'priceHistory') is distinct from 'array' then
        raise exception 'priceHistory must be an array.' using errcode = 'PL422';
      end if;
      insert into llm.model_providers as p (name) values (trim(v_model ->> 'vendor'))
      on conflict on constraint model_providers_name_key do nothing;
      select p.id into strict v_provider_id from llm.model_providers p where p.name = trim(v_model ->> 'vendor');

      insert into llm.models as m (provider_id, name, display_name, is_public)
      values (v_provider_id, trim(v_model ->> 'id'), trim(v_model ->> 'name'), import_models.make_public)
      on conflict on constraint models_provider_id_name_key do update
      set display_name = excluded.display_name, is_public = m.is_public or excluded.is_public
      where (m.display_name, m.is_public) is distinct from (excluded.display_name, m.is_public or excluded.is_public)
      returning m.id, m.xmax = 0 into v_model_id, v_inserted;
      v_changed := found;
      if not found then
        v_inserted := false;
        select m.id into strict v_model_id
        from llm.models m
        where m.provider_id = v_provider_id and m.name = trim(v_model ->> 'id');
      end if;

      -- What is as wanted stays, the rest makes room before the new periods come in.
      delete from billing.model_prices p
      where p.model_id = v_model_id
        and p.currency = 'USD'
        and not exists (
          select
          from private.wanted_prices(v_model -> 'priceHistory') w
          where (w.input_price, w.output_price, w.cached_input_price, w.effective_from, w.effective_to) is not distinct from (
            p.input_price_per_million_tokens, p.output_price_per_million_tokens,
            p.cached_input_price_per_million_tokens, p.effective_from, p.effective_to
          )
        );
      get diagnostics v_count = row_count;
      v_changed := v_changed or v_count > 0;

      insert into billing.model_prices (
        model_id, input_price_per_million_tokens, output_price_per_million_tokens,
        cached_input_price_per_million_tokens, effective_from, effective_to
      )
      select v_model_id, w.input_price, w.output_price, w.cached_input_price, w.effective_from, w.effective_to
      from private.wanted_prices(v_model -> 'priceHistory') w
      where not exists (
        select
        from billing.model_prices p
        where p.model_id = v_model_id
          and p.currency = 'USD'
          and (w.effective_from, w.effective_to) is not distinct from (p.effective_from, p.effective_to)
      );
      get diagnostics v_count = row_count;
      v_changed := v_changed or v_count > 0;

      outcome := case when v_inserted then 'inserted' when v_changed then 'updated' else 'unchanged' end;
    exception
      when data_exception or integrity_constraint_violation or no_data_found or sqlstate 'PL422' then
        outcome := 'rejected';
        message := sqlerrm;
    end;
    return next;
  end loop;
end
$$;

comment on function private.import_models(models jsonb, make_public boolean) is 'Imports an array of models with prices; one answer a model: inserted, updated, unchanged or rejected with the reason.';
revoke execute on function private.import_models(models jsonb, make_public boolean) from public;

-- Imports an array of library prompts; one answer a row: inserted, updated, unchanged or rejected with the reason.
create or replace function private.import_prompts(prompts jsonb)
  returns table(ordinal integer, outcome text, message text)
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_prompt jsonb;
  v_inserted boolean;
begin
  for v_prompt, ordinal in
    select p.value, p.ordinality::integer from jsonb_array_elements(import_prompts.prompts) with ordinality p
  loop
    message := null;
    begin
      insert into llm.prompts as p (user_id, name, content, prompt_type, is_for_developers, contributors)
      values (
        null,
        btrim(v_prompt ->> 'name', E' \t\r\n'),
        v_prompt ->> 'content',
        lower(coalesce(v_prompt ->> 'type', 'text')),
        coalesce((v_prompt ->> 'forDevelopers')::boolean, false),
        array(select jsonb_array_elements_text(coalesce(v_prompt -> 'contributors', '[]')))
      )
      on conflict on constraint prompts_user_id_name_key do update
      set
        content = excluded.content,
        prompt_type = excluded.prompt_type,
        is_for_developers = excluded.is_for_developers,
        contributors = excluded.contributors
      where (p.content, p.prompt_type, p.is_for_developers, p.contributors)
        is distinct from (excluded.content, excluded.prompt_type, excluded.is_for_developers, excluded.contributors)
      -- xmax is 0 in a row that this statement made, and not in one that it changed.
      returning p.xmax = 0 into v_inserted;
      outcome := case when not found then 'unchanged' when v_inserted then 'inserted' else 'updated' end;
    exception
      when data_exception or integrity_constraint_violation then
        outcome := 'rejected';
        message := sqlerrm;
    end;
    return next;
  end loop;
end
$$;

comment on function private.import_prompts(prompts jsonb) is 'Imports an array of library prompts; one answer a row: inserted, updated, unchanged or rejected with the reason.';
revoke execute on function private.import_prompts(prompts jsonb) from public;

-- Whether an access token with these claims is still to be believed.
create or replace function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer)
  returns boolean
  language sql
  stable security definer
  set search_path to 'pg_catalog'
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

comment on function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer) is 'Whether an access token with these claims is still to be believed.';
revoke execute on function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer) from public;
grant execute on function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer) to :PLINTH_SERVICE;

-- Adds a refresh token to a session; returns when it expires.
create or replace function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid default null::uuid)
  returns timestamp with time zone
  language sql
  set search_path to 'pg_catalog'
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

comment on function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid) is 'Adds a refresh token to a session; returns when it expires.';
revoke execute on function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid) from public;

-- Revocations not older than max_age, which is the longest life of an access token.
create or replace function private.list_revocations(max_age interval default '1 day 00:05:00'::interval)
  returns table(kind text, subject_id uuid, token_version integer, expires_at timestamp with time zone)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select b.kind, b.subject_id, b.token_version, b.expires_at
  from private.token_blacklist b
  where b.expires_at > now()
    and b.created_at > now() - list_revocations.max_age
$$;

comment on function private.list_revocations(max_age interval) is 'Revocations not older than max_age, which is the longest life of an access token.';
revoke execute on function private.list_revocations(max_age interval) from public;
grant execute on function private.list_revocations(max_age interval) to :PLINTH_SERVICE;

-- Locks a partitioned table, the tables it refers to and its default partition; tries for some seconds, then 55P03.
create or replace function private.lock_for_new_partition(partitioned_table regclass)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
  set lock_timeout to '200ms'
as $$
declare
  v_tables text := (
    select string_agg(format('only %s', t.name), ', ' order by t.position, t.name)
    from (
      select 1 as position, partitioned_table::text as name
      union
      select 2, k.confrelid::regclass::text
      from pg_constraint k
      where k.conrelid = partitioned_table and k.contype = 'f'
    ) t
  );
  v_default regclass := (
    select i.inhrelid
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent = partitioned_table
      and pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'
  );
  v_tries integer := 0;
begin
  loop
    begin
      execute format('lock table %s in share row exclusive mode', v_tables);
      if v_default is not null then
        execute format('lock table only %s in access exclusive mode', v_default);
      end if;
      return;
    exception
      when lock_not_available or deadlock_detected then
        v_tries := v_tries + 1;
        if v_tries >= 50 then
          raise;
        end if;
        perform pg_sleep(0.05 + random() / 10);
    end;
  end loop;
end
$$;

comment on function private.lock_for_new_partition(partitioned_table regclass) is 'Locks a partitioned table, the tables it refers to and its default partition; tries for some seconds, then 55P03.';
revoke execute on function private.lock_for_new_partition(partitioned_table regclass) from public;

-- Holds the lock of one person at one provider until the transaction ends.
create or replace function private.lock_provider_subject(provider text, provider_user_id text)
  returns void
  language sql
  set search_path to 'pg_catalog'
as $$
  select pg_advisory_xact_lock(
    hashtextextended(jsonb_build_array('oauth', lock_provider_subject.provider, lock_provider_subject.provider_user_id)::text, 0)
  )
$$;

comment on function private.lock_provider_subject(provider text, provider_user_id text) is 'Holds the lock of one person at one provider until the transaction ends.';
revoke execute on function private.lock_provider_subject(provider text, provider_user_id text) from public;

-- How long an account stays locked after this many wrong passwords in a row: 0, then 1 minute doubling up to 1 hour.
create or replace function private.lockout_duration(failed_attempts integer)
  returns interval
  language sql
  immutable parallel safe
as $$
  select case
    when failed_attempts < 5 then interval '0'
    else least(interval '1 hour', interval '1 minute' * power(2, least(failed_attempts - 5, 10)))
  end
$$;

comment on function private.lockout_duration(failed_attempts integer) is 'How long an account stays locked after this many wrong passwords in a row: 0, then 1 minute doubling up to 1 hour.';
revoke execute on function private.lockout_duration(failed_attempts integer) from public;

-- Whether the request comes from a network the user allows.
create or replace function private.network_is_allowed(user_id uuid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select not exists (
    select
    from identity.user_security_settings s
    where s.user_id = network_is_allowed.user_id
      and s.allowed_networks is not null
      and not coalesce(plinth.client_ip() <<= any (s.allowed_networks), false)
  )
$$;

comment on function private.network_is_allowed(user_id uuid) is 'Whether the request comes from a network the user allows.';
revoke execute on function private.network_is_allowed(user_id uuid) from public;

-- Trigger: tells every server of a revocation through NOTIFY plinth_revocation.
create or replace function private.notify_revocation()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  perform pg_notify('plinth_revocation', '');
  return null;
end
$$;

comment on function private.notify_revocation() is 'Trigger: tells every server of a revocation through NOTIFY plinth_revocation.';
revoke execute on function private.notify_revocation() from public;

-- Makes a session and its first refresh token; returns both and the token version to sign with.
create or replace function private.open_session(user_id uuid, methods text[], refresh_token_hash bytea, device_name text)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone)
  language plpgsql
  set search_path to 'pg_catalog'
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

comment on function private.open_session(user_id uuid, methods text[], refresh_token_hash bytea, device_name text) is 'Makes a session and its first refresh token; returns both and the token version to sign with.';
revoke execute on function private.open_session(user_id uuid, methods text[], refresh_token_hash bytea, device_name text) from public;

-- Adds a row to security.security_audit_log with the request's context.
create or replace function private.record_security_event(event_type text, user_id uuid, event_data jsonb default '{}'::jsonb, severity text default 'info'::text)
  returns void
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  insert into security.security_audit_log
    (user_id, actor_id, event_type, event_data, severity, source, ip_address, user_agent, correlation_id)
  values (
    -- The account may be gone (a token of a deleted user), the event still counts. Locked as the foreign key would, so that
    -- it cannot go between the look and the insert.
    (select u.id from identity.users u where u.id = record_security_event.user_id for key share),
    (select u.id from identity.users u where u.id = plinth.current_user_id() for key share),
    record_security_event.event_type,
    coalesce(record_security_event.event_data, '{}'),
    record_security_event.severity,
    session_user,
    plinth.client_ip(),
    left(plinth.user_agent(), 1000),
    plinth.correlation_id()
  )
$$;

comment on function private.record_security_event(event_type text, user_id uuid, event_data jsonb, severity text) is 'Adds a row to security.security_audit_log with the request''s context.';
revoke execute on function private.record_security_event(event_type text, user_id uuid, event_data jsonb, severity text) from public;

-- Makes an account without a password and with a free name; returns its id, or null if somebody else verified the address here.
create or replace function private.register_by_provider(suggested_username text, verified_email text, display_name text)
  returns uuid
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_name text := private.username_from(suggested_username);
  v_email text := lower(trim(verified_email));
  v_user_id uuid;
begin
  -- A conflict is a name or an address taken, perhaps just now: look again.
  for v_attempt in 1..20 loop
    if exists (select from identity.users u where u.email = v_email and u.email_verified_at is not null) then
      return null;
    end if;
    if exists (select from identity.users u where u.email = v_email) then
      v_email := null;
    end if;
    insert into identity.users (username, email, email_verified_at)
    values (
      case v_attempt when 1 then v_name else v_name || '-' || left(replace(gen_random_uuid()::text, '-', ''), 8) end,
      v_email,
      case when v_email is not null then now() end
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

comment on function private.register_by_provider(suggested_username text, verified_email text, display_name text) is 'Makes an account without a password and with a free name; returns its id, or null if somebody else verified the address here.';
revoke execute on function private.register_by_provider(suggested_username text, verified_email text, display_name text) from public;

-- Makes an account with settings, password and the role user; returns its id. 23505 names the taken field.
create or replace function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text) is 'Makes an account with settings, password and the role user; returns its id. 23505 names the taken field.';
revoke execute on function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text) from public;
grant execute on function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text) to :PLINTH_SERVICE;

-- Trigger: revokes the access tokens of a session that ended or was deleted.
create or replace function private.revoke_session_tokens()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  insert into private.token_blacklist (kind, subject_id, reason)
  select 'session', old.id, case when tg_op = 'DELETE' then 'session_deleted' else new.end_reason end;
  -- The family dies with its session: a refresh token is live only while its session is.
  return null;
end
$$;

comment on function private.revoke_session_tokens() is 'Trigger: revokes the access tokens of a session that ended or was deleted.';
revoke execute on function private.revoke_session_tokens() from public;

-- Trigger: revokes a user's access tokens when token_version grows or the account is disabled or deleted.
create or replace function private.revoke_user_tokens()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.revoke_user_tokens() is 'Trigger: revokes a user''s access tokens when token_version grows or the account is disabled or deleted.';
revoke execute on function private.revoke_user_tokens() from public;

-- Exchanges a refresh token for its successor: rotated, replayed (same successor again) or refused.
create or replace function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea)
  returns table(outcome text, user_id uuid, session_id uuid, token_version integer, sealed bytea, refresh_expires_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea) is 'Exchanges a refresh token for its successor: rotated, replayed (same successor again) or refused.';
revoke execute on function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea) from public;
grant execute on function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea) to :PLINTH_SERVICE;

-- Makes or refreshes a user's account at a provider with its sealed tokens; returns the profile's id.
create or replace function private.save_provider_profile(user_id uuid, provider text, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, last_used_at timestamp with time zone)
  returns uuid
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_id uuid;
begin
  insert into identity.oauth_profiles as o
    (user_id, provider, provider_user_id, email, email_verified, user_info, token_expires_at, last_used_at)
  values (
    save_provider_profile.user_id,
    save_provider_profile.provider,
    save_provider_profile.provider_user_id,
    save_provider_profile.email,
    save_provider_profile.email is not null and coalesce(save_provider_profile.email_verified, false),
    coalesce(save_provider_profile.user_info, '{}'),
    save_provider_profile.token_expires_at,
    save_provider_profile.last_used_at
  )
  on conflict (provider, provider_user_id) do update
  set
    email = excluded.email,
    email_verified = excluded.email_verified,
    user_info = excluded.user_info,
    token_expires_at = excluded.token_expires_at,
    last_used_at = coalesce(excluded.last_used_at, o.last_used_at)
  -- A net under the callers' checks: a profile never changes hands.
  where o.user_id = excluded.user_id
  returning o.id into strict v_id;

  insert into private.oauth_tokens as t (profile_id, access_token_sealed, refresh_token_sealed)
  values (v_id, save_provider_profile.access_token_sealed, save_provider_profile.refresh_token_sealed)
  on conflict (profile_id) do update
  set
    access_token_sealed = excluded.access_token_sealed,
    refresh_token_sealed = excluded.refresh_token_sealed,
    updated_at = now();
  return v_id;
end
$$;

comment on function private.save_provider_profile(user_id uuid, provider text, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, last_used_at timestamp with time zone) is 'Makes or refreshes a user''s account at a provider with its sealed tokens; returns the profile''s id.';
revoke execute on function private.save_provider_profile(user_id uuid, provider text, provider_user_id text, email text, email_verified boolean, user_info jsonb, access_token_sealed text, refresh_token_sealed text, token_expires_at timestamp with time zone, last_used_at timestamp with time zone) from public;

-- Begins a sign-in or link at another provider; returns until when it can be finished. PL401 for a link without a session.
create or replace function private.start_provider_flow(provider text, purpose text, flow_hash bytea, state_hash bytea, redirect_uri text, secrets_sealed text, device_name text default null::text)
  returns timestamp with time zone
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_links boolean := start_provider_flow.purpose = 'link';
  v_expires_at timestamptz;
begin
  if v_links then
    perform private.check_provider_change();
  end if;
  insert into private.oauth_states
    (provider, purpose, user_id, session_id, flow_hash, state_hash, redirect_uri, secrets_sealed, device_name)
  values (
    start_provider_flow.provider,
    start_provider_flow.purpose,
    case when v_links then plinth.current_user_id() end,
    case when v_links then plinth.current_session_id() end,
    start_provider_flow.flow_hash,
    start_provider_flow.state_hash,
    start_provider_flow.redirect_uri,
    start_provider_flow.secrets_sealed,
    start_provider_flow.device_name
  )
  returning expires_at into v_expires_at;
  return v_expires_at;
end
$$;

comment on function private.start_provider_flow(provider text, purpose text, flow_hash bytea, state_hash bytea, redirect_uri text, secrets_sealed text, device_name text) is 'Begins a sign-in or link at another provider; returns until when it can be finished. PL401 for a link without a session.';
revoke execute on function private.start_provider_flow(provider text, purpose text, flow_hash bytea, state_hash bytea, redirect_uri text, secrets_sealed text, device_name text) from public;
grant execute on function private.start_provider_flow(provider text, purpose text, flow_hash bytea, state_hash bytea, redirect_uri text, secrets_sealed text, device_name text) to :PLINTH_SERVICE;

-- Uses up a flow and returns what is needed to finish it; no row if it is unknown, used, expired or another session's.
create or replace function private.take_provider_flow(purpose text, flow_hash bytea, state_hash bytea)
  returns table(flow_id uuid, provider text, redirect_uri text, secrets_sealed text)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  -- Account before token, as everywhere; deleting the account would otherwise meet us half way.
  perform from identity.users u where u.id = plinth.current_user_id() for key share;

  return query
    update private.oauth_states s
    set used_at = now()
    where s.flow_hash = take_provider_flow.flow_hash
      and s.state_hash = take_provider_flow.state_hash
      and s.purpose = take_provider_flow.purpose
      and s.used_at is null
      and s.expires_at > now()
      -- A link belongs to the session that began it.
      and (
        s.session_id is null
        or s.session_id = plinth.current_session_id() and s.user_id = plinth.current_user_id()
      )
    returning s.id, s.provider, s.redirect_uri, s.secrets_sealed;

  if not found then
    perform private.record_security_event(
      'provider_sign_in_failed', plinth.current_user_id(),
      jsonb_build_object('purpose', take_provider_flow.purpose, 'reason', 'unknown_used_or_expired_flow'),
      'warning'
    );
  end if;
end
$$;

comment on function private.take_provider_flow(purpose text, flow_hash bytea, state_hash bytea) is 'Uses up a flow and returns what is needed to finish it; no row if it is unknown, used, expired or another session''s.';
revoke execute on function private.take_provider_flow(purpose text, flow_hash bytea, state_hash bytea) from public;
grant execute on function private.take_provider_flow(purpose text, flow_hash bytea, state_hash bytea) to :PLINTH_SERVICE;

-- A well-formed username made of a name or address; not necessarily a free one.
create or replace function private.username_from(suggestion text)
  returns text
  language sql
  immutable
  set search_path to 'pg_catalog'
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

comment on function private.username_from(suggestion text) is 'A well-formed username made of a name or address; not necessarily a free one.';
revoke execute on function private.username_from(suggestion text) from public;

-- Reads the price history of a model to import; USD per million tokens.
create or replace function private.wanted_prices(price_history jsonb)
  returns table(input_price numeric, output_price numeric, cached_input_price numeric, effective_from timestamp with time zone, effective_to timestamp with time zone)
  language sql
  stable
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'
as $$
  select
    (h ->> 'input')::numeric(18, 6),
    (h ->> 'output')::numeric(18, 6),
    (h ->> 'inputCached')::numeric(18, 6),
    (h ->> 'from')::date,
    (h ->> 'to')::date
  from jsonb_array_elements(coalesce(price_history, '[]')) h
$$;

comment on function private.wanted_prices(price_history jsonb) is 'Reads the price history of a model to import; USD per million tokens.';
revoke execute on function private.wanted_prices(price_history jsonb) from public;
