-- Schema private as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema private;
comment on schema private is 'Secrets and the functions of the API''s service and the job worker. No API role may enter.';
grant usage on schema private to :PLINTH_SERVICE, :PLINTH_WORKER;

-- Tables ----------------------------------------------------------------------------------------------

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

-- One row per idempotency key of a call that made no hold and no grant, and per message whose tokens were counted.
create table private.usage_keys (
  user_id uuid not null,
  operation text not null,
  idempotency_key text not null,
  arguments jsonb not null,
  event_id uuid,
  amount bigint,
  constraint usage_keys_pkey primary key (user_id, operation, idempotency_key),
  constraint usage_keys_idempotency_key_check check (length(idempotency_key) >= 1 and length(idempotency_key) <= 255),
  constraint usage_keys_operation_check check (operation = any (array['record'::text, 'correct'::text, 'close_grant'::text, 'message'::text])),
  constraint usage_keys_user_id_fkey foreign key (user_id) references billing.usage_tracking(user_id) on delete cascade
);

alter table private.usage_keys enable row level security;

comment on table private.usage_keys is 'One row per idempotency key of a call that made no hold and no grant, and per message whose tokens were counted.';
comment on column private.usage_keys.user_id is 'Whose ledger.';
comment on column private.usage_keys.operation is 'record, correct, close_grant, or message (the key is the message''s id).';
comment on column private.usage_keys.idempotency_key is 'The caller''s key.';
comment on column private.usage_keys.arguments is 'What it was called with, so that another call with the same key is told apart.';
comment on column private.usage_keys.event_id is 'The event it made; null when it made none.';
comment on column private.usage_keys.amount is 'What close_grant answered: tokens carried over.';

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

-- Adds the event that brings a usage to these counts; returns it. The caller has locked the user's ledger.
create or replace function private.apply_correction(event_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, idempotency_key text, at timestamp with time zone)
  returns billing.usage_events
  language plpgsql
as $$
#variable_conflict use_column
declare
  v_event billing.usage_events;
  v_before record;
  v_taken record;
  v_difference bigint;
  v_back bigint;
begin
  select e.* into strict v_event from billing.usage_events e where e.id = apply_correction.event_id;
  select
    sum(e.input_tokens)::bigint as input_tokens,
    sum(e.output_tokens)::bigint as output_tokens,
    sum(e.cached_input_tokens)::bigint as cached_input_tokens,
    sum(e.reasoning_tokens)::bigint as reasoning_tokens,
    sum(e.overdraft_tokens)::bigint as overdraft_tokens
  into v_before
  from billing.usage_events e
  where e.id = v_event.id or e.corrects_event_id = v_event.id;

  v_event.input_tokens := apply_correction.input_tokens - v_before.input_tokens;
  v_event.output_tokens := apply_correction.output_tokens - v_before.output_tokens;
  v_event.cached_input_tokens := apply_correction.cached_input_tokens - v_before.cached_input_tokens;
  v_event.reasoning_tokens := apply_correction.reasoning_tokens - v_before.reasoning_tokens;
  v_difference := v_event.input_tokens + v_event.output_tokens;

  if v_difference > 0 then
    v_taken := private.take_tokens(v_event.user_id, v_difference, false, apply_correction.at);
    v_event.grant_ids := v_taken.grant_ids;
    v_event.grant_tokens := v_taken.grant_tokens;
    v_event.overdraft_tokens := v_taken.missing;
  else
    v_event.overdraft_tokens := - least(- v_difference, v_before.overdraft_tokens);
    v_back := v_event.overdraft_tokens - v_difference;
    v_event.grant_ids := '{}';
    v_event.grant_tokens := '{}';
    for v_taken in
      select a.grant_id, sum(a.tokens)::bigint as tokens
      from (
        select a.grant_id, a.tokens, row_number() over (order by e.created_at, e.id, a.position) as position
        from billing.usage_events e
        cross join unnest(e.grant_ids, e.grant_tokens) with ordinality as a (grant_id, tokens, position)
        where e.id = v_event.id or e.corrects_event_id = v_event.id
      ) a
      group by a.grant_id
      having sum(a.tokens) > 0
      order by max(a.position) filter (where a.tokens > 0) desc
    loop
      exit when v_back <= 0;
      v_taken.tokens := least(v_taken.tokens, v_back);
      update billing.token_grants g
      set
        consumed = g.consumed - v_taken.tokens,
        retired_at = case when g.expires_at <= apply_correction.at then g.retired_at end
      where g.id = v_taken.grant_id;
      v_event.grant_ids := v_event.grant_ids || v_taken.grant_id;
      v_event.grant_tokens := v_event.grant_tokens || - v_taken.tokens;
      v_back := v_back - v_taken.tokens;
    end loop;
  end if;

  v_event.corrects_event_id := v_event.id;
  v_event.id := plinth.uuid_v7();
  v_event.kind := 'correction';
  v_event.hold_id := null;
  v_event.idempotency_key := apply_correction.idempotency_key;
  v_event.created_at := apply_correction.at;
  return private.post_usage_event(v_event);
end
$$;

comment on function private.apply_correction(event_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, idempotency_key text, at timestamp with time zone) is 'Adds the event that brings a usage to these counts; returns it. The caller has locked the user''s ledger.';
revoke execute on function private.apply_correction(event_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, idempotency_key text, at timestamp with time zone) from public;

-- The user's grants in force with what is left of each, in the order in which they are used.
create or replace function private.available_grants(user_id uuid, at timestamp with time zone)
  returns setof billing.grant_balance
  language sql
  stable
as $$
  select g.id, g.source, g.amount - g.consumed - g.held + due.tokens, g.held - due.tokens, g.expires_at
  from billing.token_grants g
  cross join lateral (
    select coalesce(sum(a.tokens), 0)::bigint as tokens
    from billing.token_holds h
    cross join unnest(h.grant_ids, h.grant_tokens) as a (grant_id, tokens)
    where h.user_id = available_grants.user_id
      and h.state = 'open'
      and h.expires_at <= available_grants.at
      and a.grant_id = g.id
  ) due
  where g.user_id = available_grants.user_id
    and g.retired_at is null
    and g.starts_at <= available_grants.at
    and (g.expires_at is null or g.expires_at > available_grants.at)
  order by g.priority, g.expires_at, g.created_at, g.id
$$;

comment on function private.available_grants(user_id uuid, at timestamp with time zone) is 'The user''s grants in force with what is left of each, in the order in which they are used.';
revoke execute on function private.available_grants(user_id uuid, at timestamp with time zone) from public;

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

-- PL422 unless 0 <= cached <= input and 0 <= reasoning <= output, each up to 10^12; true then.
create or replace function private.check_token_counts(input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint)
  returns boolean
  language plpgsql
  immutable
as $$
declare
  v_column text := case
    when input_tokens between 0 and 1000000000000 is not true then 'input_tokens'
    when output_tokens between 0 and 1000000000000 is not true then 'output_tokens'
    when cached_input_tokens between 0 and input_tokens is not true then 'cached_input_tokens'
    when reasoning_tokens between 0 and output_tokens is not true then 'reasoning_tokens'
  end;
