--! Previous: sha1:67c4f6408c6e135df0ca46daec7a40d842f2c56f
--! Hash: sha1:736fdaab6ceecade31644934586eedf06273f253
--! Message: memories

-- Long-term memories: many per user, encrypted as the conversation memory is, found by hashed words.

-- Memories and the conversation memory are deleted by shredding their key, each without the other.
alter table private.user_keys
  add column purpose text not null default 'conversation memory',
  add constraint user_keys_purpose_check check (purpose in ('conversation memory', 'memories')),
  drop constraint user_keys_user_id_key,
  add constraint user_keys_user_id_purpose_key unique (user_id, purpose);
comment on table private.user_keys is
  'One row per user and purpose with encrypted data: the user''s Fernet key, encrypted. Deleting the row makes that data unreadable.';
comment on column private.user_keys.purpose is 'Data that the key encrypts: conversation memory or memories.';

drop function private.find_user_key(uuid), private.store_user_key(uuid, text), private.delete_user_key(uuid);
--! Included identity/private/find_user_key.sql
-- A user's own encryption key for one purpose. The service seals and opens it; the database never sees the key itself.
create or replace function private.find_user_key(user_id uuid, purpose text default 'conversation memory')
  returns table (key_id uuid, wrapped_key text)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select k.id, k.wrapped_key
  from private.user_keys k
  where k.user_id = find_user_key.user_id and k.purpose = find_user_key.purpose
$$;

comment on function private.find_user_key(uuid, text) is
  'Returns the user''s sealed key for a purpose; no row when it was never created or was deleted.';
grant execute on function private.find_user_key(uuid, text) to :PLINTH_SERVICE;
--! EndIncluded identity/private/find_user_key.sql
--! Included identity/private/store_user_key.sql
-- The first writer wins and the second gets the existing key, so that two servers that create one at the same time encrypt under
-- the same key.
create or replace function private.store_user_key(
  user_id uuid,
  new_wrapped_key text,
  purpose text default 'conversation memory'
)
  returns table (key_id uuid, wrapped_key text)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  insert into private.user_keys (user_id, purpose, wrapped_key)
  values (store_user_key.user_id, store_user_key.purpose, store_user_key.new_wrapped_key)
  on conflict (user_id, purpose) do nothing;
  return query
    select k.id, k.wrapped_key
    from private.user_keys k
    where k.user_id = store_user_key.user_id and k.purpose = store_user_key.purpose;
end
$$;

comment on function private.store_user_key(uuid, text, text) is
  'Stores a sealed key for a user who has none for the purpose; returns the stored key, which may be another server''s.';
grant execute on function private.store_user_key(uuid, text, text) to :PLINTH_SERVICE;
--! EndIncluded identity/private/store_user_key.sql
--! Included identity/private/delete_user_key.sql
-- Crypto-shredding. The foreign key deletes the data that the key encrypted; a copy elsewhere (a backup made since, a replica's
-- leftovers) becomes unreadable. Without a purpose, all of the user's keys are deleted.
create or replace function private.delete_user_key(user_id uuid, purpose text default null)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_purpose text;
  v_existed boolean := false;
begin
  -- The account before its rows, as everywhere, to rule out a deadlock with the account's deletion.
  perform from identity.users u where u.id = delete_user_key.user_id for key share;
  for v_purpose in
    delete from private.user_keys k
    where k.user_id = delete_user_key.user_id
      and (delete_user_key.purpose is null or k.purpose = delete_user_key.purpose)
    returning k.purpose
  loop
    v_existed := true;
    perform private.record_security_event(
      'user_key_shredded', delete_user_key.user_id, jsonb_build_object('purpose', v_purpose)
    );
  end loop;
  return v_existed;
end
$$;

comment on function private.delete_user_key(uuid, text) is
  'Deletes a user''s key for a purpose, or all of the user''s keys, and all data encrypted under them, permanently; returns whether there was one.';
