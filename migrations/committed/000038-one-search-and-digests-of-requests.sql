--! Previous: sha1:6741f0ef39a79711da479d68e429553f1fe7bab4
--! Hash: sha1:b042830ec4ac4dbe73d975080fd35e03fa75d90e
--! Message: one search and digests of requests

-- A request under an idempotency key is known by a digest of what it asked.
create table private.request_digests (
  id bigint generated always as identity primary key,
  user_id uuid,
  room_message_id uuid unique,
  chat_room_id uuid unique,
  general_chat_message_id uuid unique,
  chat_message_id uuid unique,
  skill_evidence_id uuid unique,
  digest bytea not null,
  constraint request_digests_user_id_fkey foreign key (user_id) references identity.users (id) on delete cascade,
  constraint request_digests_room_message_id_fkey
    foreign key (room_message_id) references rooms.room_messages (id) on delete cascade,
  constraint request_digests_chat_room_id_fkey foreign key (chat_room_id) references rooms.chat_rooms (id) on delete cascade,
  constraint request_digests_general_chat_message_id_fkey
    foreign key (general_chat_message_id) references rooms.general_chat_messages (id) on delete cascade,
  constraint request_digests_chat_message_id_fkey foreign key (chat_message_id) references llm.messages (id) on delete cascade,
  constraint request_digests_skill_evidence_id_fkey
    foreign key (skill_evidence_id) references learning.skill_evidence (id) on delete cascade,
  constraint request_digests_are_of_one_row check (
    num_nonnulls(room_message_id, chat_room_id, general_chat_message_id, chat_message_id, skill_evidence_id) = 1
  ),
  constraint request_digests_digest_is_sha256 check (octet_length(digest) = 32)
);
alter table private.request_digests enable row level security;
-- An account that goes takes the digests of what it wrote with it.
create index request_digests_user_id_idx on private.request_digests (user_id);
comment on table private.request_digests is
  'One row per row that was made under an idempotency key. In private, because a digest would confirm a guess at a text that was deleted since.';
comment on column private.request_digests.id is 'Surrogate key.';
comment on column private.request_digests.user_id is 'The account that made the request; null for the AI of a room.';
comment on column private.request_digests.room_message_id is 'The room message that the request made, or null.';
comment on column private.request_digests.chat_room_id is 'The room that the request made, or null.';
comment on column private.request_digests.general_chat_message_id is 'The message of the general chat that the request made, or null.';
comment on column private.request_digests.chat_message_id is 'The chat message that the request made, or null.';
comment on column private.request_digests.skill_evidence_id is 'The evidence that the request made, or null.';
comment on column private.request_digests.digest is 'SHA-256 of the arguments of the request.';

alter table private.recorded_heartbeats
  add column digest bytea,
  add constraint recorded_heartbeats_digest_is_sha256 check (octet_length(digest) = 32);
comment on column private.recorded_heartbeats.digest is
  'SHA-256 of what it said; null for those recorded before digests were kept.';
comment on column learning.heartbeat_result.reason is
  'Why it was refused: a reason of access, no_such_version, the value at fault (event_id, also when it was used for another heartbeat; from_seconds, to_seconds, active_seconds, occurred_at), or malformed for what cannot be read.';

drop function private.add_skill_evidence(uuid, uuid, text, numeric, text, text);
drop function private.post_ai_message(uuid, text, uuid, uuid[], uuid[], jsonb, bigint, uuid);
drop function private.place_session(uuid, uuid, integer, int4multirange, integer, timestamptz, timestamptz);
drop function private.apply_heartbeat(uuid, uuid, uuid, integer, integer, integer, integer, integer, timestamptz, timestamptz);
--! Included plinth/functions/checked_count.sql
-- One rule for the number of rows a caller may request: null means the usual number, and an impossible number is rejected. An
-- empty page for 0 would look like the end of the list, and so would a shorter page than requested.
create or replace function plinth.checked_count(count integer, field text, usual integer, most integer)
  returns integer
  language plpgsql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
begin
  if count < 1 or count > most then
    raise exception 'The number of results must be %.',
      case when most is null then 'at least 1' else format('from 1 to %s', most) end
      using errcode = 'PL422', column = field;
  end if;
  return coalesce(count, usual);
end
$$;

comment on function plinth.checked_count(integer, text, integer, integer) is
  'Returns the row limit: count, or usual if it is null. PL422 naming the field unless it is from 1 to most; without most, there is no upper limit.';
revoke execute on function plinth.checked_count(integer, text, integer, integer) from public;
grant execute on function plinth.checked_count(integer, text, integer, integer) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/checked_count.sql
--! Included private/functions/request_digests.sql
-- A request under an idempotency key is identified by its result. The same request again gets the same response. Another request
-- under that key is rejected, because the response would be about something else and the request would be lost. The arguments are
-- compared, not the current row: messages are edited and rooms are renamed.

create or replace function private.request_digest(arguments jsonb)
  returns bytea
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select sha256(convert_to(arguments::text, 'UTF8'))
$$;

comment on function private.request_digest(jsonb) is 'Returns the SHA-256 of the arguments of a request.';

create or replace function private.refuse_other_request(is_same boolean)
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if not is_same then
    raise exception 'The idempotency key was already used with other arguments.'
      using errcode = 'PL409', column = 'idempotency_key', hint = 'Use a new key for a new request.';
  end if;
end
$$;

comment on function private.refuse_other_request(boolean) is
  'Raises PL409 unless a request is the one that its idempotency key was used for; null counts as the same.';

-- The message created in a room under a key. For messages older than the digests, the original text is compared.
create or replace function private.find_keyed_room_message(room_id uuid, sender_id uuid, idempotency_key uuid, content text, digest bytea)
  returns rooms.room_messages
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
declare
  v_message rooms.room_messages;
begin
  select m.* into v_message
  from rooms.room_messages m
  where m.room_id = find_keyed_room_message.room_id
    and m.sender_id is not distinct from find_keyed_room_message.sender_id
    and m.idempotency_key = find_keyed_room_message.idempotency_key;
  if found then
    perform private.refuse_other_request(coalesce(
      (select d.digest = find_keyed_room_message.digest from private.request_digests d where d.room_message_id = v_message.id),
      find_keyed_room_message.content is not distinct from coalesce(
        (
          select r.content
          from rooms.room_message_revisions r
          where r.message_id = v_message.id
          order by r.revision
          limit 1
        ),
        v_message.content
      )
    ));
  end if;
  return v_message;
end
$$;

comment on function private.find_keyed_room_message(uuid, uuid, uuid, text, bytea) is
  'Returns the message that a sender (null for the AI) posted in a room under a key, or nulls. PL409 when it was another request.';
--! EndIncluded private/functions/request_digests.sql
--! Included private/functions/post_ai_message.sql
-- Posts the AI's answer. Its knowledge comes from rooms.room_context. With the audience version of that context, the answer is
-- rejected if a user who must not see it has joined since. The model's usage is recorded in the ledger in the same transaction,
-- once, on the account of the requester: the sender of the message it answers, or the creator of the room.
create or replace function private.post_ai_message(
  room_id uuid,
  content text,
  reply_to_id uuid default null,
  mentions uuid[] default null,
  recipients uuid[] default null,
  metadata jsonb default null,
  audience_version bigint default null,
  idempotency_key uuid default null,
  model_id uuid default null,
  input_tokens bigint default null,
  output_tokens bigint default null,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0,
  billed_user_id uuid default null
)
  returns rooms.room_messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_room rooms.chat_rooms;
  v_message rooms.room_messages;
  v_recipients uuid[] := case
    when post_ai_message.recipients is not null
    then array(select distinct r from unnest(post_ai_message.recipients) r order by r)
  end;
  v_mentions uuid[];
  v_billed_user_id uuid;
  -- Without the audience version, which is a condition and not part of the answer.
  v_digest constant bytea := private.request_digest(jsonb_build_array(
    post_ai_message.content, post_ai_message.reply_to_id, post_ai_message.mentions, post_ai_message.recipients,
    coalesce(post_ai_message.metadata, '{}'), post_ai_message.model_id, post_ai_message.input_tokens,
    post_ai_message.output_tokens, post_ai_message.cached_input_tokens, post_ai_message.reasoning_tokens,
    post_ai_message.billed_user_id
  ));
begin
  -- Before anything that may have changed since: a user who has left the room may have been mentioned.
  v_message := private.find_keyed_room_message(
    post_ai_message.room_id, null, post_ai_message.idempotency_key, post_ai_message.content, v_digest
  );
  if v_message.id is not null then
    return v_message;
  end if;
  v_mentions := private.find_mentions(
    post_ai_message.room_id, null, content, post_ai_message.mentions, v_recipients
  );
  if cardinality(v_recipients) not between 1 and 50 then
    raise exception 'A private message has 1 to 50 recipients.' using errcode = 'PL422', column = 'recipients';
  end if;
  if coalesce(post_ai_message.input_tokens, post_ai_message.output_tokens) is not null then
    v_billed_user_id := coalesce(
      post_ai_message.billed_user_id,
      (
        select m.sender_id
        from rooms.room_messages m
        where m.id = post_ai_message.reply_to_id and m.room_id = post_ai_message.room_id
      ),
      (select r.creator_id from rooms.chat_rooms r where r.id = post_ai_message.room_id)
    );
    -- The account before the room, as everywhere.
    perform from identity.users u where u.id = v_billed_user_id for no key update;
  end if;
  perform private.lock_accounts(v_mentions || v_recipients);
  v_room := private.lock_room(post_ai_message.room_id);
  if not exists (select from rooms.room_members m where m.room_id = v_room.id and m.role = 'ai') then
    raise exception 'No AI is a member of this room.' using errcode = 'PL403';
  end if;
  v_message := private.find_keyed_room_message(
    v_room.id, null, post_ai_message.idempotency_key, post_ai_message.content, v_digest
  );
  if v_message.id is not null then
    return v_message;
  end if;
  -- A private answer goes to the recipients named when the context was read, whoever has joined since.
  if v_recipients is null and post_ai_message.audience_version <> v_room.audience_version then
    raise exception 'The audience of the answer has changed; read the context again.' using errcode = 'PL409';
  end if;
  if content is null or content = '' then
    raise exception 'A message cannot be empty.' using errcode = 'PL422', column = 'content';
  elsif post_ai_message.reply_to_id is not null then
    perform private.require_reply(v_room.id, null, post_ai_message.reply_to_id, v_recipients is not null);
  end if;
  insert into rooms.room_messages as m (
    room_id, sender_id, sender_type, content, reply_to_id, metadata, is_private, idempotency_key
  )
  values (
    v_room.id, null, 'ai', post_ai_message.content, post_ai_message.reply_to_id, coalesce(post_ai_message.metadata, '{}'),
    v_recipients is not null, post_ai_message.idempotency_key
  )
  returning m.* into v_message;
  if post_ai_message.idempotency_key is not null then
    insert into private.request_digests (room_message_id, digest) values (v_message.id, v_digest);
  end if;
  perform private.address_message(v_message, v_recipients, v_mentions);
  if v_billed_user_id is not null then
    perform private.record_usage(
      v_billed_user_id, post_ai_message.model_id, coalesce(post_ai_message.input_tokens, 0),
      coalesce(post_ai_message.output_tokens, 0), 'room:' || v_message.id, post_ai_message.cached_input_tokens,
      post_ai_message.reasoning_tokens
    );
  end if;
  return v_message;
end
$$;

comment on function private.post_ai_message(
  uuid, text, uuid, uuid[], uuid[], jsonb, bigint, uuid, uuid, bigint, bigint, bigint, bigint, uuid
) is
  'Posts an answer of the room''s AI; with recipients, to them only. With token counts it records the model''s usage on the account of the sender it replies to, else of the room''s creator, unless billed_user_id names another. The same idempotency key returns the same message. PL403 where no AI is a member, PL409 when the audience has changed since the context was read or the key was used for another message, PL404, PL422.';
grant execute
  on function private.post_ai_message(
    uuid, text, uuid, uuid[], uuid[], jsonb, bigint, uuid, uuid, bigint, bigint, bigint, bigint, uuid
  )
  to :PLINTH_SERVICE;
--! EndIncluded private/functions/post_ai_message.sql
--! Included private/functions/open_turn.sql
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
  writer text
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
  v_digest constant bytea := private.request_digest(jsonb_build_array(
    'turn', open_turn.chat_id, open_turn.model_id, open_turn.parent_id, open_turn.max_tokens, open_turn.input_tokens,
    open_turn.lease_seconds, open_turn.writer
  ));
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
        and v_message.model_id = open_turn.model_id
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
      raise exception 'An answer is under way in this chat.'
        using errcode = 'PL409', column = 'chat_id', detail = v_running.message_id::text,
          hint = 'Wait for it, or cancel it.';
    end if;
    v_message := private.end_turn(v_running.message_id, 'broken_off', 'expired');
  end if;

  if not private.can_user_use_model(open_turn.user_id, open_turn.model_id) then
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
  -- Its end settles the hold long before that, if only through the job.
  select h.id into strict v_hold_id
  from private.reserve_tokens(
    open_turn.user_id, open_turn.model_id, open_turn.max_tokens, 'turn:' || v_message.id, interval '6 hours'
  ) h;
  insert into private.turns (
    message_id, user_id, chat_id, writer, lease, lease_expires_at, max_tokens, input_tokens, hold_id
  )
  values (
    v_message.id, v_message.user_id, v_message.chat_id, open_turn.writer, make_interval(secs => open_turn.lease_seconds),
    clock_timestamp() + make_interval(secs => open_turn.lease_seconds), open_turn.max_tokens, open_turn.input_tokens,
    v_hold_id
  );
  perform plinth.announce('turn:' || v_message.id, 0);
  return v_message;
end
$$;

comment on function private.open_turn(uuid, uuid, uuid, uuid, bigint, bigint, text, integer, text) is
  'Starts an answer of a model in a chat; the same key again returns the same one. PL402 when the user lacks the tokens, PL404 for an unknown chat, message or model, PL409 while another answer is under way and for a key used for another request.';
