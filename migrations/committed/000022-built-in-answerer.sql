--! Previous: sha1:c2e9ef9588522dfcac7e3537f52fb6cf0538c05f
--! Hash: sha1:67c4f6408c6e135df0ca46daec7a40d842f2c56f
--! Message: built-in answerer

alter table private.turns
  drop constraint turns_writer_check,
  add constraint turns_writer_check check (writer in ('client', 'service', 'server')),
  add column claim_id uuid,
  add column claims smallint not null default 0,
  add column tools jsonb,
  add column estimated_input_tokens bigint,
  add column uses_own_model boolean not null default false,
  add constraint turns_claims_check check (claims between 0 and 3),
  add constraint turns_only_servers_claim check (
    writer = 'server' or claim_id is null and claims = 0 and tools is null and not uses_own_model
  );
comment on column private.turns.writer is
  'Writer that appends: client (the owner, through the API), service (private.append_delta) or server (the built-in answerer).';
comment on column private.turns.claim_id is 'Claim of the server that writes the answer; null while it waits for one.';
comment on column private.turns.claims is 'Number of claims so far.';
comment on column private.turns.tools is 'Tools that the model may call (JSON array), or null.';
comment on column private.turns.estimated_input_tokens is
  'Tokens that the model will read, estimated when the answer was requested; null if the writer is no server, or for the user''s own model.';
comment on column private.turns.uses_own_model is
  'Whether the model of the user''s own settings writes the answer; such answers are not charged.';

-- A server sends them to models, and estimates their cost.
alter table llm.messages
  add constraint messages_tool_calls_are_not_too_long check (octet_length(tool_calls::text) <= 1000000),
  add constraint messages_extended_metadata_is_not_too_long check (octet_length(extended_metadata::text) <= 1000000);

create table private.model_provider_keys (
  provider_id uuid constraint model_provider_keys_pkey primary key
    constraint model_provider_keys_provider_id_fkey references llm.model_providers on delete cascade,
  sealed_key text not null,
  updated_at timestamptz not null default now(),
  constraint model_provider_keys_sealed_key_check check (sealed_key ~ '^v[1-9][0-9]*[.]' and length(sealed_key) <= 8192)
);
alter table private.model_provider_keys enable row level security;
comment on table private.model_provider_keys is 'One row per model provider with a key.';
comment on column private.model_provider_keys.provider_id is 'The provider.';
comment on column private.model_provider_keys.sealed_key is 'API key, sealed with a master key outside the database.';
comment on column private.model_provider_keys.updated_at is 'Time when the key was set.';

create table private.user_model_keys (
  user_id uuid constraint user_model_keys_pkey primary key
    constraint user_model_keys_user_id_fkey references identity.users on delete cascade,
  sealed_key text not null,
  updated_at timestamptz not null default now(),
  constraint user_model_keys_sealed_key_check check (sealed_key ~ '^v[1-9][0-9]*[.]' and length(sealed_key) <= 8192)
);
alter table private.user_model_keys enable row level security;
comment on table private.user_model_keys is 'One row per user with a key for the own model.';
comment on column private.user_model_keys.user_id is 'The user.';
comment on column private.user_model_keys.sealed_key is 'API key, sealed with a master key outside the database.';
comment on column private.user_model_keys.updated_at is 'Time when the key was set.';

alter table rooms.chat_rooms
  add column model_id uuid constraint chat_rooms_model_id_fkey references llm.models on delete set null;
create index chat_rooms_model_id_idx on rooms.chat_rooms (model_id);
comment on column rooms.chat_rooms.model_id is
  'Model with which the server answers as the room''s AI; null if the application answers, or the AI stays silent.';

create table rooms.room_answers (
  room_id uuid constraint room_answers_pkey primary key
    constraint room_answers_room_id_fkey references rooms.chat_rooms on delete cascade,
  reply_to_id uuid not null constraint room_answers_reply_to_id_fkey references rooms.room_messages on delete cascade,
  message_id uuid constraint room_answers_message_id_fkey references rooms.room_messages on delete cascade,
  audience_version bigint not null,
  state text not null default 'streaming',
  error_code text,
  pieces text[] not null default '{}',
  first_sequence bigint not null,
  last_sequence bigint not null,
  started_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  constraint room_answers_state_check check (state in ('streaming', 'complete', 'broken_off')),
  constraint room_answers_only_broken_off_ones_have_an_error check ((error_code is not null) = (state = 'broken_off')),
  constraint room_answers_only_complete_ones_have_a_message check ((message_id is not null) = (state = 'complete')),
  constraint room_answers_end_with_a_time check ((ended_at is not null) = (state <> 'streaming')),
  constraint room_answers_error_code_check check (length(error_code) between 1 and 100),
  constraint room_answers_sequences_grow check (first_sequence >= 1 and last_sequence >= first_sequence)
) with (fillfactor = 50);
create index room_answers_reply_to_id_idx on rooms.room_answers (reply_to_id);
create index room_answers_message_id_idx on rooms.room_answers (message_id);
alter table rooms.room_answers enable row level security;
comment on table rooms.room_answers is
  E'@behavior -*\nOne row per room whose AI answers with a model: the answer being written, or the last one.';
comment on constraint room_answers_state_check on rooms.room_answers is
  E'State of an answer of a room''s AI.\n'
  'streaming: The model is writing it.\n'
  'complete: It is a message of the room.\n'
  'broken_off: It ended early; errorCode says why.';
comment on column rooms.room_answers.room_id is 'The room.';
comment on column rooms.room_answers.reply_to_id is 'The message that is answered.';
comment on column rooms.room_answers.message_id is 'The answer as a message; null until it is complete.';
comment on column rooms.room_answers.audience_version is 'Audience of the room when the model read its context.';
comment on column rooms.room_answers.state is 'State: streaming, complete or broken_off.';
comment on column rooms.room_answers.error_code is 'Reason for a broken-off answer, or null.';
comment on column rooms.room_answers.pieces is 'Text so far, in pieces as they arrived.';
comment on column rooms.room_answers.first_sequence is 'Sequence number before the first piece; increases with each answer of the room.';
comment on column rooms.room_answers.last_sequence is 'Sequence number of the last piece or of the end.';
comment on column rooms.room_answers.started_at is 'Time when the answer started.';
comment on column rooms.room_answers.ended_at is 'Time when the answer ended; null while it is being written.';

create table private.room_turns (
  room_id uuid constraint room_turns_pkey primary key
    constraint room_turns_room_id_fkey references rooms.room_answers on delete cascade,
  answer_id uuid not null,
  user_id uuid constraint room_turns_user_id_fkey references identity.users on delete set null,
  hold_id uuid constraint room_turns_hold_id_fkey references billing.token_holds on delete set null,
  claim_id uuid,
  claims smallint not null,
  lease_expires_at timestamptz not null,
  constraint room_turns_claims_check check (claims between 0 and 3)
) with (fillfactor = 50);
create index room_turns_user_id_idx on private.room_turns (user_id);
create index room_turns_hold_id_idx on private.room_turns (hold_id);
alter table private.room_turns enable row level security;
comment on table private.room_turns is 'One row per answer that a room''s AI is writing: its claim, and the hold that pays.';
comment on column private.room_turns.room_id is 'The room.';
comment on column private.room_turns.answer_id is 'Idempotency key of the message that the answer becomes.';
comment on column private.room_turns.user_id is 'The sender of the answered message, who pays; null for a deleted account.';
comment on column private.room_turns.hold_id is 'The hold of the reserved tokens.';
comment on column private.room_turns.claim_id is 'Claim of the server that writes the answer; null while it waits for one.';
comment on column private.room_turns.claims is 'Number of claims so far.';
comment on column private.room_turns.lease_expires_at is 'Time from which another server may claim the answer.';