grant execute on function private.delete_user_key(uuid, text) to :PLINTH_SERVICE;
--! EndIncluded identity/private/delete_user_key.sql

create table llm.memories (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  key_id uuid not null,
  content text not null,
  word_hashes text[] not null,
  kind text not null default 'fact',
  source text not null default 'user',
  importance integer not null default 3,
  confidence double precision not null default 1,
  chat_id uuid,
  room_id uuid references rooms.chat_rooms on delete set null,
  -- One sequence for all rows, as for conversation memories.
  version bigint not null generated always as identity,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  last_recalled_at timestamptz,
  expires_at timestamptz,
  constraint memories_key_id_user_id_fkey
    foreign key (key_id, user_id) references private.user_keys (id, user_id) on delete cascade,
  constraint memories_chat_id_user_id_fkey
    foreign key (chat_id, user_id) references llm.chats (id, user_id) on delete set null (chat_id),
  -- A Fernet token begins with the byte 0x80 and seven bytes of time, the upper ones zero.
  constraint memories_content_is_encrypted check (content ~ '^gAAAA[A-Za-z0-9_-]+={0,2}$'),
  constraint memories_content_is_not_too_long check (length(content) <= 25000),
  constraint memories_word_hashes_are_hashes
    check (array_to_string(word_hashes, ',', '?') ~ '^([A-Za-z0-9_-]{16}(,[A-Za-z0-9_-]{16})*)?$'),
  constraint memories_kind_check check (kind in ('fact', 'preference', 'event', 'instruction')),
  constraint memories_source_check check (source in ('user', 'assistant', 'import')),
  constraint memories_importance_check check (importance between 1 and 5),
  constraint memories_confidence_check check (confidence between 0 and 1)
) with (fillfactor = 90);

alter table llm.memories enable row level security;

comment on constraint memories_kind_check on llm.memories is
  E'What a memory says.\n'
  'fact: Something true about the user or the user''s world.\n'
  'preference: Something that the user likes or dislikes.\n'
  'event: Something that happened or will happen.\n'
  'instruction: How the user wants assistants to behave.';
comment on constraint memories_source_check on llm.memories is
  E'Author of a memory.\n'
  'user: The user wrote it.\n'
  'assistant: An assistant noted it.\n'
  'import: It was imported.';

-- A user's memories, newest first; also serves the foreign key.
create index memories_user_id_id_idx on llm.memories (user_id, id);
-- Serve the foreign keys.
create index memories_key_id_user_id_idx on llm.memories (key_id, user_id);
create index memories_chat_id_user_id_idx on llm.memories (chat_id, user_id);
create index memories_room_id_idx on llm.memories (room_id);
create index memories_expires_at_idx on llm.memories (expires_at) where expires_at is not null;
-- Not also by user: no two users have a hash in common.
create index memories_word_hashes_idx on llm.memories using gin (word_hashes);

comment on table llm.memories is
  E'@behavior -*\n'
  'One row per long-term memory of a user: a text that assistants recall, encrypted with the user''s key.';
comment on column llm.memories.id is 'Id (UUIDv7).';
comment on column llm.memories.user_id is 'The user.';
comment on column llm.memories.key_id is 'The user''s key that encrypted the memory; deleting the key deletes the row.';
comment on column llm.memories.content is 'Text as a Fernet token.';
comment on column llm.memories.word_hashes is
  'Hashes of the text''s distinct words under a key derived from the user''s key, in the order of the hashes.';
comment on column llm.memories.kind is 'Kind: fact, preference, event or instruction.';
comment on column llm.memories.source is 'Author of the memory: user, assistant or import.';
comment on column llm.memories.importance is 'Importance from 1 to 5; decides between equal matches.';
comment on column llm.memories.confidence is 'Confidence that the memory is true, from 0 to 1.';
comment on column llm.memories.chat_id is 'The chat that it comes from.';
comment on column llm.memories.room_id is 'The room that it comes from.';
comment on column llm.memories.version is 'Version of the memory; each change sets a new value, never used before.';
comment on column llm.memories.created_at is 'Time when the memory was created.';
comment on column llm.memories.updated_at is 'Time of the last change.';
comment on column llm.memories.last_recalled_at is 'Time when the memory was last given to a model.';
comment on column llm.memories.expires_at is 'Time after which the memory is not recalled and is deleted; null for never.';

