-- Recall of memories by meaning: plinth memory enable-vectors runs this file, in one transaction and as often as it likes. It needs
-- pgvector in the schema plinth. Its objects are in memory-vectors.catalogue.json, for plinth doctor.

create table if not exists private.memory_embeddings (
  memory_id uuid primary key references llm.memories on delete cascade,
  user_id uuid not null references identity.users on delete cascade,
  model text,
  embedding plinth.vector,
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  last_error text,
  constraint memory_embeddings_embedding_has_a_model check (embedding is null or model is not null)
);

alter table private.memory_embeddings enable row level security;

-- A user's vectors are compared one by one: a user has few, and an approximate index over all users would miss some of theirs.
create index if not exists memory_embeddings_user_id_idx on private.memory_embeddings (user_id);
-- Finds the memories whose vectors are due.
create index if not exists memory_embeddings_next_attempt_at_idx on private.memory_embeddings (next_attempt_at) where model is null;
-- Finds vectors of another model.
create index if not exists memory_embeddings_model_idx on private.memory_embeddings (model);

comment on table private.memory_embeddings is
  'One row per memory: its vector, which reveals what the memory is about. Deleted with the memory.';
comment on column private.memory_embeddings.memory_id is 'The memory.';
comment on column private.memory_embeddings.user_id is 'The user.';
comment on column private.memory_embeddings.model is
  'Model of the vector, or model that rejected the text; null until an attempt succeeds.';
comment on column private.memory_embeddings.embedding is 'Vector of the text; null until it is made.';
comment on column private.memory_embeddings.attempts is 'Number of failed attempts.';
comment on column private.memory_embeddings.next_attempt_at is 'Earliest time of the next attempt.';
comment on column private.memory_embeddings.last_error is 'Error of the last attempt, if it failed.';

-- A changed text has no vector until the job has made it: the old one would describe the old text.
create or replace function private.queue_memory_embedding()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  insert into private.memory_embeddings (memory_id, user_id)
  values (new.id, new.user_id)
  on conflict (memory_id) do update set
    model = null, embedding = null, attempts = 0, next_attempt_at = now(), last_error = null;
  return null;
end
$$;

comment on function private.queue_memory_embedding() is 'Trigger: deletes the vector of a changed text and queues the next one.';

create or replace trigger _800_queue_embedding
  after insert on llm.memories
  for each row
  execute function private.queue_memory_embedding();

create or replace trigger _801_queue_embedding
  after update of content on llm.memories
  for each row
  when (old.content is distinct from new.content)
  execute function private.queue_memory_embedding();

create or replace function private.memories_to_embed(model text, max_count integer)
  returns table (memory_id uuid, user_id uuid, content text, content_digest text, wrapped_key text)
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  perform private.check_batch_size(max_count, 1000);
  return query
    with due as (
      (
        select e.memory_id
        from private.memory_embeddings e
        where e.model is null and e.next_attempt_at <= now()
        order by e.next_attempt_at
        limit max_count
      )
      union all
      (
        select e.memory_id
        from private.memory_embeddings e
        where e.model < memories_to_embed.model or e.model > memories_to_embed.model
        limit max_count
      )
      limit max_count
    )
    select m.id, m.user_id, m.content, md5(m.content), k.wrapped_key
    from due
    join llm.memories m on m.id = due.memory_id
    join private.user_keys k on k.id = m.key_id;
end
$$;

comment on function private.memories_to_embed(text, integer) is
  'Returns encrypted memories without a vector of the model whose next attempt is due, with their sealed keys.';
grant execute on function private.memories_to_embed(text, integer) to :PLINTH_WORKER;

-- A null vector means that the model rejects the text, so that it is not sent again. A memory that was changed or deleted meanwhile
-- is left out.
create or replace function private.store_memory_embedding(memory_id uuid, content_digest text, model text, embedding text)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  update private.memory_embeddings e
  set
    model = store_memory_embedding.model,
    embedding = store_memory_embedding.embedding::plinth.vector,
    attempts = 0,
    last_error = case when store_memory_embedding.embedding is null then 'The text was rejected.' end
  from llm.memories m
  where e.memory_id = store_memory_embedding.memory_id
    and m.id = e.memory_id
    and md5(m.content) = store_memory_embedding.content_digest;
  return found;
end
$$;

comment on function private.store_memory_embedding(uuid, text, text, text) is
  'Stores the vector of a memory; returns whether the memory still has the text.';
grant execute on function private.store_memory_embedding(uuid, text, text, text) to :PLINTH_WORKER;

-- After a failure of the endpoint. Others go first then, so that a text on which the endpoint fails does not hold them up.
create or replace function private.postpone_memory_embeddings(memory_ids uuid[], error text)
  returns void
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  update private.memory_embeddings e
  set
    model = null,
    embedding = null,
    attempts = e.attempts + 1,
    next_attempt_at = now() + least(interval '1 hour', interval '1 minute' * power(2, least(e.attempts, 10))),
    last_error = postpone_memory_embeddings.error
  where e.memory_id = any (postpone_memory_embeddings.memory_ids)
$$;

comment on function private.postpone_memory_embeddings(uuid[], text) is
  'Postpones the vectors of these memories after a failure, from a minute up to an hour.';
grant execute on function private.postpone_memory_embeddings(uuid[], text) to :PLINTH_WORKER;

create or replace function private.nearest_memories(
  user_id uuid,
  model text,
  embedding text,
  all_of text[],
  none_of text[],
  max_count integer
)
  returns table (memory_id uuid, similarity double precision)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select e.memory_id, 1 - (e.embedding operator(plinth.<=>) nearest_memories.embedding::plinth.vector)
  from private.memory_embeddings e
  join llm.memories m on m.id = e.memory_id
  where e.user_id = nearest_memories.user_id
    and e.model = nearest_memories.model
    and e.embedding is not null
    and m.word_hashes @> nearest_memories.all_of
    and not m.word_hashes && nearest_memories.none_of
    and (m.expires_at is null or m.expires_at > now())
  order by 2 desc, 1
  limit nearest_memories.max_count
$$;

comment on function private.nearest_memories(uuid, text, text, text[], text[], integer) is
  'Returns a user''s memories by the similarity of their vectors to a vector of the same model, nearest first.';
grant execute on function private.nearest_memories(uuid, text, text, text[], text[], integer) to :PLINTH_SERVICE;

insert into private.memory_embeddings (memory_id, user_id)
select m.id, m.user_id
from llm.memories m
on conflict (memory_id) do nothing;