--! EndIncluded private/functions/open_turn.sql
--! Included private/functions/add_skill_evidence.sql
-- The only way to raise or lower a level with a reason. A delta that would leave the range 0 to 10 is cut to fit, so that the
-- deltas always add up to the level. Locks the account before its rows, as everywhere; then the level, so that evidence for one
-- user and skill is recorded in sequence.
create or replace function private.add_skill_evidence(
  user_id uuid,
  skill_id uuid,
  kind text,
  delta numeric,
  source_key text default null,
  note text default null,
  digest bytea default null
)
  returns learning.skill_evidence
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_level numeric;
  v_result learning.skill_evidence;
begin
  perform from identity.users u where u.id = add_skill_evidence.user_id for key share;
  insert into learning.user_skills (user_id, skill_id)
  values (add_skill_evidence.user_id, add_skill_evidence.skill_id)
  on conflict do nothing;
  select us.level into v_level
  from learning.user_skills us
  where us.user_id = add_skill_evidence.user_id and us.skill_id = add_skill_evidence.skill_id
  for no key update;

  -- Already recorded: the first record counts.
  select e.* into v_result
  from learning.skill_evidence e
  where e.user_id = add_skill_evidence.user_id
    and e.skill_id = add_skill_evidence.skill_id
    and e.source_key = add_skill_evidence.source_key;
  if found then
    -- Evidence older than the digests is compared by its stored delta.
    perform private.refuse_other_request(coalesce(
      (select d.digest = add_skill_evidence.digest from private.request_digests d where d.skill_evidence_id = v_result.id),
      v_result.note is not distinct from add_skill_evidence.note
        and v_result.delta between least(add_skill_evidence.delta, 0) and greatest(add_skill_evidence.delta, 0)
    )) where add_skill_evidence.digest is not null;
    return v_result;
  end if;

  insert into learning.skill_evidence (user_id, skill_id, kind, delta, source_key, note, recorded_by)
  values (
    add_skill_evidence.user_id, add_skill_evidence.skill_id, add_skill_evidence.kind,
    least(greatest(v_level + add_skill_evidence.delta, 0), 10) - v_level,
    add_skill_evidence.source_key, add_skill_evidence.note, plinth.current_user_id()
  )
  returning * into v_result;
  if add_skill_evidence.digest is not null and add_skill_evidence.source_key is not null then
    insert into private.request_digests (user_id, skill_evidence_id, digest)
    values (v_result.user_id, v_result.id, add_skill_evidence.digest);
  end if;
  return v_result;
end
$$;

comment on function private.add_skill_evidence(uuid, uuid, text, numeric, text, text, bytea) is
  'Records evidence and moves the level by as much of delta as fits into 0 to 10. A known source_key changes nothing; PL409 if it was recorded with another digest.';
--! EndIncluded private/functions/add_skill_evidence.sql
--! Included private/functions/apply_heartbeat.sql
-- Turns heartbeats into sessions and progress. Order does not matter: late, duplicate and reordered heartbeats give the same
-- sums, covered stretches and sessions. Callers have checked the values and the access.

-- Returns the name of the invalid parameter of a heartbeat, or null. Players play at four times the speed at most. No settings of
-- its own, so that it is inlined into the calling expression.
create or replace function private.heartbeat_problem(
  event_id uuid,
  from_seconds integer,
  to_seconds integer,
  active_seconds integer,
  occurred_at timestamptz
)
  returns text
  language sql
  stable
as $$
  select case
    when event_id is null then 'event_id'
    when from_seconds is null or from_seconds not between 0 and 604800 then 'from_seconds'
    when to_seconds is null or to_seconds not between from_seconds and 604800 then 'to_seconds'
    when active_seconds is null or active_seconds not between 0 and 600 or to_seconds - from_seconds > 4 * active_seconds
      then 'active_seconds'
    when occurred_at is null or occurred_at not between now() - interval '30 days' and now() + interval '5 minutes'
      then 'occurred_at'
  end
$$;

comment on function private.heartbeat_problem(uuid, integer, integer, integer, timestamptz) is
  'Returns the name of the first invalid parameter of a heartbeat, or null.';

-- Usually there is one stretch. plpgsql caches that expression, whereas a SQL function would start a query each time.
create or replace function private.count_seconds(stretches int4multirange)
  returns integer
  language plpgsql
  immutable
as $$
begin
  if stretches = int4multirange(range_merge(stretches)) then
    return coalesce(upper(stretches) - lower(stretches), 0);
  end if;
  return (select sum(upper(r) - lower(r)) from unnest(stretches) r);
end
$$;

comment on function private.count_seconds(int4multirange) is 'Returns the total seconds of the stretches.';

-- Seconds of a set of stretches, up to the end of the item. Usually there is one stretch, which needs no counting. No settings of
-- its own, so that it is inlined into the calling expression.
create or replace function private.covered_seconds(covered int4multirange, duration_seconds integer)
  returns integer
  language sql
  immutable
as $$
  select case
    when covered = int4multirange(range_merge(covered))
      then coalesce(least(upper(covered), duration_seconds) - least(lower(covered), duration_seconds), 0)
    else private.count_seconds(covered * int4multirange(int4range(0, duration_seconds)))
  end
$$;

comment on function private.covered_seconds(int4multirange, integer) is
  'Returns how many seconds of an item the stretches cover; all of them when its duration is unknown.';

-- Time spent is stored as the clock seconds it covers, so that each second counts once: two tabs, a retry under another id,
-- twenty heartbeats at one instant. A heartbeat of n seconds covers the n whole seconds before the second in which it ended.
-- Consecutive heartbeats therefore stay one stretch although each arrives some milliseconds early or late.
create or replace function private.active_stretch(ended_at timestamptz, seconds integer)
  returns int4multirange
  language sql
  stable
as $$
  select int4multirange(int4range(
    (floor(extract(epoch from ended_at)) - 946684800)::integer - seconds,
    (floor(extract(epoch from ended_at)) - 946684800)::integer
  ))
$$;

comment on function private.active_stretch(timestamptz, integer) is
  'Returns the whole seconds before a time, as seconds since the year 2000 (UTC).';

-- The time that a heartbeat adds: its seconds that are not stored yet. No settings of its own, so that it is inlined into the
-- calling expression.
create or replace function private.added_seconds(active int4multirange, stretch int4multirange, seconds integer)
  returns integer
  language sql
  immutable
as $$
  select case when active && stretch then seconds - private.count_seconds(active * stretch) else seconds end
$$;

comment on function private.added_seconds(int4multirange, int4multirange, integer) is
  'Returns how many seconds of a stretch are not among the active ones yet.';

-- Keeps a row small. From about 140 stretches on, gaps of one or two seconds are closed: a player whose heartbeats all come a
-- moment late leaves one at each. From about 1,200 on, the shorter half of all gaps is closed. Counted time stays counted. A late
-- heartbeat for a closed gap no longer adds to it, so the user gains no time.
create or replace function private.bounded_stretches(active int4multirange)
  returns int4multirange
  language sql
  stable
  set search_path = pg_catalog
as $$
  with stretches as (
    select lower(r) as began, upper(r) as ended, lower(r) - lag(upper(r)) over (order by r) as gap from unnest(active) r
  ),
  closing as (
    select
      case
        when pg_column_size(active) > 16384 then greatest(percentile_disc(0.5) within group (order by s.gap), 2)
        when pg_column_size(active) > 1800 then 2
        else 0
      end as gap
    from stretches s
  )
  select coalesce(range_agg(int4range(s.began - case when s.gap <= c.gap then s.gap else 0 end, s.ended)), '{}')
  from stretches s cross join closing c
$$;

comment on function private.bounded_stretches(int4multirange) is
  'Returns the same stretches, without the shortest gaps between them if there are many.';

-- Finds or creates the session of a heartbeat: heartbeats at most half an hour apart share a session. A late heartbeat may join
-- two sessions; the row with the earliest key then absorbs the others. Returns that row's key. Rows older than 40 days are not
-- searched: a heartbeat is at most 30 days late, so its session is in the newest partitions.
create or replace function private.place_session(
  user_id uuid,
  item_id uuid,
  version integer,
  covered int4multirange,
  stretch int4multirange,
  active_seconds integer,
  began_at timestamptz,
  occurred_at timestamptz
)
  returns timestamptz
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_gap constant interval := '30 minutes';
  v_keys timestamptz[];
  v_key timestamptz;
  v_others record;
begin
  v_keys := array(
    select c.created_at
    from learning.content_consumption c
    where c.user_id = place_session.user_id
      and c.item_id = place_session.item_id
      and c.version = place_session.version
      and c.created_at >= now() - interval '40 days'
      and c.started_at <= place_session.occurred_at + v_gap
      and c.last_activity_at >= place_session.began_at - v_gap
    order by c.created_at
  );
  if v_keys = '{}' then
    insert into learning.content_consumption (
      user_id, item_id, version, started_at, last_activity_at, active_seconds, heartbeat_count, covered, active, created_at
    )
    values (
      place_session.user_id, place_session.item_id, place_session.version, place_session.began_at,
      place_session.occurred_at, place_session.active_seconds, 1, place_session.covered, place_session.stretch,
      clock_timestamp()
    )
    returning created_at into v_key;
    return v_key;
  end if;

  with taken_in as (
    delete from learning.content_consumption c
    where c.user_id = place_session.user_id
      and c.item_id = place_session.item_id
      and c.created_at = any (v_keys[2:])
    returning c.*
  )
  select
    min(t.started_at) as started_at, max(t.last_activity_at) as last_activity_at,
    coalesce(sum(t.active_seconds), 0) as active_seconds, coalesce(sum(t.heartbeat_count), 0) as heartbeat_count,
    coalesce(range_agg(t.covered), '{}') as covered, coalesce(range_agg(t.active), '{}') as active
  into v_others
  from taken_in t;
  update learning.content_consumption c
  set started_at = least(c.started_at, v_others.started_at, place_session.began_at),
    last_activity_at = greatest(c.last_activity_at, v_others.last_activity_at, place_session.occurred_at),
    -- Sessions are half an hour apart, so their seconds do not overlap.
    active_seconds = c.active_seconds + v_others.active_seconds
      + private.added_seconds(c.active + v_others.active, place_session.stretch, place_session.active_seconds),
    active = private.bounded_stretches(c.active + v_others.active + place_session.stretch),
    heartbeat_count = c.heartbeat_count + v_others.heartbeat_count + 1,
    covered = c.covered + v_others.covered + place_session.covered
  where c.user_id = place_session.user_id and c.item_id = place_session.item_id and c.created_at = v_keys[1];
  return v_keys[1];
end
$$;

comment on function private.place_session(uuid, uuid, integer, int4multirange, int4multirange, integer, timestamptz, timestamptz) is
  'Adds a heartbeat to its session, joining or creating sessions; returns the created_at of that session.';

-- One heartbeat. Its deduplication key is inserted first: the foreign key locks the account, which everywhere comes before its
-- rows. Then the progress row, which is the lock of its user and item; then its sessions.
create or replace function private.apply_heartbeat(
  user_id uuid,
  item_id uuid,
  event_id uuid,
  version integer,
  duration_seconds integer,
  from_seconds integer,
  to_seconds integer,
  active_seconds integer,
  occurred_at timestamptz,
  access_checked_at timestamptz,
  digest bytea
)
  returns learning.content_progress
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_gap constant interval := '30 minutes';
  v_occurred_at constant timestamptz := least(apply_heartbeat.occurred_at, now());
  v_began_at constant timestamptz := v_occurred_at - make_interval(secs => apply_heartbeat.active_seconds);
  v_covered constant int4multirange := int4multirange(int4range(apply_heartbeat.from_seconds, apply_heartbeat.to_seconds));
  v_stretch constant int4multirange := private.active_stretch(v_occurred_at, apply_heartbeat.active_seconds);
  v_session timestamptz;
  v_seconds integer;
  v_size integer;
  p learning.content_progress;