--! Included llm/policies/memories.sql
-- Written and read through functions of private, because only the service can encrypt. The owner may see which memories exist; no
-- role is granted the ciphertext or the hashes of words.
revoke all on llm.memories from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select (
  id, user_id, kind, source, importance, confidence, chat_id, room_id, version, created_at, updated_at, last_recalled_at, expires_at
) on llm.memories to :PLINTH_USER;

drop policy if exists select_own on llm.memories;
create policy select_own on llm.memories
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.memories is 'Users see which memories they have.';
--! EndIncluded llm/policies/memories.sql
--! Included llm/triggers/touch_updated_at.sql
-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on llm.message_feedback
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on llm.prompt_labels
  for each row
  execute function plinth.touch_updated_at();

-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on llm.conversation_memories
  for each row
  execute function plinth.touch_updated_at();

-- Recall is not a change of the memory.
create or replace trigger _900_touch_updated_at
  before update of content, kind, importance, confidence, expires_at on llm.memories
  for each row
  execute function plinth.touch_updated_at();

-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on llm.model_providers
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on llm.models
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on llm.prompts
  for each row
  execute function plinth.touch_updated_at();

-- llm.touch_chats sets its time of last activity, so this stamps only an edit of the chat itself.
create or replace trigger _900_touch_updated_at
  before update of title, is_archived on llm.chats
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded llm/triggers/touch_updated_at.sql
--! Included llm/private/create_memory.sql
-- Stores a memory that the service encrypted. The key is locked: a key that is shredded in between would leave a memory that cannot be
-- read, and two calls at the limit would both pass it.
create or replace function private.create_memory(
  user_id uuid,
  key_id uuid,
  content text,
  word_hashes text[],
  kind text,
  source text,
  importance integer,
  confidence double precision,
  chat_id uuid default null,
  room_id uuid default null,
  expires_at timestamptz default null
)
  returns setof llm.memories
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_limit constant integer := 10000;
begin
  -- The account before its rows, as everywhere.
  perform from identity.users u where u.id = create_memory.user_id for key share;
  perform from private.user_keys k
  where k.id = create_memory.key_id and k.user_id = create_memory.user_id and k.purpose = 'memories'
  for no key update;
  if not found then
    return;
  end if;

  if create_memory.room_id is not null and not exists (
    select from rooms.room_members m where m.room_id = create_memory.room_id and m.user_id = create_memory.user_id
  ) then
    raise exception 'Room not found.' using errcode = 'PL404', column = 'room_id';
  end if;
  if create_memory.chat_id is not null and not exists (
    select from llm.chats c where c.id = create_memory.chat_id and c.user_id = create_memory.user_id
  ) then
    raise exception 'Chat not found.' using errcode = 'PL404', column = 'chat_id';
  end if;
  if create_memory.expires_at <= now() then
    raise exception 'A memory must expire in the future.' using errcode = 'PL422', column = 'expires_at';
  end if;
  if (select count(*) from llm.memories m where m.user_id = create_memory.user_id) >= v_limit then
    raise exception 'You have reached the limit of 10000 memories.'
      using errcode = 'PL402', hint = 'Delete memories that are no longer needed.';
  end if;

  return query
    insert into llm.memories (
      user_id, key_id, content, word_hashes, kind, source, importance, confidence, chat_id, room_id, expires_at
    )
    values (
      create_memory.user_id, create_memory.key_id, create_memory.content, create_memory.word_hashes, create_memory.kind,
      create_memory.source, create_memory.importance, create_memory.confidence, create_memory.chat_id, create_memory.room_id,
      create_memory.expires_at
    )
    returning *;