begin
  if v_column is not null then
    raise exception '% is not a possible number of tokens.', v_column
      using errcode = 'PL422', column = v_column,
        hint = 'Cached tokens are part of the input, reasoning tokens of the output.';
  end if;
  return true;
end
$$;

comment on function private.check_token_counts(input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) is 'PL422 unless 0 <= cached <= input and 0 <= reasoning <= output, each up to 10^12; true then.';
revoke execute on function private.check_token_counts(input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint) from public;

-- Makes an event the one that counts its message. The caller has locked the user's ledger.
create or replace function private.claim_message(event billing.usage_events, at timestamp with time zone)
  returns void
  language plpgsql
as $$
declare
  v_reported uuid;
begin
  select k.event_id into v_reported
  from private.usage_keys k
  join billing.usage_events e on e.id = k.event_id and e.source in ('message', 'self_reported')
  where k.user_id = event.user_id and k.operation = 'message' and k.idempotency_key = event.message_id::text;
  if found then
    perform private.apply_correction(v_reported, 0, 0, 0, 0, null, claim_message.at);
  end if;
  insert into private.usage_keys as k (user_id, operation, idempotency_key, arguments, event_id)
  values (event.user_id, 'message', event.message_id::text, '{}', event.id)
  on conflict on constraint usage_keys_pkey do update
  set event_id = excluded.event_id
  where k.event_id = v_reported;
end
$$;

comment on function private.claim_message(event billing.usage_events, at timestamp with time zone) is 'Makes an event the one that counts its message. The caller has locked the user''s ledger.';
revoke execute on function private.claim_message(event billing.usage_events, at timestamp with time zone) from public;

-- Ends the plan grant of a source and carries up to rollover_limit unused, unheld tokens over; returns how many. The same key again gives the same number.
create or replace function private.close_plan_grant(user_id uuid, source_id uuid, closed_at timestamp with time zone, rollover_limit bigint, rollover_expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone default now())
  returns bigint
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_locked timestamptz;
  v_arguments jsonb := jsonb_build_array(
    close_plan_grant.source_id, extract(epoch from close_plan_grant.closed_at), close_plan_grant.rollover_limit,
    extract(epoch from close_plan_grant.rollover_expires_at)
  );
  v_key private.usage_keys;
  v_grant billing.token_grants;
  v_carried bigint := 0;
begin
  if close_plan_grant.closed_at is null then
    raise exception 'closed_at is missing.' using errcode = 'PL422', column = 'closed_at';
  end if;
  v_locked := private.lock_usage(close_plan_grant.user_id, close_plan_grant.at);
  v_key := private.used_key(close_plan_grant.user_id, 'close_grant', close_plan_grant.idempotency_key, v_arguments);
  if v_key.amount is not null then
    return v_key.amount;
  end if;
  -- The period's grant has often ended by itself when a late job closes it; the next one may have begun at that moment.
  select g.* into v_grant
  from billing.token_grants g
  where g.user_id = close_plan_grant.user_id
    and g.source = 'plan'
    and g.source_id = close_plan_grant.source_id
    and g.closed_at is null
    and g.starts_at <= close_plan_grant.closed_at
    and (g.expires_at is null or g.expires_at >= close_plan_grant.closed_at)
  order by g.starts_at < close_plan_grant.closed_at desc, g.starts_at desc, g.id desc
  limit 1;
  if found then
    update billing.token_grants g
    set expires_at = close_plan_grant.closed_at, closed_at = close_plan_grant.at
    where g.id = v_grant.id;
    v_carried := greatest(
      0, least(v_grant.amount - v_grant.consumed - v_grant.held, coalesce(close_plan_grant.rollover_limit, 0))
    );
    -- least() passes over null: a grant without limit has nothing left to carry.
    if v_grant.amount is null then
      v_carried := 0;
    end if;
    if v_carried > 0 then
      perform private.grant_tokens(
        close_plan_grant.user_id, v_carried, 'rollover', close_plan_grant.source_id, v_grant.priority,
        close_plan_grant.closed_at, close_plan_grant.rollover_expires_at,
        'rollover of ' || v_grant.id, close_plan_grant.at
      );
    end if;
  end if;
  insert into private.usage_keys (user_id, operation, idempotency_key, arguments, amount)
  values (close_plan_grant.user_id, 'close_grant', close_plan_grant.idempotency_key, v_arguments, v_carried);
  return v_carried;
end
$$;

comment on function private.close_plan_grant(user_id uuid, source_id uuid, closed_at timestamp with time zone, rollover_limit bigint, rollover_expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) is 'Ends the plan grant of a source and carries up to rollover_limit unused, unheld tokens over; returns how many. The same key again gives the same number.';
revoke execute on function private.close_plan_grant(user_id uuid, source_id uuid, closed_at timestamp with time zone, rollover_limit bigint, rollover_expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) from public;
grant execute on function private.close_plan_grant(user_id uuid, source_id uuid, closed_at timestamp with time zone, rollover_limit bigint, rollover_expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) to :PLINTH_SERVICE;

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

-- Brings a recorded usage to these counts by an event of the difference; the same key again gives the same event. PL404 for no such usage, PL409 for a key used otherwise.
create or replace function private.correct_usage(event_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0, at timestamp with time zone default now())
  returns billing.usage_events
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_valid boolean;
  v_locked timestamptz;
  v_arguments jsonb := jsonb_build_array(
    correct_usage.event_id, correct_usage.input_tokens, correct_usage.output_tokens, correct_usage.cached_input_tokens,
    correct_usage.reasoning_tokens
  );
  v_event billing.usage_events;
  v_key private.usage_keys;
begin
  v_valid := private.check_token_counts(
    correct_usage.input_tokens, correct_usage.output_tokens, correct_usage.cached_input_tokens,
    correct_usage.reasoning_tokens
  );
  select e.* into v_event from billing.usage_events e where e.id = correct_usage.event_id;
  if v_event.user_id is null then
    raise exception 'There is no such usage, or its account was deleted.' using errcode = 'PL404', column = 'event_id';
  end if;
  if v_event.kind <> 'usage' then
    raise exception 'Correct the usage, not its correction.' using errcode = 'PL422', column = 'event_id';
  end if;
  v_locked := private.lock_usage(v_event.user_id, correct_usage.at);
  v_key := private.used_key(v_event.user_id, 'correct', correct_usage.idempotency_key, v_arguments);
  if v_key.event_id is not null then
    select e.* into strict v_event from billing.usage_events e where e.id = v_key.event_id;
    return v_event;
  end if;
  v_event := private.apply_correction(
    correct_usage.event_id, correct_usage.input_tokens, correct_usage.output_tokens, correct_usage.cached_input_tokens,
    correct_usage.reasoning_tokens, correct_usage.idempotency_key, correct_usage.at
  );
  insert into private.usage_keys (user_id, operation, idempotency_key, arguments, event_id)
  values (v_event.user_id, 'correct', v_event.idempotency_key, v_arguments, v_event.id);
  return v_event;