begin
  insert into private.recorded_heartbeats (user_id, event_id, digest)
  values (apply_heartbeat.user_id, apply_heartbeat.event_id, apply_heartbeat.digest)
  on conflict do nothing;
  if not found then
    if exists (
      select
      from private.recorded_heartbeats r
      where r.user_id = apply_heartbeat.user_id and r.event_id = apply_heartbeat.event_id and r.digest <> apply_heartbeat.digest
    ) then
      raise exception 'This event id was already used for another heartbeat.'
        using errcode = 'PL409', schema = 'learning', table = 'content_progress', column = 'event_id',
          hint = 'Use a new event id for each heartbeat.';
    end if;
    select t.* into p
    from learning.content_progress t
    where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id;
    return p;
  end if;

  -- Nearly every heartbeat is the latest of the version being played, and needs little work.
  update learning.content_progress t
  set covered = t.covered + v_covered,
    covered_seconds = private.covered_seconds(t.covered + v_covered, apply_heartbeat.duration_seconds),
    duration_seconds = apply_heartbeat.duration_seconds,
    position_seconds = apply_heartbeat.to_seconds,
    position_at = v_occurred_at,
    active_seconds = t.active_seconds + private.added_seconds(t.active, v_stretch, apply_heartbeat.active_seconds),
    active = t.active + v_stretch,
    started_at = least(t.started_at, v_began_at),
    last_activity_at = greatest(t.last_activity_at, v_occurred_at),
    access_checked_at = apply_heartbeat.access_checked_at
  where t.user_id = apply_heartbeat.user_id
    and t.item_id = apply_heartbeat.item_id
    and t.version = apply_heartbeat.version
    and t.position_at < v_occurred_at
  returning t.* into p;
  while p.user_id is null loop
    -- A newer version is another text: its covered stretches and position start over. The sessions keep what was seen of the
    -- previous version, and completed items stay completed. An older version adds only time.
    update learning.content_progress t
    set version = greatest(t.version, apply_heartbeat.version),
      covered = case
        when apply_heartbeat.version = t.version then t.covered + v_covered
        when apply_heartbeat.version > t.version then v_covered
        else t.covered
      end,
      covered_seconds = case
        when apply_heartbeat.version = t.version
          then private.covered_seconds(t.covered + v_covered, apply_heartbeat.duration_seconds)
        when apply_heartbeat.version > t.version
          then private.covered_seconds(v_covered, apply_heartbeat.duration_seconds)
        else t.covered_seconds
      end,
      duration_seconds = apply_heartbeat.duration_seconds,
      position_seconds = case
        when (apply_heartbeat.version, v_occurred_at, apply_heartbeat.to_seconds)
          > (t.version, coalesce(t.position_at, '-infinity'), t.position_seconds)
          then apply_heartbeat.to_seconds
        else t.position_seconds
      end,
      position_at = case
        when (apply_heartbeat.version, v_occurred_at) > (t.version, coalesce(t.position_at, '-infinity')) then v_occurred_at
        else t.position_at
      end,
      active_seconds = t.active_seconds + private.added_seconds(t.active, v_stretch, apply_heartbeat.active_seconds),
      active = t.active + v_stretch,
      started_at = least(t.started_at, v_began_at),
      last_activity_at = greatest(t.last_activity_at, v_occurred_at),
      access_checked_at = apply_heartbeat.access_checked_at
    where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id
    returning t.* into p;
    exit when found;
    insert into learning.content_progress (user_id, item_id, version, started_at, last_activity_at)
    values (apply_heartbeat.user_id, apply_heartbeat.item_id, apply_heartbeat.version, v_began_at, v_occurred_at)
    on conflict do nothing;
  end loop;

  -- Nearly every heartbeat continues the latest session.
  update learning.content_consumption c
  set last_activity_at = greatest(c.last_activity_at, v_occurred_at),
    active_seconds = c.active_seconds + private.added_seconds(c.active, v_stretch, apply_heartbeat.active_seconds),
    active = c.active + v_stretch,
    heartbeat_count = c.heartbeat_count + 1,
    covered = c.covered + v_covered
  where c.user_id = apply_heartbeat.user_id
    and c.item_id = apply_heartbeat.item_id
    and c.created_at = p.session_created_at
    and c.version = apply_heartbeat.version
    and c.started_at <= v_began_at
    and c.last_activity_at >= v_began_at - v_gap
  returning pg_column_size(c.active) into v_size;
  -- Beyond the first 140 stretches, one in twenty additions looks for gaps to close.
  if pg_column_size(p.active) > 1800 and pg_column_size(p.active) % 256 < 13 then
    update learning.content_progress t
    set active = private.bounded_stretches(t.active)
    where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id
    returning t.* into p;
  end if;
  if v_size > 1800 and v_size % 256 < 13 then
    update learning.content_consumption c
    set active = private.bounded_stretches(c.active)
    where c.user_id = apply_heartbeat.user_id and c.item_id = apply_heartbeat.item_id and c.created_at = p.session_created_at;
  end if;
  if v_size is null then
    v_session := private.place_session(
      apply_heartbeat.user_id, apply_heartbeat.item_id, apply_heartbeat.version, v_covered, v_stretch,
      apply_heartbeat.active_seconds, v_began_at, v_occurred_at
    );
    -- The next heartbeat looks in the session with the latest activity, or in the session that absorbed it.
    if p.session_created_at is null or v_occurred_at >= p.last_activity_at or v_session < p.session_created_at and not exists (
      select
      from learning.content_consumption c
      where c.user_id = p.user_id and c.item_id = p.item_id and c.created_at = p.session_created_at
    ) then
      update learning.content_progress t
      set session_created_at = v_session
      where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id
      returning t.* into p;
    end if;
  end if;

  if apply_heartbeat.version > coalesce(p.completed_version, 0) then
    v_seconds := p.covered_seconds;
    if apply_heartbeat.version < p.version then
      -- A late heartbeat of a version that the user has left behind.
      select private.covered_seconds(range_agg(c.covered), apply_heartbeat.duration_seconds) into v_seconds
      from learning.content_consumption c
      where c.user_id = apply_heartbeat.user_id
        and c.item_id = apply_heartbeat.item_id
        and c.version = apply_heartbeat.version;
    end if;
    if private.is_played(v_seconds, apply_heartbeat.duration_seconds) then
      update learning.content_progress t
      set completed_version = apply_heartbeat.version, completed_at = v_occurred_at
      where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id
      returning t.* into p;
    end if;
  end if;
  return p;
end
$$;

comment on function private.apply_heartbeat(uuid, uuid, uuid, integer, integer, integer, integer, integer, timestamptz, timestamptz, bytea) is
  'Merges a heartbeat into sessions and progress, once for each event_id of a user; returns the progress after it. PL409 when the event_id was used for another heartbeat.';
--! EndIncluded private/functions/apply_heartbeat.sql
--! Included private/functions/reserve_tokens.sql
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
--! EndIncluded private/functions/reserve_tokens.sql
--! Included rooms/functions/post_room_message.sql
create or replace function rooms.post_room_message(
  room_id uuid,
  content text,
  reply_to_id uuid default null,
  mentions uuid[] default null,
  recipients uuid[] default null,
  metadata jsonb default null,
  idempotency_key uuid default null
)
  returns rooms.room_messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_type text;
  v_mentions uuid[];
  v_recipients uuid[];
  v_message rooms.room_messages;
  v_digest bytea;
  v_sequence bigint;
  v_event_sequence bigint;
  v_created_at timestamptz;
begin
  if v_user is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  if content is null or content = '' then
    raise exception 'A message cannot be empty.' using errcode = 'PL422', column = 'content';
  end if;
  -- The account is locked before the room, and callers who are not members do not lock the room.
  perform
  from identity.users u
  join rooms.room_members m on m.user_id = u.id and m.room_id = post_room_message.room_id
  where u.id = v_user
  for key share of u;
  if not found then
    raise exception 'Room not found.' using errcode = 'PL404', column = 'room_id';
  end if;
  -- Before checking what may have changed since: a user who has left the room can still have been mentioned.
  if post_room_message.idempotency_key is not null then
    v_digest := private.request_digest(jsonb_build_array(
      post_room_message.content, post_room_message.reply_to_id, post_room_message.mentions, post_room_message.recipients,
      coalesce(post_room_message.metadata, '{}')
    ));
    v_message := private.find_keyed_room_message(
      post_room_message.room_id, v_user, post_room_message.idempotency_key, post_room_message.content, v_digest
    );
    if v_message.id is not null then
      return v_message;
    end if;
  end if;
  if post_room_message.recipients is not null then
    v_recipients := array(
      select distinct r from unnest(post_room_message.recipients) r where r is distinct from v_user order by r
    );
    if cardinality(v_recipients) not between 1 and 50 then
      raise exception 'A private message needs 1 to 50 recipients.' using errcode = 'PL422', column = 'recipients';
    end if;
  end if;
  if strpos(content, '@') > 0 or cardinality(post_room_message.mentions) > 0 then
    v_mentions := private.find_mentions(
      post_room_message.room_id, v_user, content, post_room_message.mentions, v_recipients
    );
  end if;
  if v_recipients is not null or cardinality(v_mentions) > 0 then
    perform private.lock_accounts(v_mentions || v_recipients);
  end if;
  if post_room_message.idempotency_key is not null then
    perform private.lock_room(post_room_message.room_id);
    v_message := private.find_keyed_room_message(
      post_room_message.room_id, v_user, post_room_message.idempotency_key, post_room_message.content, v_digest
    );
    if v_message.id is not null then
      return v_message;
    end if;
  end if;
  if post_room_message.reply_to_id is not null then
    perform private.require_reply(
      post_room_message.room_id, v_user, post_room_message.reply_to_id, v_recipients is not null
    );
  end if;
  -- The room's lock, held until the end of the transaction, and the message's numbers: the only writes besides the message's
  -- row. No member's row is written, since unread is the difference to the read mark (rooms.count_unread).
  update rooms.chat_rooms r
  set
    last_sequence = r.last_sequence + 1,
    last_event_sequence = r.last_event_sequence + 1,
    -- If the clock was set back, a message still does not precede the last one.
    last_activity_at = greatest(clock_timestamp(), r.last_activity_at)
  where r.id = post_room_message.room_id
  returning r.last_sequence, r.last_event_sequence, r.last_activity_at, r.room_type
  into v_sequence, v_event_sequence, v_created_at, v_type;
  -- Checked after the lock: a previous member may have left since. A row with its number needs no trigger.
  insert into rooms.room_messages as msg (
    room_id, sender_id, content, reply_to_id, metadata, is_private, idempotency_key, created_at,
    sequence, event_sequence, sender_sequence
  )
  select
    m.room_id, v_user, post_room_message.content, post_room_message.reply_to_id,
    coalesce(post_room_message.metadata, '{}'), v_recipients is not null, post_room_message.idempotency_key, v_created_at,
    v_sequence, v_event_sequence,
    coalesce((
      select o.sender_sequence
      from rooms.room_messages o
      where o.sender_id = v_user and o.room_id = post_room_message.room_id
      order by o.sequence desc
      limit 1
    ), 0) + (v_recipients is null)::integer
  from rooms.room_members m
  where m.room_id = post_room_message.room_id and m.user_id = v_user
  returning msg.* into v_message;
  if v_message.id is null then
    raise exception 'Room not found.' using errcode = 'PL404', column = 'room_id';
  end if;
  if v_digest is not null then
    insert into private.request_digests (user_id, room_message_id, digest) values (v_user, v_message.id, v_digest);
  end if;
  perform plinth.announce('room:' || v_message.room_id, v_event_sequence);
  if v_recipients is not null or cardinality(v_mentions) > 0 then
    perform private.address_message(v_message, v_recipients, v_mentions);
  end if;
  if v_type = 'direct' then
    perform private.refuse_blocked_direct(post_room_message.room_id, v_user);
  end if;
  return v_message;
end
$$;

comment on function rooms.post_room_message(uuid, text, uuid, uuid[], uuid[], jsonb, uuid) is
  'Posts a message in a room of the signed-in user. Members named as @username or in mentions are mentioned; with recipients, only they and the sender see it. The same idempotency key again returns the same message. PL403 if blocked in a direct room, PL404, PL409 for a key that was used for another message, PL422.';
