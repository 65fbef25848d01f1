--! Previous: sha1:daf51de1d6c0226ff59813ef55a6ea2688a58c62
--! Hash: sha1:3908bb4fdcf298d91e3c63c1ffc7ee68c1f14c03
--! Message: plans of sign-in and ledger

-- Sign-in, refresh and the ledger call the same statements for every user, so one plan serves all: planning them again for each
-- call took up to a third of the time.

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
    exists (select from llm.models m where m.id = reserve_tokens.model_id) as has_model,
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
    exists (select from llm.models m where m.id = reserve_tokens.model_id) as has_model,
    exists (select from billing.usage_limits l where l.is_hard) as has_limits
  into v_check;
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
  'Reserves tokens for a call; the same key again returns the same hold. PL402 when grants or hard limits do not cover it, PL409 for a key used for another request, PL404 for an unknown user or model.';
grant execute on function private.reserve_tokens(uuid, uuid, bigint, text, interval, timestamptz) to :PLINTH_SERVICE;
--! EndIncluded billing/private/reserve_tokens.sql
--! Included billing/private/settle_hold.sql
-- Records and charges the actual usage of a call: first to the hold, whose rest is released; then to the grants currently
-- available; the uncovered rest is recorded as overdraft. Usage has already happened, so it is never rejected, and a grant is
-- never charged more than it has. A hold that expired meanwhile keeps nothing, so the whole usage is charged as of now. Only
-- services settle holds: a client could report less.
create or replace function private.settle_hold(
  hold_id uuid,
  input_tokens bigint,
  output_tokens bigint,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0,
  occurred_at timestamptz default null,
  message_id uuid default null,
  at timestamptz default now()
)
  returns billing.usage_events
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_valid boolean;
  v_locked timestamptz;
  v_hold record;
  v_ended record;
  v_event billing.usage_events;
  v_taken record;
  v_was_open boolean;
  v_left bigint;
  v_take bigint;
begin
  v_valid := private.check_token_counts(
    settle_hold.input_tokens, settle_hold.output_tokens, settle_hold.cached_input_tokens, settle_hold.reasoning_tokens
  );
  -- Before the lock, only the columns of the hold that never change can be trusted.
  select
    h.id, h.user_id, h.model_id, h.max_tokens, h.grant_ids, h.grant_tokens, h.idempotency_key,
    t.last_reset < date_trunc('month', settle_hold.at, 'UTC') or t.next_hold_expires_at <= settle_hold.at as is_due
  into v_hold
  from billing.token_holds h
  join billing.usage_tracking t on t.user_id = h.user_id
  where h.id = settle_hold.hold_id
  for no key update of t;
  if not found then
    raise exception 'Hold not found.' using errcode = 'PL404', column = 'hold_id';
  end if;
  if v_hold.is_due then
    v_locked := private.lock_usage(v_hold.user_id, settle_hold.at);
  end if;
  v_event.id := plinth.uuid_v7();
  v_left := settle_hold.input_tokens + settle_hold.output_tokens;
  update billing.token_holds h
  set state = 'settled', settled_at = settle_hold.at, usage_event_id = v_event.id
  where h.id = settle_hold.hold_id and h.state = 'open';
  v_was_open := found;

  if not v_was_open then
    select h.state, h.usage_event_id, h.settled_at into strict v_ended
    from billing.token_holds h
    where h.id = settle_hold.hold_id;
    if v_ended.state = 'released' then
      raise exception 'The hold was released.' using errcode = 'PL409', column = 'hold_id';
    end if;
    if v_ended.state = 'settled' then
      select e.* into strict v_event
      from billing.usage_events e
      where e.id = v_ended.usage_event_id and e.created_at = v_ended.settled_at;
      if (
        v_event.input_tokens, v_event.output_tokens, v_event.cached_input_tokens, v_event.reasoning_tokens,
        v_event.message_id
      ) is distinct from (
        settle_hold.input_tokens, settle_hold.output_tokens, settle_hold.cached_input_tokens,
        settle_hold.reasoning_tokens, settle_hold.message_id
      )
        or v_event.occurred_at <> least(settle_hold.occurred_at, v_event.created_at)
      then
        raise exception 'The hold was already settled with other token counts.'
          using errcode = 'PL409', column = 'hold_id', hint = 'Correct the recorded usage instead.';
      end if;
      return v_event;
    end if;
  end if;

  if settle_hold.message_id is not null then
    select m.chat_id into v_event.chat_id
    from llm.messages m
    where m.id = settle_hold.message_id and m.user_id = v_hold.user_id;
    if not found then
      raise exception 'Message not found.' using errcode = 'PL404', column = 'message_id';
    end if;
  end if;

  v_event.grant_ids := '{}';
  v_event.grant_tokens := '{}';
  if v_was_open and cardinality(v_hold.grant_ids) = 1 and v_left <= v_hold.max_tokens then
    -- Usually the hold keeps enough of one grant.
    update billing.token_grants g
    set held = g.held - v_hold.max_tokens, consumed = g.consumed + v_left
    where g.id = v_hold.grant_ids[1];
    if v_left > 0 then
      v_event.grant_ids := v_hold.grant_ids;
      v_event.grant_tokens := array[v_left];
      v_left := 0;
    end if;
  elsif v_was_open then
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
    perform private.ensure_grants_at(v_hold.user_id, now(), false)
    where not exists (
      select from billing.usage_tracking t where t.user_id = v_hold.user_id and t.entitled_until > now()
    );
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
  -- A clock that runs ahead must not add to tomorrow's totals.
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