insert into access.permissions (permission_name, description) values
  ('use_own_model', 'Use the endpoint, model and key of the own settings for answers.');

drop function private.open_turn(uuid, uuid, uuid, uuid, bigint, bigint, text, integer, text);
--! Included llm/private/estimated_input_tokens.sql
create or replace function private.estimated_input_tokens(message_id uuid, tools jsonb)
  returns bigint
  language sql
  stable
  set search_path = pg_catalog
as $$
  select private.estimated_tokens((
    coalesce(sum(octet_length(c.content) + coalesce(octet_length(c.tool_calls::text), 0)), 0)
      + coalesce(octet_length(estimated_input_tokens.tools::text), 0)
  )::integer)
  from private.turn_context(estimated_input_tokens.message_id) c
$$;

comment on function private.estimated_input_tokens(uuid, jsonb) is
  'Returns the approximate number of tokens that a model reads before it writes an answer.';
--! EndIncluded llm/private/estimated_input_tokens.sql
--! Included llm/private/open_turn.sql
-- Starts an answer. The chat's lock makes callers wait for each other, so of two calls with one key the second finds the first's
-- turn. A turn whose lease has expired is ended here, so that a killed writer never blocks a chat.
create or replace function private.open_turn(
  user_id uuid,
  chat_id uuid,
  model_id uuid,
  parent_id uuid,
  max_tokens bigint,
  input_tokens bigint,
  idempotency_key text,
  lease_seconds integer,
  writer text,
  tools jsonb default null,
  uses_own_model boolean default false
)
  returns llm.messages
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_head uuid;
  v_message llm.messages;
  v_running private.turns;
  v_hold_id uuid;
  v_estimate bigint;
  v_digest constant bytea := private.request_digest(jsonb_build_array(
    'turn', open_turn.chat_id, open_turn.model_id, open_turn.parent_id, open_turn.max_tokens, open_turn.input_tokens,
    open_turn.lease_seconds, open_turn.writer
  ) || case
    when open_turn.writer = 'server' then jsonb_build_array(open_turn.tools, open_turn.uses_own_model)
    else '[]'
  end);
begin
  if open_turn.max_tokens between 1 and 1000000000 is not true then
    raise exception 'The number of tokens to hold must be from 1 to 10^9.' using errcode = 'PL422', column = 'max_tokens';
  end if;
  if open_turn.input_tokens between 0 and 1000000000 is not true then
    raise exception 'The number of input tokens must be from 0 to 10^9.' using errcode = 'PL422', column = 'input_tokens';
  end if;
  if open_turn.lease_seconds between 5 and 3600 is not true then
    raise exception 'A lease must last from 5 to 3600 seconds.' using errcode = 'PL422', column = 'lease_seconds';
  end if;
  if length(open_turn.idempotency_key) between 1 and 255 is false then
    raise exception 'An idempotency key must have 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  -- The account before its rows, as everywhere: also because a new period's tokens may have to be granted.
  perform from identity.users u where u.id = open_turn.user_id for no key update;
  select c.head_id into v_head
  from llm.chats c
  where c.id = open_turn.chat_id and c.user_id = open_turn.user_id
  for no key update;
  if not found then
    raise exception 'Chat not found.' using errcode = 'PL404', column = 'chat_id';
  end if;

  select m.* into v_message
  from llm.messages m
  where m.user_id = open_turn.user_id and m.idempotency_key = open_turn.idempotency_key;
  if found then
    -- For a message that is older than the digests or was imported, the message itself is compared.
    perform private.refuse_other_request(coalesce(
      (select d.digest = v_digest from private.request_digests d where d.chat_message_id = v_message.id),
      v_message.chat_id = open_turn.chat_id
        and v_message.role = 'assistant'
        and v_message.model_id is not distinct from open_turn.model_id
        and (open_turn.parent_id is null or v_message.parent_id is not distinct from open_turn.parent_id)
    ));
    return v_message;
  end if;

  select t.* into v_running
  from llm.messages m
  join private.turns t on t.message_id = m.id
  where m.chat_id = open_turn.chat_id and m.state = 'streaming';
  if found then
    if v_running.lease_expires_at > clock_timestamp() then
      raise exception 'An answer is being written in this chat.'
        using errcode = 'PL409', column = 'chat_id', detail = v_running.message_id::text,
          hint = 'Wait for it, or cancel it.';
    end if;
    v_message := private.end_turn(v_running.message_id, 'broken_off', 'expired');
  end if;

  if not open_turn.uses_own_model and not private.can_user_use_model(open_turn.user_id, open_turn.model_id) then
    raise exception 'Model not found.' using errcode = 'PL404', column = 'model_id';
  end if;
  -- llm.place_message sets its place.
  insert into llm.messages (chat_id, user_id, parent_id, role, model_id, state, idempotency_key)
  values (
    open_turn.chat_id, open_turn.user_id, open_turn.parent_id, 'assistant', open_turn.model_id, 'streaming',
    open_turn.idempotency_key
  )
  returning * into v_message;
  if open_turn.idempotency_key is not null then
    insert into private.request_digests (user_id, chat_message_id, digest) values (v_message.user_id, v_message.id, v_digest);
  end if;
  -- Its end settles the hold long before that, if only through the job. The user's own provider bills the user itself.
  if not open_turn.uses_own_model then
    -- The server limits only the output of the model.
    if open_turn.writer = 'server' then
      v_estimate := private.estimated_input_tokens(v_message.id, open_turn.tools);
    end if;
    select h.id into strict v_hold_id
    from private.reserve_tokens(
      open_turn.user_id, open_turn.model_id,
      open_turn.max_tokens + coalesce(v_estimate, 0),
      'turn:' || v_message.id, interval '6 hours'
    ) h;
  end if;
  insert into private.turns (
    message_id, user_id, chat_id, writer, lease, lease_expires_at, max_tokens, input_tokens,
    estimated_input_tokens, hold_id, tools, uses_own_model
  )
  values (
    v_message.id, v_message.user_id, v_message.chat_id, open_turn.writer, make_interval(secs => open_turn.lease_seconds),
    clock_timestamp() + case
      -- It waits for a server to claim it.
      when open_turn.writer = 'server' then interval '5 minutes'
      else make_interval(secs => open_turn.lease_seconds)
    end,
    open_turn.max_tokens, open_turn.input_tokens, v_estimate, v_hold_id, open_turn.tools, open_turn.uses_own_model
  );
  perform plinth.announce('turn:' || v_message.id, 0);
  return v_message;
end
$$;

comment on function private.open_turn(uuid, uuid, uuid, uuid, bigint, bigint, text, integer, text, jsonb, boolean) is
  'Starts an answer of a model in a chat; the same key again returns the same one. PL402 when the user lacks the tokens, PL404 for an unknown chat, message or model, PL409 while another answer is under way and for a key used for another request.';
--! EndIncluded llm/private/open_turn.sql
--! Included llm/private/bill_turn.sql
-- Settles the usage of an answer, once: the end of the turn calls it, and a turn ends once. An answer that used nothing releases
-- its hold; the user's own provider bills the user itself. The caller has locked chat, message and turn, which come before the ledger.
create or replace function private.bill_turn(
  turn private.turns,
  model_id uuid,
  input_tokens bigint,
  output_tokens bigint,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0,
  message_id uuid default null
)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_hold record;
  v_event billing.usage_events;
  v_locked timestamptz;