grant execute on function rooms.post_room_message(uuid, text, uuid, uuid[], uuid[], jsonb, uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/post_room_message.sql
--! Included rooms/functions/general_chat.sql
create or replace function rooms.post_general_chat_message(content text, idempotency_key uuid default null)
  returns rooms.general_chat_messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_settings rooms.general_chat_settings;
  v_mute rooms.general_chat_mutes;
  v_wait numeric;
  v_message rooms.general_chat_messages;
  v_digest constant bytea := private.request_digest(jsonb_build_array(post_general_chat_message.content));
begin
  if v_user is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  elsif post_general_chat_message.content is null or post_general_chat_message.content = '' then
    raise exception 'A message cannot be empty.' using errcode = 'PL422', column = 'content';
  end if;
  -- Messages of one user are serialized; otherwise two concurrent ones would both pass slow mode.
  perform from identity.users u where u.id = v_user for key share;
  perform pg_advisory_xact_lock(hashtextextended('rooms.general_chat ' || v_user, 0));
  if post_general_chat_message.idempotency_key is not null then
    select m.* into v_message
    from rooms.general_chat_messages m
    where m.sender_id = v_user and m.idempotency_key = post_general_chat_message.idempotency_key;
    if v_message.id is not null then
      -- Messages that predate the digests are compared by their first text.
      perform private.refuse_other_request(coalesce(
        (select d.digest = v_digest from private.request_digests d where d.general_chat_message_id = v_message.id),
        post_general_chat_message.content = coalesce(
          (
            select r.content
            from rooms.general_chat_revisions r
            where r.message_id = v_message.id
            order by r.revision
            limit 1
          ),
          v_message.content
        )
      ));
      return v_message;
    end if;
  end if;
  select m.* into v_mute from rooms.general_chat_mutes m where m.user_id = v_user and m.muted_until > clock_timestamp();
  if v_mute.user_id is not null then
    raise exception 'You cannot post in the general chat at the moment.'
      using errcode = 'PL403', hint = coalesce('Reason: ' || v_mute.reason, '');
  end if;
  select s.* into v_settings from rooms.general_chat_settings s;
  if not access.has_permission('moderate_general_chat') then
    if not v_settings.is_open then
      raise exception 'The general chat is closed.' using errcode = 'PL403';
    end if;
    select v_settings.slow_mode_seconds - extract(epoch from clock_timestamp() - max(m.created_at)) into v_wait
    from rooms.general_chat_messages m
    where m.sender_id = v_user;
    if v_wait > 0 then
      raise exception 'Slow mode is on. Wait before posting again.'
        using errcode = 'PL429', hint = format('Try again in %s seconds.', ceil(v_wait));
    end if;
  end if;
  insert into rooms.general_chat_messages as m (sender_id, content, idempotency_key)
  values (v_user, post_general_chat_message.content, post_general_chat_message.idempotency_key)
  returning m.* into v_message;
  if post_general_chat_message.idempotency_key is not null then
    insert into private.request_digests (user_id, general_chat_message_id, digest) values (v_user, v_message.id, v_digest);
  end if;
  return v_message;
end
$$;

comment on function rooms.post_general_chat_message(text, uuid) is
  'Posts in the general chat, which all users share. The same idempotency key again returns the same message. PL403 for muted users and when the chat is closed, PL409 for a key that was used for another message, PL422, PL429 in slow mode.';
grant execute on function rooms.post_general_chat_message(text, uuid) to :PLINTH_USER;

-- Authors edit and delete their own messages; moderators delete any.
create or replace function private.change_general_chat_message(message_id uuid, content text)
  returns rooms.general_chat_messages
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_message rooms.general_chat_messages;
begin
  if v_user is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  perform from identity.users u where u.id = v_user for key share;
  select m.* into v_message
  from rooms.general_chat_messages m
  where m.id = change_general_chat_message.message_id
  for no key update;
  if v_message.id is null then
    raise exception 'Message not found.' using errcode = 'PL404';
  elsif v_message.sender_id is distinct from v_user
    and not (content = '' and access.has_permission('moderate_general_chat'))
  then
    raise exception 'This is not your message.' using errcode = 'PL403';
  elsif v_message.content = content then
    return v_message;
  elsif v_message.is_deleted then
    raise exception 'This message was deleted.' using errcode = 'PL409';
  end if;
  insert into rooms.general_chat_revisions (message_id, revision, author_id, actor_id, change, content)
  select
    v_message.id, count(*) + 1, v_message.sender_id, v_user,
    case when change_general_chat_message.content = '' then 'deleted' else 'edited' end, v_message.content
  from rooms.general_chat_revisions r
  where r.message_id = v_message.id;
  update rooms.general_chat_messages m
  set
    content = change_general_chat_message.content,
    is_deleted = change_general_chat_message.content = '',
    deleted_at = case when change_general_chat_message.content = '' then clock_timestamp() end,
    edited_at = case when change_general_chat_message.content = '' then m.edited_at else clock_timestamp() end
  where m.id = v_message.id
  returning m.* into v_message;
  return v_message;
end
$$;

comment on function private.change_general_chat_message(uuid, text) is
  'Replaces or deletes the text of a general chat message, and keeps the previous one. PL401, PL403, PL404, PL409.';

create or replace function rooms.edit_general_chat_message(message_id uuid, content text)
  returns rooms.general_chat_messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if edit_general_chat_message.content is null or edit_general_chat_message.content = '' then
    raise exception 'A message cannot be empty.' using errcode = 'PL422', column = 'content';
  end if;
  return private.change_general_chat_message(edit_general_chat_message.message_id, edit_general_chat_message.content);
end
$$;

comment on function rooms.edit_general_chat_message(uuid, text) is
  'Changes the signed-in user''s own message in the general chat; the previous text is kept for its moderators. PL403, PL404, PL409 when deleted, PL422.';
grant execute on function rooms.edit_general_chat_message(uuid, text) to :PLINTH_USER;

create or replace function rooms.delete_general_chat_message(message_id uuid)
  returns rooms.general_chat_messages
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select * from private.change_general_chat_message(message_id, '')
$$;

comment on function rooms.delete_general_chat_message(uuid) is
  'Deletes the signed-in user''s own message in the general chat, or with the permission moderate_general_chat any message; the text is kept for its moderators. PL403, PL404.';
grant execute on function rooms.delete_general_chat_message(uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/general_chat.sql
--! Included rooms/functions/rooms_of_users.sql
create or replace function rooms.create_room(
  name text,
  room_type text default 'group',
  description text default '',
  is_public boolean default false,
  ai_enabled boolean default false,
  history_is_shared boolean default true,
  idempotency_key uuid default null
)
  returns rooms.chat_rooms
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_room rooms.chat_rooms;
  v_digest constant bytea := private.request_digest(jsonb_build_array(
    trim(create_room.name), create_room.room_type, create_room.description, create_room.is_public, create_room.ai_enabled,
    create_room.history_is_shared
  ));
begin
  if v_user is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  if create_room.room_type = 'direct' then
    raise exception 'A direct room needs the other user, not a name. Use createDirectRoom.' using errcode = 'PL422', column = 'room_type';
  elsif coalesce(trim(create_room.name), '') = '' then
    raise exception 'A room needs a name.' using errcode = 'PL422', column = 'name';
  end if;
  perform private.lock_accounts(array[v_user]);
  if create_room.idempotency_key is not null then
    -- Of two concurrent attempts, the second waits here and finds the first one's room.
    perform pg_advisory_xact_lock(hashtextextended('rooms.create_room ' || v_user || create_room.idempotency_key, 0));
    select r.* into v_room
    from rooms.chat_rooms r
    where r.creator_id = v_user and r.idempotency_key = create_room.idempotency_key;
    if v_room.id is not null then
      -- A room that predates the digests is compared as long as it is unchanged.
      perform private.refuse_other_request(coalesce(
        (select d.digest = v_digest from private.request_digests d where d.chat_room_id = v_room.id),
        v_room.updated_at <> v_room.created_at
          or v_digest = private.request_digest(jsonb_build_array(
            v_room.name, v_room.room_type, v_room.description, v_room.is_public, v_room.ai_enabled, v_room.history_is_shared
          ))
      ));
      return v_room;
    end if;
  end if;
  perform private.enforce_rate_limit('room_create_per_account', v_user::text);
  insert into rooms.chat_rooms as r (
    creator_id, name, room_type, description, is_public, ai_enabled, history_is_shared, idempotency_key
  )
  values (
    v_user, trim(create_room.name), create_room.room_type, create_room.description, create_room.is_public,
    create_room.ai_enabled, create_room.history_is_shared, create_room.idempotency_key
  )
  returning r.* into v_room;
  if create_room.idempotency_key is not null then
    insert into private.request_digests (user_id, chat_room_id, digest) values (v_user, v_room.id, v_digest);
  end if;
  insert into rooms.room_members (room_id, user_id, role) values (v_room.id, v_user, 'creator');
  if v_room.ai_enabled then
    insert into rooms.room_members (room_id, user_id, role) values (v_room.id, null, 'ai');
  end if;
  select r.* into v_room from rooms.chat_rooms r where r.id = v_room.id;
  return v_room;
end
$$;

comment on function rooms.create_room(text, text, text, boolean, boolean, boolean, uuid) is
  'Creates a group or private room with the signed-in user as its creator and, where enabled, an AI as a member. The same idempotency key again returns the same room. PL409 for a key that was used for another room, PL422 for a bad type or no name, PL429 for too many.';
grant execute on function rooms.create_room(text, text, text, boolean, boolean, boolean, uuid) to :PLINTH_USER;

create or replace function rooms.create_direct_room(user_id uuid)
  returns rooms.chat_rooms
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_first uuid;
  v_second uuid;
  v_room rooms.chat_rooms;
begin
  if v_user is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  elsif create_direct_room.user_id is null or create_direct_room.user_id = v_user then
    raise exception 'A direct room needs another user.' using errcode = 'PL422', column = 'user_id';
  end if;
  v_first := least(v_user, create_direct_room.user_id);
  v_second := greatest(v_user, create_direct_room.user_id);
  perform private.lock_accounts(array[v_first, v_second]);
  -- The same answer for an account that does not exist, is not active, or does not accept messages from the caller.
  if not exists (select from identity.users u where u.id = create_direct_room.user_id and u.is_active)
    or private.is_blocked(v_user, create_direct_room.user_id)
    or private.is_blocked(create_direct_room.user_id, v_user)
  then
    raise exception 'User not found, or you may not write to them.' using errcode = 'PL404', column = 'user_id';
  end if;
  perform pg_advisory_xact_lock(hashtextextended('rooms.create_direct_room ' || v_first || v_second, 0));
  select r.* into v_room
  from private.direct_rooms d
  join rooms.chat_rooms r on r.id = d.room_id
  where d.first_user_id = v_first and d.second_user_id = v_second;
  if v_room.id is not null then
    return v_room;
  end if;
  perform private.enforce_rate_limit('room_create_per_account', v_user::text);
  insert into rooms.chat_rooms as r (creator_id, room_type) values (v_user, 'direct') returning r.* into v_room;
  insert into private.direct_rooms (first_user_id, second_user_id, room_id) values (v_first, v_second, v_room.id);
  insert into rooms.room_members (room_id, user_id, role) values (v_room.id, v_first, 'member'), (v_room.id, v_second, 'member');
  select r.* into v_room from rooms.chat_rooms r where r.id = v_room.id;
  return v_room;
end
$$;

comment on function rooms.create_direct_room(uuid) is
  'Returns the direct room of the signed-in user and another one, and creates it if needed; there is never a second. PL404 for a user who cannot be written to.';
grant execute on function rooms.create_direct_room(uuid) to :PLINTH_USER;

-- Whether a user may know that a room exists, by the rule of the policies of rooms.chat_rooms.
create or replace function private.sees_room(room_id uuid, user_id uuid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select exists (
    select
    from rooms.chat_rooms r
    where r.id = sees_room.room_id
      and (
        r.is_public
        or exists (
          select from rooms.room_invites i where i.room_id = r.id and i.invitee_id = sees_room.user_id and i.status = 'pending'
        )
        or exists (select from rooms.room_members m where m.room_id = r.id and m.user_id = sees_room.user_id)
      )
  )
$$;

comment on function private.sees_room(uuid, uuid) is 'Returns whether a user may see a room: as a member, by an invite, or because it is public.';

create or replace function rooms.join_room(room_id uuid)
  returns rooms.room_members
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_room rooms.chat_rooms;
begin
  if v_user is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  perform private.lock_accounts(array[v_user]);
  -- A caller who cannot see the room does not lock it. Checked again under the lock: a statement that waits for a lock
  -- continues with its earlier snapshot, and a member removed during the wait must not join as the member they were.
  if private.sees_room(join_room.room_id, v_user) then
    v_room := private.lock_room(join_room.room_id);
  end if;
  if v_room.id is null or not private.sees_room(v_room.id, v_user) then
    raise exception 'Room not found.' using errcode = 'PL404';
  elsif v_room.has_password
    and not exists (select from rooms.room_members m where m.room_id = v_room.id and m.user_id = v_user)
    and not exists (
      select from rooms.room_invites i where i.room_id = v_room.id and i.invitee_id = v_user and i.status = 'pending'
    )
  then
    raise exception 'This room has a password.' using errcode = 'PL403', hint = 'Use joinRoomWithPassword.';
  end if;
  return private.add_to_room(v_room.id, v_user);
end
$$;

comment on function rooms.join_room(uuid) is
  'Joins a public room, or one the signed-in user is invited to; a member stays one. PL403 for banned users and where a password is needed, PL404 for rooms the caller cannot see.';
grant execute on function rooms.join_room(uuid) to :PLINTH_USER;

create or replace function rooms.leave_room(room_id uuid)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
begin
  perform private.current_room_role(leave_room.room_id);
  perform private.lock_accounts(array[v_user]);
  if (private.lock_room(leave_room.room_id)).room_type = 'direct' then
    raise exception 'You cannot leave a direct room. Archive it or block the other user.' using errcode = 'PL409';
  end if;
  return private.remove_from_room(leave_room.room_id, v_user);
end
$$;

comment on function rooms.leave_room(uuid) is
  'Ends the signed-in user''s membership. A creator is succeeded by the longest-standing member, moderators first; a room without members is deleted. PL404 for a caller who is not a member.';
grant execute on function rooms.leave_room(uuid) to :PLINTH_USER;

create or replace function rooms.remove_room_member(room_id uuid, user_id uuid, ban boolean default false, reason text default null)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_role text;
  v_own_role text;
begin
  perform private.require_room_moderator(remove_room_member.room_id);
  perform private.lock_accounts(array[v_user, remove_room_member.user_id]);
  if (private.lock_room(remove_room_member.room_id)).room_type = 'direct' then
    raise exception 'Members of a direct room cannot be removed.' using errcode = 'PL409';
  end if;
  -- Checked again under the lock, which prevents further changes.
  perform private.require_room_moderator(remove_room_member.room_id);
  v_own_role := private.current_room_role(remove_room_member.room_id);
  select m.role into v_role
  from rooms.room_members m
  where m.room_id = remove_room_member.room_id and m.user_id = remove_room_member.user_id;
  if v_role = 'creator' or (v_role = 'moderator' and v_own_role <> 'creator') or remove_room_member.user_id = v_user then
    raise exception 'You may not remove this member.' using errcode = 'PL403';
  elsif v_role is null and not remove_room_member.ban then
    raise exception 'Member not found.' using errcode = 'PL404', column = 'user_id';
  end if;
  if remove_room_member.ban then
    if not exists (select from identity.users u where u.id = remove_room_member.user_id) then
      raise exception 'User not found.' using errcode = 'PL404', column = 'user_id';
    end if;
    insert into rooms.room_bans as b (room_id, user_id, banned_by, reason)
    values (remove_room_member.room_id, remove_room_member.user_id, v_user, remove_room_member.reason)
    on conflict on constraint room_bans_pkey do update set reason = coalesce(excluded.reason, b.reason);
  end if;
  delete from rooms.room_invites i
  where i.room_id = remove_room_member.room_id and i.invitee_id = remove_room_member.user_id;
  perform private.remove_from_room(remove_room_member.room_id, remove_room_member.user_id);
  return true;
end
$$;

comment on function rooms.remove_room_member(uuid, uuid, boolean, text) is
  'Removes a member from a room; with ban permanently (also a user who is not a member yet). Moderators remove members, the creator removes moderators too. PL403, PL404.';
grant execute on function rooms.remove_room_member(uuid, uuid, boolean, text) to :PLINTH_USER;

create or replace function rooms.set_room_role(room_id uuid, user_id uuid, role text)
  returns rooms.room_members
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_member rooms.room_members;
begin
  perform private.current_room_role(set_room_role.room_id);
  if set_room_role.role is null or set_room_role.role not in ('creator', 'moderator', 'member') then
    raise exception 'A role must be creator, moderator or member.' using errcode = 'PL422', column = 'role';
  end if;
  perform private.lock_accounts(array[v_user, set_room_role.user_id]);
  perform private.lock_room(set_room_role.room_id);
  if private.current_room_role(set_room_role.room_id) <> 'creator' then
    raise exception 'Only the creator can change roles.' using errcode = 'PL403';
  elsif set_room_role.user_id = v_user then
    raise exception 'You cannot change your own role. Make another member the creator.' using errcode = 'PL409';
  end if;
  perform private.lock_user_counters(array[v_user, set_room_role.user_id]);
  update rooms.room_members m
  set role = set_room_role.role
  where m.room_id = set_room_role.room_id and m.user_id = set_room_role.user_id
  returning m.* into v_member;
  if v_member.id is null then
    raise exception 'Member not found.' using errcode = 'PL404', column = 'user_id';
  end if;
  if set_room_role.role = 'creator' then
    update rooms.room_members m set role = 'moderator' where m.room_id = set_room_role.room_id and m.user_id = v_user;
  end if;
  return v_member;
end
$$;

comment on function rooms.set_room_role(uuid, uuid, text) is
  'Changes a member''s role; a creator who names a new creator becomes a moderator. For the creator only. PL403, PL404, PL422.';
grant execute on function rooms.set_room_role(uuid, uuid, text) to :PLINTH_USER;
--! EndIncluded rooms/functions/rooms_of_users.sql
--! Included llm/functions/send_chat_message.sql
-- A user's message with its attachments, added once however often it is sent: the key finds the first one. A client that needs
-- neither attachments nor a key may insert into llm.messages directly.
create or replace function llm.send_chat_message(
  chat_id uuid,
  content text,
  parent_id uuid default null,
  attachments jsonb default '[]',
  idempotency_key text default null
)
  returns llm.messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user_id uuid := plinth.current_user_id();
  v_message llm.messages;
  v_digest constant bytea := private.request_digest(jsonb_build_array(
    'send', send_chat_message.chat_id, send_chat_message.content, send_chat_message.parent_id,
    coalesce(send_chat_message.attachments, '[]')
  ));
begin
  if v_user_id is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  perform from identity.users u where u.id = v_user_id for key share;
  perform
  from llm.chats c
  where c.id = send_chat_message.chat_id and c.user_id = v_user_id
  for no key update;
  if not found then
    raise exception 'Chat not found.' using errcode = 'PL404', column = 'chat_id';
  end if;
  select m.* into v_message
  from llm.messages m
  where m.user_id = v_user_id and m.idempotency_key = send_chat_message.idempotency_key;
  if found then
    -- A message that predates the digests, or was imported, is compared itself.
    perform private.refuse_other_request(coalesce(
      (select d.digest = v_digest from private.request_digests d where d.chat_message_id = v_message.id),
      v_message.chat_id = send_chat_message.chat_id
        and v_message.role = 'user'
        and v_message.content = send_chat_message.content
        and (send_chat_message.parent_id is null or v_message.parent_id is not distinct from send_chat_message.parent_id)
    ));
    return v_message;
  end if;
  insert into llm.messages (chat_id, user_id, parent_id, role, content, idempotency_key)
  values (
    send_chat_message.chat_id, v_user_id, send_chat_message.parent_id, 'user', send_chat_message.content,
    send_chat_message.idempotency_key
  )
  returning * into v_message;
  if send_chat_message.idempotency_key is not null then
    insert into private.request_digests (user_id, chat_message_id, digest) values (v_user_id, v_message.id, v_digest);
  end if;
  perform private.insert_attachments(v_message, send_chat_message.attachments);
  return v_message;
end
$$;

comment on function llm.send_chat_message(uuid, text, uuid, jsonb, text) is
  E'@resultFieldName message\nAdds a message of the signed-in user, after parent_id or at the end of the active path, with up to 10 attachments [{url, mimeType, sizeBytes, name}]. The same key again returns the same message. NOT_FOUND for an unknown chat or parent, CONFLICT while the previous answer is being written and for a key that was used for another message.';
grant execute on function llm.send_chat_message(uuid, text, uuid, jsonb, text) to :PLINTH_USER;
--! EndIncluded llm/functions/send_chat_message.sql
--! Included llm/functions/edit_chat_message.sql
-- Messages are never overwritten: an edit is another message at the same place, and becomes part of the active path.
create or replace function llm.edit_chat_message(
  message_id uuid,
  content text,
  attachments jsonb default null,
  idempotency_key text default null
)
  returns llm.messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user_id uuid := plinth.current_user_id();
  v_original llm.messages;
  v_message llm.messages;
  v_digest constant bytea := private.request_digest(jsonb_build_array(
    'edit', edit_chat_message.message_id, edit_chat_message.content, edit_chat_message.attachments
  ));
begin
  if v_user_id is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  perform from identity.users u where u.id = v_user_id for key share;
  select m.* into v_original
  from llm.messages m
  where m.id = edit_chat_message.message_id and m.user_id = v_user_id;
  if not found then
    raise exception 'Message not found.' using errcode = 'PL404', column = 'message_id';
  end if;
  if v_original.role not in ('user', 'system') then
    raise exception 'Only user and system messages can be edited. To get another answer, start a turn with the same parent.'
      using errcode = 'PL422', column = 'message_id';
  end if;
  perform from llm.chats c where c.id = v_original.chat_id for no key update;
  select m.* into v_message
  from llm.messages m
  where m.user_id = v_user_id and m.idempotency_key = edit_chat_message.idempotency_key;
  if found then
    -- A message that predates the digests, or was imported, is compared itself.
    perform private.refuse_other_request(coalesce(
      (select d.digest = v_digest from private.request_digests d where d.chat_message_id = v_message.id),
      v_message.chat_id = v_original.chat_id
        and v_message.role = v_original.role
        and v_message.parent_id is not distinct from v_original.parent_id
        and v_message.content = edit_chat_message.content
    ));
    return v_message;
  end if;
  if exists (select from llm.messages m where m.chat_id = v_original.chat_id and m.state = 'streaming') then
    raise exception 'An answer is being written in this chat.'
      using errcode = 'PL409', column = 'message_id', hint = 'Wait for it, or cancel it.';
  end if;
  insert into llm.messages (chat_id, user_id, parent_id, depth, role, content, images, idempotency_key)
  values (
    v_original.chat_id, v_user_id, v_original.parent_id, v_original.depth, v_original.role, edit_chat_message.content,
    v_original.images, edit_chat_message.idempotency_key
  )
  returning * into v_message;
  if edit_chat_message.idempotency_key is not null then
    insert into private.request_digests (user_id, chat_message_id, digest) values (v_user_id, v_message.id, v_digest);
  end if;
  perform private.move_head(v_user_id, v_message.chat_id, v_message.id);
  if edit_chat_message.attachments is null then
    insert into llm.message_attachments (user_id, chat_id, message_id, position, url, mime_type, size_bytes, name)
    select a.user_id, a.chat_id, v_message.id, a.position, a.url, a.mime_type, a.size_bytes, a.name
    from llm.message_attachments a
    where a.message_id = v_original.id
    order by a.position;
  else
    perform private.insert_attachments(v_message, edit_chat_message.attachments);
  end if;
  return v_message;
end
$$;

comment on function llm.edit_chat_message(uuid, text, jsonb, text) is
  E'@resultFieldName message\nAdds an edited message beside one of the signed-in user''s own and selects it; attachments are kept unless given. NOT_FOUND for an unknown message, CONFLICT while an answer is being written and for a key that was used for another message.';
grant execute on function llm.edit_chat_message(uuid, text, jsonb, text) to :PLINTH_USER;
--! EndIncluded llm/functions/edit_chat_message.sql
--! Included learning/functions/assess_skill.sql
-- An assessment of a user's skill by a trainer, or by an application on a trainer's behalf.
create or replace function learning.assess_skill(
  user_id uuid,
  skill_id uuid,
  delta numeric,
  note text default null,
  event_key text default null
)
  returns learning.skill_evidence
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  if plinth.current_user_id() is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  if not access.has_permission('manage_skills') then
    raise exception 'You need the permission manage_skills.' using errcode = 'PL403';
  end if;
  if assess_skill.delta is null or assess_skill.delta not between -10 and 10 or assess_skill.delta <> round(assess_skill.delta, 2) then
    raise exception 'delta must be from -10 to 10, with at most two decimals.'
      using errcode = 'PL422', schema = 'learning', table = 'skill_evidence', column = 'delta';
  end if;
  if not exists (select from identity.users u where u.id = assess_skill.user_id) then
    raise exception 'User not found.'
      using errcode = 'PL404', schema = 'learning', table = 'skill_evidence', column = 'user_id';
  end if;
  if not exists (select from learning.skills s where s.id = assess_skill.skill_id) then
    raise exception 'Skill not found.'
      using errcode = 'PL404', schema = 'learning', table = 'skill_evidence', column = 'skill_id';
  end if;
  return private.add_skill_evidence(
    assess_skill.user_id, assess_skill.skill_id, 'assessment', assess_skill.delta, 'event:' || assess_skill.event_key, assess_skill.note,
    private.request_digest(jsonb_build_array(assess_skill.delta, assess_skill.note))
  );
end
$$;

comment on function learning.assess_skill(uuid, uuid, numeric, text, text) is
  'Raises or lowers a user''s level (within 0 to 10) and stores the change as evidence; repeating it with the same event_key changes nothing. Needs manage_skills. PL409 for an event_key that was used for another assessment, PL404 for an unknown user or skill, PL422 for a delta outside -10 to 10.';
grant execute on function learning.assess_skill(uuid, uuid, numeric, text, text) to :PLINTH_USER;
--! EndIncluded learning/functions/assess_skill.sql
--! Included learning/functions/record_heartbeat.sql
-- A player reports what it has played since its last report. The result is the progress, including the position to resume from.

-- The item and version being played, if the user may play it: only a user who may read a text can be reading it. The access
-- decision for a user and item is read once per minute of playing and not with each heartbeat: reading it costs more than
-- recording. Changes that matter at once are detected: a withdrawn item here, a changed permission by the trigger below.
create or replace function private.open_for_recording(
  item_id uuid,
  version integer,
  out reason text,
  out playable_version integer,
  out duration_seconds integer,
  out content_type text,
  out access_checked_at timestamptz
)
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_current_version integer;
  v_is_available boolean;
  v_has_access boolean;
begin
  select
    i.current_version, i.duration_seconds, i.content_type,
    i.available_from <= now() and (i.available_until is null or i.available_until > now()),
    p.access_checked_at
  into v_current_version, duration_seconds, content_type, v_is_available, access_checked_at
  from learning.content_items i
  left join learning.content_progress p on p.item_id = i.id and p.user_id = plinth.current_user_id()
  where i.id = open_for_recording.item_id;
  if v_current_version is null then
    reason := 'not_available';
    return;
  end if;
  if v_is_available is not true or access_checked_at is null
    or access_checked_at not between now() - interval '1 minute' and now()
  then
    select a.has_access, a.reason into v_has_access, reason
    from learning.my_content_access a
    where a.content_id = open_for_recording.item_id;
    if v_has_access is not true then
      reason := coalesce(reason, 'not_available');
      return;
    end if;
    reason := null;
    access_checked_at := now();
  end if;
  playable_version := coalesce(version, v_current_version);
  if playable_version <> v_current_version and not exists (
    select
    from learning.content_versions v
    where v.item_id = open_for_recording.item_id and v.version = open_for_recording.version and v.published_at is not null
  ) then
    reason := 'no_such_version';
  end if;
end
$$;

comment on function private.open_for_recording(uuid, integer) is
  'Returns the version of an item that is being played, its duration and type, and the time access was last decided; reason says why the caller may not play it, or is null.';

create or replace function learning.forget_checked_access()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_permission learning.user_content_permissions := case when tg_op = 'DELETE' then old else new end;
begin
  update learning.content_progress p
  set access_checked_at = null
  from learning.content_items i
  where p.user_id = v_permission.user_id
    and p.item_id = i.id
    and p.access_checked_at is not null
    -- A permission on a course applies to its parts.
    and (i.id = v_permission.item_id or i.course_id = v_permission.item_id);
  return null;
end
$$;

comment on function learning.forget_checked_access() is 'Trigger: a changed permission applies from the next heartbeat on.';

create or replace trigger _500_forget_checked_access
  after insert or update or delete on learning.user_content_permissions
  for each row
  execute function learning.forget_checked_access();

create or replace function private.refuse_recording(reason text)
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if reason = 'no_such_version' then
    raise exception 'Version not found.'
      using errcode = 'PL404', schema = 'learning', table = 'content_progress', column = 'version';
  elsif reason = 'not_available' then
    raise exception 'Content not found.'
      using errcode = 'PL404', schema = 'learning', table = 'content_progress', column = 'item_id';
  elsif reason is not null then
    raise exception 'You do not have access to this content.' using errcode = 'PL403', hint = reason;
  end if;
end
$$;

comment on function private.refuse_recording(text) is
  'Raises why something may not be recorded (PL403, or PL404 for content the caller cannot see); does nothing when reason is null.';

-- Digest of a heartbeat as it was sent, so that one without a time is equal to its retry.
create or replace function private.heartbeat_digest(
  item_id uuid, from_seconds integer, to_seconds integer, active_seconds integer, occurred_at timestamptz, version integer
)
  returns bytea
  language sql
  immutable
as $$
  select private.request_digest(
    jsonb_build_array(item_id, from_seconds, to_seconds, active_seconds, extract(epoch from occurred_at), version)
  )
$$;

comment on function private.heartbeat_digest(uuid, integer, integer, integer, timestamptz, integer) is
  'Returns the digest of a heartbeat''s fields; occurred_at is null when it was omitted.';

create or replace function learning.record_heartbeat(
  item_id uuid,
  event_id uuid,
  from_seconds integer,
  to_seconds integer,
  active_seconds integer default null,
  occurred_at timestamptz default null,
  version integer default null
)
  returns learning.content_progress
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  -- A plan for these values would prune partitions and appear cheaper; planning costs more than all the rest.
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := plinth.current_user_id();
  v_active_seconds constant integer := coalesce(active_seconds, to_seconds - from_seconds);
  v_occurred_at constant timestamptz := coalesce(occurred_at, now());
  v_problem constant text := private.heartbeat_problem(event_id, from_seconds, to_seconds, v_active_seconds, v_occurred_at);
  v_open record;
  v_progress learning.content_progress;
begin
  if v_user_id is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  if v_problem is not null then
    raise exception 'Invalid heartbeat.'
      using errcode = 'PL422', schema = 'learning', table = 'content_progress', column = v_problem,
        hint = 'The played part must not end before it starts, and may be at most 4 times as long as the active time. The active time is at most 600 seconds, and the heartbeat at most 30 days old.';
  end if;
  v_open := private.open_for_recording(item_id, version);
  if v_open.reason is not null then
    perform private.refuse_recording(v_open.reason);
  end if;
  v_progress := private.apply_heartbeat(
    v_user_id, item_id, event_id, v_open.playable_version, v_open.duration_seconds,
    from_seconds, to_seconds, v_active_seconds, v_occurred_at, v_open.access_checked_at,
    private.heartbeat_digest(item_id, from_seconds, to_seconds, v_active_seconds, occurred_at, version)
  );
  if v_progress.completed_version is distinct from v_progress.credited_version then
    perform private.credit_completions(v_user_id, array[item_id]);
    v_progress.credited_version := v_progress.completed_version;
  end if;
  return v_progress;
end
$$;

comment on function learning.record_heartbeat(uuid, uuid, integer, integer, integer, timestamptz, integer) is
  E'@resultFieldName progress\nRecords that the signed-in user played an item from one second to another, in active_seconds (if omitted, the length played) that ended at occurred_at (default now), in its current or the given version. Each event_id is recorded once, in any order, up to 30 days late. PL401, PL403 with the reason as hint, PL404, PL409 for an event_id that was used for another heartbeat, PL422.';
grant execute on function learning.record_heartbeat(uuid, uuid, integer, integer, integer, timestamptz, integer) to :PLINTH_USER;

-- A heartbeat as a client writes it.
create or replace function private.heartbeat_fields(heartbeat jsonb)
  returns table (
    event_id uuid,
    item_id uuid,
    from_seconds integer,
    to_seconds integer,
    active_seconds integer,
    occurred_at timestamptz,
    version integer
  )
  language sql
  stable
  rows 1
  set search_path = pg_catalog
as $$
  select
    h."eventId", h."itemId", h."fromSeconds", h."toSeconds",
    coalesce(h."activeSeconds", h."toSeconds" - h."fromSeconds"), coalesce(h."occurredAt", now()), h.version
  from jsonb_to_record(heartbeat) as h (
    "eventId" uuid, "itemId" uuid, "fromSeconds" integer, "toSeconds" integer, "activeSeconds" integer,
    "occurredAt" timestamptz, version integer
  )
$$;

comment on function private.heartbeat_fields(jsonb) is
  'Reads {eventId, itemId, fromSeconds, toSeconds, activeSeconds, occurredAt, version}; raises a data exception (class 22) for any other form.';

-- Heartbeats that a device collected while offline. A rejected heartbeat does not hold up the others; otherwise it would block
-- its queue forever. Rows are locked in one order before anything is written, so that two devices cannot deadlock.
create or replace function learning.record_heartbeats(heartbeats jsonb)
  returns setof learning.heartbeat_result
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  -- A plan for these values would prune partitions and appear cheaper; planning costs more than all the rest.
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_user_id uuid;
  v_element jsonb;
  v_readable jsonb[] := '{}';
  v_heartbeat record;
  v_open record;
  v_recorded record;
  v_progress learning.content_progress;
  v_completed uuid[] := '{}';
  v_result learning.heartbeat_result;
begin
  v_user_id := private.lock_own_account();
  if jsonb_typeof(heartbeats) is distinct from 'array' or jsonb_array_length(heartbeats) > 500 then
    raise exception 'heartbeats must be a list of at most 500 objects.'
      using errcode = 'PL422', schema = 'learning', table = 'content_progress', column = 'heartbeats';
  end if;
  if jsonb_path_exists(heartbeats, '$[*] ? (@.type() != "object")') then
    raise exception 'Each of the heartbeats must be an object.'
      using errcode = 'PL422', schema = 'learning', table = 'content_progress', column = 'heartbeats';
  end if;
  for v_element in select e.value from jsonb_array_elements(heartbeats) e loop
    begin
      select f.* into v_heartbeat from private.heartbeat_fields(v_element) f;
      v_readable := v_readable || v_element;
    exception
      when data_exception then
        v_result := (
          case when v_element ->> 'eventId' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then (v_element ->> 'eventId')::uuid end,
          null, 'refused', 'malformed'
        );
        return next v_result;
    end;
  end loop;
  perform p.item_id
  from learning.content_progress p
  where p.user_id = v_user_id
    and p.item_id in (select (h ->> 'itemId')::uuid from unnest(v_readable) h)
  order by p.item_id
  for no key update;

  for v_heartbeat in
    select
      f.*,
      private.heartbeat_digest(
        f.item_id, f.from_seconds, f.to_seconds, f.active_seconds,
        case when e ->> 'occurredAt' is not null then f.occurred_at end, f.version
      ) as digest
    from unnest(v_readable) e
    cross join lateral private.heartbeat_fields(e) f
    order by f.item_id, f.occurred_at, f.event_id
  loop
    v_result.event_id := v_heartbeat.event_id;
    v_result.item_id := v_heartbeat.item_id;
    v_result.outcome := 'refused';
    v_result.reason := private.heartbeat_problem(
      v_heartbeat.event_id, v_heartbeat.from_seconds, v_heartbeat.to_seconds, v_heartbeat.active_seconds, v_heartbeat.occurred_at
    );
    if v_result.reason is null then
      v_open := private.open_for_recording(v_heartbeat.item_id, v_heartbeat.version);
      v_result.reason := v_open.reason;
    end if;
    if v_result.reason is null then
      select r.digest into v_recorded
      from private.recorded_heartbeats r
      where r.user_id = v_user_id and r.event_id = v_heartbeat.event_id;
      if found and v_recorded.digest <> v_heartbeat.digest then
        v_result.reason := 'event_id';
      else
        v_result.outcome := case when found then 'repeated' else 'recorded' end;
      end if;
    end if;
    if v_result.reason is null then
      v_progress := private.apply_heartbeat(
        v_user_id, v_heartbeat.item_id, v_heartbeat.event_id, v_open.playable_version, v_open.duration_seconds,
        v_heartbeat.from_seconds, v_heartbeat.to_seconds, v_heartbeat.active_seconds, v_heartbeat.occurred_at,
        v_open.access_checked_at, v_heartbeat.digest
      );
      if v_progress.completed_version is distinct from v_progress.credited_version then
        v_completed := v_completed || v_heartbeat.item_id;
      end if;
    end if;
    return next v_result;
  end loop;
  if v_completed <> '{}' then
    perform private.credit_completions(v_user_id, v_completed);
  end if;
end
$$;

comment on function learning.record_heartbeats(jsonb) is
  E'@resultFieldName results\nRecords up to 500 heartbeats, a list of {eventId, itemId, fromSeconds, toSeconds, activeSeconds, occurredAt, version} as in record_heartbeat, such as those collected offline. Reports for each whether it was recorded, repeated or refused, and why (malformed for an unreadable one). PL401, PL422.';
grant execute on function learning.record_heartbeats(jsonb) to :PLINTH_USER;
--! EndIncluded learning/functions/record_heartbeat.sql

-- Mentions.
--! Included private/functions/room_mentions.sql
-- The rule of mentions. @name mentions the account of that name, ignoring case:
-- - After a letter or digit the @ is part of an email address, unless that character is of a script without spaces (你好@john).
-- - The name ends at the first character that user names lack (they have a-z, 0-9, dot, underscore, hyphen). A letter directly
--   after it makes it another name (@johné), unless it is of a script without spaces (@john你好). Dots, underscores and hyphens
--   at its end are punctuation (_thanks @john_).
-- - @john.please means john.please if there is such an account, otherwise john: a full stop without a space after it.
-- - Code, fenced (``` or ~~~) or between backticks, and URLs contain no mentions.

-- The parts of a text that are not code in Markdown.
create or replace function private.text_without_code(value text)
  returns text
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
declare
  v_line text;
  v_fence text;
  v_paragraph text;
  v_part record;
  v_end bigint;
  v_kept text := '';
  v_result text := '';
begin
  if strpos(value, '`') = 0 and strpos(value, '~~~') = 0 then
    return value;
  end if;
  foreach v_line in array string_to_array(replace(value, E'\r', ''), E'\n') loop
    if v_fence is null then
      v_fence := substring(v_line from '^ {0,3}(`{3,})[^`]*$');
      v_fence := coalesce(v_fence, substring(v_line from '^ {0,3}(~{3,})'));
      v_kept := v_kept || case when v_fence is null then v_line else '' end || E'\n';
    elsif v_line ~ ('^ {0,3}' || v_fence || left(v_fence, 1) || '*[ \t]*$') then
      v_fence := null;
    end if;
  end loop;
  -- Code between backticks ends with as many backticks as it starts with, in the same paragraph.
  foreach v_paragraph in array regexp_split_to_array(v_kept, '\n[ \t]*\n') loop
    v_end := 0;
    for v_part in
      select
        m.match[1] as text, m.place,
        case when m.match[1] like '`%' then lead(m.place) over (partition by m.match[1] order by m.place) end as ends
      from regexp_matches(v_paragraph, '`+|[^`]+', 'g') with ordinality as m (match, place)
      order by m.place
    loop
      continue when v_part.place <= v_end;
      v_end := coalesce(v_part.ends, 0);
      v_result := v_result || case when v_part.ends is null then v_part.text else ' ' end;
    end loop;
    v_result := v_result || E'\n\n';
  end loop;
  return v_result;
end
$$;

comment on function private.text_without_code(text) is 'Returns a text without fenced code and code between backticks.';

create or replace function private.mentioned_names(content text)
  returns table (names text[])
  language plpgsql
  immutable
  rows 5
  set search_path = pg_catalog
as $$
declare
  -- Scripts written without spaces: Thai to Myanmar, Khmer, Chinese, Japanese, Korean.
  v_unspaced constant text := '\u0e00-\u109f\u1780-\u17ff\u2e80-\ua4cf\uac00-\ud7fb\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff';
  v_text text := private.text_without_code(content);
  v_part record;
  v_before text;
  v_name text;
begin
  v_text := regexp_replace(v_text, '[a-z][a-z0-9+.-]*://[^[:space:]<>]*', ' ', 'gi');
  -- Web addresses without https://.
  v_text := regexp_replace(v_text, '(^|[^[:alnum:]@.-])[[:alnum:]-]+(\.[[:alnum:]-]+)+/[^[:space:]<>]*', '\1 ', 'g');
  for v_part in
    select p.text, lag(p.text) over places as before, lead(p.text) over places as after, p.place
    from string_to_table(v_text, '@') with ordinality as p (text, place)
    window places as (order by p.place)
    offset 1
  loop
    -- The text between the last character that email addresses lack and this @.
    v_before := substring(right(v_part.before, 64) from '[[:alnum:]._%+-]*$');
    v_before := regexp_replace(v_before, '^.*[' || v_unspaced || ']', '');
    v_name := lower(substring(v_part.text from '^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}'));
    continue when v_name is null
      or v_before ~ '[[:alnum:]]'
      -- @@john, and @john@example.com, whose parts are not names.
      or (v_part.place > 2 and v_part.before = '')
      or (length(v_name) = length(v_part.text) and v_part.after ~ '^[[:alnum:]]')
      -- Another letter continues the name.
      or substr(v_part.text, length(v_name) + 1, 1) ~ ('^(?![' || v_unspaced || '])[[:alnum:]]$');
    names := array(
      select distinct n.name
      from regexp_split_to_array(v_name, '\.') as p (parts)
      cross join lateral generate_series(1, cardinality(p.parts)) as s (count)
      cross join lateral (select rtrim(array_to_string(p.parts[1:s.count], '.'), '._-') as name) n
      where n.name <> ''
    );
    return next;
  end loop;
end
$$;

comment on function private.mentioned_names(text) is
  'Returns user names that a text may mention: a row for each place, with the name there and its prefix at each full stop.';

-- Members named in a text as @username, and those declared by the client. A non-member named in the text is ignored; a declared
-- non-member is rejected.
create or replace function private.find_mentions(room_id uuid, sender_id uuid, content text, declared uuid[], recipients uuid[])
  returns uuid[]
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
declare
  v_declared uuid[] := coalesce(declared, '{}');
  v_found uuid[] := '{}';
begin
  if strpos(content, '@') > 0 then
    v_found := array(
      select distinct m.user_id
      from (select distinct n.names from private.mentioned_names(content) n) n
      -- The longest prefix that is an account's name.
      cross join lateral (
        select u.id from identity.users u where u.username = any (n.names) order by length(u.username) desc limit 1
      ) named
      join rooms.room_members m on m.room_id = find_mentions.room_id and m.user_id = named.id
    );
  end if;
  if cardinality(v_declared) > 0 and (
    select count(*) < (select count(distinct d) from unnest(v_declared) d)
    from rooms.room_members m
    where m.room_id = find_mentions.room_id and m.user_id = any (v_declared)
  ) then
    raise exception 'Only members can be mentioned.' using errcode = 'PL422', column = 'mentions';
  end if;
  v_found := array(
    select distinct f
    from unnest(v_found || v_declared) f
    where f is distinct from find_mentions.sender_id and (recipients is null or f = any (recipients))
    order by f
  );
  if cardinality(v_found) > 50 then
    raise exception 'A message can mention at most 50 members.' using errcode = 'PL422', column = 'mentions';
  end if;
  return v_found;
end
$$;

comment on function private.find_mentions(uuid, uuid, text, uuid[], uuid[]) is
  'Returns the ids of the members that a message mentions, without its sender, at most 50; of a private message only recipients. PL422.';
--! EndIncluded private/functions/room_mentions.sql

-- Rooms, chats and content are searched in one way. What the indexes and the stored column hold is worked out anew.
create text search dictionary plinth.english_words (template = pg_catalog.snowball, language = english);
comment on text search dictionary plinth.english_words is 'Stems English words, and stop words with them.';
create text search configuration plinth.english_words (copy = pg_catalog.english);
alter text search configuration plinth.english_words alter mapping replace pg_catalog.english_stem with plinth.english_words;
comment on text search configuration plinth.english_words is 'English with its stop words; see plinth.search_document.';
--! Included plinth/functions/search_text.sql
-- How search reads every text: rooms, chats and content share these functions. No extension: `unaccent` reads its rules from a
-- file of the server, so a restored dump could give other results.

-- Compatibility-normalised and in lower case. A comma replaces each character with which PostgreSQL's parser would join words
-- into one (hosts, paths, addresses, compounds, numbers, tags). Unattached marks and invisible characters are removed.
create or replace function plinth.search_text(value text)
  returns text
  language plpgsql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
begin
  if octet_length(value) = length(value) then
    return translate(lower(value), './@-&<+~', ',,,,,,,,');
  end if;
  return regexp_replace(
    regexp_replace(
      lower(case when value is nfkc normalized then value else normalize(value, NFKC) end),
      '[\u00ad\u0300-\u036f\u200b-\u200d\u2060\ufeff]+', '', 'g'
    ),
    '[./@&<+~-]', ',', 'g'
  );
end
$$;

comment on function plinth.search_text(text) is
  E'@behavior -*\nReturns a text as search reads it: compatibility-normalised, in lower case, joined words separated.';

-- Letters that Unicode does not decompose are listed; й keeps its mark, because it distinguishes Russian endings.
create or replace function plinth.without_accents(value text)
  returns text
  language plpgsql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
declare
  v_text text := value;
begin
  if octet_length(v_text) > length(v_text) then
    v_text := regexp_replace(replace(normalize(v_text, NFKD), U&'\0438\0306', U&'\0439'), '[\u0300-\u036f]+', '', 'g');
  end if;
  if octet_length(v_text) > length(v_text) then
    v_text := replace(replace(replace(replace(normalize(v_text, NFKC), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th');
    v_text := translate(v_text, 'øłđðħŧıς', 'olddhtiσ');
  end if;
  return v_text;
end
$$;

comment on function plinth.without_accents(text) is E'@behavior -*\nReturns a text in lower case without accents.';

create or replace function plinth.is_cjk(value text)
  returns boolean
  language sql
  immutable
  parallel safe
as $$
  select value ~ '[\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97c\uac00-\ud7fb\uf900-\ufaff\U00020000-\U0003ffff]'
$$;

comment on function plinth.is_cjk(text) is
  E'@behavior -*\nReturns whether a text has a Chinese, Japanese or Korean character; these scripts are written without spaces.';

-- Chinese, Japanese and Korean are written without spaces between words, so every pair of neighbours is a word, and every
-- single character: 模型 becomes 模型,模,型.
create or replace function plinth.cjk_pairs(value text)
  returns text
  language sql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
  select coalesce(
    string_agg(
      case
        when c.is_cjk and c.next_is_cjk then c.one || c.next || ',' || c.one || ','
        when c.is_cjk or c.next_is_cjk then c.one || ','
        else c.one
      end,
      '' order by c.place
    ),
    ''
  )
  from (
    select
      s.one, s.place, plinth.is_cjk(s.one) as is_cjk, lead(s.one) over places as next,
      lead(plinth.is_cjk(s.one), 1, false) over places as next_is_cjk
    from string_to_table(value, null) with ordinality as s (one, place)
    window places as (order by s.place)
  ) c
$$;

comment on function plinth.cjk_pairs(text) is
  E'@behavior -*\nReturns a text in which every Chinese, Japanese and Korean character stands alone and with its neighbour.';
-- An index is maintained with the rights of the role that writes the row.
grant execute
  on function plinth.search_text(text), plinth.without_accents(text), plinth.is_cjk(text), plinth.cjk_pairs(text)
  to :PLINTH_USER;
--! EndIncluded plinth/functions/search_text.sql
--! Included plinth/functions/search_document.sql
-- The searchable form of a text: its words stemmed for its language, with and without accents, and also unstemmed, so that stop
-- words are found too. Each form of a word has the position of the word: phrases work in all of them. Texts without a known
-- language are read as English ("en"), which leaves words of other languages nearly unchanged. Most searched text is English,
-- which does not distinguish words by accents: plinth.english_words, PostgreSQL's english with its stop words, reads it in one
-- pass. Indexes and stored columns hold the result: a change here must rebuild them in its migration.
create or replace function plinth.search_document(language text, value text)
  returns tsvector
  language plpgsql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
declare
  v_configuration constant regconfig := learning.search_configuration(language);
  v_text text := plinth.search_text(left(value, 100000));
  v_plain text;
begin
  if octet_length(v_text) > length(v_text) then
    if plinth.is_cjk(v_text) then
      v_text := plinth.cjk_pairs(v_text);
    end if;
    -- More distinct words than this would not fit into a tsvector, which would reject the row.
    v_text := left(v_text, 200000);
    v_plain := plinth.without_accents(v_text);
    if v_configuration = 'pg_catalog.english'::regconfig then
      v_text := v_plain;
    elsif v_plain <> v_text then
      return (
        plinth.without_accents(to_tsvector(v_configuration, v_text)::text) || ' '
        || to_tsvector(v_configuration, v_plain)::text || ' ' || to_tsvector('pg_catalog.simple', v_plain)::text
      )::tsvector;
    end if;
  end if;
  if v_configuration = 'pg_catalog.english'::regconfig then
    return to_tsvector('plinth.english_words', v_text);
  elsif v_configuration = 'pg_catalog.simple'::regconfig then
    return to_tsvector('pg_catalog.simple', v_text);
  end if;
  return (to_tsvector(v_configuration, v_text)::text || ' ' || to_tsvector('pg_catalog.simple', v_text)::text)::tsvector;
end
$$;

comment on function plinth.search_document(text, text) is
  E'@behavior -*\nReturns the words of a text, stemmed in its language and unstemmed, without accents; of the first 100,000 characters.';
grant execute on function plinth.search_document(text, text) to :PLINTH_USER;
--! EndIncluded plinth/functions/search_document.sql
--! Included plinth/functions/search_query.sql
-- A user's search input as a query on plinth.search_document. It is parsed here, because PostgreSQL's parser fails on rows of
-- dashes: one word or quotation at a time, with the dash that excludes it. Stop words count only when there are no other words.
create or replace function plinth.search_query(language text, query text)
  returns tsquery
  language plpgsql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
declare
  v_configuration constant regconfig := learning.search_configuration(language);
  v_part text;
  v_body text;
  v_pairs text[];
  v_parts text[] := '{}';
  v_whole text;
  v_query tsquery;
begin
  for v_part in
    select p.match[1]
    from regexp_matches(left(query, 1000), '-*"[^"]*"|[^[:space:]"]+', 'g') as p (match)
  loop
    if lower(v_part) = 'or' then
      v_parts := v_parts || 'or'::text;
      continue;
    end if;
    -- In ASCII order, so that each of them becomes the comma under it.
    v_body := btrim(
      translate(plinth.search_text(v_part), '!"#$%&''()*+-./:;<=>?@[\]^_`{|}~', repeat(',', 31)), ', '
    );
    if plinth.is_cjk(v_body) then
      v_pairs := array(select distinct t from regexp_split_to_table(plinth.cjk_pairs(v_body), '[,[:space:]]+') t where t <> '');
      if v_part ~ '^-|"' then
        -- A phrase that ends in a pair ends before its single characters, which have other positions in a longer run.
        v_body := btrim(plinth.cjk_pairs(v_body), ',');
        if right(v_body, 3) like '_,_' and plinth.is_cjk(left(right(v_body, 3), 1)) and plinth.is_cjk(right(v_body, 1)) then
          v_body := left(v_body, -4);
        end if;
      else
        v_parts := v_parts || array(
          select format('"%s"', t)
          from unnest(v_pairs) t
          where length(t) > 1 or not exists (select from unnest(v_pairs) o where length(o) = 2 and strpos(o, t) > 0)
        );
        continue;
      end if;
    end if;
    if to_tsvector('pg_catalog.simple', v_body) <> '' then
      v_parts := v_parts || ((case when v_part like '-%' then '-' else '' end) || '"' || v_body || '"');
    end if;
  end loop;
  v_whole := array_to_string(v_parts, ' ');
  if v_configuration = 'pg_catalog.english'::regconfig then
    v_whole := plinth.without_accents(v_whole);
  end if;
  v_query := websearch_to_tsquery(v_configuration, v_whole);
  if numnode(v_query) = 0 then
    return websearch_to_tsquery(
      case when v_configuration = 'pg_catalog.english'::regconfig then 'plinth.english_words'::regconfig else 'pg_catalog.simple' end,
      plinth.without_accents(v_whole)
    );
  end if;
  return plinth.without_accents(v_query::text)::tsquery;
end
$$;

comment on function plinth.search_query(text, text) is
  E'@behavior -*\nReturns the query on plinth.search_document for a user''s input: words, "a phrase", or, -not; its first 1,000 characters.';
grant execute on function plinth.search_query(text, text) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/search_query.sql
--! Included plinth/functions/search_headline.sql
-- A text with its search matches marked, as HTML. The words of the text that match the query are found first, as
-- plinth.search_document reads them; PostgreSQL then marks these exact words and chooses the fragments. U+0001 separates words
-- that its parser would join, U+E000 and U+E001 are the marks; these characters are removed from the text, so that all of it
-- can be escaped before the marks become markup.
create or replace function plinth.search_headline(language text, value text, query tsquery, options text)
  returns text
  language plpgsql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
declare
  v_text text := translate(normalize(left(value, 100000), NFC), E'\u0001\uE000\uE001', '');
  v_lexemes text[] := array(
    select distinct replace(m.match[1], '''''', '''')
    from regexp_matches(querytree(query), '''((?:[^'']|'''')+)''', 'g') as m (match)
  );
  v_words tsquery;
begin
  if plinth.is_cjk(array_to_string(v_lexemes, ' ')) then
    v_lexemes := array(
      select l
      from unnest(v_lexemes) l
      where length(l) > 1
        or not exists (select from unnest(v_lexemes) o where length(o) = 2 and plinth.is_cjk(o) and strpos(o, l) > 0)
    );
    -- A matched run of characters is separated from the rest.
    select string_agg(case when r.is_found <> r.was_found then E'\u0001' else '' end || r.one, '' order by r.place) into v_text
    from (
      select h.*, lag(h.is_found, 1, false) over (order by h.place) as was_found
      from (
        select
          s.one, s.place,
          coalesce(plinth.is_cjk(s.one) and (
            s.one = any (v_lexemes)
            or s.one || lead(s.one) over places = any (v_lexemes)
            or lag(s.one) over places || s.one = any (v_lexemes)
          ), false) as is_found
        from string_to_table(v_text, null) with ordinality as s (one, place)
        window places as (order by s.place)
      ) h
    ) r;
  end if;
  v_text := regexp_replace(coalesce(v_text, ''), '([!-/:-@[-`{-~])', E'\u0001\\1\u0001', 'g');
  select string_agg('''' || replace(t.word, '''', '''''') || '''', ' | ')::tsquery into v_words
  from (select distinct lower(p.token) as word from ts_parse('default', v_text) p where p.tokid <> 12) t
  where tsvector_to_array(plinth.search_document(search_headline.language, t.word)) && v_lexemes;
  v_text := translate(
    ts_headline('pg_catalog.simple', v_text, coalesce(v_words, E'''\u0001'''::tsquery), E'StartSel=\uE000, StopSel=\uE001, ' || options),
    E'\u0001', ''
  );
  return replace(replace(
    replace(replace(replace(replace(replace(v_text, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;'),
    E'\uE000', '<mark>'), E'\uE001', '</mark>');
end
$$;

comment on function plinth.search_headline(text, text, tsquery, text) is
  E'@behavior -*\nReturns a text, or parts of it by the options of ts_headline, as HTML: escaped, with <mark> around the words that match a query.';
grant execute on function plinth.search_headline(text, text, tsquery, text) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/search_headline.sql
--! Included learning/functions/search_document.sql
-- The PostgreSQL text search configuration for a language: the part before the first hyphen decides, and a language without a
-- configuration is indexed word by word. Immutable, because a configuration of that name does not change its meaning.
create or replace function learning.search_configuration(language text)
  returns regconfig
  language sql
  immutable
  parallel safe
as $$
  select case split_part(language, '-', 1)
    when 'ar' then 'pg_catalog.arabic'::regconfig
    when 'ca' then 'pg_catalog.catalan'::regconfig
    when 'da' then 'pg_catalog.danish'::regconfig
    when 'de' then 'pg_catalog.german'::regconfig
    when 'el' then 'pg_catalog.greek'::regconfig
    when 'en' then 'pg_catalog.english'::regconfig
    when 'es' then 'pg_catalog.spanish'::regconfig
    when 'eu' then 'pg_catalog.basque'::regconfig
    when 'fi' then 'pg_catalog.finnish'::regconfig
    when 'fr' then 'pg_catalog.french'::regconfig
    when 'ga' then 'pg_catalog.irish'::regconfig
    when 'hi' then 'pg_catalog.hindi'::regconfig
    when 'hu' then 'pg_catalog.hungarian'::regconfig
    when 'hy' then 'pg_catalog.armenian'::regconfig
    when 'id' then 'pg_catalog.indonesian'::regconfig
    when 'it' then 'pg_catalog.italian'::regconfig
    when 'lt' then 'pg_catalog.lithuanian'::regconfig
    when 'nb' then 'pg_catalog.norwegian'::regconfig
    when 'ne' then 'pg_catalog.nepali'::regconfig
    when 'nl' then 'pg_catalog.dutch'::regconfig
    when 'nn' then 'pg_catalog.norwegian'::regconfig
    when 'no' then 'pg_catalog.norwegian'::regconfig
    when 'pt' then 'pg_catalog.portuguese'::regconfig
    when 'ro' then 'pg_catalog.romanian'::regconfig
    when 'ru' then 'pg_catalog.russian'::regconfig
    when 'sr' then 'pg_catalog.serbian'::regconfig
    when 'sv' then 'pg_catalog.swedish'::regconfig
    when 'ta' then 'pg_catalog.tamil'::regconfig
    when 'tr' then 'pg_catalog.turkish'::regconfig
    when 'yi' then 'pg_catalog.yiddish'::regconfig
    else 'pg_catalog.simple'::regconfig
  end
$$;

comment on function learning.search_configuration(text) is
  E'@behavior -*\nReturns the text search configuration of a language tag; simple if PostgreSQL has none.';

-- The searchable text of an item: title first, then tags, then summary. The body is omitted on purpose: a match would reveal
-- text that the searcher may not read. Items store the result, so a change here needs `update learning.content_items set title
-- = title` in its migration. Its body is parsed and not a string, so that pg_dump knows its dependencies and writes them before
-- the table.
create or replace function learning.search_document(language text, title text, summary text, tags text[])
  returns tsvector
  language sql
  immutable
  parallel safe
begin atomic
  select
    setweight(plinth.search_document(language, title), 'A')
    || setweight(plinth.search_document(language, array_to_string(tags, ' ')), 'B')
    || setweight(plinth.search_document(language, summary), 'C');
end;

comment on function learning.search_document(text, text, text, text[]) is
  E'@behavior -*\nReturns the words of an item, stemmed in its language and weighted: title A, tags B, summary C.';
-- A stored column is computed with the rights of the user who writes the row.
grant execute on function learning.search_configuration(text), learning.search_document(text, text, text, text[])
  to :PLINTH_USER;
--! EndIncluded learning/functions/search_document.sql
--! Included private/functions/content_matching.sql
-- The terms of a search: its languages, the words in each of them, and all of these as one query for the index.
create or replace function private.content_search_terms(
  query text, language text, out languages text[], out queries tsquery[], out any_query tsquery
)
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
declare
  v_query tsquery;
begin
  -- Skips from one language to the next in the index, instead of reading all items.
  with recursive in_use (language) as (
    (select i.language from learning.content_items i order by i.language limit 1)
    union all
    select (select i.language from learning.content_items i where i.language > u.language order by i.language limit 1)
    from in_use u
    where u.language is not null
  )
  select coalesce(array_agg(u.language order by u.language), '{}') into languages
  from in_use u
  where content_search_terms.language is null
    or u.language = content_search_terms.language
    or starts_with(u.language, content_search_terms.language || '-');
  select coalesce(array_agg(plinth.search_query(l.language, query) order by l.place), '{}')
  into queries
  from unnest(languages) with ordinality as l (language, place);
  foreach v_query in array array(select distinct q from unnest(queries) as q) loop
    any_query := coalesce(any_query || v_query, v_query);
  end loop;
end
$$;

comment on function private.content_search_terms(text, text) is
  'Returns the searched languages in use (all, or one with its regional variants), the words as each language parses them, and a query for any of these.';

-- The items that a search finds: one set for hits and facets. No settings of its own, so that the planner inlines it into the
-- calling query and uses the index. A null argument means no condition.
create or replace function private.content_matching(
  any_query tsquery, languages text[], queries tsquery[], similar_to text,
  content_types text[], categories uuid[], tags text[], min_level integer, max_level integer
)
  returns setof learning.content_items
  language sql
  stable
as $$
  select i.*
  from learning.content_items i
  where (any_query is null or i.search_document operator(pg_catalog.@@) any_query)
    -- Among several languages only the item's own counts: "-die" excludes a German article, not an English verb.
    and (
      any_query is null
      or pg_catalog.cardinality(queries) = 1
      or i.search_document operator(pg_catalog.@@) queries[pg_catalog.array_position(languages, i.language)]
    )
    and (similar_to is null or similar_to operator(plinth.<%) i.title)
    and i.language = any (languages)
    and i.available_from <= pg_catalog.now()
    and (i.available_until is null or i.available_until > pg_catalog.now())
    and (content_types is null or i.content_type = any (content_types))
    and (categories is null or i.category_id = any (categories))
    and (content_matching.tags is null or i.tags operator(pg_catalog.@>) content_matching.tags)
    and (min_level is null or i.level >= min_level)
    and (max_level is null or i.level <= max_level)
$$;

comment on function private.content_matching(tsquery, text[], tsquery[], text, text[], uuid[], text[], integer, integer) is
  'Returns available items that match the words, or whose title is similar to a text, and that match all filters.';

-- The category and all its descendants.
create or replace function private.content_subtree(category_id uuid)
  returns uuid[]
  language sql
  stable
  set search_path = pg_catalog
as $$
  select array_agg(c.id)
  from learning.content_categories top
  join learning.content_categories c on c.path = top.path or c.path like top.path || '/%'
  where top.id = content_subtree.category_id
$$;

comment on function private.content_subtree(uuid) is 'Returns the ids of a category and all its descendants; null for null.';

-- The share of the typed text that a title must contain; it allows for one wrong letter in a short word. The setting belongs to
-- an extension and exists only after its library is loaded, so it cannot be a setting of a function that a restore creates again.
create or replace function private.look_for_similar_titles()
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  perform plinth.word_similarity('', '');
  perform set_config('pg_trgm.word_similarity_threshold', '0.4', true);
end
$$;

comment on function private.look_for_similar_titles() is 'Sets the similarity threshold of the search until the end of the transaction.';
--! EndIncluded private/functions/content_matching.sql
--! Included learning/functions/search_content.sql
-- Searches with the owner's rights and the public rule written out, because row security would prevent use of the index: the
-- planner may not let an operator see a row before the policy has.
-- Plans are made for the given filters.
create or replace function learning.search_content(
  query text default '',
  language text default null,
  content_types text[] default null,
  category_id uuid default null,
  tags text[] default null,
  min_level integer default null,
  max_level integer default null,
  max_results integer default 20,
  skip integer default 0
)
  returns table (item learning.content_items, rank real, title_html text, summary_html text, is_similar boolean)
  language plpgsql
  stable
  security definer
  rows 20
  set search_path = pg_catalog
  set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_variable
declare
  v_text constant text := left(btrim(coalesce(query, '')), 500);
  v_terms record;
  v_categories constant uuid[] := case when category_id is not null
    then coalesce(private.content_subtree(category_id), '{}') end;
  v_tags constant text[] := array(select lower(btrim(t)) from unnest(tags) as t);
  v_limit constant integer := plinth.checked_count(max_results, 'max_results', 20, 100);
  v_skip constant integer := greatest(coalesce(skip, 0), 0);
begin
  select * into v_terms from private.content_search_terms(v_text, language);

  if v_text = '' then
    -- Without a query: newest first.
    return query
      select m, null::real, private.escape_html(m.title), private.escape_html(m.summary), false
      from private.content_matching(
        null, v_terms.languages, null, null, content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
      ) m
      order by m.available_from desc, m.id
      limit v_limit offset v_skip;
    return;
  end if;

  if numnode(v_terms.any_query) > 0 then
    return query
      with hits as (
        select
          m.id,
          ts_rank(
            m.search_document,
            case when cardinality(v_terms.queries) = 1 then v_terms.any_query
              else v_terms.queries[array_position(v_terms.languages, m.language)] end
          ) as rank
        from private.content_matching(
          v_terms.any_query, v_terms.languages, v_terms.queries, null,
          content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
        ) m
        order by 2 desc, 1
        limit v_limit offset v_skip
      )
      -- Marks are set only for the page.
      select
        i,
        h.rank,
        plinth.search_headline(
          i.language, i.title, v_terms.queries[array_position(v_terms.languages, i.language)], 'HighlightAll=true'
        ),
        plinth.search_headline(
          i.language, i.summary, v_terms.queries[array_position(v_terms.languages, i.language)], 'MaxWords=40, MinWords=20'
        ),
        false
      from hits h
      join learning.content_items i on i.id = h.id
      order by h.rank desc, i.id;
    -- A later page may be empty while an earlier one was not.
    if found or exists (
      select
      from private.content_matching(
        v_terms.any_query, v_terms.languages, v_terms.queries, null,
        content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
      )
    ) then
      return;
    end if;
  end if;

  -- If no item has these words: the most similar titles, with their matching words marked.
  perform private.look_for_similar_titles();
  return query
    with hits as (
      select m.id, plinth.word_similarity(v_text, m.title) as rank
      from private.content_matching(
        null, v_terms.languages, null, v_text, content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
      ) m
      order by 2 desc, 1
      limit v_limit offset v_skip
    )
    select
      i,
      h.rank,
      ts_headline(
        'pg_catalog.simple', private.escape_html(i.title), websearch_to_tsquery('pg_catalog.simple', alike.words),
        'StartSel=<mark>, StopSel=</mark>, HighlightAll=true'
      ),
      private.escape_html(i.summary),
      true
    from hits h
    join learning.content_items i on i.id = h.id
    cross join lateral (
      select coalesce(string_agg(format('"%s"', t.word), ' or '), '') as words
      from regexp_split_to_table(i.title, '[^[:alnum:]]+') as t (word)
      where t.word <> ''
        and exists (
          select from regexp_split_to_table(v_text, '[^[:alnum:]]+') as a (word)
          where a.word <> '' and plinth.similarity(a.word, t.word) >= 0.25
        )
    ) alike
    order by h.rank desc, i.id;
end
$$;

comment on function learning.search_content(text, text, text[], uuid, text[], integer, integer, integer, integer) is
  E'Searches available content by title, tags and summary, best first; without a query, newest first.\nquery: words, "a phrase", or, -not. language: only that language and its regional variants; by default each item is searched in its own. categoryId: with all subcategories. tags: all of them. maxResults: up to 100.\ntitleHtml and summaryHtml are escaped, with <mark> around matches. isSimilar: no item has the words; these titles are similar.';
grant execute on function learning.search_content(text, text, text[], uuid, text[], integer, integer, integer, integer)
  to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- The number of hits that a further filter would leave. It counts all hits, which costs more than the first page of them.
create or replace function learning.content_search_facets(
  query text default '',
  language text default null,
  content_types text[] default null,
  category_id uuid default null,
  tags text[] default null,
  min_level integer default null,
  max_level integer default null
)
  returns table (facet text, value text, label text, item_count bigint)
  language plpgsql
  stable
  security definer
  rows 50
  set search_path = pg_catalog
  set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_variable
declare
  v_text constant text := left(btrim(coalesce(query, '')), 500);
  v_terms record;
  v_query tsquery;
  v_similar text;
  v_categories constant uuid[] := case when category_id is not null
    then coalesce(private.content_subtree(category_id), '{}') end;
  v_tags constant text[] := array(select lower(btrim(t)) from unnest(tags) as t);
begin
  select * into v_terms from private.content_search_terms(v_text, language);
  if v_text <> '' then
    if numnode(v_terms.any_query) > 0 and exists (
      select
      from private.content_matching(
        v_terms.any_query, v_terms.languages, v_terms.queries, null,
        content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
      )
    ) then
      v_query := v_terms.any_query;
    else
      v_similar := v_text;
      perform private.look_for_similar_titles();
    end if;
  end if;
  return query
    with hits as materialized (
      select m.content_type, m.level, m.language, m.category_id, m.tags
      from private.content_matching(
        v_query, v_terms.languages, v_terms.queries, v_similar,
        content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
      ) m
    ),
    counts as (
      select 'content_type' as facet, h.content_type as value, h.content_type as label, count(*) as item_count
      from hits h
      group by h.content_type
      union all
      select 'level', h.level::text, h.level::text, count(*) from hits h group by h.level
      union all
      select 'language', h.language, h.language, count(*) from hits h group by h.language
      union all
      select 'category', c.id::text, c.name, h.item_count
      from (select h.category_id, count(*) as item_count from hits h group by h.category_id) h
      join learning.content_categories c on c.id = h.category_id
      union all
      (
        select 'tag', t.tag, t.tag, count(*)
        from hits h
        cross join unnest(h.tags) as t (tag)
        group by t.tag
        order by 4 desc, 2
        limit 30
      )
    )
    select c.facet, c.value, c.label, c.item_count from counts c order by c.facet, c.item_count desc, c.value;
end
$$;

comment on function learning.content_search_facets(text, text, text[], uuid, text[], integer, integer) is
  E'Returns the number of items in a search (the same arguments) by content_type, level, language, category and tag (the 30 most frequent), largest first.';
grant execute on function learning.content_search_facets(text, text, text[], uuid, text[], integer, integer)
  to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/search_content.sql
--! Included rooms/functions/search_room_messages.sql
-- Definer rights: under the policies PostgreSQL may not use the index, because the operator could leak hidden rows. The
-- function applies the same rules. Room by room, by an index that begins with the room: a common word costs only its matches in
-- the caller's own rooms. Blocks and privacy are checked from the newest match on, until there are enough.
create or replace function rooms.search_room_messages(query text, room_id uuid default null, max_count integer default 50)
  returns setof rooms.room_messages
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select msg.*
  from (
    select found.id
    from (
      select o.id, o.created_at
      from rooms.room_members m
      cross join (select plinth.search_query('en', search_room_messages.query) as query offset 0) asked
      -- `offset 0`: each room's matches are found before any other check on them.
      cross join lateral (
        select r.id, r.created_at
        from rooms.room_messages r
        where r.room_id = m.room_id
          and plinth.search_document('en', r.content) @@ asked.query
          and not r.is_deleted
          and r.event_sequence > m.visible_after
        offset 0
      ) o
      where m.user_id = plinth.current_user_id()
        and (search_room_messages.room_id is null or m.room_id = search_room_messages.room_id)
      order by o.created_at desc, o.id desc
      offset 0
    ) found
    where private.sees_message(found.id, plinth.current_user_id())
    limit plinth.checked_count(search_room_messages.max_count, 'max_count', 50, 200)
  ) seen
  join rooms.room_messages msg on msg.id = seen.id
  order by msg.created_at desc, msg.id desc
$$;

comment on function rooms.search_room_messages(text, uuid, integer) is
  'Returns the messages with all of these words (or "a phrase", or -without) in the rooms of the signed-in user, or in one of them, newest first; at most 200.';
grant execute on function rooms.search_room_messages(text, uuid, integer) to :PLINTH_USER;
--! EndIncluded rooms/functions/search_room_messages.sql
--! Included llm/functions/search_chat_messages.sql
-- Searches the caller's own messages. With the owner's rights, because row security would prevent use of the index: a match is
-- not a leakproof condition. The owner is therefore named here, and is the first column of the index. With very many matches,
-- only the newest 1,000 are ranked.
create or replace function llm.search_chat_messages(
  query text,
  max_count integer default 20,
  skip integer default 0,
  include_archived boolean default false
)
  returns table (
    message_id uuid,
    chat_id uuid,
    chat_title text,
    role text,
    headline text,
    rank real,
    created_at timestamptz
  )
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_limit constant integer := plinth.checked_count(search_chat_messages.max_count, 'max_count', 20, 100);
  v_query tsquery := plinth.search_query('en', search_chat_messages.query);
begin
  return query
    with matches as (
      select m.id, m.chat_id, c.title, m.role, m.content, m.created_at
      from llm.messages m
      join llm.chats c on c.user_id = m.user_id and c.id = m.chat_id
      where m.user_id = plinth.current_user_id()
        and m.role in ('user', 'assistant')
        and plinth.search_document('en', m.content) @@ v_query
        and (search_chat_messages.include_archived or not c.is_archived)
      order by m.id desc
      limit 1000
    ),
    page as (
      select
        s.*,
        ts_rank_cd(plinth.search_document('en', s.content), v_query, 1) as rank
      from matches s
      order by rank desc, s.id desc
      limit v_limit
      offset greatest(search_chat_messages.skip, 0)
    )
    select
      p.id, p.chat_id, p.title, p.role,
      plinth.search_headline(
        'en', p.content, v_query, 'MaxFragments=2, MaxWords=30, MinWords=10, ShortWord=0, FragmentDelimiter=" … "'
      ),
      p.rank, p.created_at
    from page p
    order by p.rank desc, p.id desc;
end
$$;

comment on function llm.search_chat_messages(text, integer, integer, boolean) is
  'Searches the signed-in user''s own messages: words, "phrases", or, -not. Best first. headline is HTML: escaped text with <mark> around matches.';
grant execute on function llm.search_chat_messages(text, integer, integer, boolean) to :PLINTH_USER;
--! EndIncluded llm/functions/search_chat_messages.sql
drop index rooms.room_messages_content_idx;
create index room_messages_content_idx on rooms.room_messages
  using gin (room_id, plinth.search_document('en', content)) where not is_deleted;
drop index llm.messages_search_idx;
create index messages_search_idx on llm.messages
  using gin (user_id, plinth.search_document('en', content)) where role in ('user', 'assistant');
-- No change of the content itself: nothing is numbered, announced or dated.
alter table learning.content_items disable trigger user;
update learning.content_items set title = title;
alter table learning.content_items enable trigger user;

-- The index of the foreign key to the parent, by the chat first: it answers by chat_id alone as well.
drop index llm.messages_parent_id_idx;
create index messages_chat_id_parent_id_idx on llm.messages (chat_id, parent_id, user_id);