end
$$;

comment on function private.create_memory(uuid, uuid, text, text[], text, text, integer, double precision, uuid, uuid, timestamptz) is
  'Stores an encrypted memory; no row when the key was deleted. PL402 at 10,000 memories, PL404 for a chat or room that is not the user''s, PL422 for a time of expiry in the past.';
grant execute on function private.create_memory(uuid, uuid, text, text[], text, text, integer, double precision, uuid, uuid, timestamptz)
  to :PLINTH_SERVICE;
--! EndIncluded llm/private/create_memory.sql
--! Included llm/private/update_memory.sql
-- Changes the named columns of a memory. A new text comes encrypted with the key that the row has; the row exists only as long as
-- its key.
create or replace function private.update_memory(
  user_id uuid,
  id uuid,
  key_id uuid,
  changes jsonb,
  expected_version bigint default null
)
  returns setof llm.memories
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_version bigint;
begin
  perform from identity.users u where u.id = update_memory.user_id for key share;
  select m.version into v_version
  from llm.memories m
  where m.id = update_memory.id
    and m.user_id = update_memory.user_id
    and m.key_id = update_memory.key_id
    and (m.expires_at is null or m.expires_at > now())
  for no key update;
  if not found then
    raise exception 'Memory not found.' using errcode = 'PL404', column = 'id';
  end if;
  if update_memory.expected_version <> v_version then
    raise exception 'The memory was changed in the meantime.'
      using errcode = 'PL409', column = 'expected_version', hint = 'Read it again and repeat the change.';
  end if;
  if (update_memory.changes ->> 'expires_at')::timestamptz <= now() then
    raise exception 'A memory must expire in the future.' using errcode = 'PL422', column = 'expires_at';
  end if;

  return query
    update llm.memories m
    set
      content = coalesce(update_memory.changes ->> 'content', m.content),
      word_hashes = case
        when update_memory.changes ? 'content'
        then array(select jsonb_array_elements_text(update_memory.changes -> 'word_hashes'))
        else m.word_hashes
      end,
      kind = coalesce(update_memory.changes ->> 'kind', m.kind),
      importance = coalesce((update_memory.changes ->> 'importance')::integer, m.importance),
      confidence = coalesce((update_memory.changes ->> 'confidence')::double precision, m.confidence),
      expires_at = case
        when update_memory.changes ? 'expires_at' then (update_memory.changes ->> 'expires_at')::timestamptz
        else m.expires_at
      end,
      version = default
    where m.id = update_memory.id
    returning *;
end
$$;

comment on function private.update_memory(uuid, uuid, uuid, jsonb, bigint) is
  'Changes a user''s memory. PL404 if the user has no such memory, PL409 when its version is not the expected one, PL422 for a time of expiry in the past.';
grant execute on function private.update_memory(uuid, uuid, uuid, jsonb, bigint) to :PLINTH_SERVICE;
--! EndIncluded llm/private/update_memory.sql
--! Included llm/private/delete_memory.sql
create or replace function private.delete_memory(user_id uuid, id uuid)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform from identity.users u where u.id = delete_memory.user_id for key share;
  delete from llm.memories m where m.id = delete_memory.id and m.user_id = delete_memory.user_id;
  if not found then
    raise exception 'Memory not found.' using errcode = 'PL404', column = 'id';
  end if;
end
$$;

comment on function private.delete_memory(uuid, uuid) is 'Deletes a user''s memory; PL404 if the user has no such memory.';
grant execute on function private.delete_memory(uuid, uuid) to :PLINTH_SERVICE;
--! EndIncluded llm/private/delete_memory.sql
--! Included llm/private/delete_memories.sql
-- All of them, by shredding their key, so that no copy in a backup can be read.
create or replace function private.delete_memories(user_id uuid)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_count integer;
begin
  perform from identity.users u where u.id = delete_memories.user_id for key share;
  -- No memory is added between the count and the deletion.
  perform from private.user_keys k where k.user_id = delete_memories.user_id and k.purpose = 'memories' for update;
  select count(*)::integer into v_count from llm.memories m where m.user_id = delete_memories.user_id;
  perform private.delete_user_key(delete_memories.user_id, 'memories');
  return v_count;
