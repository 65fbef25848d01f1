--! Previous: sha1:2990a0ccad07c45b6bd1bf872adf6b5b2f99ce28
--! Hash: sha1:19d881f87f1e189ec353877a9076ef060375951d
--! Message: streams and usage

drop function llm.finish_turn(uuid, text, integer, jsonb, bigint);
drop function llm.break_off_turn(uuid, text, text, bigint);
--! Included private/functions/write_deltas.sql
-- Appends many deltas of an answer at once, all or none: like private.write_delta for each, but with one update of the turn and
-- one announcement. Retried deltas change nothing, even in different batches.
create or replace function private.write_deltas(
  message_id uuid,
  first_sequence integer,
  contents text[],
  thinking text[],
  user_id uuid,
  writer text
)
  returns integer
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_count constant integer := coalesce(cardinality(write_deltas.contents), 0);
  v_turn private.turns;
  v_known integer;
  v_bytes bigint;
  v_different integer;
begin
  if v_count not between 1 and 1000 or array_ndims(write_deltas.contents) <> 1 then
    raise exception 'A batch must have 1 to 1,000 deltas.' using errcode = 'PL422', column = 'contents';
  end if;
  if write_deltas.thinking is not null
    and (cardinality(write_deltas.thinking) <> v_count or array_ndims(write_deltas.thinking) <> 1)
  then
    raise exception 'Send as many thinking pieces as contents; use null for none.'
      using errcode = 'PL422', column = 'thinking';
  end if;
  if exists (
    select
    from generate_series(1, v_count) i
    where coalesce(octet_length(write_deltas.contents[i]), 0) + coalesce(octet_length(write_deltas.thinking[i]), 0)
      not between 1 and 65536
  ) then
    raise exception 'A delta must have 1 to 65,536 bytes.' using errcode = 'PL422', column = 'contents';
  end if;

  select t.* into v_turn
  from private.turns t
  where t.message_id = write_deltas.message_id
    and t.writer = write_deltas.writer
    and (write_deltas.user_id is null or t.user_id = write_deltas.user_id)
  for no key update;
  if not found then
    raise exception 'Turn not found.' using errcode = 'PL404', column = 'message_id';
  end if;
  if write_deltas.first_sequence between 1 and v_turn.last_sequence + 1 is not true then
    raise exception 'The next delta is %, not %.', v_turn.last_sequence + 1, coalesce(write_deltas.first_sequence::text, 'null')
      using errcode = 'PL409', column = 'first_sequence';
  end if;
  v_known := least(v_count, v_turn.last_sequence - write_deltas.first_sequence + 1);
  select min(write_deltas.first_sequence + i - 1) into v_different
  from generate_series(1, v_known) i
  where not exists (
    select
    from llm.message_deltas d
    where d.user_id = v_turn.user_id
      and d.message_id = v_turn.message_id
      and d.sequence = write_deltas.first_sequence + i - 1
      and d.content = coalesce(write_deltas.contents[i], '')
      and d.thinking = coalesce(write_deltas.thinking[i], '')
  );
  if v_different is not null then
    raise exception 'Delta % was already stored with another text.', v_different using errcode = 'PL409', column = 'first_sequence';
  end if;
  if v_known = v_count then
    return v_turn.last_sequence;
  end if;
  if v_turn.ended_at is not null then
    raise exception 'The turn has ended.'
      using errcode = 'PL409', column = 'message_id', hint = 'It was finished, cancelled, or ended when its lease expired.';
  end if;
  select sum(coalesce(octet_length(write_deltas.contents[i]), 0) + coalesce(octet_length(write_deltas.thinking[i]), 0))
  into v_bytes
  from generate_series(v_known + 1, v_count) i;
  if v_turn.streamed_bytes + v_bytes > 1000000 then
    raise exception 'An answer can have at most 1,000,000 bytes.'
      using errcode = 'PL422', column = 'contents', hint = 'Finish it with the reason length.';
  end if;

  insert into llm.message_deltas (user_id, message_id, sequence, content, thinking)
  select
    v_turn.user_id, v_turn.message_id, write_deltas.first_sequence + i - 1, coalesce(write_deltas.contents[i], ''),
    coalesce(write_deltas.thinking[i], '')
  from generate_series(v_known + 1, v_count) i;
  update private.turns t
  set
    last_sequence = write_deltas.first_sequence + v_count - 1,
    streamed_bytes = t.streamed_bytes + v_bytes,
    lease_expires_at = clock_timestamp() + t.lease
  where t.message_id = v_turn.message_id;
  perform plinth.announce('turn:' || v_turn.message_id, write_deltas.first_sequence + v_count - 1);
  return write_deltas.first_sequence + v_count - 1;
