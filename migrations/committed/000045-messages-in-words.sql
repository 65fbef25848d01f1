--! Previous: sha1:eeac6866eec4b20e749e3db5c209d20e699e80cd
--! Hash: sha1:9731e090d8186a1861293b235ef14662b95af67c
--! Message: messages in words

-- Errors name things in words: a caller of the GraphQL API knows no name of SQL.
--! Included private/functions/grant_free_quotas.sql
-- Grants the monthly tokens of users who signed in recently, so that a balance is right before tokens are spent. Other users get
-- them at the first use (private.ensure_current_grants): idle accounts cost nothing.
create or replace function private.grant_free_quotas_at(batch_size integer, at timestamptz)
  returns integer
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_month date := date_trunc('month', grant_free_quotas_at.at at time zone 'UTC')::date;
  v_user_id uuid;
  v_handled integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'The batch size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  for v_user_id in
    select u.id
    from identity.users u
    left join private.free_quotas q on q.user_id = u.id
    where u.is_active
      and u.last_login_at > grant_free_quotas_at.at - interval '60 days'
      and (q.granted_month is null or q.granted_month < v_month)
      and not exists (
        select
        from billing.user_subscriptions s
        join billing.subscription_plans p on p.id = s.plan_id
        where s.user_id = u.id and s.status in ('trialing', 'active', 'past_due') and p.code <> 'free'
      )
    order by u.id
    limit batch_size
    for no key update of u skip locked
  loop
    exit when not exists (select from billing.subscription_plans p where p.code = 'free' and p.superseded_at is null and p.is_active);
    -- A worker that holds several accounts never waits.
    continue when not private.try_lock_usage(v_user_id);
    if private.grant_free_quota(v_user_id, grant_free_quotas_at.at) then
      v_handled := v_handled + 1;
    end if;
  end loop;
  return v_handled;
end
$$;

comment on function private.grant_free_quotas_at(integer, timestamptz) is
  'Grants up to batch_size users the free plan''s tokens of the month around a moment; returns their number.';

create or replace function private.grant_free_quotas(batch_size integer default 500)
  returns integer
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select private.grant_free_quotas_at(batch_size, now())
$$;

comment on function private.grant_free_quotas(integer) is
  'Grants up to batch_size users without a plan, who signed in within 60 days, the free plan''s tokens of this month.';