end
$$;

comment on function private.delete_memories(uuid) is
  'Deletes all memories of a user with their encryption key, permanently; returns their number.';
grant execute on function private.delete_memories(uuid) to :PLINTH_SERVICE;
--! EndIncluded llm/private/delete_memories.sql
--! Included llm/private/list_memories.sql
create or replace function private.list_memories(
  user_id uuid,
  max_count integer,
  after_id uuid default null,
  kind text default null
)
  returns setof llm.memories
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select m.*
  from llm.memories m
  where m.user_id = list_memories.user_id
    and (list_memories.after_id is null or m.id < list_memories.after_id)
    and (list_memories.kind is null or m.kind = list_memories.kind)
    and (m.expires_at is null or m.expires_at > now())
  order by m.id desc
  limit list_memories.max_count
$$;

comment on function private.list_memories(uuid, integer, uuid, text) is
  'Returns a user''s encrypted memories that have not expired, newest first; after_id continues a list.';
grant execute on function private.list_memories(uuid, integer, uuid, text) to :PLINTH_SERVICE;
--! EndIncluded llm/private/list_memories.sql
--! Included llm/private/read_memories.sql
create or replace function private.read_memories(user_id uuid, ids uuid[])
  returns setof llm.memories
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select m.*
  from llm.memories m
  where m.id = any (read_memories.ids)
    and m.user_id = read_memories.user_id
    and (m.expires_at is null or m.expires_at > now())
$$;

comment on function private.read_memories(uuid, uuid[]) is 'Returns a user''s encrypted memories with these ids that have not expired.';
grant execute on function private.read_memories(uuid, uuid[]) to :PLINTH_SERVICE;
--! EndIncluded llm/private/read_memories.sql
--! Included llm/private/search_memories.sql
-- Full-text search of texts that the database cannot read, by keyed hashes of their words. The hashes of two users never agree,
-- because each user has a key, so the index on them finds only rows of the user. Rare words count for more (inverse document
-- frequency); word_hashes has neither positions nor frequencies, which would reveal more about the texts.
create or replace function private.search_memories(
  user_id uuid,
  any_of text[],
  all_of text[],
  none_of text[],
  max_count integer
)
  returns table (memory_id uuid, rank double precision)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  -- Only hashes, so that their index is read and not all memories of the user. An array without elements would read all of it.
  with found as materialized (
    select m.id, m.user_id, m.word_hashes, m.importance, m.expires_at
    from llm.memories m
    where m.word_hashes && case
      when cardinality(search_memories.all_of) > 0 then search_memories.all_of
      else search_memories.any_of
    end
  ),
  candidates as (
    select f.id, f.word_hashes, f.importance
    from found f
    where f.user_id = search_memories.user_id
      and f.word_hashes @> search_memories.all_of
      and not f.word_hashes && search_memories.none_of
      and (f.expires_at is null or f.expires_at > now())
  ),
  matches as (
    select c.id, q.word_hash
    from candidates c
    cross join unnest(search_memories.any_of) as q (word_hash)
    where q.word_hash = any (c.word_hashes)
  ),
  weights as (
    select m.word_hash, ln(1 + (select count(*) from candidates) / count(*)::double precision) as weight
    from matches m
    group by m.word_hash
  )
  select c.id, sum(w.weight)
  from candidates c
  join matches m on m.id = c.id
  join weights w on w.word_hash = m.word_hash
  group by c.id, c.importance
  order by sum(w.weight) desc, c.importance desc, c.id desc
  limit search_memories.max_count
$$;

comment on function private.search_memories(uuid, text[], text[], text[], integer) is
  'Returns a user''s memories with any of these hashed words, all of the second list and none of the third, best first.';