begin
  if turn.uses_own_model then
    return;
  end if;
  select h.state, h.usage_event_id into v_hold from billing.token_holds h where h.id = turn.hold_id;
  -- A service that ends the hold itself must not prevent the end of the answer.
  if v_hold.state = 'settled' then
    v_locked := private.lock_usage(turn.user_id, now());
    select e.* into strict v_event from billing.usage_events e where e.id = v_hold.usage_event_id;
    v_event.message_id := bill_turn.message_id;
    if v_event.message_id is not null then
      perform private.claim_message(v_event, now());
    end if;
  elsif bill_turn.input_tokens + bill_turn.output_tokens = 0 then
    perform private.release_hold(turn.hold_id) where v_hold.state is not null;
  elsif v_hold.state is null or v_hold.state = 'released' then
    perform private.record_usage(
      turn.user_id, bill_turn.model_id, bill_turn.input_tokens, bill_turn.output_tokens, 'turn:' || turn.message_id,
      bill_turn.cached_input_tokens, bill_turn.reasoning_tokens, null, bill_turn.message_id
    );
  else
    perform private.settle_hold(
      turn.hold_id, bill_turn.input_tokens, bill_turn.output_tokens, bill_turn.cached_input_tokens,
      bill_turn.reasoning_tokens, null, bill_turn.message_id
    );
  end if;
end
$$;

comment on function private.bill_turn(private.turns, uuid, bigint, bigint, bigint, bigint, uuid) is
  'Settles the hold of a turn for what it used, or releases it; records the usage where the hold was released before.';
--! EndIncluded llm/private/bill_turn.sql
--! Included llm/private/correct_turn_usage.sql
-- A service reports the usage of an answer that was cancelled or expired in the meantime; the billed estimate is corrected. The
-- caller has locked account, chat, message and turn.
create or replace function private.correct_turn_usage(
  turn private.turns,
  model_id uuid,
  input_tokens bigint,
  output_tokens bigint,
  cached_input_tokens bigint,
  reasoning_tokens bigint
)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_event_id uuid;
begin
  if turn.uses_own_model then
    return;
  end if;
  v_event_id := coalesce(
    (select h.usage_event_id from billing.token_holds h where h.id = turn.hold_id),
    (
      select k.event_id
      from private.usage_keys k
      where k.user_id = turn.user_id and k.operation = 'record' and k.idempotency_key = 'turn:' || turn.message_id
    )
  );
  if v_event_id is not null then
    perform private.correct_usage(
      v_event_id, correct_turn_usage.input_tokens, correct_turn_usage.output_tokens, 'turn:' || turn.message_id,
      correct_turn_usage.cached_input_tokens, correct_turn_usage.reasoning_tokens
    );
  elsif correct_turn_usage.input_tokens + correct_turn_usage.output_tokens > 0 then
    perform private.record_usage(
      turn.user_id, correct_turn_usage.model_id, correct_turn_usage.input_tokens, correct_turn_usage.output_tokens,
      'turn:' || turn.message_id, correct_turn_usage.cached_input_tokens, correct_turn_usage.reasoning_tokens, null,
      turn.message_id
    );
  end if;
  update private.turns t set is_usage_estimated = false where t.message_id = turn.message_id;
  update llm.messages m set tokens_used = correct_turn_usage.output_tokens where m.id = turn.message_id;
end
$$;

comment on function private.correct_turn_usage(private.turns, uuid, bigint, bigint, bigint, bigint) is
  'Replaces the estimate billed for an ended turn with the counts of its writer.';
--! EndIncluded llm/private/correct_turn_usage.sql
--! Included llm/private/end_turn.sql
-- Ends an answer, once: the text received becomes the message's text, and the chat is free. A later caller (a retry of the
-- writer, a cancel that lost the race, the job) gets the ended message. Locks chat, then turn. An append locks only the turn, so
-- it happens before or after, never in between.
create or replace function private.end_turn(
  message_id uuid,
  state text,
  finish_reason text,
  error_code text default null,
  error_message text default null,
  tool_calls jsonb default null,
  expected_sequence integer default null,
  input_tokens bigint default null,
  output_tokens bigint default null,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0,
  user_id uuid default null,
  writer text default null,
  only_expired boolean default false
)
  returns llm.messages
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_turn private.turns;
  v_message llm.messages;
  v_text record;
  v_output bigint;
begin
  select t.* into v_turn
  from private.turns t
  where t.message_id = end_turn.message_id
    and (end_turn.writer is null or t.writer = end_turn.writer)
    and (end_turn.user_id is null or t.user_id = end_turn.user_id);
  if not found then
    -- Turns are deleted a day after their end; the message stays.
    select m.* into v_message
    from llm.messages m
    where m.id = end_turn.message_id
      and m.role = 'assistant'
      and m.state <> 'streaming'
      and (end_turn.user_id is null or m.user_id = end_turn.user_id);
    if found then
      return v_message;
    end if;
    raise exception 'Turn not found.' using errcode = 'PL404', column = 'message_id';
  end if;
  if end_turn.state = 'complete'
    and (end_turn.finish_reason in ('stop', 'length', 'tool_calls', 'content_filter')) is not true
  then
    raise exception 'The finish reason must be stop, length, tool_calls or content_filter.'
      using errcode = 'PL422', column = 'finish_reason';
  end if;
  if coalesce(end_turn.input_tokens, 0) < 0 or coalesce(end_turn.output_tokens, 0) < 0 then
    raise exception 'Token counts cannot be negative.' using errcode = 'PL422', column = 'output_tokens';
  end if;
  -- The account before its rows, as everywhere.
  perform from identity.users u where u.id = v_turn.user_id for no key update;
  perform from llm.chats c where c.id = v_turn.chat_id for no key update;
  select m.* into v_message from llm.messages m where m.id = end_turn.message_id for no key update;
  select t.* into v_turn from private.turns t where t.message_id = end_turn.message_id for no key update;
  if not found then
    raise exception 'Turn not found.' using errcode = 'PL404', column = 'message_id';
  end if;
  if v_turn.ended_at is not null then
    if v_turn.is_usage_estimated and end_turn.writer in ('service', 'server') and end_turn.output_tokens is not null then
      perform private.correct_turn_usage(
        v_turn, v_message.model_id, coalesce(end_turn.input_tokens, v_turn.input_tokens), end_turn.output_tokens,
        end_turn.cached_input_tokens, end_turn.reasoning_tokens
      );
      v_message.tokens_used := end_turn.output_tokens;
    end if;
    return v_message;
  end if;
  if end_turn.only_expired and v_turn.lease_expires_at > clock_timestamp() then
    return v_message;
  end if;
  if end_turn.expected_sequence <> v_turn.last_sequence then
    raise exception 'The turn has % deltas, not %.', v_turn.last_sequence, end_turn.expected_sequence
      using errcode = 'PL409', column = 'last_sequence';
  end if;

  select
    coalesce(string_agg(d.content, '' order by d.sequence), '') as content,
    nullif(string_agg(d.thinking, '' order by d.sequence), '') as thinking
  into v_text
  from llm.message_deltas d
  where d.user_id = v_turn.user_id and d.message_id = v_turn.message_id;
  -- A client may not report less than it streamed.
  v_output := case
    when end_turn.output_tokens is null or v_turn.writer = 'client'
      then greatest(end_turn.output_tokens, private.estimated_tokens(v_turn.streamed_bytes))
    else end_turn.output_tokens
  end;
  -- Before the message stores its count, so that the ledger does not count the tokens twice.
  perform private.bill_turn(
    v_turn, v_message.model_id, coalesce(end_turn.input_tokens, v_turn.input_tokens), v_output,
    end_turn.cached_input_tokens, end_turn.reasoning_tokens, v_turn.message_id
  );

  update private.turns t
  set ended_at = clock_timestamp(), is_usage_estimated = end_turn.output_tokens is null
  where t.message_id = v_turn.message_id;
  update llm.messages m
  set
    content = v_text.content,
    thinking = v_text.thinking,
    tool_calls = coalesce(end_turn.tool_calls, m.tool_calls),
    state = end_turn.state,
    finish_reason = end_turn.finish_reason,
    error_code = end_turn.error_code,
    error_message = left(end_turn.error_message, 2000),
    last_sequence = v_turn.last_sequence,
    -- The ledger counts this column, but not answers of the user's own provider.
    tokens_used = case when not v_turn.uses_own_model then v_output end
  where m.id = v_turn.message_id
  returning m.* into v_message;
  update llm.chats c set updated_at = clock_timestamp() where c.id = v_turn.chat_id;
  perform plinth.announce('turn:' || v_turn.message_id, v_turn.last_sequence);
  return v_message;
