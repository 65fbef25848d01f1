-- plinth memory disable-vectors runs this file. The extension stays: the database may have other vectors.
drop trigger if exists _800_queue_embedding on llm.memories;
drop trigger if exists _801_queue_embedding on llm.memories;
drop function if exists
  private.queue_memory_embedding(),
  private.memories_to_embed(text, integer),
  private.store_memory_embedding(uuid, text, text, text),
  private.postpone_memory_embeddings(uuid[], text),
  private.nearest_memories(uuid, text, text, text[], text[], integer);
drop table if exists private.memory_embeddings;