comment on function private.settle_hold(uuid, bigint, bigint, bigint, bigint, timestamptz, uuid, timestamptz) is
  'Records and charges the usage of a call; the same call again returns the same event. PL404 for an unknown hold or message, PL409 for a hold that was released or settled with other token counts.';
grant execute on function private.settle_hold(uuid, bigint, bigint, bigint, bigint, timestamptz, uuid, timestamptz)
  to :PLINTH_SERVICE;
--! EndIncluded billing/private/settle_hold.sql
--! Included identity/private/find_login.sql
-- The data that the service needs to check a password. It does not report locks or status: private.finish_login decides, counts
-- and audits those after the same work for every caller. The token_version is passed back there: if it has grown, the checked
-- password may have been changed. Always returns one row, so that the last column is also known for unknown accounts: while any
-- account still has a bcrypt hash, which takes longer to check, the service delays every refusal equally. An address is also
-- looked up by its keyed hash, the only form of it in privacy mode; in that mode the address itself is not even sent here.
create or replace function private.find_login(identifier text, hashed_email bytea default null)
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
  set plan_cache_mode = force_generic_plan
as $$
  select
    account.id,
    account.password_hash,
    account.hash_algorithm,
    account.token_version,
    exists (select from private.user_passwords b where b.hash_algorithm <> 'argon2id')
  from (values (true)) as always (one)
  left join lateral (
    select u.id, u.token_version, p.password_hash, p.hash_algorithm
    from identity.users u
    join private.user_passwords p on p.user_id = u.id
    -- If a hash belongs to one account and the clear address to another without a hash, the clear address is older.
    -- In a subquery of its own, so that it is computed once and not for each of the two tables.
    where u.id = (
      select coalesce(
        private.find_account(find_login.identifier),
        (select h.id from identity.users h where h.hashed_email = find_login.hashed_email)
      )
    )
  ) account on true
$$;

comment on function private.find_login(text, bytea) is
  'Returns the password hash of the account with this username, email address or email hash; one row of nulls without one.';