end
$$;

comment on function private.end_turn(uuid, text, text, text, text, jsonb, integer, bigint, bigint, bigint, bigint, uuid, text, boolean) is
  'Ends an answer with the text received and counts its usage; an ended answer is returned unchanged. PL404 for an unknown turn, PL409 when the number of deltas differs from the expected one.';
--! EndIncluded llm/private/end_turn.sql
--! Included llm/private/require_own_model.sql
create or replace function private.require_own_model(user_id uuid)
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if not access.has_permission('use_own_model') then
    raise exception 'Own models are not allowed.' using errcode = 'PL403', column = 'model_id', hint = 'Choose a model.';
  end if;
  if not exists (
    select
    from identity.user_settings s
    where s.user_id = require_own_model.user_id and s.llm_endpoint is not null and s.llm_model is not null
  ) then
    raise exception 'Your own model needs an endpoint and a name.'
      using errcode = 'PL422', column = 'model_id', hint = 'Set llmEndpoint and llmModel in your settings, or choose a model.';
  end if;
end
$$;

comment on function private.require_own_model(uuid) is
  'Requires that the signed-in user may use an own model and has set one. PL403, PL422.';
--! EndIncluded llm/private/require_own_model.sql
--! Included llm/functions/request_answer.sql
-- The same turn as llm.start_turn, but the server writes it: it has the keys of the providers, and only it knows the usage.
create or replace function llm.request_answer(
  chat_id uuid,
  model_id uuid default null,
  parent_id uuid default null,
  max_tokens bigint default 4096,
  tools jsonb default null,
  idempotency_key text default null
)
  returns llm.messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id constant uuid := private.require_user_id();
  v_message llm.messages;
begin
  if request_answer.model_id is null then
    perform private.require_own_model(v_user_id);
  end if;
  if request_answer.tools is not null and (
    jsonb_typeof(request_answer.tools) <> 'array'
    or jsonb_array_length(request_answer.tools) not between 1 and 128
    or octet_length(request_answer.tools::text) > 100000
    or jsonb_path_exists(
      request_answer.tools,
      '$[*] ? (!(@.function.name like_regex "^[A-Za-z0-9_-]{1,64}$")
        || !(@.type == "function") || !(@.function.parameters.type() == "object"))'
    )
  ) then
    raise exception 'Tools must be a list of 1 to 128 functions with at most 100,000 bytes.'
      using errcode = 'PL422', column = 'tools',
        hint = 'A tool is {type: "function", function: {name, description, parameters}}; parameters is a JSON schema.';
  end if;
  v_message := private.open_turn(
    v_user_id, request_answer.chat_id, request_answer.model_id, request_answer.parent_id, request_answer.max_tokens, 0,
    request_answer.idempotency_key, 30, 'server', request_answer.tools, request_answer.model_id is null
  );
  -- Wakes the servers that write answers.
  perform plinth.announce('answers', 0) where v_message.state = 'streaming';
  return v_message;
end
$$;

comment on function llm.request_answer(uuid, uuid, uuid, bigint, jsonb, text) is
  E'@resultFieldName message\n'
  'Requests an answer that the server writes with a model, after parent_id or at the end of the active path; follow it with '
  'messageDeltas. Without model_id, the model of the user''s own settings writes. The same key again returns the same answer. '
  'Reserves max_tokens and the input. QUOTA_EXCEEDED when fewer are left, NOT_FOUND for an unknown chat, message or model, '
  'CONFLICT while another answer is being written, FORBIDDEN without use_own_model.';
grant execute on function llm.request_answer(uuid, uuid, uuid, bigint, jsonb, text) to :PLINTH_USER;
--! EndIncluded llm/functions/request_answer.sql
--! Included llm/private/claim_answers.sql
-- Several servers claim at the same time, and each skips the turns that another is claiming. The lease of a killed server expires;
-- while nothing of its answer is stored, another server claims the turn again, at most three times in all.
create or replace function private.claim_answers(max_count integer default 10)
  returns table (
    message_id uuid,
    claim_id uuid,
    user_id uuid,
    max_tokens bigint,
    tools jsonb,
    lease_seconds integer,
    is_own boolean,
    provider_id uuid,
    endpoint text,
    auth_type text,
    model text,
    sealed_key text
  )
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  perform private.check_batch_size(max_count, 1000);
  return query
    with waiting as (
      select t.message_id, row_number() over (partition by t.user_id, t.uses_own_model order by t.message_id) as place
      from private.turns t
      where t.ended_at is null
        and t.writer = 'server'
        and t.last_sequence = 0
        and t.claims < 3
        and (t.claim_id is null or t.lease_expires_at <= clock_timestamp())
    ),
    free as (
      select t.message_id
      from private.turns t
      join waiting w on w.message_id = t.message_id
      where t.ended_at is null
        and t.last_sequence = 0
        and t.claims < 3
        and (t.claim_id is null or t.lease_expires_at <= clock_timestamp())
        -- A user's own server costs no tokens, so a slow one must not take the places of others.
        and (
          not t.uses_own_model
          or w.place + (
            select count(*)
            from private.turns r
            where r.user_id = t.user_id
              and r.ended_at is null
              and r.uses_own_model
              and r.claim_id is not null
              and r.lease_expires_at > clock_timestamp()
          ) <= 5
        )
      -- Users take turns.
      order by w.place, t.message_id
      limit max_count
      for no key update of t skip locked
    ),
    claimed as (
      update private.turns t
      set
        claim_id = gen_random_uuid(),
        claims = t.claims + 1,
        lease_expires_at = clock_timestamp() + t.lease,
        -- The model reads its input from now on; an answer that is cancelled before costs nothing.
        input_tokens = coalesce(t.estimated_input_tokens, t.input_tokens)
      from free
      where t.message_id = free.message_id
      returning t.*
    )
    select
      c.message_id, c.claim_id, c.user_id, c.max_tokens, c.tools, extract(epoch from c.lease)::integer, c.uses_own_model, p.id,
      case when c.uses_own_model then s.llm_endpoint else p.api_url end,
      case when c.uses_own_model then 'bearer' else p.auth_type end,
      case when c.uses_own_model then s.llm_model else m.name end,
      case when c.uses_own_model then uk.sealed_key else pk.sealed_key end
    from claimed c
    join llm.messages a on a.id = c.message_id
    left join llm.models m on m.id = a.model_id and not c.uses_own_model
    left join llm.model_providers p on p.id = m.provider_id
    left join private.model_provider_keys pk on pk.provider_id = p.id
    left join identity.user_settings s on s.user_id = c.user_id and c.uses_own_model
    left join private.user_model_keys uk on uk.user_id = c.user_id and c.uses_own_model;