grant execute on function private.search_memories(uuid, text[], text[], text[], integer) to :PLINTH_SERVICE;
--! EndIncluded llm/private/search_memories.sql
--! Included llm/private/may_recall_in_room.sql
-- An answer in a room reaches all of its members, and visitors of a public room read it when they join. Memories are personal, so
-- they may be used only where the user is the only person.
create or replace function private.may_recall_in_room(user_id uuid, room_id uuid)
  returns boolean
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select exists (
      select
      from rooms.room_members m
      join rooms.chat_rooms r on r.id = m.room_id
      where m.room_id = may_recall_in_room.room_id and m.user_id = may_recall_in_room.user_id and not r.is_public
    )
    and not exists (
      select
      from rooms.room_members o
      where o.room_id = may_recall_in_room.room_id and o.user_id <> may_recall_in_room.user_id
    )
$$;

comment on function private.may_recall_in_room(uuid, uuid) is
  'Returns whether an answer in a room may use a user''s memories: the user is its only person, and it is not public.';
grant execute on function private.may_recall_in_room(uuid, uuid) to :PLINTH_SERVICE;
--! EndIncluded llm/private/may_recall_in_room.sql
--! Included llm/private/record_recall.sql
create or replace function private.record_recall(user_id uuid, ids uuid[])
  returns void
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  update llm.memories m
  set last_recalled_at = now()
  from (
    -- In one order, so that two answers at once cannot block each other.
    select l.id
    from llm.memories l
    where l.id = any (record_recall.ids) and l.user_id = record_recall.user_id
    order by l.id
    for no key update
  ) used
  where m.id = used.id
$$;

comment on function private.record_recall(uuid, uuid[]) is 'Records that memories of a user were given to a model.';
grant execute on function private.record_recall(uuid, uuid[]) to :PLINTH_SERVICE;
--! EndIncluded llm/private/record_recall.sql
--! Included llm/private/delete_expired_memories.sql
create or replace function private.delete_expired_memories(max_count integer)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_count integer;
begin
  perform private.check_batch_size(max_count);
  delete from llm.memories m
  using (
    select e.id from llm.memories e where e.expires_at <= now() limit max_count for update skip locked
  ) expired
  where m.id = expired.id;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;

comment on function private.delete_expired_memories(integer) is 'Deletes expired memories, up to max_count; returns their number.';
grant execute on function private.delete_expired_memories(integer) to :PLINTH_WORKER;
--! EndIncluded llm/private/delete_expired_memories.sql
--! Included identity/private/is_secret_column.sql
-- Exports contain no credentials: no hashes, sealed texts, keys or bytes. The parts that a user may see, such as the first letters
-- of an API token, has a column of its own.
create or replace function private.is_secret_column(table_oid oid, column_name text, type_oid oid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select type_oid = 'bytea'::regtype
    -- The time or number of a credential, such as password_changed_at, is harmless.
    or type_oid not in ('timestamptz'::regtype, 'boolean'::regtype, 'integer'::regtype, 'bigint'::regtype)
      and column_name ~ '(^|_)(hash|hashes|hashed|password|passwd|secret|secrets|sealed|salt|cipher|ciphertext|wrapped|otp|lease|(access|refresh|id|api|session|reset)_token)(_|$)'
    -- Encrypted under the user's own key; the server adds the clear text to the download.
    or table_oid = 'llm.conversation_memories'::regclass and column_name = 'memory'
    or table_oid = 'llm.memories'::regclass and column_name in ('content', 'word_hashes')
    -- A vector reveals what its text is about. It is remade from the text, which the download contains.
    or column_name = 'embedding'
    -- Product data: an address or a configuration may contain a key.
    or table_oid = 'llm.model_providers'::regclass and column_name = 'api_url'
    or table_oid = 'llm.models'::regclass and column_name = 'config'
$$;

comment on function private.is_secret_column(oid, text, oid) is 'Returns whether a column is left out of exports.';
--! EndIncluded identity/private/is_secret_column.sql