end
$$;

comment on function private.write_deltas(uuid, integer, text[], text[], uuid, text) is
  'Appends deltas, all or none; returns the last sequence. The same deltas again change nothing. PL409 for a gap, another text or a turn that ended, PL404 for an unknown turn, PL422 for their number or size.';

create or replace function private.append_deltas(
  message_id uuid,
  first_sequence integer,
  contents text[],
  thinking text[] default null
)
  returns integer
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select private.write_deltas(
    append_deltas.message_id, append_deltas.first_sequence, append_deltas.contents, append_deltas.thinking, null, 'service'
  )
$$;

comment on function private.append_deltas(uuid, integer, text[], text[]) is
  'Appends the next deltas of an answer, the first of them as first_sequence; see private.write_deltas.';
grant execute on function private.append_deltas(uuid, integer, text[], text[]) to :PLINTH_SERVICE;
--! EndIncluded private/functions/write_deltas.sql
--! Included private/functions/report_turn_usage.sql
-- The writer of an answer may be a client, which may not report less than it streamed. A service that called the model itself
-- knows the usage.
create or replace function private.report_turn_usage(
  message_id uuid,
  input_tokens bigint,
  output_tokens bigint,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0
)
  returns llm.messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_turn private.turns;
  v_message llm.messages;
begin
  select t.* into v_turn from private.turns t where t.message_id = report_turn_usage.message_id;
  if not found then
    raise exception 'Turn not found.' using errcode = 'PL404', column = 'message_id';
  end if;
  -- Account, chat, message, turn: the order of private.end_turn.
  perform from identity.users u where u.id = v_turn.user_id for no key update;
  perform from llm.chats c where c.id = v_turn.chat_id for no key update;
  select m.* into v_message from llm.messages m where m.id = v_turn.message_id for no key update;
  select t.* into v_turn from private.turns t where t.message_id = v_turn.message_id for no key update;
  if not found then
    raise exception 'Turn not found.' using errcode = 'PL404', column = 'message_id';
  end if;
  if v_turn.ended_at is null then
    raise exception 'The turn has not ended.'
      using errcode = 'PL409', column = 'message_id', hint = 'Report its usage after it has ended.';
  end if;
  perform private.check_token_counts(
    report_turn_usage.input_tokens, report_turn_usage.output_tokens, report_turn_usage.cached_input_tokens,
    report_turn_usage.reasoning_tokens
  );
  perform private.correct_turn_usage(
    v_turn, v_message.model_id, report_turn_usage.input_tokens, report_turn_usage.output_tokens,
    report_turn_usage.cached_input_tokens, report_turn_usage.reasoning_tokens
  );
  v_message.tokens_used := report_turn_usage.output_tokens;
  return v_message;
end
$$;

comment on function private.report_turn_usage(uuid, bigint, bigint, bigint, bigint) is
  'Corrects the billed usage of an ended answer to the model''s count, whoever wrote it, for a day. The same report again changes nothing. PL404 for an unknown turn, PL409 for one that has not ended or another report, PL422.';