grant execute on function private.find_login(text, bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/find_login.sql
--! Included identity/private/finish_login.sql
-- Decides a sign-in whose password the service has checked. Always commits: a refused attempt is counted and audited. Locks the
-- account's row first, so that parallel guesses are counted one by one and the lock applies to all of them. Code that needs
-- several locks takes them in the order account, session, token, which rules out deadlocks.
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
  set plan_cache_mode = force_generic_plan
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
    -- The password was changed between the check and now.
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
    -- An unknown name may be a password typed into the wrong field: its hash shows repeats without revealing it.
    case
      when v_user.id is null and finish_login.identifier !~ '@'
      then 'sha256:' || left(encode(sha256(convert_to(plinth.normalize_username(finish_login.identifier), 'UTF8')), 'hex'), 16)
      else finish_login.identifier
    end,
    plinth.client_ip(),
    plinth.user_agent(),
    case
      when v_refusal = 'account_locked' then 'locked'
      when v_refusal is not null then 'failed'
      -- A challenge is no success: it must not clear the count of failures, or knowing the password would hide guesses.
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
  'Opens a session, or a challenge, if the password matched and nothing forbids it; no row when refused. Counts and audits in both cases.';
grant execute on function private.finish_login(uuid, text, boolean, integer, bytea, text, bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/finish_login.sql
--! Included identity/private/rotate_refresh_token.sql
-- Exchanges a refresh token for its successor (RFC 9700, section 4.14.2).
--   rotated   the token was live; the successor's hash is stored
--   replayed  the token is the immediate parent of the live one and was used less than a minute ago: the response was lost, so the
--             caller gets the same successor again
--   refused   any other case. An older used token counts as stolen, whichever of the two users came first: the session ends.
--             It is a result and not an exception; an exception would roll back the end of the session.
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
  set plan_cache_mode = force_generic_plan
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

  -- Account before session, the global lock order (see private.finish_login).
  perform from identity.users u where u.id = v_token.user_id for key share;
  -- The session's row is the family's lock: parallel refreshes, logout and reuse wait for each other here.
  select s.* into v_session from identity.user_sessions s where s.id = v_token.session_id for update;
  select t.* into v_token from private.refresh_tokens t where t.id = v_token.id;
  select u.* into v_user from identity.users u where u.id = v_session.user_id;

  if v_token.id is null or v_session.ended_at is not null or v_user.account_status <> 'active' then
    return next;
    return;
  end if;
  v_idle_limit := private.session_idle_limit(v_user.id);
  -- For a used token the time of use counts, below: a replay must not end the session because the token has expired since.
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
    refresh_expires_at := least(v_successor.expires_at, now() + v_idle_limit);
    return next;
    return;
  end if;

  update private.refresh_tokens t
  set
    used_at = now(),
    successor_sealed = rotate_refresh_token.successor_sealed,
    -- Kept that long only to recognize a second use.
    expires_at = least(t.expires_at, now() + interval '30 days')
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
  'Exchanges a refresh token for its successor; returns rotated, replayed (same successor again) or refused.';
grant execute on function private.rotate_refresh_token(bytea, bytea, bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/rotate_refresh_token.sql
--! Included security/private/consume_rate_limit_rule.sql
-- Limits by name, with the numbers in security.rate_limit_rules. The rule's name is part of the key, so that rules do not share
-- counters.
create or replace function private.consume_rate_limit_rule(rule_name text, key text)
  returns table (allowed boolean, remaining integer, retry_after interval, reset_at timestamptz)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_rule security.rate_limit_rules;
begin
  select r.* into v_rule from security.rate_limit_rules r where r.rule_name = consume_rate_limit_rule.rule_name;
  if v_rule.rule_name is null then
    raise exception 'Rate limit rule not found.' using errcode = 'PL422', column = 'rule_name';
  end if;
  if consume_rate_limit_rule.key is null or length(consume_rate_limit_rule.key) not between 1 and 800 then
    raise exception 'A key must have 1 to 800 characters.' using errcode = 'PL422', column = 'key';
  end if;
  if not v_rule.is_enabled then
    return query select true, null::integer, interval '0', null::timestamptz;
    return;
  end if;
  return query
    select c.allowed, c.remaining, c.retry_after, c.reset_at
    from private.consume_rate_limit_at(
      v_rule.rule_name || ':' || consume_rate_limit_rule.key,
      v_rule.algorithm,
      v_rule.limit_value,
      v_rule.window_length,
      metadata => jsonb_build_object('rule', v_rule.rule_name)
    ) c;
end
$$;

comment on function private.consume_rate_limit_rule(text, text) is
  'Counts a call against a rule of security.rate_limit_rules or rejects it. A disabled rule allows the call; an unknown one is PL422.';
grant execute on function private.consume_rate_limit_rule(text, text) to :PLINTH_SERVICE;
--! EndIncluded security/private/consume_rate_limit_rule.sql

-- A sign-in changes only columns that the audit trail leaves out.

--! Included identity/triggers/record_data_change.sql
create or replace trigger _700_record_data_change
  after insert or update or delete on identity.data_rights_settings
  for each row
  execute function private.record_data_change('id', '', 'updated_at', '');

-- The tables that the audit trail watches, and the columns it leaves out. A new table or column is decided here; a test walks
-- all columns of these tables and rejects one whose name sounds like a secret. Arguments: see private.record_data_change.

-- In privacy mode no clear address is stored anywhere, so the trail stores none either. The JSON columns belong to the product
-- and may hold anything. Counters change with each sign-in, which has logs of its own: an update of these columns alone does not
-- call the function.
create or replace trigger _700_record_data_change
  after insert or delete or update of
    id, username, email, hashed_email, has_irregular_address, email_verified_at, phone_number, phone_verified_at, account_status,
    token_version, password_changed_at, profile_data, metadata, created_at
  on identity.users
  for each row
  execute function private.record_data_change(
    'id', 'id',
    'failed_login_attempts,locked_until,last_login_at,updated_at,is_active,is_verified',
    'email,hashed_email,phone_number,profile_data,metadata'
  );

-- An endpoint's address may contain a key.
create or replace trigger _700_record_data_change
  after insert or update or delete on identity.user_settings
  for each row
  execute function private.record_data_change('user_id', 'user_id', 'updated_at', 'preferences,llm_endpoint');

create or replace trigger _700_record_data_change
  after insert or update or delete on identity.user_security_settings
  for each row
  execute function private.record_data_change('user_id', 'user_id', 'updated_at', '');
--! EndIncluded identity/triggers/record_data_change.sql
