--!restore learning/functions/search_document.sql
--!restore private/functions/content_matching.sql
--!restore learning/functions/search_content.sql
--!restore rooms/functions/search_room_messages.sql
--!restore llm/functions/search_chat_messages.sql
alter table learning.content_items disable trigger user;
update learning.content_items set title = title;
alter table learning.content_items enable trigger user;
drop index rooms.room_messages_content_idx;
create index room_messages_content_idx on rooms.room_messages
  using gin (room_id, to_tsvector('simple', content)) where not is_deleted;
drop index llm.messages_search_idx;
create index messages_search_idx on llm.messages
  using gin (user_id, to_tsvector('pg_catalog.english', left(content, 100000))) where role in ('user', 'assistant');
drop function
  plinth.search_headline(text, text, tsquery, text),
  plinth.search_query(text, text),
  plinth.search_document(text, text),
  plinth.cjk_pairs(text),
  plinth.is_cjk(text),
  plinth.without_accents(text),
  plinth.search_text(text);
drop text search configuration plinth.english_words;
drop text search dictionary plinth.english_words;
drop index llm.messages_chat_id_parent_id_idx;
create index messages_parent_id_idx on llm.messages (parent_id, chat_id, user_id);

--!restore private/functions/room_mentions.sql
drop function private.mentioned_names(text), private.text_without_code(text);

drop function private.add_skill_evidence(uuid, uuid, text, numeric, text, text, bytea);
drop function private.apply_heartbeat(
  uuid, uuid, uuid, integer, integer, integer, integer, integer, timestamptz, timestamptz, bytea
);
drop function private.post_ai_message(
  uuid, text, uuid, uuid[], uuid[], jsonb, bigint, uuid, uuid, bigint, bigint, bigint, bigint, uuid
);
--!restore private/functions/post_ai_message.sql
--!restore private/functions/open_turn.sql
--!restore private/functions/add_skill_evidence.sql
drop function private.place_session(uuid, uuid, integer, int4multirange, int4multirange, integer, timestamptz, timestamptz);
--!restore private/functions/apply_heartbeat.sql
--!restore private/functions/reserve_tokens.sql
--!restore rooms/functions/post_room_message.sql
--!restore rooms/functions/general_chat.sql
--!restore rooms/functions/rooms_of_users.sql
--!restore llm/functions/send_chat_message.sql
--!restore llm/functions/edit_chat_message.sql
--!restore learning/functions/assess_skill.sql
--!restore learning/functions/record_heartbeat.sql
drop function
  private.heartbeat_digest(uuid, integer, integer, integer, timestamptz, integer),
  private.find_keyed_room_message(uuid, uuid, uuid, text, bytea),
  private.refuse_other_request(boolean),
  private.request_digest(jsonb);
drop function
  private.count_seconds(int4multirange),
  private.active_stretch(timestamptz, integer),
  private.added_seconds(int4multirange, int4multirange, integer),
  private.bounded_stretches(int4multirange);
comment on column learning.heartbeat_result.reason is
  'Why it was refused: a reason of access, no_such_version, the value at fault (event_id, from_seconds, to_seconds, active_seconds, occurred_at), or malformed for what cannot be read.';
alter table private.recorded_heartbeats drop column digest;
drop table private.request_digests;
drop function plinth.checked_count(integer, text, integer, integer);