grant execute on function private.report_turn_usage(uuid, bigint, bigint, bigint, bigint) to :PLINTH_SERVICE;
--! EndIncluded private/functions/report_turn_usage.sql
--! Included llm/functions/append_deltas.sql
-- Several pieces in one call: a writer sends what arrived while its last call was in progress.
create or replace function llm.append_deltas(
  message_id uuid,
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
  if plinth.current_user_id() is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  return private.write_deltas(
    append_deltas.message_id, append_deltas.first_sequence, append_deltas.contents, append_deltas.thinking,
    plinth.current_user_id(), 'client'
  );
end
$$;

comment on function llm.append_deltas(uuid, integer, text[], text[]) is
  E'@resultFieldName lastSequence\nAppends the next pieces of an answer, up to 1,000 in one call, the first of them under first_sequence; thinking has as many entries as contents. All or none are written; repeated pieces change nothing. CONFLICT for a gap, a different text under an existing sequence, or an answer that has ended.';
grant execute on function llm.append_deltas(uuid, integer, text[], text[]) to :PLINTH_USER;
--! EndIncluded llm/functions/append_deltas.sql
--! Included llm/functions/write_turns.sql
-- Answers written by the owner's own client, such as a backend that passes on the user's token. If usage must be counted
-- independently of the client, a service writes (private.start_turn).
create or replace function llm.start_turn(
  chat_id uuid,
  model_id uuid,
  parent_id uuid default null,
  max_tokens bigint default 4096,
  idempotency_key text default null,
  lease_seconds integer default 60
)
  returns llm.messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if plinth.current_user_id() is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  return private.open_turn(
    plinth.current_user_id(), start_turn.chat_id, start_turn.model_id, start_turn.parent_id, start_turn.max_tokens, 0,
    start_turn.idempotency_key, start_turn.lease_seconds, 'client'
  );
end
$$;

comment on function llm.start_turn(uuid, uuid, uuid, bigint, text, integer) is
  E'@resultFieldName message\nStarts an answer that the caller streams in, after parent_id or at the end of the active path. The same key again returns the same answer. Reserves max_tokens. QUOTA_EXCEEDED when fewer are left, NOT_FOUND for an unknown chat, message or model, CONFLICT while another answer is being written.';
grant execute on function llm.start_turn(uuid, uuid, uuid, bigint, text, integer) to :PLINTH_USER;

create or replace function llm.append_delta(
  message_id uuid,
  sequence integer,
  content text default null,
  thinking text default null
)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if plinth.current_user_id() is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  return private.write_delta(
    append_delta.message_id, append_delta.sequence, append_delta.content, append_delta.thinking,
    plinth.current_user_id(), 'client'
  );
end
$$;

comment on function llm.append_delta(uuid, integer, text, text) is
  E'@resultFieldName lastSequence\nAppends the next piece of an answer, from sequence 1 on; the same piece again changes nothing. CONFLICT for a gap, a different text under an existing sequence, or an answer that has ended.';
grant execute on function llm.append_delta(uuid, integer, text, text) to :PLINTH_USER;

create or replace function llm.finish_turn(
  message_id uuid,
  finish_reason text default 'stop',
  last_sequence integer default null,
  tool_calls jsonb default null,
  output_tokens bigint default null,
  input_tokens bigint default null
)
  returns llm.messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if plinth.current_user_id() is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  return private.end_turn(
    finish_turn.message_id, 'complete', finish_turn.finish_reason, null, null, finish_turn.tool_calls,
    finish_turn.last_sequence, finish_turn.input_tokens, finish_turn.output_tokens, 0, 0, plinth.current_user_id(), 'client'
  );
end
$$;

comment on function llm.finish_turn(uuid, text, integer, jsonb, bigint, bigint) is
  E'@resultFieldName message\nEnds a complete answer (stop, length, tool_calls, content_filter). With last_sequence, CONFLICT unless exactly that many deltas arrived. An answer that had already ended is returned unchanged: check its state.';
grant execute on function llm.finish_turn(uuid, text, integer, jsonb, bigint, bigint) to :PLINTH_USER;

create or replace function llm.break_off_turn(
  message_id uuid,
  error_code text default null,
  error_message text default null,
  output_tokens bigint default null,
  input_tokens bigint default null
)
  returns llm.messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if plinth.current_user_id() is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  return private.end_turn(
    break_off_turn.message_id, 'broken_off', 'error', break_off_turn.error_code, break_off_turn.error_message, null, null,
    break_off_turn.input_tokens, break_off_turn.output_tokens, 0, 0, plinth.current_user_id(), 'client'
  );
end
$$;

comment on function llm.break_off_turn(uuid, text, text, bigint, bigint) is
  E'@resultFieldName message\nEnds a failed answer with the text that has arrived. An answer that had already ended is returned unchanged.';
grant execute on function llm.break_off_turn(uuid, text, text, bigint, bigint) to :PLINTH_USER;

create or replace function llm.cancel_turn(message_id uuid)
  returns llm.messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if plinth.current_user_id() is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  return private.end_turn(cancel_turn.message_id, 'cancelled', 'cancelled', user_id => plinth.current_user_id());
end
$$;

comment on function llm.cancel_turn(uuid) is
  E'@resultFieldName message\nEnds an answer in the signed-in user''s chat, whichever client writes it, with the text that has arrived; the writer''s next delta is rejected. An answer that had already ended is returned unchanged.';
grant execute on function llm.cancel_turn(uuid) to :PLINTH_USER;
--! EndIncluded llm/functions/write_turns.sql