grant execute on function private.grant_free_quotas(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/grant_free_quotas.sql
--! Included private/functions/advance_subscriptions.sql
-- One batch of the job. An account or ledger that is locked is left to the lock's holder or to the next run: two workers never
-- take the same step, and a worker that holds several accounts never waits. A subscription that fails is reported and does not
-- stop the others.
create or replace function private.advance_subscriptions_at(batch_size integer, at timestamptz)
  returns integer
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_row record;
  v_handled integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'The batch size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  for v_row in
    select s.id, s.user_id
    from billing.user_subscriptions s
    where s.due_at <= advance_subscriptions_at.at
    order by s.due_at
    limit batch_size
  loop
    continue when not private.try_lock_account(v_row.user_id) or not private.try_lock_usage(v_row.user_id);
    begin
      if private.advance_subscription(v_row.id, advance_subscriptions_at.at) > 0 then
        v_handled := v_handled + 1;
      end if;
    exception
      when others then
        raise warning 'subscription % could not be advanced: %', v_row.id, sqlstate;
    end;
  end loop;
  return v_handled;
end
$$;

comment on function private.advance_subscriptions_at(integer, timestamptz) is
  'Advances up to batch_size subscriptions that are due at a moment; returns their number.';

create or replace function private.advance_subscriptions(batch_size integer default 100)
  returns integer
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select private.advance_subscriptions_at(batch_size, now())
$$;

comment on function private.advance_subscriptions(integer) is
  'Advances up to batch_size subscriptions that are due; returns their number.';
grant execute on function private.advance_subscriptions(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/advance_subscriptions.sql
--! Included private/functions/settle_hold.sql
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
--! EndIncluded private/functions/settle_hold.sql
--! Included private/functions/close_plan_grant.sql
-- Ends a plan's grants with their period (an upgrade adds a second grant) and carries over the tokens that were neither used nor
-- held, up to a limit. Held tokens stay with the hold: its usage is charged to the old grant, and tokens it releases are lost.
create or replace function private.close_plan_grant(
  user_id uuid,
  source_id uuid,
  closed_at timestamptz,
  rollover_limit bigint,
  rollover_expires_at timestamptz,
  idempotency_key text,
  at timestamptz default now()
)
  returns bigint
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_locked timestamptz;
  v_arguments jsonb := jsonb_build_array(
    close_plan_grant.source_id, extract(epoch from close_plan_grant.closed_at), close_plan_grant.rollover_limit,
    extract(epoch from close_plan_grant.rollover_expires_at)
  );
  v_key private.usage_keys;
  v_carried bigint;
  v_priority integer;
  v_last text;
begin
  if close_plan_grant.closed_at is null then
    raise exception 'A closing time is required.' using errcode = 'PL422', column = 'closed_at';
  end if;
  if close_plan_grant.rollover_limit >= 0 is not true then
    raise exception 'The rollover limit must not be negative.' using errcode = 'PL422', column = 'rollover_limit';
  end if;
  v_locked := private.lock_usage(close_plan_grant.user_id, close_plan_grant.at);
  v_key := private.used_key(close_plan_grant.user_id, 'close_grant', close_plan_grant.idempotency_key, v_arguments);
  if v_key.amount is not null then
    return v_key.amount;
  end if;
  -- The period's grants have usually ended when a late job closes them. The next period may have begun at that moment; its grant
  -- is chosen only if there is none before it.
  with period as (
    select g.id, g.starts_at < close_plan_grant.closed_at as began_before
    from billing.token_grants g
    where g.user_id = close_plan_grant.user_id
      and g.source = 'plan'
      and g.source_id = close_plan_grant.source_id
      and g.closed_at is null
      and g.starts_at <= close_plan_grant.closed_at
      and (g.expires_at is null or g.expires_at >= close_plan_grant.closed_at)
  ),
  closed as (
    update billing.token_grants g
    set expires_at = close_plan_grant.closed_at, closed_at = close_plan_grant.at
    from period p
    where g.id = p.id and (p.began_before or not exists (select from period o where o.began_before))
    returning g.id, g.priority, g.amount - g.consumed - g.held as rest
  )
  -- An unlimited grant has no rest to carry over.
  select least(coalesce(sum(c.rest), 0), close_plan_grant.rollover_limit, 1000000000000000), min(c.priority), max(c.id::text)
  into v_carried, v_priority, v_last
  from closed c;
  if v_carried > 0 then
    perform private.grant_tokens(
      close_plan_grant.user_id, v_carried, 'rollover', close_plan_grant.source_id, v_priority,
      close_plan_grant.closed_at, close_plan_grant.rollover_expires_at, 'rollover of ' || v_last, close_plan_grant.at
    );
  end if;
  insert into private.usage_keys (user_id, operation, idempotency_key, arguments, amount)
  values (close_plan_grant.user_id, 'close_grant', close_plan_grant.idempotency_key, v_arguments, v_carried);
  return v_carried;
end
$$;

comment on function private.close_plan_grant(uuid, uuid, timestamptz, bigint, timestamptz, text, timestamptz) is
  'Ends the plan grants of a source and carries over up to rollover_limit unused, unheld tokens; returns their number. The same key again returns the same number.';
grant execute on function private.close_plan_grant(uuid, uuid, timestamptz, bigint, timestamptz, text, timestamptz)
  to :PLINTH_SERVICE;
--! EndIncluded private/functions/close_plan_grant.sql
--! Included private/functions/check_token_counts.sql
-- Counts come from providers' responses; impossible counts must not reach the ledger.
create or replace function private.check_token_counts(
  input_tokens bigint,
  output_tokens bigint,
  cached_input_tokens bigint,
  reasoning_tokens bigint
)
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
    raise exception 'Invalid token count.'
      using errcode = 'PL422', column = v_column,
        hint = 'Cached tokens are part of the input, reasoning tokens of the output.';
  end if;
  return true;
end
$$;

comment on function private.check_token_counts(bigint, bigint, bigint, bigint) is
  'Raises PL422 unless 0 <= cached <= input and 0 <= reasoning <= output, each up to 10^12; otherwise returns true.';
--! EndIncluded private/functions/check_token_counts.sql
--! Included private/functions/insert_attachments.sql
-- The constraints of llm.message_attachments define the limits; this function turns them into errors that name the list.
create or replace function private.insert_attachments(message llm.messages, attachments jsonb)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  if jsonb_typeof(insert_attachments.attachments) is distinct from 'array' then
    raise exception 'Attachments must be a list.' using errcode = 'PL422', column = 'attachments';
  end if;
  if jsonb_array_length(insert_attachments.attachments) > 10 then
    raise exception 'A message can have at most 10 attachments.' using errcode = 'PL422', column = 'attachments';
  end if;
  insert into llm.message_attachments (user_id, chat_id, message_id, position, url, mime_type, size_bytes, name)
  select
    message.user_id, message.chat_id, message.id, a.ordinality,
    a.value ->> 'url', a.value ->> 'mimeType', (a.value ->> 'sizeBytes')::bigint, a.value ->> 'name'
  from jsonb_array_elements(insert_attachments.attachments) with ordinality a
  order by a.ordinality;
exception
  when check_violation or not_null_violation or data_exception then
    raise exception 'Invalid attachment.'
      using errcode = 'PL422', column = 'attachments',
        hint = 'An attachment is {url, mimeType, sizeBytes, name} with an https address, an allowed type and at most 100 MB.';
end
$$;

comment on function private.insert_attachments(llm.messages, jsonb) is
  'Attaches [{url, mimeType, sizeBytes, name}] to a new message. PL422 for more than 10 and for a value that violates a constraint.';
--! EndIncluded private/functions/insert_attachments.sql
--! Included learning/functions/complete_item.sql
-- Readers mark content that is not played, such as an article or an exercise, as completed. A video is completed by playing it,
-- a course by its parts.
create or replace function learning.complete_item(item_id uuid, version integer default null)
  returns learning.content_progress
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := private.lock_own_account();
  v_open record;
  v_progress learning.content_progress;
begin
  select * into v_open from private.open_for_recording(item_id, version);
  perform private.refuse_recording(v_open.reason);
  if v_open.content_type = 'course' then
    raise exception 'A course is completed by completing its parts.' using errcode = 'PL409';
  end if;
  if v_open.content_type = 'video' and v_open.duration_seconds is not null then
    raise exception 'A video is completed by playing it.' using errcode = 'PL409', hint = 'Record a heartbeat for each part that was played.';
  end if;
  insert into learning.content_progress (user_id, item_id, version, started_at, last_activity_at)
  values (v_user_id, item_id, v_open.playable_version, now(), now())
  on conflict do nothing;
  perform from learning.content_progress p where p.user_id = v_user_id and p.item_id = complete_item.item_id for no key update;
  update learning.content_progress p
  set version = greatest(p.version, v_open.playable_version),
    -- The seconds seen belong to another version.
    covered = case when p.version < v_open.playable_version then '{}' else p.covered end,
    covered_seconds = case when p.version < v_open.playable_version then 0 else p.covered_seconds end,
    position_seconds = case when p.version < v_open.playable_version then 0 else p.position_seconds end,
    completed_version = v_open.playable_version,
    completed_at = now(),
    last_activity_at = greatest(p.last_activity_at, now())
  where p.user_id = v_user_id
    and p.item_id = complete_item.item_id
    and coalesce(p.completed_version, 0) < v_open.playable_version;
  if found then
    perform private.credit_completions(v_user_id, array[item_id]);
  end if;
  select p.* into v_progress
  from learning.content_progress p
  where p.user_id = v_user_id and p.item_id = complete_item.item_id;
  return v_progress;
end
$$;

comment on function learning.complete_item(uuid, integer) is
  E'@resultFieldName progress\nMarks an item as completed by the signed-in user, in its current or the given version; repeating it changes nothing. PL409 for a course (completed by its parts) and for a video with a known duration (completed by playing it). PL401, PL403 with the reason as hint, PL404.';
grant execute on function learning.complete_item(uuid, integer) to :PLINTH_USER;
--! EndIncluded learning/functions/complete_item.sql