end
$$;

comment on function private.claim_answers(integer) is
  'Claims up to max_count requested answers for the calling server, those of different users in turns and at most five at a time of a user''s own model, and returns the endpoint, model and sealed key of each.';
grant execute on function private.claim_answers(integer) to :PLINTH_SERVICE;
--! EndIncluded llm/private/claim_answers.sql
--! Included llm/private/answer_context.sql
create or replace function private.answer_context(message_id uuid, max_count integer default 50)
  returns table (role text, content text, tool_calls jsonb, tool_call_id text, images jsonb)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select
    c.role, c.content, c.tool_calls, c.extended_metadata ->> 'toolCallId',
    (
      select jsonb_agg(jsonb_build_object('url', a.url, 'mimeType', a.mime_type) order by a.position)
      from llm.message_attachments a
      where a.user_id = c.user_id and a.message_id = c.id and a.mime_type like 'image/%'
    )
  from private.turn_context(answer_context.message_id, answer_context.max_count) c
  order by c.depth
$$;

comment on function private.answer_context(uuid, integer) is
  'Returns the last max_count messages before an answer, oldest first, with the images attached to them.';
grant execute on function private.answer_context(uuid, integer) to :PLINTH_SERVICE;
--! EndIncluded llm/private/answer_context.sql
--! Included llm/private/append_answer.sql
create or replace function private.append_answer(
  message_id uuid,
  claim_id uuid,
  first_sequence integer,
  contents text[],
  thinking text[] default null
)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  -- The lock keeps the claim until the deltas are written.
  perform from private.turns t
  where t.message_id = append_answer.message_id and t.claim_id = append_answer.claim_id
  for no key update;
  if not found then
    raise exception 'Another server has claimed the turn.' using errcode = 'PL409', column = 'claim_id';
  end if;
  return private.write_deltas(
    append_answer.message_id, append_answer.first_sequence, append_answer.contents, append_answer.thinking, null, 'server'
  );
end
$$;

comment on function private.append_answer(uuid, uuid, integer, text[], text[]) is
  'Appends the next deltas of a claimed answer; see private.write_deltas. PL409 also when another server has claimed it.';
grant execute on function private.append_answer(uuid, uuid, integer, text[], text[]) to :PLINTH_SERVICE;
--! EndIncluded llm/private/append_answer.sql
--! Included llm/private/extend_answer_lease.sql
create or replace function private.extend_answer_lease(message_id uuid, claim_id uuid)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  update private.turns t
  set lease_expires_at = clock_timestamp() + t.lease
  where t.message_id = extend_answer_lease.message_id
    and t.claim_id = extend_answer_lease.claim_id
    and t.ended_at is null;
  return found;
end
$$;

comment on function private.extend_answer_lease(uuid, uuid) is
  'Extends the lease of a claimed answer while its model is silent; returns whether the answer is still to be written.';
grant execute on function private.extend_answer_lease(uuid, uuid) to :PLINTH_SERVICE;
--! EndIncluded llm/private/extend_answer_lease.sql
--! Included llm/private/finish_answer.sql
-- A server that has lost its claim changes nothing. Between the check and the end, only a turn without deltas could be claimed
-- again, and then the first complete answer counts.
create or replace function private.finish_answer(
  message_id uuid,
  claim_id uuid,
  finish_reason text,
  last_sequence integer,
  tool_calls jsonb default null,
  input_tokens bigint default null,
  output_tokens bigint default null,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0
)
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform from private.turns t
  where t.message_id = finish_answer.message_id and t.claim_id = finish_answer.claim_id;
  if not found then
    return null;
  end if;
  return (private.end_turn(
    finish_answer.message_id, 'complete', finish_answer.finish_reason, null, null, finish_answer.tool_calls,
    finish_answer.last_sequence, finish_answer.input_tokens, finish_answer.output_tokens, finish_answer.cached_input_tokens,
    finish_answer.reasoning_tokens, null, 'server'
  )).state;
end
$$;

comment on function private.finish_answer(uuid, uuid, text, integer, jsonb, bigint, bigint, bigint, bigint) is
  'Ends a claimed answer as complete and settles its usage; returns the state in which it ended, null without the claim.';
grant execute
  on function private.finish_answer(uuid, uuid, text, integer, jsonb, bigint, bigint, bigint, bigint)
  to :PLINTH_SERVICE;
--! EndIncluded llm/private/finish_answer.sql
--! Included llm/private/break_off_answer.sql
create or replace function private.break_off_answer(
  message_id uuid,
  claim_id uuid,
  error_code text,
  error_message text,
  input_tokens bigint default null,
  output_tokens bigint default null,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0
)
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_turn private.turns;
begin
  select t.* into v_turn
  from private.turns t
  where t.message_id = break_off_answer.message_id and t.claim_id = break_off_answer.claim_id;
  if not found then
    return null;
  end if;
  return (private.end_turn(
    break_off_answer.message_id, 'broken_off', 'error', break_off_answer.error_code, break_off_answer.error_message, null, null,
    -- A model that never answered costs nothing.
    coalesce(break_off_answer.input_tokens, case when v_turn.last_sequence = 0 then 0 end),
    coalesce(break_off_answer.output_tokens, case when v_turn.last_sequence = 0 then 0 end),
    break_off_answer.cached_input_tokens, break_off_answer.reasoning_tokens, null, 'server'
  )).state;
end
$$;

comment on function private.break_off_answer(uuid, uuid, text, text, bigint, bigint, bigint, bigint) is
  'Ends a claimed answer that failed, with the text received; returns the state in which it ended, null without the claim.';
grant execute
  on function private.break_off_answer(uuid, uuid, text, text, bigint, bigint, bigint, bigint)
  to :PLINTH_SERVICE;
--! EndIncluded llm/private/break_off_answer.sql
--! Included llm/private/release_answer.sql
create or replace function private.release_answer(message_id uuid, claim_id uuid)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  update private.turns t
  set
    claim_id = null,
    claims = t.claims - 1,
    lease_expires_at = clock_timestamp() + interval '5 minutes',
    input_tokens = 0
  where t.message_id = release_answer.message_id
    and t.claim_id = release_answer.claim_id
    and t.last_sequence = 0
    and t.ended_at is null;
  perform plinth.announce('answers', 0) where found;
  return found;
end
$$;

comment on function private.release_answer(uuid, uuid) is
  'Returns a claimed answer without deltas, so that another server writes it; returns whether it was returned.';
grant execute on function private.release_answer(uuid, uuid) to :PLINTH_SERVICE;
--! EndIncluded llm/private/release_answer.sql
--! Included llm/private/break_off_lost_answers.sql
-- Answers whose server was killed after it had stored deltas: the model would not continue the same text. The caller finds them
-- sooner than the job private.break_off_expired_turns.
create or replace function private.break_off_lost_answers(batch_size integer default 100)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_id uuid;
  v_turns integer := 0;