end
$$;

comment on function private.correct_usage(event_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, at timestamp with time zone) is 'Brings a recorded usage to these counts by an event of the difference; the same key again gives the same event. PL404 for no such usage, PL409 for a key used otherwise.';
revoke execute on function private.correct_usage(event_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, at timestamp with time zone) from public;
grant execute on function private.correct_usage(event_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, at timestamp with time zone) to :PLINTH_SERVICE;

-- Name of the user's plan; free without a subscription.
create or replace function private.current_plan_name(user_id uuid)
  returns text
  language sql
  stable
as $$
  select 'free'
$$;

comment on function private.current_plan_name(user_id uuid) is 'Name of the user''s plan; free without a subscription.';
revoke execute on function private.current_plan_name(user_id uuid) from public;

-- Deletes up to batch_size expired refresh tokens and revocations; returns how many.
create or replace function private.delete_expired_tokens(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.delete_expired_tokens(batch_size integer) is 'Deletes up to batch_size expired refresh tokens and revocations; returns how many.';
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

-- Gives the user what their plan grants now, if it was not given yet.
create or replace function private.ensure_current_grants(user_id uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
begin
end
$$;

comment on function private.ensure_current_grants(user_id uuid) is 'Gives the user what their plan grants now, if it was not given yet.';
revoke execute on function private.ensure_current_grants(user_id uuid) from public;

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

-- Expires the due holds of up to batch_size users; returns of how many. Who is at work this moment is passed over.
create or replace function private.expire_token_holds(batch_size integer default 1000, at timestamp with time zone default now())
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user_id uuid;
  v_users integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  for v_user_id in
    select t.user_id
    from billing.usage_tracking t
    where t.next_hold_expires_at <= expire_token_holds.at
    limit batch_size
    for update skip locked
  loop
    perform private.expire_user_holds(v_user_id, expire_token_holds.at);
    v_users := v_users + 1;
  end loop;
  return v_users;
end
$$;

comment on function private.expire_token_holds(batch_size integer, at timestamp with time zone) is 'Expires the due holds of up to batch_size users; returns of how many. Who is at work this moment is passed over.';
revoke execute on function private.expire_token_holds(batch_size integer, at timestamp with time zone) from public;
grant execute on function private.expire_token_holds(batch_size integer, at timestamp with time zone) to :PLINTH_WORKER;

-- Expires the holds of a user that are due; returns when the next one is. The caller has locked the user's row of usage_tracking.
create or replace function private.expire_user_holds(user_id uuid, at timestamp with time zone)
  returns timestamp with time zone
  language plpgsql
as $$
declare
  v_next timestamptz;
begin
  with due as (
    update billing.token_holds h
    set state = 'expired'
    where h.user_id = expire_user_holds.user_id and h.state = 'open' and h.expires_at <= expire_user_holds.at
    returning h.id, h.grant_ids, h.grant_tokens
  ), given_back as (
    select a.grant_id, sum(a.tokens)::bigint as tokens
    from due d
    cross join unnest(d.grant_ids, d.grant_tokens) as a (grant_id, tokens)
    group by a.grant_id
  )
  update billing.token_grants g set held = g.held - b.tokens from given_back b where g.id = b.grant_id;

  select min(h.expires_at) into v_next
  from billing.token_holds h
  where h.user_id = expire_user_holds.user_id and h.state = 'open';
  update billing.usage_tracking t set next_hold_expires_at = v_next where t.user_id = expire_user_holds.user_id;
  return v_next;
end
$$;

comment on function private.expire_user_holds(user_id uuid, at timestamp with time zone) is 'Expires the holds of a user that are due; returns when the next one is. The caller has locked the user''s row of usage_tracking.';
revoke execute on function private.expire_user_holds(user_id uuid, at timestamp with time zone) from public;

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

-- Grants a user tokens (null: without limit while in force) and returns the grant's id; the same key again gives the same. PL404 for no such account, PL409 for a key used otherwise.
create or replace function private.grant_tokens(user_id uuid, amount bigint, source text, source_id uuid, priority integer, starts_at timestamp with time zone, expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone default now())
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_locked timestamptz;
  v_grant billing.token_grants;
begin
  if grant_tokens.amount <= 0 then
    raise exception 'A grant has at least one token.' using errcode = 'PL422', column = 'amount';
  end if;
  if length(grant_tokens.idempotency_key) between 1 and 255 is not true then
    raise exception 'An idempotency key has 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  if coalesce(grant_tokens.starts_at, grant_tokens.at) > grant_tokens.expires_at then
    raise exception 'A grant ends after it starts.' using errcode = 'PL422', column = 'expires_at';
  end if;
  v_locked := private.lock_usage(grant_tokens.user_id, grant_tokens.at);
  select g.* into v_grant
  from billing.token_grants g
  where g.user_id = grant_tokens.user_id and g.idempotency_key = grant_tokens.idempotency_key;
  if found then
    -- Its end may have been brought forward since, and without a start it began when it was made.
    if (v_grant.amount, v_grant.source, v_grant.source_id, v_grant.priority)
      is distinct from (grant_tokens.amount, grant_tokens.source, grant_tokens.source_id, coalesce(grant_tokens.priority, 100))
      or v_grant.starts_at <> grant_tokens.starts_at
      or (v_grant.closed_at is null and v_grant.expires_at is distinct from grant_tokens.expires_at)
    then
      raise exception 'The idempotency key was used with other arguments.'
        using errcode = 'PL409', column = 'idempotency_key';
    end if;
    return v_grant.id;
  end if;
  insert into billing.token_grants (
    user_id, amount, source, source_id, priority, starts_at, expires_at, idempotency_key, created_at
  )
  values (
    grant_tokens.user_id, grant_tokens.amount, grant_tokens.source, grant_tokens.source_id,
    coalesce(grant_tokens.priority, 100), coalesce(grant_tokens.starts_at, grant_tokens.at), grant_tokens.expires_at,
    grant_tokens.idempotency_key, grant_tokens.at
  )
  returning * into v_grant;
  return v_grant.id;
end
$$;

comment on function private.grant_tokens(user_id uuid, amount bigint, source text, source_id uuid, priority integer, starts_at timestamp with time zone, expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) is 'Grants a user tokens (null: without limit while in force) and returns the grant''s id; the same key again gives the same. PL404 for no such account, PL409 for a key used otherwise.';
revoke execute on function private.grant_tokens(user_id uuid, amount bigint, source text, source_id uuid, priority integer, starts_at timestamp with time zone, expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) from public;
grant execute on function private.grant_tokens(user_id uuid, amount bigint, source text, source_id uuid, priority integer, starts_at timestamp with time zone, expires_at timestamp with time zone, idempotency_key text, at timestamp with time zone) to :PLINTH_SERVICE;

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
          where (
            w.input_price, w.output_price, w.cached_input_price, w.reasoning_price, w.effective_from, w.effective_to
          ) is not distinct from (
            p.input_price_per_million_tokens, p.output_price_per_million_tokens,
            p.cached_input_price_per_million_tokens, p.reasoning_price_per_million_tokens, p.effective_from, p.effective_to
          )
        );
      get diagnostics v_count = row_count;
      v_changed := v_changed or v_count > 0;

      insert into billing.model_prices (
        model_id, input_price_per_million_tokens, output_price_per_million_tokens,
        cached_input_price_per_million_tokens, reasoning_price_per_million_tokens, effective_from, effective_to
      )
      select
        v_model_id, w.input_price, w.output_price, w.cached_input_price, w.reasoning_price, w.effective_from, w.effective_to
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

-- How many hard or soft limits of a user (on a model, or all) this many more tokens would pass.
create or replace function private.limits_passed(user_id uuid, model_id uuid, tokens bigint, is_hard boolean, at timestamp with time zone)
  returns integer
  language sql
  stable
as $$
  select count(*)::integer
  from billing.usage_limits l
  where (l.user_id is null or l.user_id = limits_passed.user_id)
    -- Without a model all limits are asked about.
    and (limits_passed.model_id is null or l.model_id is null or l.model_id = limits_passed.model_id)
    and l.is_hard = limits_passed.is_hard
    and (l.plan_name is null or l.plan_name = private.current_plan_name(limits_passed.user_id))
    and limits_passed.tokens + (
      select coalesce(sum(d.total_tokens), 0)
      from billing.daily_usage d
      where d.user_id = limits_passed.user_id
        and d.day >= date_trunc(l.period, limits_passed.at at time zone 'UTC')::date
        and d.day < (date_trunc(l.period, limits_passed.at at time zone 'UTC') + ('1 ' || l.period)::interval)::date
        and (l.model_id is null or d.model_id = l.model_id)
    ) + (
      select coalesce(sum(h.max_tokens), 0)
      from billing.token_holds h
      where h.user_id = limits_passed.user_id
        and h.state = 'open'
        and h.expires_at > limits_passed.at
        and (l.model_id is null or h.model_id = l.model_id)
    ) > l.max_tokens
$$;

comment on function private.limits_passed(user_id uuid, model_id uuid, tokens bigint, is_hard boolean, at timestamp with time zone) is 'How many hard or soft limits of a user (on a model, or all) this many more tokens would pass.';
revoke execute on function private.limits_passed(user_id uuid, model_id uuid, tokens bigint, is_hard boolean, at timestamp with time zone) from public;

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

-- Locks a user's ledger until the end of the transaction, due holds expired and the month begun; returns a time before which no open hold ends, null without one. PL404 for no such account.
create or replace function private.lock_usage(user_id uuid, at timestamp with time zone)
  returns timestamp with time zone
  language plpgsql
as $$
declare
  v_row billing.usage_tracking;
begin
  select t.* into v_row from billing.usage_tracking t where t.user_id = lock_usage.user_id for no key update;
  if not found then
    begin
      insert into billing.usage_tracking (user_id, last_reset)
      values (lock_usage.user_id, date_trunc('month', lock_usage.at, 'UTC'))
      on conflict on constraint usage_tracking_pkey do nothing;
    exception
      when foreign_key_violation or not_null_violation then
        raise exception 'There is no such account.' using errcode = 'PL404', column = 'user_id';
    end;
    select t.* into strict v_row from billing.usage_tracking t where t.user_id = lock_usage.user_id for no key update;
  end if;
  if v_row.next_hold_expires_at <= lock_usage.at then
    v_row.next_hold_expires_at := private.expire_user_holds(lock_usage.user_id, lock_usage.at);
  end if;
  if v_row.last_reset < date_trunc('month', lock_usage.at, 'UTC') then
    update billing.usage_tracking t
    set token_count = 0, last_reset = date_trunc('month', lock_usage.at, 'UTC')
    where t.user_id = lock_usage.user_id;
  end if;
  return v_row.next_hold_expires_at;
end
$$;

comment on function private.lock_usage(user_id uuid, at timestamp with time zone) is 'Locks a user''s ledger until the end of the transaction, due holds expired and the month begun; returns a time before which no open hold ends, null without one. PL404 for no such account.';
revoke execute on function private.lock_usage(user_id uuid, at timestamp with time zone) from public;

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

-- Prices an event, adds it and keeps the totals; returns it as stored. The caller has locked the user's ledger.
create or replace function private.post_usage_event(event billing.usage_events)
  returns billing.usage_events
  language plpgsql
as $$
declare
  v_price billing.model_prices;
  v_day date := (event.occurred_at at time zone 'UTC')::date;
begin
  event.currency := 'USD';
  event.total_tokens := event.input_tokens + event.output_tokens;
  event.charged_tokens := event.total_tokens - event.overdraft_tokens;
  if event.kind = 'usage' then
    -- As llm.models_price says, by the index that is cheap to read.
    select p.* into v_price
    from billing.model_prices p
    where p.model_id = event.model_id
      and p.currency = event.currency
      and (p.effective_from is null or p.effective_from <= event.occurred_at)
      and (p.effective_to is null or p.effective_to > event.occurred_at);
    event.is_priced := found;
    event.price_id := v_price.id;
    event.input_price_per_million_tokens := v_price.input_price_per_million_tokens;
    event.output_price_per_million_tokens := v_price.output_price_per_million_tokens;
    event.cached_input_price_per_million_tokens :=
      coalesce(v_price.cached_input_price_per_million_tokens, v_price.input_price_per_million_tokens);
    event.reasoning_price_per_million_tokens :=
      coalesce(v_price.reasoning_price_per_million_tokens, v_price.output_price_per_million_tokens);
  end if;
  -- Multiplied and not divided: a product of numerics is exact.
  event.cost := 0.000001 * (
    (event.input_tokens - event.cached_input_tokens) * event.input_price_per_million_tokens
    + event.cached_input_tokens * event.cached_input_price_per_million_tokens
    + (event.output_tokens - event.reasoning_tokens) * event.output_price_per_million_tokens
    + event.reasoning_tokens * event.reasoning_price_per_million_tokens
  );

  insert into billing.usage_events values (event.*);

  update billing.usage_tracking t
  set
    token_count = t.token_count + case when event.occurred_at >= t.last_reset then event.total_tokens else 0 end,
    lifetime_tokens = t.lifetime_tokens + event.total_tokens
  where t.user_id = event.user_id;

  update billing.daily_usage d
  set
    requests = d.requests + (event.kind = 'usage')::integer,
    input_tokens = d.input_tokens + event.input_tokens,
    output_tokens = d.output_tokens + event.output_tokens,
    cached_input_tokens = d.cached_input_tokens + event.cached_input_tokens,
    reasoning_tokens = d.reasoning_tokens + event.reasoning_tokens,
    total_tokens = d.total_tokens + event.total_tokens,
    overdraft_tokens = d.overdraft_tokens + event.overdraft_tokens,
    unpriced_tokens = d.unpriced_tokens + case when event.is_priced then 0 else event.total_tokens end,
    self_reported_tokens = d.self_reported_tokens
      + case when event.source = 'self_reported' then event.total_tokens else 0 end,
    cost = d.cost + coalesce(event.cost, 0)
  where d.user_id = event.user_id
    and d.day = v_day
    and (d.model_id = event.model_id or (d.model_id is null and event.model_id is null));
  if not found then
    -- First of the day. Nobody else can be making it: they would need the user's lock.
    insert into billing.daily_usage (
      user_id, model_id, day, requests, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, total_tokens,
      overdraft_tokens, unpriced_tokens, self_reported_tokens, cost
    )
    values (
      event.user_id, event.model_id, v_day, (event.kind = 'usage')::integer, event.input_tokens, event.output_tokens,
      event.cached_input_tokens, event.reasoning_tokens, event.total_tokens, event.overdraft_tokens,
      case when event.is_priced then 0 else event.total_tokens end,
      case when event.source = 'self_reported' then event.total_tokens else 0 end,
      coalesce(event.cost, 0)
    );
  end if;
  return event;
end
$$;

comment on function private.post_usage_event(event billing.usage_events) is 'Prices an event, adds it and keeps the totals; returns it as stored. The caller has locked the user''s ledger.';
revoke execute on function private.post_usage_event(event billing.usage_events) from public;

-- Brings the ledger to what a message's tokens_used says, unless a service has settled the message.
create or replace function private.record_message_usage(message llm.messages, at timestamp with time zone default now())
  returns void
  language plpgsql
as $$
declare
  v_locked timestamptz;
  v_tokens bigint := coalesce(message.tokens_used, 0);
  v_counted billing.usage_events;
  v_event billing.usage_events;
  v_taken record;
begin
  perform private.ensure_current_grants(message.user_id);
  v_locked := private.lock_usage(message.user_id, record_message_usage.at);
  select e.* into v_counted
  from private.usage_keys k
  join billing.usage_events e on e.id = k.event_id
  where k.user_id = message.user_id and k.operation = 'message' and k.idempotency_key = message.id::text;
  if found then
    if v_counted.source in ('message', 'self_reported') then
      perform private.apply_correction(v_counted.id, 0, v_tokens, 0, 0, null, record_message_usage.at);
    end if;
    return;
  end if;
  if v_tokens = 0 then
    return;
  end if;
  v_taken := private.take_tokens(message.user_id, v_tokens, false, record_message_usage.at);
  v_event.id := plinth.uuid_v7();
  v_event.user_id := message.user_id;
  v_event.model_id := message.model_id;
  v_event.chat_id := message.chat_id;
  v_event.message_id := message.id;
  v_event.kind := 'usage';
  v_event.source := case when plinth.current_user_id() is null then 'message' else 'self_reported' end;
  v_event.input_tokens := 0;
  v_event.output_tokens := v_tokens;
  v_event.cached_input_tokens := 0;
  v_event.reasoning_tokens := 0;
  v_event.grant_ids := v_taken.grant_ids;
  v_event.grant_tokens := v_taken.grant_tokens;
  v_event.overdraft_tokens := v_taken.missing;
  v_event.occurred_at := least(message.created_at, record_message_usage.at);
  v_event.created_at := record_message_usage.at;
  v_event := private.post_usage_event(v_event);
  insert into private.usage_keys (user_id, operation, idempotency_key, arguments, event_id)
  values (message.user_id, 'message', message.id::text, '{}', v_event.id);
end
$$;

comment on function private.record_message_usage(message llm.messages, at timestamp with time zone) is 'Brings the ledger to what a message''s tokens_used says, unless a service has settled the message.';
revoke execute on function private.record_message_usage(message llm.messages, at timestamp with time zone) from public;

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

-- Records and charges usage without a hold; the same key again gives the same event. PL409 for a key used otherwise, PL404 for no such user, model or message.
create or replace function private.record_usage(user_id uuid, model_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0, occurred_at timestamp with time zone default null::timestamp with time zone, message_id uuid default null::uuid, at timestamp with time zone default now())
  returns billing.usage_events
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_valid boolean;
  v_locked timestamptz;
  v_arguments jsonb := jsonb_build_array(
    record_usage.model_id, record_usage.input_tokens, record_usage.output_tokens, record_usage.cached_input_tokens,
    record_usage.reasoning_tokens, extract(epoch from record_usage.occurred_at), record_usage.message_id
  );
  v_key private.usage_keys;
  v_event billing.usage_events;
  v_taken record;
begin
  v_valid := private.check_token_counts(
    record_usage.input_tokens, record_usage.output_tokens, record_usage.cached_input_tokens, record_usage.reasoning_tokens
  );
  perform private.ensure_current_grants(record_usage.user_id);
  v_locked := private.lock_usage(record_usage.user_id, record_usage.at);
  v_key := private.used_key(record_usage.user_id, 'record', record_usage.idempotency_key, v_arguments);
  if v_key.event_id is not null then
    select e.* into strict v_event from billing.usage_events e where e.id = v_key.event_id;
    return v_event;
  end if;
  if record_usage.model_id is not null and not exists (select from llm.models m where m.id = record_usage.model_id) then
    raise exception 'There is no such model.' using errcode = 'PL404', column = 'model_id';
  end if;
  if record_usage.message_id is not null then
    select m.chat_id into v_event.chat_id
    from llm.messages m
    where m.id = record_usage.message_id and m.user_id = record_usage.user_id;
    if not found then
      raise exception 'There is no such message.' using errcode = 'PL404', column = 'message_id';
    end if;
  end if;

  v_taken := private.take_tokens(
    record_usage.user_id, record_usage.input_tokens + record_usage.output_tokens, false, record_usage.at
  );
  v_event.id := plinth.uuid_v7();
  v_event.user_id := record_usage.user_id;
  v_event.model_id := record_usage.model_id;
  v_event.message_id := record_usage.message_id;
  v_event.kind := 'usage';
  v_event.source := 'service';
  v_event.idempotency_key := record_usage.idempotency_key;
  v_event.input_tokens := record_usage.input_tokens;
  v_event.output_tokens := record_usage.output_tokens;
  v_event.cached_input_tokens := record_usage.cached_input_tokens;
  v_event.reasoning_tokens := record_usage.reasoning_tokens;
  v_event.grant_ids := v_taken.grant_ids;
  v_event.grant_tokens := v_taken.grant_tokens;
  v_event.overdraft_tokens := v_taken.missing;
  v_event.occurred_at := least(record_usage.occurred_at, record_usage.at);
  v_event.created_at := record_usage.at;
  v_event := private.post_usage_event(v_event);
  insert into private.usage_keys (user_id, operation, idempotency_key, arguments, event_id)
  values (v_event.user_id, 'record', v_event.idempotency_key, v_arguments, v_event.id);
  if v_event.message_id is not null then
    perform private.claim_message(v_event, record_usage.at);
  end if;
  return v_event;
end
$$;

comment on function private.record_usage(user_id uuid, model_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) is 'Records and charges usage without a hold; the same key again gives the same event. PL409 for a key used otherwise, PL404 for no such user, model or message.';
revoke execute on function private.record_usage(user_id uuid, model_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) from public;
grant execute on function private.record_usage(user_id uuid, model_id uuid, input_tokens bigint, output_tokens bigint, idempotency_key text, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) to :PLINTH_SERVICE;

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

-- Gives back all that a hold keeps; again, or when it had expired, nothing changes. PL404 for no such hold, PL409 when it was settled.
create or replace function private.release_hold(hold_id uuid, at timestamp with time zone default now())
  returns billing.token_holds
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_locked timestamptz;
  v_hold billing.token_holds;
begin
  select h.user_id into v_hold.user_id from billing.token_holds h where h.id = release_hold.hold_id;
  if not found then
    raise exception 'There is no such hold.' using errcode = 'PL404', column = 'hold_id';
  end if;
  v_locked := private.lock_usage(v_hold.user_id, release_hold.at);
  select h.* into strict v_hold from billing.token_holds h where h.id = release_hold.hold_id;
  if v_hold.state = 'settled' then
    raise exception 'The hold was settled.' using errcode = 'PL409', column = 'hold_id';
  end if;
  if v_hold.state = 'open' then
    update billing.token_grants g
    set held = g.held - a.tokens
    from unnest(v_hold.grant_ids, v_hold.grant_tokens) as a (grant_id, tokens)
    where g.id = a.grant_id;
    update billing.token_holds h set state = 'released' where h.id = v_hold.id returning h.* into v_hold;
  end if;
  return v_hold;
end
$$;

comment on function private.release_hold(hold_id uuid, at timestamp with time zone) is 'Gives back all that a hold keeps; again, or when it had expired, nothing changes. PL404 for no such hold, PL409 when it was settled.';
revoke execute on function private.release_hold(hold_id uuid, at timestamp with time zone) from public;
grant execute on function private.release_hold(hold_id uuid, at timestamp with time zone) to :PLINTH_SERVICE;

-- PL403 unless the signed-in user has manage_users and every permission of the account.
create or replace function private.require_administration(user_id uuid)
  returns void
  language plpgsql
  stable
  set search_path to 'pg_catalog'
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

comment on function private.require_administration(user_id uuid) is 'PL403 unless the signed-in user has manage_users and every permission of the account.';
revoke execute on function private.require_administration(user_id uuid) from public;

-- Sets tokens aside for a call; the same key again gives the same hold. PL402 when grants or hard limits do not cover it, PL409 for a key used otherwise, PL404 for no such user or model.
create or replace function private.reserve_tokens(user_id uuid, model_id uuid, max_tokens bigint, idempotency_key text, ttl interval default '00:05:00'::interval, at timestamp with time zone default now())
  returns billing.token_holds
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_next timestamptz;
  v_check record;
  v_hold billing.token_holds;
  v_taken record;
begin
  if reserve_tokens.max_tokens between 1 and 1000000000000 is not true then
    raise exception 'max_tokens must be from 1 to 10^12.' using errcode = 'PL422', column = 'max_tokens';
  end if;
  if length(reserve_tokens.idempotency_key) between 1 and 255 is not true then
    raise exception 'An idempotency key has 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  if reserve_tokens.ttl between interval '1 second' and interval '24 hours' is not true then
    raise exception 'A hold lives from 1 second to 24 hours.' using errcode = 'PL422', column = 'ttl';
  end if;
  perform private.ensure_current_grants(reserve_tokens.user_id);
  v_next := private.lock_usage(reserve_tokens.user_id, reserve_tokens.at);

  select h.* into v_hold
  from billing.token_holds h
  where h.user_id = reserve_tokens.user_id and h.idempotency_key = reserve_tokens.idempotency_key;
  if found then
    if v_hold.model_id is distinct from reserve_tokens.model_id or v_hold.max_tokens <> reserve_tokens.max_tokens then
      raise exception 'The idempotency key was used with other arguments.'
        using errcode = 'PL409', column = 'idempotency_key';
    end if;
    return v_hold;
  end if;

  select
    exists (select from llm.models m where m.id = reserve_tokens.model_id) as has_model,
    exists (select from billing.usage_limits l where l.is_hard) as has_limits
  into v_check;
  if not v_check.has_model then
    raise exception 'There is no such model.' using errcode = 'PL404', column = 'model_id';
  end if;
  if v_check.has_limits and private.limits_passed(
    reserve_tokens.user_id, reserve_tokens.model_id, reserve_tokens.max_tokens, true, reserve_tokens.at
  ) > 0 then
    raise exception 'A limit on usage does not leave that many tokens.'
      using errcode = 'PL402', hint = 'The limit starts anew with the next day or month (UTC).';
  end if;
  v_taken := private.take_tokens(reserve_tokens.user_id, reserve_tokens.max_tokens, true, reserve_tokens.at);
  if v_taken.missing > 0 then
    raise exception 'There are not that many tokens left.'
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
  -- Seldom: the next hold to end is mostly an earlier one.
  if v_next <= v_hold.expires_at is not true then
    update billing.usage_tracking t set next_hold_expires_at = v_hold.expires_at where t.user_id = v_hold.user_id;
  end if;
  return v_hold;
end
$$;

comment on function private.reserve_tokens(user_id uuid, model_id uuid, max_tokens bigint, idempotency_key text, ttl interval, at timestamp with time zone) is 'Sets tokens aside for a call; the same key again gives the same hold. PL402 when grants or hard limits do not cover it, PL409 for a key used otherwise, PL404 for no such user or model.';
revoke execute on function private.reserve_tokens(user_id uuid, model_id uuid, max_tokens bigint, idempotency_key text, ttl interval, at timestamp with time zone) from public;
grant execute on function private.reserve_tokens(user_id uuid, model_id uuid, max_tokens bigint, idempotency_key text, ttl interval, at timestamp with time zone) to :PLINTH_SERVICE;

-- Starts the month in up to batch_size rows of usage_tracking that are in an earlier one; returns how many.
create or replace function private.reset_usage_tracking(batch_size integer default 1000, at timestamp with time zone default now())
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_month timestamptz := date_trunc('month', reset_usage_tracking.at, 'UTC');
  v_count integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  with due as (
    select t.user_id
    from billing.usage_tracking t
    where t.last_reset < v_month
    limit batch_size
    for update skip locked
  )
  update billing.usage_tracking t
  set token_count = 0, last_reset = v_month
  from due d
  where t.user_id = d.user_id;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;

comment on function private.reset_usage_tracking(batch_size integer, at timestamp with time zone) is 'Starts the month in up to batch_size rows of usage_tracking that are in an earlier one; returns how many.';
revoke execute on function private.reset_usage_tracking(batch_size integer, at timestamp with time zone) from public;
grant execute on function private.reset_usage_tracking(batch_size integer, at timestamp with time zone) to :PLINTH_WORKER;

-- Retires the ended grants of up to batch_size users; returns of how many.
create or replace function private.retire_token_grants(batch_size integer default 1000, at timestamp with time zone default now())
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user_id uuid;
  v_users integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  for v_user_id in
    select t.user_id
    from billing.usage_tracking t
    where t.user_id in (
      select g.user_id
      from billing.token_grants g
      where g.retired_at is null and g.held = 0 and g.expires_at <= retire_token_grants.at
    )
    limit batch_size
    for update skip locked
  loop
    update billing.token_grants g
    set retired_at = retire_token_grants.at
    where g.user_id = v_user_id and g.retired_at is null and g.held = 0 and g.expires_at <= retire_token_grants.at;
    v_users := v_users + 1;
  end loop;
  return v_users;
end
$$;

comment on function private.retire_token_grants(batch_size integer, at timestamp with time zone) is 'Retires the ended grants of up to batch_size users; returns of how many.';
revoke execute on function private.retire_token_grants(batch_size integer, at timestamp with time zone) from public;
grant execute on function private.retire_token_grants(batch_size integer, at timestamp with time zone) to :PLINTH_WORKER;

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

-- Records and charges what a call used; the same again gives the same event. PL404 for no such hold or message, PL409 for a hold that was released or settled with other numbers.
create or replace function private.settle_hold(hold_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint default 0, reasoning_tokens bigint default 0, occurred_at timestamp with time zone default null::timestamp with time zone, message_id uuid default null::uuid, at timestamp with time zone default now())
  returns billing.usage_events
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_valid boolean;
  v_locked timestamptz;
  v_hold billing.token_holds;
  v_event billing.usage_events;
  v_taken record;
  v_was_open boolean;
  v_left bigint;
  v_take bigint;
begin
  v_valid := private.check_token_counts(
    settle_hold.input_tokens, settle_hold.output_tokens, settle_hold.cached_input_tokens, settle_hold.reasoning_tokens
  );
  select h.user_id into v_hold.user_id from billing.token_holds h where h.id = settle_hold.hold_id;
  if not found then
    raise exception 'There is no such hold.' using errcode = 'PL404', column = 'hold_id';
  end if;
  v_locked := private.lock_usage(v_hold.user_id, settle_hold.at);
  v_event.id := plinth.uuid_v7();
  update billing.token_holds h
  set state = 'settled', settled_at = settle_hold.at, usage_event_id = v_event.id
  where h.id = settle_hold.hold_id and h.state = 'open'
  returning h.* into v_hold;
  v_was_open := found;
  if not found then
    select h.* into strict v_hold from billing.token_holds h where h.id = settle_hold.hold_id;
  end if;

  if not v_was_open and v_hold.state = 'settled' then
    select e.* into strict v_event
    from billing.usage_events e
    where e.id = v_hold.usage_event_id and e.created_at = v_hold.settled_at;
    if (v_event.input_tokens, v_event.output_tokens, v_event.cached_input_tokens, v_event.reasoning_tokens, v_event.message_id)
      is distinct from (
        settle_hold.input_tokens, settle_hold.output_tokens, settle_hold.cached_input_tokens,
        settle_hold.reasoning_tokens, settle_hold.message_id
      )
      or v_event.occurred_at <> least(settle_hold.occurred_at, v_event.created_at)
    then
      raise exception 'The hold was settled with other numbers.'
        using errcode = 'PL409', column = 'hold_id', hint = 'private.correct_usage corrects what was recorded.';
    end if;
    return v_event;
  end if;
  if v_hold.state = 'released' then
    raise exception 'The hold was released.' using errcode = 'PL409', column = 'hold_id';
  end if;

  if settle_hold.message_id is not null then
    select m.chat_id into v_event.chat_id
    from llm.messages m
    where m.id = settle_hold.message_id and m.user_id = v_hold.user_id;
    if not found then
      raise exception 'There is no such message.' using errcode = 'PL404', column = 'message_id';
    end if;
  end if;

  v_event.grant_ids := '{}';
  v_event.grant_tokens := '{}';
  v_left := settle_hold.input_tokens + settle_hold.output_tokens;
  if v_was_open then
    for i in 1 .. cardinality(v_hold.grant_ids) loop
      v_take := least(v_left, v_hold.grant_tokens[i]);
      update billing.token_grants g
      set held = g.held - v_hold.grant_tokens[i], consumed = g.consumed + v_take
      where g.id = v_hold.grant_ids[i];
      if v_take > 0 then
        v_event.grant_ids := v_event.grant_ids || v_hold.grant_ids[i];
        v_event.grant_tokens := v_event.grant_tokens || v_take;
        v_left := v_left - v_take;
      end if;
    end loop;
  end if;
  if v_left > 0 then
    v_taken := private.take_tokens(v_hold.user_id, v_left, false, settle_hold.at);
    v_event.grant_ids := v_event.grant_ids || v_taken.grant_ids;
    v_event.grant_tokens := v_event.grant_tokens || v_taken.grant_tokens;
    v_left := v_taken.missing;
  end if;

  v_event.user_id := v_hold.user_id;
  v_event.model_id := v_hold.model_id;
  v_event.message_id := settle_hold.message_id;
  v_event.hold_id := v_hold.id;
  v_event.kind := 'usage';
  v_event.source := 'hold';
  v_event.idempotency_key := v_hold.idempotency_key;
  v_event.input_tokens := settle_hold.input_tokens;
  v_event.output_tokens := settle_hold.output_tokens;
  v_event.cached_input_tokens := settle_hold.cached_input_tokens;
  v_event.reasoning_tokens := settle_hold.reasoning_tokens;
  v_event.overdraft_tokens := v_left;
  -- A clock that runs ahead must not open tomorrow's books.
  v_event.occurred_at := least(settle_hold.occurred_at, settle_hold.at);
  v_event.created_at := settle_hold.at;
  v_event := private.post_usage_event(v_event);

  if not v_was_open then
    update billing.token_holds h
    set state = 'settled', settled_at = v_event.created_at, usage_event_id = v_event.id
    where h.id = v_hold.id;
  end if;
  if v_event.message_id is not null then
    perform private.claim_message(v_event, settle_hold.at);
  end if;
  return v_event;
end
$$;

comment on function private.settle_hold(hold_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) is 'Records and charges what a call used; the same again gives the same event. PL404 for no such hold or message, PL409 for a hold that was released or settled with other numbers.';
revoke execute on function private.settle_hold(hold_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) from public;
grant execute on function private.settle_hold(hold_id uuid, input_tokens bigint, output_tokens bigint, cached_input_tokens bigint, reasoning_tokens bigint, occurred_at timestamp with time zone, message_id uuid, at timestamp with time zone) to :PLINTH_SERVICE;

-- Takes tokens from the user's grants in force, in their order, and says from which, how many, and how many are missing.
create or replace function private.take_tokens(user_id uuid, tokens bigint, for_hold boolean, at timestamp with time zone, out grant_ids uuid[], out grant_tokens bigint[], out missing bigint)
  returns record
  language plpgsql
as $$
declare
  v_grant record;
  v_take bigint;
begin
  missing := 0;
  -- Mostly the first grant has enough.
  update billing.token_grants g
  set
    held = g.held + case when for_hold then take_tokens.tokens else 0 end,
    consumed = g.consumed + case when for_hold then 0 else take_tokens.tokens end
  where g.id = (
      select f.id
      from billing.token_grants f
      where f.user_id = take_tokens.user_id
        and f.retired_at is null
        and f.starts_at <= take_tokens.at
        and (f.expires_at is null or f.expires_at > take_tokens.at)
      order by f.priority, f.expires_at, f.created_at, f.id
      limit 1
    )
    and take_tokens.tokens > 0
    and (g.amount is null or g.amount - g.consumed - g.held >= take_tokens.tokens)
  returning array[g.id], array[take_tokens.tokens] into grant_ids, grant_tokens;
  if found then
    return;
  end if;

  grant_ids := '{}';
  grant_tokens := '{}';
  missing := take_tokens.tokens;
  for v_grant in
    select g.id, g.amount - g.consumed - g.held as free, g.consumed >= g.amount as is_used_up
    from billing.token_grants g
    where g.user_id = take_tokens.user_id
      and g.retired_at is null
      and g.starts_at <= take_tokens.at
      and (g.expires_at is null or g.expires_at > take_tokens.at)
    order by g.priority, g.expires_at, g.created_at, g.id
  loop
    exit when missing <= 0;
    if v_grant.is_used_up then
      -- Seen once more and then never again.
      update billing.token_grants g set retired_at = take_tokens.at where g.id = v_grant.id;
    end if;
    -- Without an amount there is always enough.
    v_take := least(missing, coalesce(v_grant.free, missing));
    continue when v_take <= 0;
    if for_hold then
      update billing.token_grants g set held = g.held + v_take where g.id = v_grant.id;
    else
      update billing.token_grants g set consumed = g.consumed + v_take where g.id = v_grant.id;
    end if;
    grant_ids := grant_ids || v_grant.id;
    grant_tokens := grant_tokens || v_take;
    missing := missing - v_take;
  end loop;
end
$$;

comment on function private.take_tokens(user_id uuid, tokens bigint, for_hold boolean, at timestamp with time zone, out grant_ids uuid[], out grant_tokens bigint[], out missing bigint) is 'Takes tokens from the user''s grants in force, in their order, and says from which, how many, and how many are missing.';
revoke execute on function private.take_tokens(user_id uuid, tokens bigint, for_hold boolean, at timestamp with time zone, out grant_ids uuid[], out grant_tokens bigint[], out missing bigint) from public;

-- A user's tokens at a moment: left, held, used this month, by grant, and when they run out at the pace of the last seven whole days.
create or replace function private.token_balance_at(user_id uuid, at timestamp with time zone default now())
  returns billing.token_balance
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_month timestamptz := date_trunc('month', token_balance_at.at, 'UTC');
  v_today date := (token_balance_at.at at time zone 'UTC')::date;
  v_balance billing.token_balance;
begin
  select
    coalesce(bool_or(g.available is null), false),
    case when bool_or(g.available is null) then null else coalesce(sum(g.available), 0) end,
    coalesce(array_agg(g order by g.ordinality), '{}')
  into v_balance.is_unlimited, v_balance.available, v_balance.grants
  from (
    select (b.grant_id, b.source, b.available, b.held, b.expires_at)::billing.grant_balance as g, b.available, b.ordinality
    from private.available_grants(token_balance_at.user_id, token_balance_at.at)
      with ordinality as b (grant_id, source, available, held, expires_at, ordinality)
  ) g;
  select coalesce(sum(h.max_tokens), 0)
  into v_balance.held
  from billing.token_holds h
  where h.user_id = token_balance_at.user_id and h.state = 'open' and h.expires_at > token_balance_at.at;
  select case when t.last_reset = v_month then t.token_count else 0 end, t.lifetime_tokens
  into v_balance.used_this_period, v_balance.lifetime_tokens
  from billing.usage_tracking t
  where t.user_id = token_balance_at.user_id;
  v_balance.used_this_period := coalesce(v_balance.used_this_period, 0);
  v_balance.lifetime_tokens := coalesce(v_balance.lifetime_tokens, 0);
  v_balance.period_started_at := v_month;
  v_balance.period_ends_at := (v_month at time zone 'UTC' + interval '1 month') at time zone 'UTC';
  select round(coalesce(sum(d.total_tokens), 0) / 7.0, 3)
  into v_balance.tokens_per_day
  from billing.daily_usage d
  where d.user_id = token_balance_at.user_id and d.day between v_today - 7 and v_today - 1;
  -- Beyond a century it is no forecast.
  if v_balance.available < 36525 * v_balance.tokens_per_day then
    v_balance.exhausted_at := token_balance_at.at
      + make_interval(secs => (86400 * v_balance.available / v_balance.tokens_per_day)::double precision);
  end if;
  v_balance.soft_limits_reached :=
    private.limits_passed(token_balance_at.user_id, null, 1, false, token_balance_at.at);
  return v_balance;
end
$$;

comment on function private.token_balance_at(user_id uuid, at timestamp with time zone) is 'A user''s tokens at a moment: left, held, used this month, by grant, and when they run out at the pace of the last seven whole days.';
revoke execute on function private.token_balance_at(user_id uuid, at timestamp with time zone) from public;
grant execute on function private.token_balance_at(user_id uuid, at timestamp with time zone) to :PLINTH_SERVICE;

-- The key as it was used, or nulls. PL409 when it was used with other arguments, PL422 for no key.
create or replace function private.used_key(user_id uuid, operation text, idempotency_key text, arguments jsonb)
  returns private.usage_keys
  language plpgsql
  stable
as $$
declare
  v_key private.usage_keys;
begin
  if length(used_key.idempotency_key) between 1 and 255 is not true then
    raise exception 'An idempotency key has 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  select k.* into v_key
  from private.usage_keys k
  where k.user_id = used_key.user_id
    and k.operation = used_key.operation
    and k.idempotency_key = used_key.idempotency_key;
  if found and v_key.arguments <> used_key.arguments then
    raise exception 'The idempotency key was used with other arguments.' using errcode = 'PL409', column = 'idempotency_key';
  end if;
  return v_key;
end
$$;

comment on function private.used_key(user_id uuid, operation text, idempotency_key text, arguments jsonb) is 'The key as it was used, or nulls. PL409 when it was used with other arguments, PL422 for no key.';
revoke execute on function private.used_key(user_id uuid, operation text, idempotency_key text, arguments jsonb) from public;

-- Reads the price history of a model to import; USD per million tokens.
create or replace function private.wanted_prices(price_history jsonb)
  returns table(input_price numeric, output_price numeric, cached_input_price numeric, reasoning_price numeric, effective_from timestamp with time zone, effective_to timestamp with time zone)
  language sql
  stable
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'
as $$
  select
    (h ->> 'input')::numeric(18, 6),
    (h ->> 'output')::numeric(18, 6),
    (h ->> 'inputCached')::numeric(18, 6),
    (h ->> 'reasoning')::numeric(18, 6),
    (h ->> 'from')::date,
    (h ->> 'to')::date
  from jsonb_array_elements(coalesce(price_history, '[]')) h
$$;

comment on function private.wanted_prices(price_history jsonb) is 'Reads the price history of a model to import; USD per million tokens.';
revoke execute on function private.wanted_prices(price_history jsonb) from public;
