-- As plinth memory disable-vectors does: these objects refer to the memories.
drop trigger if exists _800_queue_embedding on llm.memories;
drop trigger if exists _801_queue_embedding on llm.memories;
drop function if exists
  private.queue_memory_embedding(),
  private.memories_to_embed(text, integer),
  private.store_memory_embedding(uuid, text, text, text),
  private.postpone_memory_embeddings(uuid[], text),
  private.nearest_memories(uuid, text, text, text[], text[], integer);
drop table if exists private.memory_embeddings;
--!restore identity/private/is_secret_column.sql
drop function
  private.create_memory(uuid, uuid, text, text[], text, text, integer, double precision, uuid, uuid, timestamptz),
  private.update_memory(uuid, uuid, uuid, jsonb, bigint),
  private.delete_memory(uuid, uuid),
  private.delete_memories(uuid),
  private.list_memories(uuid, integer, uuid, text),
  private.read_memories(uuid, uuid[]),
  private.search_memories(uuid, text[], text[], text[], integer),
  private.may_recall_in_room(uuid, uuid),
  private.record_recall(uuid, uuid[]),
  private.delete_expired_memories(integer);
drop table llm.memories;

drop function
  private.find_user_key(uuid, text),
  private.store_user_key(uuid, text, text),
  private.delete_user_key(uuid, text);
delete from private.user_keys where purpose = 'memories';
alter table private.user_keys
  drop constraint user_keys_user_id_purpose_key,
  drop column purpose,
  add constraint user_keys_user_id_key unique (user_id);
comment on table private.user_keys is
  'One row per user with encrypted data: the user''s Fernet key, encrypted. Deleting the row makes that data unreadable.';
--!restore identity/private/find_user_key.sql
--!restore identity/private/store_user_key.sql
--!restore identity/private/delete_user_key.sql
--!restore llm/triggers/touch_updated_at.sql