begin
  perform private.check_batch_size(batch_size, 10000);
  for v_id in
    select t.message_id
    from private.turns t
    where t.ended_at is null
      and t.writer = 'server'
      and t.claim_id is not null
      and (t.last_sequence > 0 or t.claims >= 3)
      and t.lease_expires_at <= clock_timestamp()
    order by t.user_id, t.chat_id
    limit batch_size
  loop
    begin
      perform private.end_turn(
        v_id, 'broken_off', 'expired', 'writer_lost', 'The server stopped while it was writing this answer.',
        only_expired => true
      );
      v_turns := v_turns + 1;
    exception
      -- The chat was deleted in the meantime, and the turn with it.
      when sqlstate 'PL404' then
        v_turns := v_turns + 1;
    end;
  end loop;
  return v_turns;
end
$$;

comment on function private.break_off_lost_answers(integer) is
  'Ends up to batch_size answers that a killed server left behind; returns their number.';
grant execute on function private.break_off_lost_answers(integer) to :PLINTH_SERVICE;
--! EndIncluded llm/private/break_off_lost_answers.sql
--! Included llm/private/set_provider_key.sql
-- The service seals the key and acts for the signed-in user.
create or replace function private.set_provider_key(provider_id uuid, sealed_key text)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.require_user_id();
  if not access.has_permission('manage_models')
    or not exists (select from llm.model_providers p where p.id = set_provider_key.provider_id)
  then
    raise exception 'Provider not found.' using errcode = 'PL404', column = 'provider_id';
  end if;
  if set_provider_key.sealed_key is null then
    delete from private.model_provider_keys k where k.provider_id = set_provider_key.provider_id;
    return found;
  end if;
  insert into private.model_provider_keys (provider_id, sealed_key)
  values (set_provider_key.provider_id, set_provider_key.sealed_key)
  on conflict on constraint model_provider_keys_pkey do update set sealed_key = excluded.sealed_key, updated_at = now();
  return true;
end
$$;

comment on function private.set_provider_key(uuid, text) is
  'Stores the sealed key of a provider, or deletes it (null); returns whether there was something to do. PL404 for an unknown provider and for callers without manage_models.';
grant execute on function private.set_provider_key(uuid, text) to :PLINTH_SERVICE;
--! EndIncluded llm/private/set_provider_key.sql
--! Included llm/private/set_own_model_key.sql
-- The service seals the key and acts for the signed-in user. Deleting needs no permission: it may have been revoked since.
create or replace function private.set_own_model_key(sealed_key text)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id constant uuid := private.require_user_id();
begin
  if set_own_model_key.sealed_key is null then
    delete from private.user_model_keys k where k.user_id = v_user_id;
    return found;
  end if;
  if not access.has_permission('use_own_model') then
    raise exception 'Own models are not allowed.' using errcode = 'PL403';
  end if;
  -- The account before its rows, as everywhere.
  perform from identity.users u where u.id = v_user_id for key share;
  insert into private.user_model_keys (user_id, sealed_key)
  values (v_user_id, set_own_model_key.sealed_key)
  on conflict on constraint user_model_keys_pkey do update set sealed_key = excluded.sealed_key, updated_at = now();
  return true;
end
$$;

comment on function private.set_own_model_key(text) is
  'Stores the sealed key of the signed-in user''s own model, or deletes it (null); returns whether there was something to do. PL403 without use_own_model.';
grant execute on function private.set_own_model_key(text) to :PLINTH_SERVICE;
--! EndIncluded llm/private/set_own_model_key.sql
--! Included llm/triggers/model_keys.sql
-- A key belongs to the address it was set for. Otherwise, whoever may change the address could have the key sent elsewhere.
create or replace function private.delete_provider_key()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  delete from private.model_provider_keys k where k.provider_id = old.id;
  return null;
end
$$;

comment on function private.delete_provider_key() is 'Trigger: a provider''s key is deleted when its address changes.';

create or replace trigger _400_model_keys
  after update of api_url on llm.model_providers
  for each row
  when (new.api_url is distinct from old.api_url)
  execute function private.delete_provider_key();

create or replace function private.delete_own_model_key()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  delete from private.user_model_keys k where k.user_id = old.user_id;
  return null;
end
$$;

comment on function private.delete_own_model_key() is 'Trigger: the key of a user''s own model is deleted when its endpoint changes.';

create or replace trigger _400_model_keys
  after update of llm_endpoint on identity.user_settings
  for each row
  when (new.llm_endpoint is distinct from old.llm_endpoint)
  execute function private.delete_own_model_key();
--! EndIncluded llm/triggers/model_keys.sql

--! Included rooms/policies/chat_rooms.sql
-- Members, invited users and, for public rooms, all signed-in users see a room; its moderators change it, its creator deletes
-- it. No insert: rooms.create_room and rooms.create_direct_room. No update of the counters, the password or the type.
revoke all on rooms.chat_rooms from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  update (name, description, is_public, ai_enabled, history_is_shared, model_id),
  delete
  on rooms.chat_rooms to :PLINTH_USER;

-- As arrays, each part can use an index; a set would be compared with every room.
drop policy if exists select_visible on rooms.chat_rooms;
create policy select_visible on rooms.chat_rooms
  for select to :PLINTH_USER
  using (
    id = any (array(select rooms.my_room_ids()))
    or is_public
    or id = any (array(select rooms.invited_room_ids()))
  );
comment on policy select_visible on rooms.chat_rooms is 'Users see their rooms, public ones, and those they are invited to.';

drop policy if exists update_moderator on rooms.chat_rooms;
create policy update_moderator on rooms.chat_rooms
  for update to :PLINTH_USER
  using (id in (select rooms.moderated_room_ids()))
  with check (id in (select rooms.moderated_room_ids()));
comment on policy update_moderator on rooms.chat_rooms is 'Moderators change the name and settings of their rooms.';

drop policy if exists delete_creator on rooms.chat_rooms;
create policy delete_creator on rooms.chat_rooms
  for delete to :PLINTH_USER
  using (id in (select rooms.own_room_ids()));
comment on policy delete_creator on rooms.chat_rooms is 'Creators delete their rooms with all contents.';
--! EndIncluded rooms/policies/chat_rooms.sql
--! Included rooms/policies/room_answers.sql
-- Only for the audience of the answer: the next piece is rejected once a member has joined or blocked a user, and until then the
-- new member must not read it. The functions of the answerer write.
revoke all on rooms.room_answers from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.room_answers to :PLINTH_USER;

drop policy if exists select_member on rooms.room_answers;
create policy select_member on rooms.room_answers
  for select to :PLINTH_USER
  using (
    room_id = any (array(select rooms.my_room_ids()))
    and audience_version = (select r.audience_version from rooms.chat_rooms r where r.id = room_id)
  );
comment on policy select_member on rooms.room_answers is
  'Members read the answer that their room''s AI is writing, until its audience changes.';
--! EndIncluded rooms/policies/room_answers.sql
--! Included rooms/triggers/room_models.sql
-- The moderator who chooses the model of the AI must be able to use it, as for an own default model.
create or replace function rooms.check_room_model()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if plinth.current_user_id() is not null and not access.can_use_model(new.model_id) then
    raise exception 'Model not found.'
      using errcode = 'PL404', schema = 'rooms', table = 'chat_rooms', column = 'model_id';
  end if;
  return new;
end
$$;

comment on function rooms.check_room_model() is 'Trigger: the model of a room must be one that its moderator may use. PL404 otherwise.';

create or replace trigger _100_room_models
  before update of model_id on rooms.chat_rooms
  for each row
  when (new.model_id is not null and new.model_id is distinct from old.model_id)
  execute function rooms.check_room_model();
