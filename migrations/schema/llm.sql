-- Schema llm as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema llm;
comment on schema llm is 'Model catalogue, prompts, chats and messages.';
grant usage on schema llm to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Tables ----------------------------------------------------------------------------------------------

-- One row per conversation of a user with models.
create table llm.chats (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null default plinth.current_user_id(),
  title text not null default 'New chat'::text,
  is_archived boolean not null default false,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  head_id uuid,
  import_key text,
  constraint chats_pkey primary key (id),
  constraint chats_id_user_id_key unique (id, user_id),
  constraint chats_import_key_check check (length(import_key) >= 1 and length(import_key) <= 255),
  constraint chats_title_check check (length(title) >= 1 and length(title) <= 255),
  constraint chats_head_id_fkey foreign key (user_id, id, head_id) references llm.messages(user_id, chat_id, id) on delete set null (head_id) deferrable,
  constraint chats_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table llm.chats enable row level security;

create index chats_head_id_idx on llm.chats using btree (head_id, user_id, id);
create unique index chats_user_id_import_key_idx on llm.chats using btree (user_id, import_key) where (import_key is not null);
create index chats_user_id_updated_at_idx on llm.chats using btree (user_id, updated_at desc);

create trigger _900_touch_updated_at
  before update of title, is_archived on llm.chats
  for each row
  execute function plinth.touch_updated_at();

comment on table llm.chats is 'One row per conversation of a user with models.';
comment on column llm.chats.id is 'Id (UUIDv7).';
comment on column llm.chats.user_id is 'The owner of the chat.';
comment on column llm.chats.title is 'Title, 1 to 255 characters.';
comment on column llm.chats.is_archived is 'Whether the chat is archived; clients hide archived chats.';
comment on column llm.chats.created_at is 'Time when the chat was created.';
comment on column llm.chats.updated_at is 'Time of the last activity: the latest message, or a change of the chat itself.';
comment on column llm.chats.head_id is E'@behavior -*\nLast message of the active path if it is not the chat''s latest message; see llm.chats_active_path.';
comment on column llm.chats.import_key is E'@behavior -*\nOrigin of an imported chat, such as chatgpt:<id>; importing it again updates the same chat.';
comment on constraint chats_head_id_fkey on llm.chats is '@behavior -*';

create policy all_own on llm.chats
  for all to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy all_own on llm.chats is 'Users read and write their own chats.';

grant select, insert (title), update (title, is_archived), delete on llm.chats to :PLINTH_USER;

-- One row per user with a memory: what an assistant remembers, encrypted with the user's key.
create table llm.conversation_memories (
  user_id uuid not null,
  key_id uuid not null,
  memory text not null,
  version bigint generated always as identity,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint conversation_memories_pkey primary key (user_id),
  constraint conversation_memories_memory_is_encrypted check (memory ~ '^gAAAA[A-Za-z0-9_-]+={0,2}$'::text),
  constraint conversation_memories_memory_is_not_too_long check (length(memory) <= 400000),
  constraint conversation_memories_key_id_user_id_fkey foreign key (key_id, user_id) references private.user_keys(id, user_id) on delete cascade,
  constraint conversation_memories_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table llm.conversation_memories enable row level security;

create index conversation_memories_key_id_user_id_idx on llm.conversation_memories using btree (key_id, user_id);

create trigger _900_touch_updated_at
  before update on llm.conversation_memories
  for each row
  execute function plinth.touch_updated_at();

comment on table llm.conversation_memories is E'@behavior -*\nOne row per user with a memory: what an assistant remembers, encrypted with the user''s key.';
comment on column llm.conversation_memories.user_id is 'The user.';
comment on column llm.conversation_memories.key_id is 'The user''s key that encrypted the memory; deleting the key deletes the row.';
comment on column llm.conversation_memories.memory is 'Memory as a Fernet token of a JSON document.';
comment on column llm.conversation_memories.version is 'Version of the memory; each change sets a new value, never used before.';
comment on column llm.conversation_memories.created_at is 'Time when the memory was created.';
comment on column llm.conversation_memories.updated_at is 'Time of the last change.';

create policy select_own on llm.conversation_memories
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.conversation_memories is 'Users see whether they have a memory.';

grant select (user_id, version, created_at, updated_at) on llm.conversation_memories to :PLINTH_USER;

-- One row per long-term memory of a user: a text that assistants recall, encrypted with the user's key.
create table llm.memories (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  key_id uuid not null,
  content text not null,
  word_hashes text[] not null,
  kind text not null default 'fact'::text,
  source text not null default 'user'::text,
  importance integer not null default 3,
  confidence double precision not null default 1,
  chat_id uuid,
  room_id uuid,
  version bigint generated always as identity,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  last_recalled_at timestamp with time zone,
  expires_at timestamp with time zone,
  constraint memories_pkey primary key (id),
  constraint memories_confidence_check check (confidence >= 0::double precision and confidence <= 1::double precision),
  constraint memories_content_is_encrypted check (content ~ '^gAAAA[A-Za-z0-9_-]+={0,2}$'::text),
  constraint memories_content_is_not_too_long check (length(content) <= 25000),
  constraint memories_importance_check check (importance >= 1 and importance <= 5),
  constraint memories_kind_check check (kind = any (array['fact'::text, 'preference'::text, 'event'::text, 'instruction'::text])),
  constraint memories_source_check check (source = any (array['user'::text, 'assistant'::text, 'import'::text])),
  constraint memories_word_hashes_are_hashes check (array_to_string(word_hashes, ','::text, '?'::text) ~ '^([A-Za-z0-9_-]{16}(,[A-Za-z0-9_-]{16})*)?$'::text),
  constraint memories_chat_id_user_id_fkey foreign key (chat_id, user_id) references llm.chats(id, user_id) on delete set null (chat_id),
  constraint memories_key_id_user_id_fkey foreign key (key_id, user_id) references private.user_keys(id, user_id) on delete cascade,
  constraint memories_room_id_fkey foreign key (room_id) references rooms.chat_rooms(id) on delete set null,
  constraint memories_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
) with (fillfactor=90);

alter table llm.memories enable row level security;

create index memories_chat_id_user_id_idx on llm.memories using btree (chat_id, user_id);
create index memories_expires_at_idx on llm.memories using btree (expires_at) where (expires_at is not null);
create index memories_key_id_user_id_idx on llm.memories using btree (key_id, user_id);
create index memories_room_id_idx on llm.memories using btree (room_id);
create index memories_user_id_id_idx on llm.memories using btree (user_id, id);
create index memories_word_hashes_idx on llm.memories using gin (word_hashes);

create trigger _900_touch_updated_at
  before update of content, kind, importance, confidence, expires_at on llm.memories
  for each row
  execute function plinth.touch_updated_at();

comment on table llm.memories is E'@behavior -*\nOne row per long-term memory of a user: a text that assistants recall, encrypted with the user''s key.';
comment on column llm.memories.id is 'Id (UUIDv7).';
comment on column llm.memories.user_id is 'The user.';
comment on column llm.memories.key_id is 'The user''s key that encrypted the memory; deleting the key deletes the row.';
comment on column llm.memories.content is 'Text as a Fernet token.';
comment on column llm.memories.word_hashes is 'Hashes of the text''s distinct words under a key derived from the user''s key, in the order of the hashes.';
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
comment on constraint memories_kind_check on llm.memories is E'What a memory says.\nfact: Something true about the user or the user''s world.\npreference: Something that the user likes or dislikes.\nevent: Something that happened or will happen.\ninstruction: How the user wants assistants to behave.';
comment on constraint memories_source_check on llm.memories is E'Author of a memory.\nuser: The user wrote it.\nassistant: An assistant noted it.\nimport: It was imported.';

create policy select_own on llm.memories
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.memories is 'Users see which memories they have.';

grant
  select (id, user_id, kind, source, importance, confidence, chat_id, room_id, version, created_at, updated_at, last_recalled_at, expires_at)
  on llm.memories to :PLINTH_USER;

-- One row per file attached to a message, by reference: the file is stored elsewhere. At most ten per message.
create table llm.message_attachments (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  chat_id uuid not null,
  message_id uuid not null,
  "position" smallint not null,
  url text not null,
  mime_type text not null,
  size_bytes bigint not null,
  name text not null,
  created_at timestamp with time zone not null default now(),
  constraint message_attachments_pkey primary key (id),
  constraint message_attachments_message_id_position_key unique (message_id, "position"),
  constraint message_attachments_are_at_most_ten check ("position" >= 1 and "position" <= 10),
  constraint message_attachments_mime_type_is_allowed check (mime_type ~ '^(image/(png|jpeg|gif|webp|avif|heic)|audio/(mpeg|mp4|ogg|wav|webm|flac)|video/(mp4|webm|quicktime)|text/(plain|markdown|csv)|application/(pdf|json|zip|msword|vnd[.][a-z0-9.+-]+))$'::text),
  constraint message_attachments_name_check check (length(name) >= 1 and length(name) <= 255 and name !~ '[[:cntrl:]/\\]'::text),
  constraint message_attachments_size_is_limited check (size_bytes >= 1 and size_bytes <= 104857600),
  constraint message_attachments_url_is_https check (url ~ '^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][^[:space:][:cntrl:]]*)?$'::text and length(url) <= 2048),
  constraint message_attachments_message_id_fkey foreign key (user_id, chat_id, message_id) references llm.messages(user_id, chat_id, id) on delete cascade
);

alter table llm.message_attachments enable row level security;

create index message_attachments_user_id_chat_id_message_id_idx on llm.message_attachments using btree (user_id, chat_id, message_id);

comment on table llm.message_attachments is E'@behavior -query:resource:list -query:resource:connection -query:resource:single\nOne row per file attached to a message, by reference: the file is stored elsewhere. At most ten per message.';
comment on column llm.message_attachments.id is 'Id (UUIDv7).';
comment on column llm.message_attachments.user_id is 'The owner of the chat.';
comment on column llm.message_attachments.chat_id is 'The chat.';
comment on column llm.message_attachments.message_id is 'The message.';
comment on column llm.message_attachments."position" is 'Position among the message''s attachments, 1 to 10.';
comment on column llm.message_attachments.url is 'URL of the file: https, without a user or password, at most 2,048 characters.';
comment on column llm.message_attachments.mime_type is 'Media type of the file: images, audio, video, plain text and office documents.';
comment on column llm.message_attachments.size_bytes is 'Size in bytes as reported by the sender, at most 100 MiB.';
comment on column llm.message_attachments.name is 'File name, without a path.';
comment on column llm.message_attachments.created_at is 'Time when the file was attached.';
comment on constraint message_attachments_message_id_position_key on llm.message_attachments is '@behavior -*';
comment on constraint message_attachments_message_id_fkey on llm.message_attachments is E'@fieldName message\n@foreignFieldName attachments\nThe message.';

create policy select_own on llm.message_attachments
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.message_attachments is 'Users read attachments of their own messages.';

grant select on llm.message_attachments to :PLINTH_USER;

-- One row per piece of an answer, as it was streamed. Deleted a day after the answer ended, when the message holds the whole text.
create table llm.message_deltas (
  user_id uuid not null,
  message_id uuid not null,
  sequence integer not null,
  content text not null default ''::text,
  thinking text not null default ''::text,
  created_at timestamp with time zone not null default now(),
  constraint message_deltas_pkey primary key (user_id, message_id, sequence),
  constraint message_deltas_say_something check (content <> ''::text or thinking <> ''::text),
  constraint message_deltas_sequence_is_positive check (sequence >= 1),
  constraint message_deltas_size_check check ((octet_length(content) + octet_length(thinking)) <= 65536),
  constraint message_deltas_message_id_fkey foreign key (user_id, message_id) references private.turns(user_id, message_id) on delete cascade
) with (autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_insert_scale_factor=0.1);

alter table llm.message_deltas enable row level security;

comment on table llm.message_deltas is E'@behavior -query:resource:list -query:resource:connection -query:resource:single -node:node\nOne row per piece of an answer, as it was streamed. Deleted a day after the answer ended, when the message holds the whole text.';
comment on column llm.message_deltas.user_id is 'The owner of the chat.';
comment on column llm.message_deltas.message_id is 'The answer.';
comment on column llm.message_deltas.sequence is 'Position in the answer: 1, 2, 3 … without gaps.';
comment on column llm.message_deltas.content is 'Text to append to the content.';
comment on column llm.message_deltas.thinking is 'Text to append to the thinking.';
comment on column llm.message_deltas.created_at is 'Time when the piece was appended.';

create policy select_own on llm.message_deltas
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.message_deltas is 'Users read deltas of their own answers.';

grant select on llm.message_deltas to :PLINTH_USER;

-- One row per answer rated by its reader.
create table llm.message_feedback (
  message_id uuid not null,
  user_id uuid not null,
  chat_id uuid not null,
  rating text not null,
  comment text not null default ''::text,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint message_feedback_pkey primary key (message_id),
  constraint message_feedback_comment_check check (length(comment) <= 2000),
  constraint message_feedback_rating_check check (rating = any (array['up'::text, 'down'::text])),
  constraint message_feedback_message_id_fkey foreign key (user_id, chat_id, message_id) references llm.messages(user_id, chat_id, id) on delete cascade
);

alter table llm.message_feedback enable row level security;

create index message_feedback_user_id_chat_id_message_id_idx on llm.message_feedback using btree (user_id, chat_id, message_id);

create trigger _900_touch_updated_at
  before update on llm.message_feedback
  for each row
  execute function plinth.touch_updated_at();

comment on table llm.message_feedback is 'One row per answer rated by its reader.';
comment on column llm.message_feedback.message_id is 'The answer.';
comment on column llm.message_feedback.user_id is 'The user who rated it: the owner of the chat.';
comment on column llm.message_feedback.chat_id is 'The chat.';
comment on column llm.message_feedback.rating is 'Rating: up or down.';
comment on column llm.message_feedback.comment is 'Reason for the rating, at most 2,000 characters.';
comment on column llm.message_feedback.created_at is 'Time of the first rating.';
comment on column llm.message_feedback.updated_at is 'Time of the last change of the rating.';
comment on constraint message_feedback_rating_check on llm.message_feedback is E'Rating of an answer.\nup: Good.\ndown: Bad.';
comment on constraint message_feedback_message_id_fkey on llm.message_feedback is E'@fieldName message\n@foreignFieldName feedback\nThe answer.';

create policy select_own on llm.message_feedback
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.message_feedback is 'Users read their own ratings.';

grant select on llm.message_feedback to :PLINTH_USER;

-- One row per message of a chat.
create table llm.messages (
  id uuid not null default plinth.uuid_v7(),
  chat_id uuid not null,
  user_id uuid not null default plinth.current_user_id(),
  role text not null,
  content text not null default ''::text,
  thinking text,
  tool_calls jsonb,
  images jsonb,
  model_id uuid,
  tokens_used integer,
  extended_metadata jsonb not null default '{}'::jsonb,
  created_at timestamp with time zone not null default now(),
  parent_id uuid,
  depth integer not null,
  state text not null default 'complete'::text,
  finish_reason text,
  error_code text,
  error_message text,
  last_sequence integer not null default 0,
  idempotency_key text,
  constraint messages_pkey primary key (id),
  constraint messages_user_id_chat_id_id_key unique (user_id, chat_id, id),
  constraint messages_content_check check (octet_length(content) <= 1000000),
  constraint messages_depth_is_positive check (depth >= 1),
  constraint messages_error_code_check check (length(error_code) >= 1 and length(error_code) <= 100),
  constraint messages_error_message_check check (length(error_message) <= 2000),
  constraint messages_extended_metadata_is_an_object check (jsonb_typeof(extended_metadata) = 'object'::text),
  constraint messages_extended_metadata_is_not_too_long check (octet_length(extended_metadata::text) <= 1000000),
  constraint messages_finish_reason_check check (finish_reason = any (array['stop'::text, 'length'::text, 'tool_calls'::text, 'content_filter'::text, 'error'::text, 'expired'::text, 'cancelled'::text])),
  constraint messages_finish_reason_fits_state check (
case state
    when 'streaming'::text then finish_reason is null
    when 'complete'::text then (finish_reason = any (array['stop'::text, 'length'::text, 'tool_calls'::text, 'content_filter'::text])) is not false
    when 'broken_off'::text then (finish_reason = any (array['error'::text, 'expired'::text])) is true
    when 'cancelled'::text then (finish_reason = 'cancelled'::text) is true
    else null::boolean
end),
  constraint messages_first_ones_have_no_parent check ((parent_id is null) = (depth = 1)),
  constraint messages_idempotency_key_check check (length(idempotency_key) >= 1 and length(idempotency_key) <= 255),
  constraint messages_images_check check (jsonb_typeof(images) = 'array'::text),
  constraint messages_last_sequence_is_not_negative check (last_sequence >= 0),
  constraint messages_model_id_only_for_assistant check (model_id is null or role = 'assistant'::text),
  constraint messages_only_answers_stream_and_finish check (role = 'assistant'::text or state = 'complete'::text and finish_reason is null),
  constraint messages_only_broken_off_ones_have_an_error check (state = 'broken_off'::text or error_code is null and error_message is null),
  constraint messages_role_check check (role = any (array['user'::text, 'assistant'::text, 'system'::text, 'tool'::text])),
  constraint messages_state_check check (state = any (array['streaming'::text, 'complete'::text, 'broken_off'::text, 'cancelled'::text])),
  constraint messages_thinking_check check (octet_length(thinking) <= 1000000),
  constraint messages_thinking_only_for_assistant check (thinking is null or role = 'assistant'::text),
  constraint messages_tokens_used_is_not_negative check (tokens_used >= 0),
  constraint messages_tool_calls_are_not_too_long check (octet_length(tool_calls::text) <= 1000000),
  constraint messages_tool_calls_check check (jsonb_typeof(tool_calls) = 'array'::text),
  constraint messages_tool_calls_only_for_assistant check (tool_calls is null or role = 'assistant'::text),
  constraint messages_chat_id_user_id_fkey foreign key (chat_id, user_id) references llm.chats(id, user_id) on delete cascade,
  constraint messages_model_id_fkey foreign key (model_id) references llm.models(id) on delete set null,
  constraint messages_parent_id_fkey foreign key (user_id, chat_id, parent_id) references llm.messages(user_id, chat_id, id) on delete cascade
);

alter table llm.messages enable row level security;

create index messages_chat_id_parent_id_idx on llm.messages using btree (chat_id, parent_id, user_id);
create index messages_created_at_idx on llm.messages using btree (created_at);
create index messages_model_id_idx on llm.messages using btree (model_id);
create unique index messages_one_turn_a_chat_idx on llm.messages using btree (chat_id) where (state = 'streaming'::text);
create index messages_search_idx on llm.messages using gin (user_id, plinth.search_document('en'::text, content)) where (role = any (array['user'::text, 'assistant'::text]));
create index messages_user_id_id_idx on llm.messages using btree (user_id, id);
create unique index messages_user_id_idempotency_key_idx on llm.messages using btree (user_id, idempotency_key) where (idempotency_key is not null);

create trigger _200_place_message
  before insert on llm.messages
  for each row
  when (new.depth is null)
  execute function llm.place_message();
create trigger _500_touch_chats
  after insert on llm.messages referencing new table as new_messages
  for each statement
  execute function llm.touch_chats();
create trigger _700_record_changed_usage
  after update on llm.messages referencing old table as old_messages new table as new_messages
  for each statement
  execute function llm.record_messages_usage();
create trigger _700_record_usage
  after insert on llm.messages referencing new table as new_messages
  for each statement
  execute function llm.record_messages_usage();

comment on table llm.messages is 'One row per message of a chat.';
comment on column llm.messages.id is 'Id (UUIDv7); sorts the messages of a chat by time.';
comment on column llm.messages.chat_id is 'The chat.';
comment on column llm.messages.user_id is 'The owner of the chat, repeated so that policies need no join.';
comment on column llm.messages.role is 'Role of the sender: user, assistant, system or tool.';
comment on column llm.messages.content is 'Text of the message, at most 1,000,000 bytes.';
comment on column llm.messages.thinking is 'The assistant''s reasoning, or null.';
comment on column llm.messages.tool_calls is 'Tool calls of the assistant (JSON array), or null.';
comment on column llm.messages.images is 'Images of the message (JSON array), or null.';
comment on column llm.messages.model_id is 'The model that answered; assistant messages only.';
comment on column llm.messages.tokens_used is 'Tokens counted for this message; null if unknown.';
comment on column llm.messages.extended_metadata is 'Data added by the application (JSON object).';
comment on column llm.messages.created_at is 'Time when the message was created.';
comment on column llm.messages.parent_id is 'The preceding message; null for the first of a chat. Messages with the same parent are alternatives: an edit, or another answer.';
comment on column llm.messages.depth is 'Number of messages from the first to this one; 1 for the first.';
comment on column llm.messages.state is 'State: complete; for an answer also streaming, broken_off or cancelled. The last two keep the text received so far.';
comment on column llm.messages.finish_reason is 'Reason an answer ended: stop, length, tool_calls, content_filter; error or expired if broken off; cancelled. Null if unknown.';
comment on column llm.messages.error_code is 'Machine-readable code of the error that broke off an answer.';
comment on column llm.messages.error_message is 'Human-readable message of the error that broke off an answer.';
comment on column llm.messages.last_sequence is 'Number of deltas of an answer; set when it has ended.';
comment on column llm.messages.idempotency_key is E'@behavior -*\nIdempotency key of the request, unique per user; repeating the request returns this message.';
comment on constraint messages_finish_reason_check on llm.messages is E'Reason an answer ended.\nstop: The model was done.\nlength: The maximum number of tokens was reached.\ntool_calls: The model calls tools.\ncontent_filter: The provider filtered the answer.\nerror: The answer was broken off with an error.\nexpired: The answer was broken off because its lease expired.\ncancelled: The user cancelled it.';
comment on constraint messages_role_check on llm.messages is E'Role of a message''s author.\nuser: The user.\nassistant: The model.\nsystem: Instructions for the model.\ntool: The result of a tool that the model called.';
comment on constraint messages_state_check on llm.messages is E'State of a message.\nstreaming: The answer is being written.\ncomplete: The message is complete.\nbroken_off: The answer failed; the text received so far is kept.\ncancelled: The user cancelled the answer; the text received so far is kept.';
comment on constraint messages_parent_id_fkey on llm.messages is E'@fieldName parent\n@foreignFieldName children\nThe preceding message.';

create policy insert_own on llm.messages
  for insert to :PLINTH_USER
  with check (user_id = (select plinth.current_user_id()) and (model_id is null or access.can_use_model(model_id)));
comment on policy insert_own on llm.messages is 'Users add messages to their own chats, naming only models they may use.';
create policy select_own on llm.messages
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.messages is 'Users read the messages of their own chats.';

grant
  select,
  insert (chat_id, role, content, thinking, tool_calls, images, model_id, tokens_used, extended_metadata, parent_id)
  on llm.messages to :PLINTH_USER;

-- One row per model vendor or self-hosted model server.
create table llm.model_providers (
  id uuid not null default plinth.uuid_v7(),
  name text not null,
  api_url text,
  auth_type text not null default 'api_key'::text,
  created_by uuid default plinth.current_user_id(),
  is_active boolean not null default true,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint model_providers_pkey primary key (id),
  constraint model_providers_name_key unique (name),
  constraint model_providers_api_url_check check (api_url ~ '^https?://[^[:space:]]+$'::text and length(api_url) <= 2048),
  constraint model_providers_auth_type_check check (auth_type = any (array['none'::text, 'api_key'::text, 'bearer'::text, 'oauth2'::text])),
  constraint model_providers_name_check check (length(name) >= 1 and length(name) <= 100 and name = trim(both from name)),
  constraint model_providers_created_by_fkey foreign key (created_by) references identity.users(id) on delete set null
);

alter table llm.model_providers enable row level security;

create index model_providers_created_by_idx on llm.model_providers using btree (created_by);

create trigger _400_model_keys
  after update of api_url on llm.model_providers
  for each row
  when (new.api_url is distinct from old.api_url)
  execute function private.delete_provider_key();
create trigger _700_record_data_change
  after insert or delete or update on llm.model_providers
  for each row
  execute function private.record_data_change('id', '', 'updated_at', 'api_url');
create trigger _900_touch_updated_at
  before update on llm.model_providers
  for each row
  execute function plinth.touch_updated_at();

comment on table llm.model_providers is 'One row per model vendor or self-hosted model server.';
comment on column llm.model_providers.id is 'Id (UUIDv7).';
comment on column llm.model_providers.name is 'Unique name, such as openai.';
comment on column llm.model_providers.api_url is 'Base URL for requests; null if the application knows it.';
comment on column llm.model_providers.auth_type is 'Authentication method: none, api_key, bearer or oauth2. Keys are not stored here.';
comment on column llm.model_providers.created_by is 'Administrator who created the provider; null for an import or a deleted account.';
comment on column llm.model_providers.is_active is 'Whether the provider is active. Inactive providers and their models are hidden and unusable.';
comment on column llm.model_providers.created_at is 'Time when the provider was created.';
comment on column llm.model_providers.updated_at is 'Time of the last change.';
comment on constraint model_providers_auth_type_check on llm.model_providers is E'Authentication method of a model provider.\nnone: No authentication.\napi_key: An API key.\nbearer: A bearer token.\noauth2: OAuth 2.0.';

create policy all_manager on llm.model_providers
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_models'::text)))
  with check ((select access.has_permission('manage_models'::text)));
comment on policy all_manager on llm.model_providers is 'Users with manage_models read and write all providers.';
create policy select_usable on llm.model_providers
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (is_active and (id in ( select m.provider_id
   from llm.models m
  where (m.id in (select access.usable_model_ids())))));
comment on policy select_usable on llm.model_providers is 'Visitors see providers of public models, users also those of models granted to them.';

grant
  select,
  insert (name, api_url, auth_type, is_active),
  update (name, api_url, auth_type, is_active),
  delete
  on llm.model_providers to :PLINTH_USER;
grant select on llm.model_providers to :PLINTH_ANONYMOUS;

-- One row per model of a provider.
create table llm.models (
  id uuid not null default plinth.uuid_v7(),
  provider_id uuid not null,
  name text not null,
  display_name text not null,
  description text not null default ''::text,
  config jsonb not null default '{}'::jsonb,
  is_active boolean not null default true,
  is_public boolean not null default false,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint models_pkey primary key (id),
  constraint models_provider_id_name_key unique (provider_id, name),
  constraint models_config_is_an_object check (jsonb_typeof(config) = 'object'::text),
  constraint models_display_name_check check (length(display_name) >= 1 and length(display_name) <= 200),
  constraint models_name_check check (length(name) >= 1 and length(name) <= 200 and name = trim(both from name)),
  constraint models_provider_id_fkey foreign key (provider_id) references llm.model_providers(id) on delete cascade
);

alter table llm.models enable row level security;

create index models_is_active_idx on llm.models using btree (is_active);

create trigger _700_record_data_change
  after insert or delete or update on llm.models
  for each row
  execute function private.record_data_change('id', '', 'updated_at', 'config');
create trigger _900_touch_updated_at
  before update on llm.models
  for each row
  execute function plinth.touch_updated_at();

comment on table llm.models is 'One row per model of a provider.';
comment on column llm.models.id is 'Id (UUIDv7).';
comment on column llm.models.provider_id is 'The provider of the model.';
comment on column llm.models.name is 'Name of the model at the provider, unique per provider.';
comment on column llm.models.display_name is 'Name shown to people.';
comment on column llm.models.description is 'Description of the model and its strengths.';
comment on column llm.models.config is 'Settings for calling the model (JSON object).';
comment on column llm.models.is_active is 'Whether the model is active. Inactive models are hidden and unusable.';
comment on column llm.models.is_public is 'Whether the model is visible to visitors and usable by every signed-in user; otherwise only users with a grant can use it.';
comment on column llm.models.created_at is 'Time when the model was created.';
comment on column llm.models.updated_at is 'Time of the last change.';

create policy all_manager on llm.models
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_models'::text)))
  with check ((select access.has_permission('manage_models'::text)));
comment on policy all_manager on llm.models is 'Users with manage_models read and write all models.';
create policy select_usable on llm.models
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using ((id in (select access.usable_model_ids())));
comment on policy select_usable on llm.models is 'Visitors see public models, users also those granted to them.';

grant
  select,
  insert (provider_id, name, display_name, description, config, is_active, is_public),
  update (name, display_name, description, config, is_active, is_public),
  delete
  on llm.models to :PLINTH_USER;
grant select on llm.models to :PLINTH_ANONYMOUS;

-- One row per label of a prompt, such as production, which points to one of its versions.
create table llm.prompt_labels (
  prompt_id uuid not null,
  label text not null,
  version integer not null,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint prompt_labels_pkey primary key (prompt_id, label),
  constraint prompt_labels_label_check check (label ~ '^[a-z0-9][a-z0-9_.-]{0,49}$'::text),
  constraint prompt_labels_version_fkey foreign key (prompt_id, version) references llm.prompt_versions(prompt_id, version) on delete cascade
);

alter table llm.prompt_labels enable row level security;

create index prompt_labels_prompt_id_version_idx on llm.prompt_labels using btree (prompt_id, version);

create trigger _900_touch_updated_at
  before update on llm.prompt_labels
  for each row
  execute function plinth.touch_updated_at();

comment on table llm.prompt_labels is E'@behavior -query:resource:list -query:resource:connection -query:resource:single\nOne row per label of a prompt, such as production, which points to one of its versions.';
comment on column llm.prompt_labels.prompt_id is 'The prompt.';
comment on column llm.prompt_labels.label is 'Label, such as production or staging: lower case letters, digits, _ . and -.';
comment on column llm.prompt_labels.version is 'Number of the version that the label points to.';
comment on column llm.prompt_labels.created_at is 'Time when the label was first set.';
comment on column llm.prompt_labels.updated_at is 'Time when the label was last moved.';
comment on constraint prompt_labels_version_fkey on llm.prompt_labels is E'@fieldName promptVersion\n@foreignFieldName labels\nThe version that the label points to.';

create policy select_readable on llm.prompt_labels
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using ((exists ( select
   from llm.prompts p
  where p.id = prompt_labels.prompt_id)));
comment on policy select_readable on llm.prompt_labels is 'Users who read a prompt read its labels.';

grant select on llm.prompt_labels to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- One row per prompt and user who may read it while its visibility is shared.
create table llm.prompt_shares (
  prompt_id uuid not null,
  owner_id uuid not null default plinth.current_user_id(),
  user_id uuid not null,
  created_at timestamp with time zone not null default now(),
  constraint prompt_shares_pkey primary key (prompt_id, user_id),
  constraint prompt_shares_are_with_others check (owner_id <> user_id),
  constraint prompt_shares_prompt_id_owner_id_fkey foreign key (prompt_id, owner_id) references llm.prompts(id, user_id) on delete cascade,
  constraint prompt_shares_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table llm.prompt_shares enable row level security;

create index prompt_shares_owner_id_prompt_id_idx on llm.prompt_shares using btree (owner_id, prompt_id);
create index prompt_shares_user_id_idx on llm.prompt_shares using btree (user_id);

create trigger _200_require_own_prompt
  before insert on llm.prompt_shares
  for each row
  execute function llm.require_own_prompt();

comment on table llm.prompt_shares is 'One row per prompt and user who may read it while its visibility is shared.';
comment on column llm.prompt_shares.prompt_id is 'The prompt.';
comment on column llm.prompt_shares.owner_id is 'The owner of the prompt, repeated so that policies need no join.';
comment on column llm.prompt_shares.user_id is 'The user who may read the prompt.';
comment on column llm.prompt_shares.created_at is 'Time when the prompt was shared.';
comment on constraint prompt_shares_prompt_id_owner_id_fkey on llm.prompt_shares is E'@fieldName prompt\n@foreignFieldName shares\nThe prompt.';

create policy all_owner on llm.prompt_shares
  for all to :PLINTH_USER
  using (owner_id = (select plinth.current_user_id()))
  with check (owner_id = (select plinth.current_user_id()));
comment on policy all_owner on llm.prompt_shares is 'Owners of prompts share them and revoke shares.';
create policy delete_receiver on llm.prompt_shares
  for delete to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy delete_receiver on llm.prompt_shares is 'Users may decline prompts shared with them.';
create policy select_receiver on llm.prompt_shares
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_receiver on llm.prompt_shares is 'Users see prompts shared with them.';

grant select, insert (prompt_id, user_id), delete on llm.prompt_shares to :PLINTH_USER;

-- One row per version of a prompt's content and variables. Rows never change.
create table llm.prompt_versions (
  prompt_id uuid not null,
  version integer not null,
  content text not null,
  variables jsonb not null,
  created_by uuid default plinth.current_user_id(),
  created_at timestamp with time zone not null default now(),
  constraint prompt_versions_pkey primary key (prompt_id, version),
  constraint prompt_versions_variables_is_a_list check (jsonb_typeof(variables) = 'array'::text),
  constraint prompt_versions_version_is_positive check (version >= 1),
  constraint prompt_versions_created_by_fkey foreign key (created_by) references identity.users(id) on delete set null,
  constraint prompt_versions_prompt_id_fkey foreign key (prompt_id) references llm.prompts(id) on delete cascade
);

alter table llm.prompt_versions enable row level security;

create index prompt_versions_created_by_idx on llm.prompt_versions using btree (created_by);

create trigger _100_refuse_change
  before update on llm.prompt_versions
  for each row
  execute function llm.refuse_version_change();

comment on table llm.prompt_versions is 'One row per version of a prompt''s content and variables. Rows never change.';
comment on column llm.prompt_versions.prompt_id is 'The prompt.';
comment on column llm.prompt_versions.version is 'Version number of the prompt: 1, 2, 3 … without gaps.';
comment on column llm.prompt_versions.content is 'Content of that version.';
comment on column llm.prompt_versions.variables is 'Variables of that version.';
comment on column llm.prompt_versions.created_by is 'The author of the version; null for an import or a deleted account.';
comment on column llm.prompt_versions.created_at is 'Time when the version was created.';
comment on constraint prompt_versions_variables_is_a_list on llm.prompt_versions is 'The variables must be a list, as in the prompt, where they are validated.';
comment on constraint prompt_versions_prompt_id_fkey on llm.prompt_versions is E'@fieldName prompt\n@foreignFieldName versions\nThe prompt.';

create policy select_readable on llm.prompt_versions
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using ((exists ( select
   from llm.prompts p
  where p.id = prompt_versions.prompt_id)));
comment on policy select_readable on llm.prompt_versions is 'Users who read a prompt read its versions.';

grant select on llm.prompt_versions to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- One row per prompt: those of the shared library and those of users.
create table llm.prompts (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid default plinth.current_user_id(),
  name text not null,
  content text not null,
  prompt_type text not null default 'text'::text,
  is_for_developers boolean not null default false,
  contributors text[] not null default '{}'::text[],
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  variables jsonb not null default '[]'::jsonb,
  visibility text not null default 'private'::text,
  current_version integer not null default 1,
  constraint prompts_pkey primary key (id),
  constraint prompts_id_user_id_key unique (id, user_id),
  constraint prompts_user_id_name_key unique nulls not distinct (user_id, name),
  constraint prompts_content_check check (length(content) >= 1 and octet_length(content) <= 1000000),
  constraint prompts_contributors_has_no_null check (array_position(contributors, null::text) is null),
  constraint prompts_current_version_is_positive check (current_version >= 1),
  constraint prompts_name_check check (length(name) >= 1 and length(name) <= 200 and name = trim(both from name)),
  constraint prompts_prompt_type_check check (prompt_type = any (array['text'::text, 'structured'::text, 'image'::text])),
  constraint prompts_variables_are_declarations check (llm.are_prompt_variables(variables)),
  constraint prompts_visibility_check check (visibility = any (array['private'::text, 'shared'::text, 'public'::text])),
  constraint prompts_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table llm.prompts enable row level security;

create index prompts_name_idx on llm.prompts using btree (name);

create trigger _100_lock_account
  before update of content, variables on llm.prompts
  for each statement
  execute function private.lock_acting_account();
create trigger _200_count_prompt_version
  before insert or update on llm.prompts
  for each row
  execute function llm.count_prompt_version();
create trigger _500_keep_prompt_version
  after insert or update on llm.prompts
  for each row
  execute function llm.keep_prompt_version();
create trigger _900_touch_updated_at
  before update on llm.prompts
  for each row
  execute function plinth.touch_updated_at();

comment on table llm.prompts is 'One row per prompt: those of the shared library and those of users.';
comment on column llm.prompts.id is 'Id (UUIDv7).';
comment on column llm.prompts.user_id is 'The owner; null for the shared library.';
comment on column llm.prompts.name is 'Name, unique in the library and per owner, 1 to 200 characters.';
comment on column llm.prompts.content is 'Text of the prompt, at most 1,000,000 bytes.';
comment on column llm.prompts.prompt_type is 'Kind of answer: text, structured (JSON and the like) or image.';
comment on column llm.prompts.is_for_developers is 'Whether the prompt is meant for software developers.';
comment on column llm.prompts.contributors is 'Names of the prompt''s authors.';
comment on column llm.prompts.created_at is 'Time when the prompt was created.';
comment on column llm.prompts.updated_at is 'Time of the last change.';
comment on column llm.prompts.variables is 'Variables for {{name}} in the content: [{name, type: text | integer | number | boolean | choice, choices, default, description}].';
comment on column llm.prompts.visibility is 'Visibility of a user''s prompt: private (the owner), shared (the users in llm.prompt_shares) or public. The library is always public.';
comment on column llm.prompts.current_version is 'Version number of the current content and variables.';
comment on constraint prompts_prompt_type_check on llm.prompts is E'Kind of answer that a prompt asks for.\ntext: Text.\nstructured: Structured data, such as JSON.\nimage: An image.';
comment on constraint prompts_visibility_check on llm.prompts is E'Visibility of a prompt.\nprivate: Only its owner.\nshared: Its owner and the users it is shared with.\npublic: Every signed-in user.';

create policy all_editor on llm.prompts
  for all to :PLINTH_USER
  using (user_id is null and (select access.has_permission('edit_content'::text)))
  with check (user_id is null and (select access.has_permission('edit_content'::text)));
comment on policy all_editor on llm.prompts is 'Users with edit_content write the shared library.';
create policy all_own on llm.prompts
  for all to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy all_own on llm.prompts is 'Users read and write their own prompts.';
create policy select_library on llm.prompts
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (user_id is null);
comment on policy select_library on llm.prompts is 'Everyone reads the shared library.';
create policy select_public on llm.prompts
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (visibility = 'public'::text);
comment on policy select_public on llm.prompts is 'Everyone reads prompts that their owner made public.';
create policy select_shared on llm.prompts
  for select to :PLINTH_USER
  using (visibility = 'shared'::text and (id in ( select s.prompt_id
   from llm.prompt_shares s
  where s.user_id = (select plinth.current_user_id()))));
comment on policy select_shared on llm.prompts is 'Users read prompts shared with them.';

grant
  select,
  insert (user_id, name, content, prompt_type, is_for_developers, contributors, variables, visibility),
  update (name, content, prompt_type, is_for_developers, contributors, variables, visibility),
  delete
  on llm.prompts to :PLINTH_USER;
grant select on llm.prompts to :PLINTH_ANONYMOUS;

-- One row per user and prompt they have used.
create table llm.user_prompts (
  user_id uuid not null,
  prompt_id uuid not null,
  usage_count bigint not null default 0,
  last_used_at timestamp with time zone,
  constraint user_prompts_pkey primary key (user_id, prompt_id),
  constraint user_prompts_usage_count_is_not_negative check (usage_count >= 0),
  constraint user_prompts_prompt_id_fkey foreign key (prompt_id) references llm.prompts(id) on delete cascade,
  constraint user_prompts_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table llm.user_prompts enable row level security;

create index user_prompts_prompt_id_idx on llm.user_prompts using btree (prompt_id);

comment on table llm.user_prompts is 'One row per user and prompt they have used.';
comment on column llm.user_prompts.user_id is 'The user.';
comment on column llm.user_prompts.prompt_id is 'The prompt.';
comment on column llm.user_prompts.usage_count is 'Number of uses.';
comment on column llm.user_prompts.last_used_at is 'Time of the last use.';

create policy select_own on llm.user_prompts
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.user_prompts is 'Users read their own counts.';

grant select on llm.user_prompts to :PLINTH_USER;

-- Functions -------------------------------------------------------------------------------------------

-- Appends the next piece of an answer, from sequence 1 on; the same piece again changes nothing. CONFLICT for a gap, a different text under an existing sequence, or an answer that has ended.
create or replace function llm.append_delta(message_id uuid, sequence integer, content text default null::text, thinking text default null::text)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/append_delta.sql

comment on function llm.append_delta(message_id uuid, sequence integer, content text, thinking text) is E'@resultFieldName lastSequence\nAppends the next piece of an answer, from sequence 1 on; the same piece again changes nothing. CONFLICT for a gap, a different text under an existing sequence, or an answer that has ended.';
revoke execute on function llm.append_delta(message_id uuid, sequence integer, content text, thinking text) from public;
grant execute on function llm.append_delta(message_id uuid, sequence integer, content text, thinking text) to :PLINTH_USER;

-- Appends the next pieces of an answer, up to 1,000 in one call, the first of them under first_sequence; thinking has as many entries as contents. All or none are written; repeated pieces change nothing. CONFLICT for a gap, a different text under an existing sequence, or an answer that has ended.
create or replace function llm.append_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[] default null::text[])
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/append_deltas.sql

comment on function llm.append_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[]) is E'@resultFieldName lastSequence\nAppends the next pieces of an answer, up to 1,000 in one call, the first of them under first_sequence; thinking has as many entries as contents. All or none are written; repeated pieces change nothing. CONFLICT for a gap, a different text under an existing sequence, or an answer that has ended.';
revoke execute on function llm.append_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[]) from public;
grant execute on function llm.append_deltas(message_id uuid, first_sequence integer, contents text[], thinking text[]) to :PLINTH_USER;

-- Returns whether this is a list of up to 50 declarations {name, type, choices, default, description} with different names.
create or replace function llm.are_prompt_variables(variables jsonb)
  returns boolean
  language plpgsql
  immutable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/are_prompt_variables.sql

comment on function llm.are_prompt_variables(variables jsonb) is E'@behavior -*\nReturns whether this is a list of up to 50 declarations {name, type, choices, default, description} with different names.';
revoke execute on function llm.are_prompt_variables(variables jsonb) from public;
grant execute on function llm.are_prompt_variables(variables jsonb) to :PLINTH_USER;

-- Ends a failed answer with the text that has arrived. An answer that had already ended is returned unchanged.
create or replace function llm.break_off_turn(message_id uuid, error_code text default null::text, error_message text default null::text, output_tokens bigint default null::bigint, input_tokens bigint default null::bigint)
  returns llm.messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/break_off_turn.sql

comment on function llm.break_off_turn(message_id uuid, error_code text, error_message text, output_tokens bigint, input_tokens bigint) is E'@resultFieldName message\nEnds a failed answer with the text that has arrived. An answer that had already ended is returned unchanged.';
revoke execute on function llm.break_off_turn(message_id uuid, error_code text, error_message text, output_tokens bigint, input_tokens bigint) from public;
grant execute on function llm.break_off_turn(message_id uuid, error_code text, error_message text, output_tokens bigint, input_tokens bigint) to :PLINTH_USER;

-- Ends an answer in the signed-in user's chat, whichever client writes it, with the text that has arrived; the writer's next delta is rejected. An answer that had already ended is returned unchanged.
create or replace function llm.cancel_turn(message_id uuid)
  returns llm.messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/cancel_turn.sql

comment on function llm.cancel_turn(message_id uuid) is E'@resultFieldName message\nEnds an answer in the signed-in user''s chat, whichever client writes it, with the text that has arrived; the writer''s next delta is rejected. An answer that had already ended is returned unchanged.';
revoke execute on function llm.cancel_turn(message_id uuid) from public;
grant execute on function llm.cancel_turn(message_id uuid) to :PLINTH_USER;

-- Returns the messages of the active path in order: all, or the last max_count, or those before a depth.
create or replace function llm.chats_active_path(chat llm.chats, max_count integer default null::integer, before_depth integer default null::integer)
  returns setof llm.messages
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/chats_active_path.sql

comment on function llm.chats_active_path(chat llm.chats, max_count integer, before_depth integer) is 'Returns the messages of the active path in order: all, or the last max_count, or those before a depth.';
revoke execute on function llm.chats_active_path(chat llm.chats, max_count integer, before_depth integer) from public;
grant execute on function llm.chats_active_path(chat llm.chats, max_count integer, before_depth integer) to :PLINTH_USER;

-- Returns the whole chat as JSON {format, version, title, activePath: [id], messages: [{id, parentId, role, content, …}]}.
create or replace function llm.chats_export_json(chat llm.chats)
  returns jsonb
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/chats_export_json.sql

comment on function llm.chats_export_json(chat llm.chats) is 'Returns the whole chat as JSON {format, version, title, activePath: [id], messages: [{id, parentId, role, content, …}]}.';
revoke execute on function llm.chats_export_json(chat llm.chats) from public;
grant execute on function llm.chats_export_json(chat llm.chats) to :PLINTH_USER;

-- Returns the active path of the chat as Markdown: a heading for each message, its unchanged text, its attachments as links.
create or replace function llm.chats_export_markdown(chat llm.chats)
  returns text
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/chats_export_markdown.sql

comment on function llm.chats_export_markdown(chat llm.chats) is 'Returns the active path of the chat as Markdown: a heading for each message, its unchanged text, its attachments as links.';
revoke execute on function llm.chats_export_markdown(chat llm.chats) from public;
grant execute on function llm.chats_export_markdown(chat llm.chats) to :PLINTH_USER;

-- Trigger: numbers new content or variables as the next version.
create or replace function llm.count_prompt_version()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/llm/triggers/prompts.sql

comment on function llm.count_prompt_version() is 'Trigger: numbers new content or variables as the next version.';
revoke execute on function llm.count_prompt_version() from public;

-- Adds an edited message beside one of the signed-in user's own and selects it; attachments are kept unless given. NOT_FOUND for an unknown message, CONFLICT while an answer is being written and for a key that was used for another message.
create or replace function llm.edit_chat_message(message_id uuid, content text, attachments jsonb default null::jsonb, idempotency_key text default null::text)
  returns llm.messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/edit_chat_message.sql

comment on function llm.edit_chat_message(message_id uuid, content text, attachments jsonb, idempotency_key text) is E'@resultFieldName message\nAdds an edited message beside one of the signed-in user''s own and selects it; attachments are kept unless given. NOT_FOUND for an unknown message, CONFLICT while an answer is being written and for a key that was used for another message.';
revoke execute on function llm.edit_chat_message(message_id uuid, content text, attachments jsonb, idempotency_key text) from public;
grant execute on function llm.edit_chat_message(message_id uuid, content text, attachments jsonb, idempotency_key text) to :PLINTH_USER;

-- Ends a complete answer (stop, length, tool_calls, content_filter). With last_sequence, CONFLICT unless exactly that many deltas arrived. An answer that had already ended is returned unchanged: check its state.
create or replace function llm.finish_turn(message_id uuid, finish_reason text default 'stop'::text, last_sequence integer default null::integer, tool_calls jsonb default null::jsonb, output_tokens bigint default null::bigint, input_tokens bigint default null::bigint)
  returns llm.messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/finish_turn.sql

comment on function llm.finish_turn(message_id uuid, finish_reason text, last_sequence integer, tool_calls jsonb, output_tokens bigint, input_tokens bigint) is E'@resultFieldName message\nEnds a complete answer (stop, length, tool_calls, content_filter). With last_sequence, CONFLICT unless exactly that many deltas arrived. An answer that had already ended is returned unchanged: check its state.';
revoke execute on function llm.finish_turn(message_id uuid, finish_reason text, last_sequence integer, tool_calls jsonb, output_tokens bigint, input_tokens bigint) from public;
grant execute on function llm.finish_turn(message_id uuid, finish_reason text, last_sequence integer, tool_calls jsonb, output_tokens bigint, input_tokens bigint) to :PLINTH_USER;

-- Returns whether a value is of the type that a prompt variable declares.
create or replace function llm.fits_prompt_variable(value jsonb, variable jsonb)
  returns boolean
  language sql
  immutable parallel safe
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/fits_prompt_variable.sql

comment on function llm.fits_prompt_variable(value jsonb, variable jsonb) is E'@behavior -*\nReturns whether a value is of the type that a prompt variable declares.';
revoke execute on function llm.fits_prompt_variable(value jsonb, variable jsonb) from public;
grant execute on function llm.fits_prompt_variable(value jsonb, variable jsonb) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Trigger: stores each version of a prompt.
create or replace function llm.keep_prompt_version()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/triggers/prompts.sql

comment on function llm.keep_prompt_version() is 'Trigger: stores each version of a prompt.';
revoke execute on function llm.keep_prompt_version() from public;

-- Points a label such as production at a version of a prompt. Without a version, deletes the label and returns it, or null if there was none. NOT_FOUND for a prompt the caller may not change.
create or replace function llm.label_prompt(prompt_id uuid, label text, version integer default null::integer)
  returns llm.prompt_labels
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/label_prompt.sql

comment on function llm.label_prompt(prompt_id uuid, label text, version integer) is E'@resultFieldName promptLabel\nPoints a label such as production at a version of a prompt. Without a version, deletes the label and returns it, or null if there was none. NOT_FOUND for a prompt the caller may not change.';
revoke execute on function llm.label_prompt(prompt_id uuid, label text, version integer) from public;
grant execute on function llm.label_prompt(prompt_id uuid, label text, version integer) to :PLINTH_USER;

-- Returns the deltas of an answer after a sequence, in order, up to 1,000.
create or replace function llm.message_deltas_after(message_id uuid, after integer default 0, max_count integer default 100)
  returns setof llm.message_deltas
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/message_deltas_after.sql

comment on function llm.message_deltas_after(message_id uuid, after integer, max_count integer) is E'@behavior -queryField:resource:connection +queryField:resource:list\n@listSuffix omit\nReturns the deltas of an answer after a sequence, in order, up to 1,000.';
revoke execute on function llm.message_deltas_after(message_id uuid, after integer, max_count integer) from public;
grant execute on function llm.message_deltas_after(message_id uuid, after integer, max_count integer) to :PLINTH_USER;

-- Returns the messages with the same parent, this one included, oldest first: edits, or answers to one question.
create or replace function llm.messages_alternatives(message llm.messages)
  returns setof llm.messages
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/messages_alternatives.sql

comment on function llm.messages_alternatives(message llm.messages) is 'Returns the messages with the same parent, this one included, oldest first: edits, or answers to one question.';
revoke execute on function llm.messages_alternatives(message llm.messages) from public;
grant execute on function llm.messages_alternatives(message llm.messages) to :PLINTH_USER;

-- Returns the current text: for an answer that streams, the text that has arrived; for any other message, its content.
create or replace function llm.messages_current_content(message llm.messages)
  returns text
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/messages_current_content.sql

comment on function llm.messages_current_content(message llm.messages) is 'Returns the current text: for an answer that streams, the text that has arrived; for any other message, its content.';
revoke execute on function llm.messages_current_content(message llm.messages) from public;
grant execute on function llm.messages_current_content(message llm.messages) to :PLINTH_USER;

-- Returns the model's price at a time, now by default; null when no price is known.
create or replace function llm.models_price(m llm.models, at timestamp with time zone default now(), currency text default 'USD'::text)
  returns billing.model_prices
  language sql
  stable; -- fixtures/billing/functions/models_price.sql

comment on function llm.models_price(m llm.models, at timestamp with time zone, currency text) is 'Returns the model''s price at a time, now by default; null when no price is known.';
revoke execute on function llm.models_price(m llm.models, at timestamp with time zone, currency text) from public;
grant execute on function llm.models_price(m llm.models, at timestamp with time zone, currency text) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Returns the id of the newest message of a chat, on any path; null when there is none.
create or replace function llm.newest_message_id(user_id uuid, chat_id uuid)
  returns uuid
  language sql
  stable
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/newest_message_id.sql

comment on function llm.newest_message_id(user_id uuid, chat_id uuid) is E'@behavior -*\nReturns the id of the newest message of a chat, on any path; null when there is none.';
revoke execute on function llm.newest_message_id(user_id uuid, chat_id uuid) from public;
grant execute on function llm.newest_message_id(user_id uuid, chat_id uuid) to :PLINTH_USER;

-- Trigger: places a message after the one it names, or at the end of the active path.
create or replace function llm.place_message()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/triggers/messages.sql

comment on function llm.place_message() is 'Trigger: places a message after the one it names, or at the end of the active path.';
revoke execute on function llm.place_message() from public;

-- Returns the number of uses of the prompt by all users whose account still exists.
create or replace function llm.prompts_usage_count(prompt llm.prompts)
  returns bigint
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/prompts_usage_count.sql

comment on function llm.prompts_usage_count(prompt llm.prompts) is 'Returns the number of uses of the prompt by all users whose account still exists.';
revoke execute on function llm.prompts_usage_count(prompt llm.prompts) from public;
grant execute on function llm.prompts_usage_count(prompt llm.prompts) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Rates an answer up or down, with a comment. Without a rating, deletes the rating and returns it, or null if there was none. NOT_FOUND for an unknown message.
create or replace function llm.rate_message(message_id uuid, rating text default null::text, comment text default ''::text)
  returns llm.message_feedback
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/rate_message.sql

comment on function llm.rate_message(message_id uuid, rating text, comment text) is E'@resultFieldName feedback\nRates an answer up or down, with a comment. Without a rating, deletes the rating and returns it, or null if there was none. NOT_FOUND for an unknown message.';
revoke execute on function llm.rate_message(message_id uuid, rating text, comment text) from public;
grant execute on function llm.rate_message(message_id uuid, rating text, comment text) to :PLINTH_USER;

-- Trigger: records tokens_used of an assistant's message as usage of its owner.
create or replace function llm.record_messages_usage()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/triggers/messages.sql

comment on function llm.record_messages_usage() is 'Trigger: records tokens_used of an assistant''s message as usage of its owner.';
revoke execute on function llm.record_messages_usage() from public;

-- Trigger: rejects changes to versions of prompts.
create or replace function llm.refuse_version_change()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/llm/triggers/prompt_versions.sql

comment on function llm.refuse_version_change() is 'Trigger: rejects changes to versions of prompts.';
revoke execute on function llm.refuse_version_change() from public;

-- Returns the content of a prompt (current, or a version, or the version of a label) with its variables filled in. BAD_USER_INPUT for a value that is missing, unknown or of the wrong type; NOT_FOUND for a prompt the caller cannot see.
create or replace function llm.render_prompt(prompt_id uuid, prompt_values jsonb default '{}'::jsonb, label text default null::text, version integer default null::integer)
  returns text
  language plpgsql
  stable
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/render_prompt.sql

comment on function llm.render_prompt(prompt_id uuid, prompt_values jsonb, label text, version integer) is 'Returns the content of a prompt (current, or a version, or the version of a label) with its variables filled in. BAD_USER_INPUT for a value that is missing, unknown or of the wrong type; NOT_FOUND for a prompt the caller cannot see.';
revoke execute on function llm.render_prompt(prompt_id uuid, prompt_values jsonb, label text, version integer) from public;
grant execute on function llm.render_prompt(prompt_id uuid, prompt_values jsonb, label text, version integer) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Requests an answer that the server writes with a model, after parent_id or at the end of the active path; follow it with messageDeltas. Without model_id, the model of the user's own settings writes. The same key again returns the same answer. Reserves max_tokens and the input. QUOTA_EXCEEDED when fewer are left, NOT_FOUND for an unknown chat, message or model, CONFLICT while another answer is being written, FORBIDDEN without use_own_model.
create or replace function llm.request_answer(chat_id uuid, model_id uuid default null::uuid, parent_id uuid default null::uuid, max_tokens bigint default 4096, tools jsonb default null::jsonb, idempotency_key text default null::text)
  returns llm.messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/request_answer.sql

comment on function llm.request_answer(chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, tools jsonb, idempotency_key text) is E'@resultFieldName message\nRequests an answer that the server writes with a model, after parent_id or at the end of the active path; follow it with messageDeltas. Without model_id, the model of the user''s own settings writes. The same key again returns the same answer. Reserves max_tokens and the input. QUOTA_EXCEEDED when fewer are left, NOT_FOUND for an unknown chat, message or model, CONFLICT while another answer is being written, FORBIDDEN without use_own_model.';
revoke execute on function llm.request_answer(chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, tools jsonb, idempotency_key text) from public;
grant execute on function llm.request_answer(chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, tools jsonb, idempotency_key text) to :PLINTH_USER;

-- Trigger: raises 23503 for a prompt that the owner of the share does not own.
create or replace function llm.require_own_prompt()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/llm/triggers/prompt_shares.sql

comment on function llm.require_own_prompt() is 'Trigger: raises 23503 for a prompt that the owner of the share does not own.';
revoke execute on function llm.require_own_prompt() from public;

-- Searches the signed-in user's own messages: words, "phrases", or, -not. Best first. headline is HTML: escaped text with <mark> around matches.
create or replace function llm.search_chat_messages(query text, max_count integer default 20, skip integer default 0, include_archived boolean default false)
  returns table(message_id uuid, chat_id uuid, chat_title text, role text, headline text, rank real, created_at timestamp with time zone)
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/search_chat_messages.sql

comment on function llm.search_chat_messages(query text, max_count integer, skip integer, include_archived boolean) is 'Searches the signed-in user''s own messages: words, "phrases", or, -not. Best first. headline is HTML: escaped text with <mark> around matches.';
revoke execute on function llm.search_chat_messages(query text, max_count integer, skip integer, include_archived boolean) from public;
grant execute on function llm.search_chat_messages(query text, max_count integer, skip integer, include_archived boolean) to :PLINTH_USER;

-- Makes the active path of a chat go through a message, and from there to the newest end. NOT_FOUND for an unknown message, CONFLICT while an answer is being written.
create or replace function llm.select_branch(message_id uuid)
  returns llm.chats
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/select_branch.sql

comment on function llm.select_branch(message_id uuid) is E'@resultFieldName chat\nMakes the active path of a chat go through a message, and from there to the newest end. NOT_FOUND for an unknown message, CONFLICT while an answer is being written.';
revoke execute on function llm.select_branch(message_id uuid) from public;
grant execute on function llm.select_branch(message_id uuid) to :PLINTH_USER;

-- Adds a message of the signed-in user, after parent_id or at the end of the active path, with up to 10 attachments [{url, mimeType, sizeBytes, name}]. The same key again returns the same message. NOT_FOUND for an unknown chat or parent, CONFLICT while the previous answer is being written and for a key that was used for another message.
create or replace function llm.send_chat_message(chat_id uuid, content text, parent_id uuid default null::uuid, attachments jsonb default '[]'::jsonb, idempotency_key text default null::text)
  returns llm.messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/send_chat_message.sql

comment on function llm.send_chat_message(chat_id uuid, content text, parent_id uuid, attachments jsonb, idempotency_key text) is E'@resultFieldName message\nAdds a message of the signed-in user, after parent_id or at the end of the active path, with up to 10 attachments [{url, mimeType, sizeBytes, name}]. The same key again returns the same message. NOT_FOUND for an unknown chat or parent, CONFLICT while the previous answer is being written and for a key that was used for another message.';
revoke execute on function llm.send_chat_message(chat_id uuid, content text, parent_id uuid, attachments jsonb, idempotency_key text) from public;
grant execute on function llm.send_chat_message(chat_id uuid, content text, parent_id uuid, attachments jsonb, idempotency_key text) to :PLINTH_USER;

-- Starts an answer that the caller streams in, after parent_id or at the end of the active path. The same key again returns the same answer. Reserves max_tokens. QUOTA_EXCEEDED when fewer are left, NOT_FOUND for an unknown chat, message or model, CONFLICT while another answer is being written.
create or replace function llm.start_turn(chat_id uuid, model_id uuid, parent_id uuid default null::uuid, max_tokens bigint default 4096, idempotency_key text default null::text, lease_seconds integer default 60)
  returns llm.messages
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/start_turn.sql

comment on function llm.start_turn(chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, idempotency_key text, lease_seconds integer) is E'@resultFieldName message\nStarts an answer that the caller streams in, after parent_id or at the end of the active path. The same key again returns the same answer. Reserves max_tokens. QUOTA_EXCEEDED when fewer are left, NOT_FOUND for an unknown chat, message or model, CONFLICT while another answer is being written.';
revoke execute on function llm.start_turn(chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, idempotency_key text, lease_seconds integer) from public;
grant execute on function llm.start_turn(chat_id uuid, model_id uuid, parent_id uuid, max_tokens bigint, idempotency_key text, lease_seconds integer) to :PLINTH_USER;

-- Trigger: a new message updates its chat's time of last activity.
create or replace function llm.touch_chats()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/triggers/messages.sql

comment on function llm.touch_chats() is 'Trigger: a new message updates its chat''s time of last activity.';
revoke execute on function llm.touch_chats() from public;

-- Counts one use of a prompt by the signed-in user; returns the count. The same key again counts nothing. PL404 for a prompt the user cannot see.
create or replace function llm.use_prompt(prompt_id uuid, idempotency_key text default null::text)
  returns llm.user_prompts
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/llm/functions/use_prompt.sql

comment on function llm.use_prompt(prompt_id uuid, idempotency_key text) is 'Counts one use of a prompt by the signed-in user; returns the count. The same key again counts nothing. PL404 for a prompt the user cannot see.';
revoke execute on function llm.use_prompt(prompt_id uuid, idempotency_key text) from public;
grant execute on function llm.use_prompt(prompt_id uuid, idempotency_key text) to :PLINTH_USER;