--! EndIncluded rooms/triggers/room_models.sql
--! Included rooms/private/open_room_answer.sql
-- A new claim starts from the first piece: the model would not continue the same text. The hold of an earlier claim remains.
create or replace function private.open_room_answer(room rooms.chat_rooms, message_id uuid, user_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_sequence bigint;
begin
  insert into rooms.room_answers as a (room_id, reply_to_id, audience_version, first_sequence, last_sequence)
  values (room.id, open_room_answer.message_id, room.audience_version, 1, 1)
  on conflict on constraint room_answers_pkey do update
  set
    reply_to_id = excluded.reply_to_id,
    audience_version = excluded.audience_version,
    state = 'streaming',
    error_code = null,
    message_id = null,
    pieces = '{}',
    first_sequence = a.last_sequence + 1,
    last_sequence = a.last_sequence + 1,
    started_at = clock_timestamp(),
    ended_at = null
  returning a.last_sequence into v_sequence;
  insert into private.room_turns as t (room_id, answer_id, user_id, claim_id, claims, lease_expires_at)
  values (
    room.id, gen_random_uuid(), open_room_answer.user_id, gen_random_uuid(), 1, clock_timestamp() + interval '30 seconds'
  )
  on conflict on constraint room_turns_pkey do update
  set claim_id = excluded.claim_id, claims = t.claims + 1, lease_expires_at = excluded.lease_expires_at;
  perform plinth.announce('room-answer:' || room.id, v_sequence);
end
$$;

comment on function private.open_room_answer(rooms.chat_rooms, uuid, uuid) is
  'Starts the answer of a room''s AI to a message from its first piece, under a new claim. The caller has locked the room.';
--! EndIncluded rooms/private/open_room_answer.sql
--! Included rooms/private/end_room_answer.sql
-- Settles what the model used, or returns the tokens, and ends the answer; the caller has locked account and room. Without a
-- report, the usage is estimated as for chats; an answer without a piece costs nothing.
create or replace function private.end_room_answer(
  room_id uuid,
  state text,
  error_code text,
  message_id uuid default null,
  input_tokens bigint default null,
  output_tokens bigint default null,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0
)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_turn private.room_turns;
  v_answer rooms.room_answers;
  v_output bigint;
begin
  delete from private.room_turns t where t.room_id = end_room_answer.room_id returning t.* into v_turn;
  update rooms.room_answers a
  set
    state = end_room_answer.state,
    error_code = end_room_answer.error_code,
    message_id = end_room_answer.message_id,
    last_sequence = a.last_sequence + 1,
    ended_at = clock_timestamp()
  where a.room_id = end_room_answer.room_id
  returning a.* into v_answer;
  v_output := coalesce(
    end_room_answer.output_tokens, private.estimated_tokens(octet_length(array_to_string(v_answer.pieces, '')))
  );
  if coalesce(end_room_answer.input_tokens, 0) + v_output > 0 then
    perform private.settle_hold(
      v_turn.hold_id, coalesce(end_room_answer.input_tokens, 0), v_output, end_room_answer.cached_input_tokens,
      end_room_answer.reasoning_tokens
    )
    where v_turn.hold_id is not null;
  else
    perform private.release_hold(v_turn.hold_id) where v_turn.hold_id is not null;
  end if;
  perform plinth.announce('room-answer:' || v_answer.room_id, v_answer.last_sequence);
end
$$;

comment on function private.end_room_answer(uuid, text, text, uuid, bigint, bigint, bigint, bigint) is
  'Ends the answer that a room''s AI is writing and settles its usage.';
--! EndIncluded rooms/private/end_room_answer.sql
--! Included rooms/private/lock_room_turn.sql
create or replace function private.lock_room_turn(room_id uuid, claim_id uuid)
  returns private.room_turns
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_turn private.room_turns;
begin
  -- Account, room, turn: the lock order.
  perform from identity.users u
  where u.id = (select t.user_id from private.room_turns t where t.room_id = lock_room_turn.room_id)
  for no key update;
  perform from rooms.chat_rooms r where r.id = lock_room_turn.room_id for no key update;
  select t.* into v_turn
  from private.room_turns t
  where t.room_id = lock_room_turn.room_id and t.claim_id = lock_room_turn.claim_id
  for no key update;
  return v_turn;
end
$$;

comment on function private.lock_room_turn(uuid, uuid) is
  'Locks the answer of a room that a server has claimed; returns null without the claim.';
--! EndIncluded rooms/private/lock_room_turn.sql
--! Included rooms/private/claim_room_answers.sql
-- Claims rooms whose last message the AI has not answered; only those with a model, so that others are left to workers of the
-- application. The sender of the message pays, and the tokens are reserved before the model is called. An answer that cannot be
-- paid for is ended here, so that it is not tried again.
create or replace function private.claim_room_answers(room_ids uuid[] default null, max_count integer default 10)
  returns table (
    room_id uuid,
    claim_id uuid,
    message_id uuid,
    audience_version bigint,
    max_tokens bigint,
    lease_seconds integer,
    provider_id uuid,
    endpoint text,
    auth_type text,
    model text,
    sealed_key text
  )
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_asked record;
  v_room rooms.chat_rooms;
  v_turn private.room_turns;
  v_error text;
  v_tokens constant bigint := 4096;
begin
  perform private.check_batch_size(max_count, 1000);
  for v_asked in
    select a.room_id, a.message_id, m.sender_id, r.model_id
    from rooms.chat_rooms r
    cross join lateral private.rooms_to_answer(r.id, 1) a
    join rooms.room_messages m on m.id = a.message_id
    left join rooms.room_answers c on c.room_id = a.room_id
    left join private.room_turns t on t.room_id = a.room_id
    where r.model_id is not null
      and (room_ids is null or r.id = any (room_ids))
      and case
        when c.room_id is null then true
        when c.state = 'streaming' then t.claim_id is null or t.lease_expires_at <= clock_timestamp()
        else c.reply_to_id <> a.message_id
      end
    order by a.message_id
    limit max_count
  loop
    begin
      -- Account before room, as everywhere.
      perform from identity.users u where u.id = v_asked.sender_id for no key update;
      v_room := private.lock_room(v_asked.room_id);
      select t.* into v_turn from private.room_turns t where t.room_id = v_room.id for no key update;
      if v_turn.claim_id is not null and v_turn.lease_expires_at > clock_timestamp() then
        continue;
      end if;
      if exists (
        select
        from rooms.room_answers a
        where a.room_id = v_room.id and a.state = 'streaming' and a.reply_to_id <> v_asked.message_id
      ) then
        perform private.end_room_answer(v_room.id, 'broken_off', 'writer_lost');
      elsif v_turn.claims >= 3 then
        perform private.end_room_answer(v_room.id, 'broken_off', 'writer_lost');
        continue;
      end if;
      perform private.open_room_answer(v_room, v_asked.message_id, v_asked.sender_id);
      if not exists (
        select from private.room_context(v_room.id, 50) c where c.message_id = v_asked.message_id
      ) then
        -- A member has blocked its sender, so the answer would reveal it.
        perform private.end_room_answer(v_room.id, 'broken_off', 'not_answered');
        continue;
      end if;
      begin
        update private.room_turns t
        set hold_id = (
          select h.id
          from private.reserve_tokens(
            v_asked.sender_id, v_room.model_id,
            v_tokens + private.estimated_tokens((
              select coalesce(sum(octet_length(c.content)), 0)::integer from private.room_context(v_room.id, 50) c
            )),
            'room:' || v_asked.message_id || ':' || t.answer_id, interval '2 hours'
          ) h
        )
        where t.room_id = v_room.id and t.hold_id is null;
      exception
        when sqlstate 'PL402' or sqlstate 'PL404' then
          get stacked diagnostics v_error = returned_sqlstate;
          perform private.end_room_answer(
            v_room.id, 'broken_off', case v_error when 'PL402' then 'quota_exceeded' else 'model_not_usable' end
          );
          continue;
      end;
    exception
      -- The room was deleted in the meantime.
      when sqlstate 'PL404' then
        continue;
    end;
    return query
      select
        a.room_id, t.claim_id, a.reply_to_id, a.audience_version, v_tokens, 30, p.id, p.api_url, p.auth_type, m.name,
        k.sealed_key
      from rooms.room_answers a
      join private.room_turns t on t.room_id = a.room_id
      join llm.models m on m.id = v_asked.model_id
      join llm.model_providers p on p.id = m.provider_id
      left join private.model_provider_keys k on k.provider_id = p.id
      where a.room_id = v_room.id;
  end loop;
end
$$;

comment on function private.claim_room_answers(uuid[], integer) is
  'Claims up to max_count of these rooms, or of all, that wait for an answer of their AI; returns the message, endpoint, model and sealed key of each.';
grant execute on function private.claim_room_answers(uuid[], integer) to :PLINTH_SERVICE;
--! EndIncluded rooms/private/claim_room_answers.sql
--! Included rooms/private/append_room_answer.sql
create or replace function private.append_room_answer(room_id uuid, claim_id uuid, piece integer, content text)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_answer rooms.room_answers;
  v_audience_version bigint;
  v_pieces integer;
begin
  select r.audience_version into v_audience_version
  from rooms.chat_rooms r
  where r.id = append_room_answer.room_id
  for share;
  update private.room_turns t
  set lease_expires_at = clock_timestamp() + interval '30 seconds'
  where t.room_id = append_room_answer.room_id and t.claim_id = append_room_answer.claim_id;
  if not found then
    raise exception 'Another server has claimed the answer.' using errcode = 'PL409', column = 'claim_id';
  end if;
  select a.* into strict v_answer
  from rooms.room_answers a
  where a.room_id = append_room_answer.room_id
  for no key update;
  if v_answer.audience_version <> v_audience_version then
    raise exception 'The audience of the answer has changed; read the context again.'
      using errcode = 'PL409', column = 'room_id';
  end if;
  v_pieces := cardinality(v_answer.pieces);
  if append_room_answer.piece <= v_pieces and v_answer.pieces[append_room_answer.piece] = append_room_answer.content then
    return v_pieces;
  end if;
  if append_room_answer.piece is distinct from v_pieces + 1 or append_room_answer.content = '' is not false then
    raise exception 'The next piece is %, not %.', v_pieces + 1, coalesce(append_room_answer.piece::text, 'null')
      using errcode = 'PL409', column = 'piece';
  end if;
  update rooms.room_answers a
  set pieces = a.pieces || append_room_answer.content, last_sequence = a.last_sequence + 1
  where a.room_id = append_room_answer.room_id;
  perform plinth.announce('room-answer:' || v_answer.room_id, v_answer.last_sequence + 1);
  return v_pieces + 1;
end
$$;

comment on function private.append_room_answer(uuid, uuid, integer, text) is
  'Appends the next piece of the answer that a room''s AI is writing; the same piece again changes nothing. PL409 for a gap, another text, a lost claim or a changed audience.';
grant execute on function private.append_room_answer(uuid, uuid, integer, text) to :PLINTH_SERVICE;
--! EndIncluded rooms/private/append_room_answer.sql
--! Included rooms/private/extend_room_lease.sql
create or replace function private.extend_room_lease(room_id uuid, claim_id uuid)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  update private.room_turns t
  set lease_expires_at = clock_timestamp() + interval '30 seconds'
  where t.room_id = extend_room_lease.room_id and t.claim_id = extend_room_lease.claim_id;
  return found;
end
$$;

comment on function private.extend_room_lease(uuid, uuid) is
  'Extends the lease of a room''s answer while the model is silent; returns whether the answer is still to be written.';
grant execute on function private.extend_room_lease(uuid, uuid) to :PLINTH_SERVICE;
--! EndIncluded rooms/private/extend_room_lease.sql
--! Included rooms/private/finish_room_answer.sql
create or replace function private.finish_room_answer(
  room_id uuid,
  claim_id uuid,
  input_tokens bigint default null,
  output_tokens bigint default null,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0
)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_turn constant private.room_turns := private.lock_room_turn(finish_room_answer.room_id, finish_room_answer.claim_id);
  v_answer rooms.room_answers;
  v_message rooms.room_messages;
begin
  if v_turn.room_id is null then
    return null;
  end if;
  select a.* into strict v_answer from rooms.room_answers a where a.room_id = v_turn.room_id;
  v_message := private.post_ai_message(
    v_answer.room_id, array_to_string(v_answer.pieces, ''), v_answer.reply_to_id,
    audience_version => v_answer.audience_version, idempotency_key => v_turn.answer_id
  );
  perform private.end_room_answer(
    v_answer.room_id, 'complete', null, v_message.id, finish_room_answer.input_tokens, finish_room_answer.output_tokens,
    finish_room_answer.cached_input_tokens, finish_room_answer.reasoning_tokens
  );
  return v_message.id;
end
$$;

comment on function private.finish_room_answer(uuid, uuid, bigint, bigint, bigint, bigint) is
  'Posts the answer of a room''s AI and settles its usage; returns its message, null without the claim. PL409 when the audience has changed.';
grant execute on function private.finish_room_answer(uuid, uuid, bigint, bigint, bigint, bigint) to :PLINTH_SERVICE;
--! EndIncluded rooms/private/finish_room_answer.sql
--! Included rooms/private/break_off_room_answer.sql
create or replace function private.break_off_room_answer(
  room_id uuid,
  claim_id uuid,
  error_code text,
  input_tokens bigint default null,
  output_tokens bigint default null,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0
)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_turn constant private.room_turns := private.lock_room_turn(
    break_off_room_answer.room_id, break_off_room_answer.claim_id
  );
begin
  if v_turn.room_id is null then
    return false;
  end if;
  perform private.end_room_answer(
    v_turn.room_id, 'broken_off', break_off_room_answer.error_code, null, break_off_room_answer.input_tokens,
    break_off_room_answer.output_tokens, break_off_room_answer.cached_input_tokens, break_off_room_answer.reasoning_tokens
  );
  return true;
end
$$;

comment on function private.break_off_room_answer(uuid, uuid, text, bigint, bigint, bigint, bigint) is
  'Ends a failed answer of a room''s AI, which posts nothing; returns false without the claim.';
grant execute
  on function private.break_off_room_answer(uuid, uuid, text, bigint, bigint, bigint, bigint)
  to :PLINTH_SERVICE;
--! EndIncluded rooms/private/break_off_room_answer.sql
--! Included rooms/private/release_room_answer.sql
create or replace function private.release_room_answer(room_id uuid, claim_id uuid)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  update private.room_turns t
  -- It counts as a try: otherwise members who come and go would have the model write for ever.
  set claim_id = null
  where t.room_id = release_room_answer.room_id and t.claim_id = release_room_answer.claim_id;
  perform plinth.announce('answers', 0) where found;
  return found;
end
$$;

comment on function private.release_room_answer(uuid, uuid) is
  'Returns the answer of a room, so that a server starts it again with the present context; returns false without the claim.';
grant execute on function private.release_room_answer(uuid, uuid) to :PLINTH_SERVICE;
--! EndIncluded rooms/private/release_room_answer.sql
