--! Previous: sha1:92a0d0a1195f324ff7b6b1ef1d12ee02ca0e726e
--! Hash: sha1:52876651a84c708d96925bcab5fc59ab6330ecf4
--! Message: llm

-- Models, prompts, chats as trees of messages, and turns (answers being written).

-- Function bodies are checked on first use, so a function may precede the objects that it uses.
set local check_function_bodies = off;

-- The function of a constraint below.
--! Included llm/functions/are_prompt_variables.sql
-- The format of llm.prompts.variables. A function, because a CHECK cannot inspect the elements of an array directly.
create or replace function llm.are_prompt_variables(variables jsonb)
  returns boolean
  language plpgsql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
declare
  v_variable jsonb;
  v_names text[] := '{}';
  v_default jsonb;
begin
  if jsonb_typeof(are_prompt_variables.variables) is distinct from 'array'
    or jsonb_array_length(are_prompt_variables.variables) > 50
  then
    return false;
  end if;
  for v_variable in select jsonb_array_elements(are_prompt_variables.variables) loop
    if jsonb_typeof(v_variable) <> 'object'
      or v_variable - array['name', 'type', 'choices', 'default', 'description'] <> '{}'
      or jsonb_typeof(v_variable -> 'name') is distinct from 'string'
      or v_variable ->> 'name' !~ '^[a-z][A-Za-z0-9_]{0,49}$'
      or v_variable ->> 'name' = any (v_names)
      or (v_variable ->> 'type' in ('text', 'integer', 'number', 'boolean', 'choice')) is not true
      or jsonb_typeof(coalesce(v_variable -> 'description', '""')) <> 'string'
      or (v_variable ->> 'type' = 'choice') <> (v_variable ? 'choices')
    then
      return false;
    end if;
    if v_variable ? 'choices' and (
      jsonb_typeof(v_variable -> 'choices') <> 'array'
      or v_variable -> 'choices' = '[]'
      or exists (select from jsonb_array_elements(v_variable -> 'choices') c where jsonb_typeof(c) <> 'string')
    ) then
      return false;
    end if;
    v_default := v_variable -> 'default';
    if v_default is not null and not llm.fits_prompt_variable(v_default, v_variable) then
      return false;
    end if;
    v_names := v_names || (v_variable ->> 'name');
  end loop;
  return true;
end
$$;

comment on function llm.are_prompt_variables(jsonb) is
  E'@behavior -*\n'
  'Returns whether this is a list of up to 50 declarations {name, type, choices, default, description} with different names.';
grant execute on function llm.are_prompt_variables(jsonb) to :PLINTH_USER;
--! EndIncluded llm/functions/are_prompt_variables.sql

create table llm.model_providers (
  id uuid primary key default plinth.uuid_v7(),
  name text not null,
  api_url text,
  auth_type text not null default 'api_key',
  created_by uuid default plinth.current_user_id() references identity.users on delete set null,
  is_active boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint model_providers_name_key unique (name),
  constraint model_providers_name_check check (length(name) between 1 and 100 and name = trim(name)),
  constraint model_providers_api_url_check check (api_url ~ '^https?://[^[:space:]]+$' and length(api_url) <= 2048),
  constraint model_providers_auth_type_check check (auth_type in ('none', 'api_key', 'bearer', 'oauth2'))
);

alter table llm.model_providers enable row level security;

-- Serves the foreign key.
create index model_providers_created_by_idx on llm.model_providers (created_by);

comment on table llm.model_providers is 'One row per model vendor or self-hosted model server.';
comment on column llm.model_providers.id is 'Id (UUIDv7).';
comment on column llm.model_providers.name is 'Unique name, such as openai.';
comment on column llm.model_providers.api_url is 'Base URL for requests; null if the application knows it.';
comment on column llm.model_providers.auth_type is
  'Authentication method: none, api_key, bearer or oauth2. Keys are not stored here.';
comment on column llm.model_providers.created_by is
  'Administrator who created the provider; null for an import or a deleted account.';
comment on column llm.model_providers.is_active is
  'Whether the provider is active. Inactive providers and their models are hidden and unusable.';
comment on column llm.model_providers.created_at is 'Time when the provider was created.';
comment on column llm.model_providers.updated_at is 'Time of the last change.';

create table llm.models (
  id uuid primary key default plinth.uuid_v7(),
  provider_id uuid not null references llm.model_providers on delete cascade,
  name text not null,
  display_name text not null,
  description text not null default '',
  config jsonb not null default '{}',
  is_active boolean not null default true,
  is_public boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint models_provider_id_name_key unique (provider_id, name),
  constraint models_name_check check (length(name) between 1 and 200 and name = trim(name)),
  constraint models_display_name_check check (length(display_name) between 1 and 200),
  constraint models_config_is_an_object check (jsonb_typeof(config) = 'object')
);

alter table llm.models enable row level security;

-- The unique key serves provider_id. The catalogue shows active models only.
create index models_is_active_idx on llm.models (is_active);

comment on table llm.models is 'One row per model of a provider.';
comment on column llm.models.id is 'Id (UUIDv7).';
comment on column llm.models.provider_id is 'The provider of the model.';
comment on column llm.models.name is 'Name of the model at the provider, unique per provider.';
comment on column llm.models.display_name is 'Name shown to people.';
comment on column llm.models.description is 'Description of the model and its strengths.';
comment on column llm.models.config is 'Settings for calling the model (JSON object).';
comment on column llm.models.is_active is 'Whether the model is active. Inactive models are hidden and unusable.';
comment on column llm.models.is_public is
  'Whether the model is visible to visitors and usable by every signed-in user; otherwise only users with a grant can use it.';
comment on column llm.models.created_at is 'Time when the model was created.';
comment on column llm.models.updated_at is 'Time of the last change.';

create table llm.prompts (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid default plinth.current_user_id() references identity.users on delete cascade,
  name text not null,
  content text not null,
  prompt_type text not null default 'text',
  is_for_developers boolean not null default false,
  contributors text[] not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  variables jsonb not null default '[]',
  visibility text not null default 'private',
  current_version integer not null default 1,
  -- Names are unique in the library and per user, so that names of other users' prompts are not revealed.
  constraint prompts_user_id_name_key unique nulls not distinct (user_id, name),
  constraint prompts_name_check check (length(name) between 1 and 200 and name = trim(name)),
  constraint prompts_content_check check (length(content) >= 1 and octet_length(content) <= 1000000),
  constraint prompts_prompt_type_check check (prompt_type in ('text', 'structured', 'image')),
  constraint prompts_contributors_has_no_null check (array_position(contributors, null) is null),
  -- Lets a share reference the prompt and its owner in one foreign key.
  constraint prompts_id_user_id_key unique (id, user_id),
  constraint prompts_variables_are_declarations check (llm.are_prompt_variables(variables)),
  constraint prompts_visibility_check check (visibility in ('private', 'shared', 'public')),
  constraint prompts_current_version_is_positive check (current_version >= 1)
);

alter table llm.prompts enable row level security;

-- Search by name across owners; the unique key starts with the owner.
create index prompts_name_idx on llm.prompts (name);

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
comment on column llm.prompts.variables is
  'Variables for {{name}} in the content: [{name, type: text | integer | number | boolean | choice, choices, default, '
  'description}].';
comment on column llm.prompts.visibility is
  'Visibility of a user''s prompt: private (the owner), shared (the users in llm.prompt_shares) or public. The library '
  'is always public.';
comment on column llm.prompts.current_version is 'Version number of the current content and variables.';

create table llm.user_prompts (
  user_id uuid not null references identity.users on delete cascade,
  prompt_id uuid not null references llm.prompts on delete cascade,
  usage_count bigint not null default 0,
  last_used_at timestamptz,
  primary key (user_id, prompt_id),
  constraint user_prompts_usage_count_is_not_negative check (usage_count >= 0)
);

alter table llm.user_prompts enable row level security;

-- Serves the foreign key, and the count of uses of a prompt.
create index user_prompts_prompt_id_idx on llm.user_prompts (prompt_id);

comment on table llm.user_prompts is 'One row per user and prompt they have used.';
comment on column llm.user_prompts.user_id is 'The user.';
comment on column llm.user_prompts.prompt_id is 'The prompt.';
comment on column llm.user_prompts.usage_count is 'Number of uses.';
comment on column llm.user_prompts.last_used_at is 'Time of the last use.';

create table llm.messages (
  id uuid primary key default plinth.uuid_v7(),
  chat_id uuid not null,
  user_id uuid not null default plinth.current_user_id(),
  role text not null,
  content text not null default '',
  thinking text,
  tool_calls jsonb,
  images jsonb,
  model_id uuid references llm.models on delete set null,
  tokens_used integer,
  extended_metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  parent_id uuid,
  depth integer not null,
  state text not null default 'complete',
  finish_reason text,
  error_code text,
  error_message text,
  last_sequence integer not null default 0,
  idempotency_key text,
  constraint messages_role_check check (role in ('user', 'assistant', 'system', 'tool')),
  constraint messages_content_check check (octet_length(content) <= 1000000),
  constraint messages_thinking_check check (octet_length(thinking) <= 1000000),
  constraint messages_tool_calls_check check (jsonb_typeof(tool_calls) = 'array'),
  constraint messages_images_check check (jsonb_typeof(images) = 'array'),
  constraint messages_model_id_only_for_assistant check (model_id is null or role = 'assistant'),
  constraint messages_thinking_only_for_assistant check (thinking is null or role = 'assistant'),
  constraint messages_tool_calls_only_for_assistant check (tool_calls is null or role = 'assistant'),
  constraint messages_tokens_used_is_not_negative check (tokens_used >= 0),
  constraint messages_extended_metadata_is_an_object check (jsonb_typeof(extended_metadata) = 'object'),
  constraint messages_user_id_chat_id_id_key unique (user_id, chat_id, id),
  constraint messages_parent_id_fkey
    foreign key (user_id, chat_id, parent_id) references llm.messages (user_id, chat_id, id) on delete cascade,
  constraint messages_first_ones_have_no_parent check ((parent_id is null) = (depth = 1)),
  constraint messages_depth_is_positive check (depth >= 1),
  constraint messages_state_check check (state in ('streaming', 'complete', 'broken_off', 'cancelled')),
  constraint messages_finish_reason_check check (
    finish_reason in ('stop', 'length', 'tool_calls', 'content_filter', 'error', 'expired', 'cancelled')
  ),
  constraint messages_only_answers_stream_and_finish check (
    role = 'assistant' or (state = 'complete' and finish_reason is null)
  ),
  constraint messages_finish_reason_fits_state check (
    case state
      when 'streaming' then finish_reason is null
      when 'complete' then finish_reason in ('stop', 'length', 'tool_calls', 'content_filter') is not false
      when 'broken_off' then finish_reason in ('error', 'expired') is true
      when 'cancelled' then finish_reason = 'cancelled' is true
    end
  ),
  constraint messages_only_broken_off_ones_have_an_error check (
    state = 'broken_off' or (error_code is null and error_message is null)
  ),
  constraint messages_error_code_check check (length(error_code) between 1 and 100),
  constraint messages_error_message_check check (length(error_message) <= 2000),
  constraint messages_last_sequence_is_not_negative check (last_sequence >= 0),
  constraint messages_idempotency_key_check check (length(idempotency_key) between 1 and 255)
);

alter table llm.messages enable row level security;

-- A user's latest messages in all chats; without it the query of an inactive user would scan the messages of all users.
create index messages_user_id_id_idx on llm.messages (user_id, id);
-- Messages by time across chats, for analysts and retention.
create index messages_created_at_idx on llm.messages (created_at);
-- Serves the foreign key, and usage by model.
create index messages_model_id_idx on llm.messages (model_id);
-- One turn at a time: the next turn of a chat waits until the current one has ended.
create unique index messages_one_turn_a_chat_idx on llm.messages (chat_id) where state = 'streaming';
create unique index messages_user_id_idempotency_key_idx on llm.messages (user_id, idempotency_key)
  where idempotency_key is not null;
create index messages_search_idx on llm.messages
  using gin (user_id, plinth.search_document('en', content)) where role in ('user', 'assistant');
create index messages_chat_id_parent_id_idx on llm.messages (chat_id, parent_id, user_id);

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
comment on column llm.messages.parent_id is
  'The preceding message; null for the first of a chat. Messages with the same parent are alternatives: an edit, or '
  'another answer.';
comment on column llm.messages.depth is 'Number of messages from the first to this one; 1 for the first.';
comment on column llm.messages.state is
  'State: complete; for an answer also streaming, broken_off or cancelled. The last two keep the text received so far.';
comment on column llm.messages.finish_reason is
  'Reason an answer ended: stop, length, tool_calls, content_filter; error or expired if broken off; cancelled. Null if unknown.';
comment on column llm.messages.error_code is 'Machine-readable code of the error that broke off an answer.';
comment on column llm.messages.error_message is 'Human-readable message of the error that broke off an answer.';
comment on column llm.messages.last_sequence is 'Number of deltas of an answer; set when it has ended.';
comment on column llm.messages.idempotency_key is
  E'@behavior -*\n'
  'Idempotency key of the request, unique per user; repeating the request returns this message.';
comment on constraint messages_parent_id_fkey on llm.messages is
  E'@fieldName parent\n'
  '@foreignFieldName children\n'
  'The preceding message.';

create table llm.chats (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null default plinth.current_user_id() references identity.users on delete cascade,
  title text not null default 'New chat',
  is_archived boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  head_id uuid,
  import_key text,
  -- Lets messages reference the chat and its owner in one foreign key.
  constraint chats_id_user_id_key unique (id, user_id),
  constraint chats_title_check check (length(title) between 1 and 255),
  constraint chats_head_id_fkey
    foreign key (user_id, id, head_id) references llm.messages (user_id, chat_id, id) on delete set null (head_id) deferrable,
  constraint chats_import_key_check check (length(import_key) between 1 and 255)
);

alter table llm.chats enable row level security;

-- A user's chats by last activity; also serves the foreign key.
create index chats_user_id_updated_at_idx on llm.chats (user_id, updated_at desc);
-- Serves the foreign key.
create index chats_head_id_idx on llm.chats (head_id, user_id, id);
create unique index chats_user_id_import_key_idx on llm.chats (user_id, import_key) where import_key is not null;

comment on table llm.chats is 'One row per conversation of a user with models.';
comment on column llm.chats.id is 'Id (UUIDv7).';
comment on column llm.chats.user_id is 'The owner of the chat.';
comment on column llm.chats.title is 'Title, 1 to 255 characters.';
comment on column llm.chats.is_archived is 'Whether the chat is archived; clients hide archived chats.';
comment on column llm.chats.created_at is 'Time when the chat was created.';
comment on column llm.chats.updated_at is 'Time of the last activity: the latest message, or a change of the chat itself.';
comment on column llm.chats.head_id is
  E'@behavior -*\n'
  'Last message of the active path if it is not the chat''s latest message; see llm.chats_active_path.';
comment on column llm.chats.import_key is
  E'@behavior -*\n'
  'Origin of an imported chat, such as chatgpt:<id>; importing it again updates the same chat.';
comment on constraint chats_head_id_fkey on llm.chats is '@behavior -*';

-- An assistant's memory of a user. The server encrypts it under the user's key.
create table llm.conversation_memories (
  user_id uuid primary key references identity.users on delete cascade,
  key_id uuid not null,
  memory text not null,
  -- One sequence for all rows, so that a memory deleted and rewritten has a version that no client has seen.
  version bigint not null generated always as identity,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint conversation_memories_key_id_user_id_fkey
    foreign key (key_id, user_id) references private.user_keys (id, user_id) on delete cascade,
  -- A Fernet token begins with the byte 0x80 and seven bytes of time, the upper ones zero.
  constraint conversation_memories_memory_is_encrypted check (memory ~ '^gAAAA[A-Za-z0-9_-]+={0,2}$'),
  constraint conversation_memories_memory_is_not_too_long check (length(memory) <= 400000)
);

alter table llm.conversation_memories enable row level security;

-- Serves the foreign key.
create index conversation_memories_key_id_user_id_idx on llm.conversation_memories (key_id, user_id);

comment on table llm.conversation_memories is
  E'@behavior -*\n'
  'One row per user with a memory: what an assistant remembers, encrypted with the user''s key.';
comment on column llm.conversation_memories.user_id is 'The user.';
comment on column llm.conversation_memories.key_id is
  'The user''s key that encrypted the memory; deleting the key deletes the row.';
comment on column llm.conversation_memories.memory is 'Memory as a Fernet token of a JSON document.';
comment on column llm.conversation_memories.version is 'Version of the memory; each change sets a new value, never used before.';
comment on column llm.conversation_memories.created_at is 'Time when the memory was created.';
comment on column llm.conversation_memories.updated_at is 'Time of the last change.';

create table private.turns (
  message_id uuid primary key,
  user_id uuid not null,
  chat_id uuid not null,
  writer text not null,
  last_sequence integer not null default 0,
  streamed_bytes integer not null default 0,
  lease interval not null,
  lease_expires_at timestamptz not null,
  max_tokens bigint not null,
  input_tokens bigint not null,
  -- References billing.token_holds, which a later file creates.
  hold_id uuid,
  is_usage_estimated boolean not null default false,
  created_at timestamptz not null default now(),
  ended_at timestamptz,
  constraint turns_user_id_message_id_key unique (user_id, message_id),
  constraint turns_message_id_fkey
    foreign key (user_id, message_id, chat_id) references llm.messages (user_id, id, chat_id) on delete cascade,
  constraint turns_writer_check check (writer in ('client', 'service')),
  constraint turns_last_sequence_is_not_negative check (last_sequence >= 0),
  constraint turns_streamed_bytes_is_limited check (streamed_bytes between 0 and 1000000),
  constraint turns_lease_check check (lease between interval '5 seconds' and interval '1 hour'),
  constraint turns_max_tokens_is_positive check (max_tokens > 0),
  constraint turns_input_tokens_is_not_negative check (input_tokens >= 0)
) with (fillfactor = 50);

alter table private.turns enable row level security;

-- Serve the foreign keys.
create index turns_user_id_message_id_chat_id_idx on private.turns (user_id, message_id, chat_id);
create index turns_hold_id_idx on private.turns (hold_id);
-- The few running turns, for the job that ends expired ones. Without the time, which changes with each delta.
create index turns_running_idx on private.turns (message_id) where ended_at is null;
create index turns_ended_at_idx on private.turns (ended_at) where ended_at is not null;

comment on table private.turns is
  'One row per answer that is streaming or recently ended: the state that each delta changes, and the hold that pays. '
  'Its deltas are deleted with it.';
comment on column private.turns.message_id is 'The answer.';
comment on column private.turns.user_id is 'The owner of the chat.';
comment on column private.turns.chat_id is 'The chat.';
comment on column private.turns.writer is
  'Writer that appends: client (the owner, through the API) or service (private.append_delta).';
comment on column private.turns.last_sequence is 'Sequence number of the last delta; 0 before the first.';
comment on column private.turns.streamed_bytes is 'Size of content and thinking so far, in bytes.';
comment on column private.turns.lease is 'Time that the writer may stay silent.';
comment on column private.turns.lease_expires_at is 'Time from which others may end the turn. Each delta extends it.';
comment on column private.turns.max_tokens is 'Number of tokens reserved for the turn.';
comment on column private.turns.input_tokens is
  'Input tokens reported at the start; charged if the writer never reports its usage.';
comment on column private.turns.hold_id is 'The hold of the reserved tokens; settled or released when the turn ends.';
comment on column private.turns.is_usage_estimated is
  'Whether the charge is based on the streamed text because the writer never reported its usage; a service may still report it.';
comment on column private.turns.created_at is 'Time when the turn started.';
comment on column private.turns.ended_at is 'Time when the turn ended; null while it is running.';

create table llm.message_deltas (
  user_id uuid not null,
  message_id uuid not null,
  sequence integer not null,
  content text not null default '',
  thinking text not null default '',
  created_at timestamptz not null default now(),
  primary key (user_id, message_id, sequence),
  constraint message_deltas_message_id_fkey
    foreign key (user_id, message_id) references private.turns (user_id, message_id) on delete cascade,
  constraint message_deltas_sequence_is_positive check (sequence >= 1),
  constraint message_deltas_say_something check (content <> '' or thinking <> ''),
  constraint message_deltas_size_check check (octet_length(content) + octet_length(thinking) <= 65536)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);

alter table llm.message_deltas enable row level security;

comment on table llm.message_deltas is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single -node:node\n'
  'One row per piece of an answer, as it was streamed. Deleted a day after the answer ended, when the message holds '
  'the whole text.';
comment on column llm.message_deltas.user_id is 'The owner of the chat.';
comment on column llm.message_deltas.message_id is 'The answer.';
comment on column llm.message_deltas.sequence is 'Position in the answer: 1, 2, 3 … without gaps.';
comment on column llm.message_deltas.content is 'Text to append to the content.';
comment on column llm.message_deltas.thinking is 'Text to append to the thinking.';
comment on column llm.message_deltas.created_at is 'Time when the piece was appended.';

create table llm.message_attachments (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null,
  chat_id uuid not null,
  message_id uuid not null,
  position smallint not null,
  url text not null,
  mime_type text not null,
  size_bytes bigint not null,
  name text not null,
  created_at timestamptz not null default now(),
  constraint message_attachments_message_id_fkey
    foreign key (user_id, chat_id, message_id) references llm.messages (user_id, chat_id, id) on delete cascade,
  constraint message_attachments_message_id_position_key unique (message_id, position),
  -- Together with the unique key: at most ten per message.
  constraint message_attachments_are_at_most_ten check (position between 1 and 10),
  constraint message_attachments_url_is_https check (
    url ~ '^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][^[:space:][:cntrl:]]*)?$' and length(url) <= 2048
  ),
  -- Types that a browser would execute (HTML, SVG) are excluded.
  constraint message_attachments_mime_type_is_allowed check (
    mime_type ~ '^(image/(png|jpeg|gif|webp|avif|heic)|audio/(mpeg|mp4|ogg|wav|webm|flac)|video/(mp4|webm|quicktime)|text/(plain|markdown|csv)|application/(pdf|json|zip|msword|vnd[.][a-z0-9.+-]+))$'
  ),
  constraint message_attachments_size_is_limited check (size_bytes between 1 and 104857600),
  constraint message_attachments_name_check check (length(name) between 1 and 255 and name !~ '[[:cntrl:]/\\]')
);

alter table llm.message_attachments enable row level security;

-- Serves the foreign key.
create index message_attachments_user_id_chat_id_message_id_idx
  on llm.message_attachments (user_id, chat_id, message_id);

comment on table llm.message_attachments is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n'
  'One row per file attached to a message, by reference: the file is stored elsewhere. At most ten per message.';
comment on column llm.message_attachments.id is 'Id (UUIDv7).';
comment on column llm.message_attachments.user_id is 'The owner of the chat.';
comment on column llm.message_attachments.chat_id is 'The chat.';
comment on column llm.message_attachments.message_id is 'The message.';
comment on column llm.message_attachments.position is 'Position among the message''s attachments, 1 to 10.';
comment on column llm.message_attachments.url is 'URL of the file: https, without a user or password, at most 2,048 characters.';
comment on column llm.message_attachments.mime_type is
  'Media type of the file: images, audio, video, plain text and office documents.';
comment on column llm.message_attachments.size_bytes is 'Size in bytes as reported by the sender, at most 100 MiB.';
comment on column llm.message_attachments.name is 'File name, without a path.';
comment on column llm.message_attachments.created_at is 'Time when the file was attached.';
comment on constraint message_attachments_message_id_position_key on llm.message_attachments is '@behavior -*';
comment on constraint message_attachments_message_id_fkey on llm.message_attachments is
  E'@fieldName message\n'
  '@foreignFieldName attachments\n'
  'The message.';

create table llm.message_feedback (
  message_id uuid primary key,
  user_id uuid not null,
  chat_id uuid not null,
  rating text not null,
  comment text not null default '',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint message_feedback_message_id_fkey
    foreign key (user_id, chat_id, message_id) references llm.messages (user_id, chat_id, id) on delete cascade,
  constraint message_feedback_rating_check check (rating in ('up', 'down')),
  constraint message_feedback_comment_check check (length(comment) <= 2000)
);

alter table llm.message_feedback enable row level security;

-- Serves the foreign key.
create index message_feedback_user_id_chat_id_message_id_idx on llm.message_feedback (user_id, chat_id, message_id);

comment on table llm.message_feedback is 'One row per answer rated by its reader.';
comment on column llm.message_feedback.message_id is 'The answer.';
comment on column llm.message_feedback.user_id is 'The user who rated it: the owner of the chat.';
comment on column llm.message_feedback.chat_id is 'The chat.';
comment on column llm.message_feedback.rating is 'Rating: up or down.';
comment on column llm.message_feedback.comment is 'Reason for the rating, at most 2,000 characters.';
comment on column llm.message_feedback.created_at is 'Time of the first rating.';
comment on column llm.message_feedback.updated_at is 'Time of the last change of the rating.';
comment on constraint message_feedback_message_id_fkey on llm.message_feedback is
  E'@fieldName message\n'
  '@foreignFieldName feedback\n'
  'The answer.';

create table llm.prompt_versions (
  prompt_id uuid not null references llm.prompts on delete cascade,
  version integer not null,
  content text not null,
  variables jsonb not null,
  created_by uuid default plinth.current_user_id() references identity.users on delete set null,
  created_at timestamptz not null default now(),
  primary key (prompt_id, version),
  constraint prompt_versions_version_is_positive check (version >= 1),
  constraint prompt_versions_variables_is_a_list check (jsonb_typeof(variables) = 'array')
);

alter table llm.prompt_versions enable row level security;

-- Serves the foreign key.
create index prompt_versions_created_by_idx on llm.prompt_versions (created_by);

comment on table llm.prompt_versions is 'One row per version of a prompt''s content and variables. Rows never change.';
comment on column llm.prompt_versions.prompt_id is 'The prompt.';
comment on column llm.prompt_versions.version is 'Version number of the prompt: 1, 2, 3 … without gaps.';
comment on column llm.prompt_versions.content is 'Content of that version.';
comment on column llm.prompt_versions.variables is 'Variables of that version.';
comment on column llm.prompt_versions.created_by is 'The author of the version; null for an import or a deleted account.';
comment on column llm.prompt_versions.created_at is 'Time when the version was created.';
comment on constraint prompt_versions_prompt_id_fkey on llm.prompt_versions is
  E'@fieldName prompt\n'
  '@foreignFieldName versions\n'
  'The prompt.';
comment on constraint prompt_versions_variables_is_a_list on llm.prompt_versions is
  'The variables must be a list, as in the prompt, where they are validated.';

create table llm.prompt_labels (
  prompt_id uuid not null,
  label text not null,
  version integer not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (prompt_id, label),
  constraint prompt_labels_version_fkey foreign key (prompt_id, version) references llm.prompt_versions on delete cascade,
  constraint prompt_labels_label_check check (label ~ '^[a-z0-9][a-z0-9_.-]{0,49}$')
);

alter table llm.prompt_labels enable row level security;

-- Serves the foreign key.
create index prompt_labels_prompt_id_version_idx on llm.prompt_labels (prompt_id, version);

comment on table llm.prompt_labels is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n'
  'One row per label of a prompt, such as production, which points to one of its versions.';
comment on column llm.prompt_labels.prompt_id is 'The prompt.';
comment on column llm.prompt_labels.label is 'Label, such as production or staging: lower case letters, digits, _ . and -.';
comment on column llm.prompt_labels.version is 'Number of the version that the label points to.';
comment on column llm.prompt_labels.created_at is 'Time when the label was first set.';
comment on column llm.prompt_labels.updated_at is 'Time when the label was last moved.';
comment on constraint prompt_labels_version_fkey on llm.prompt_labels is
  E'@fieldName promptVersion\n'
  '@foreignFieldName labels\n'
  'The version that the label points to.';

create table llm.prompt_shares (
  prompt_id uuid not null,
  owner_id uuid not null default plinth.current_user_id(),
  user_id uuid not null references identity.users on delete cascade,
  created_at timestamptz not null default now(),
  primary key (prompt_id, user_id),
  -- Only owned prompts are shared: the library has no owner and is visible to all.
  constraint prompt_shares_prompt_id_owner_id_fkey
    foreign key (prompt_id, owner_id) references llm.prompts (id, user_id) on delete cascade,
  constraint prompt_shares_are_with_others check (owner_id <> user_id)
);

alter table llm.prompt_shares enable row level security;

-- Serve the foreign keys, and the list of prompts shared with a user.
create index prompt_shares_user_id_idx on llm.prompt_shares (user_id);
create index prompt_shares_owner_id_prompt_id_idx on llm.prompt_shares (owner_id, prompt_id);

comment on table llm.prompt_shares is 'One row per prompt and user who may read it while its visibility is shared.';
comment on column llm.prompt_shares.prompt_id is 'The prompt.';
comment on column llm.prompt_shares.owner_id is 'The owner of the prompt, repeated so that policies need no join.';
comment on column llm.prompt_shares.user_id is 'The user who may read the prompt.';
comment on column llm.prompt_shares.created_at is 'Time when the prompt was shared.';
comment on constraint prompt_shares_prompt_id_owner_id_fkey on llm.prompt_shares is
  E'@fieldName prompt\n'
  '@foreignFieldName shares\n'
  'The prompt.';

create table private.prompt_use_keys (
  user_id uuid not null references identity.users on delete cascade,
  idempotency_key text not null,
  prompt_id uuid not null references llm.prompts on delete cascade,
  created_at timestamptz not null default now(),
  primary key (user_id, idempotency_key),
  constraint prompt_use_keys_idempotency_key_check check (length(idempotency_key) between 1 and 255)
);

alter table private.prompt_use_keys enable row level security;

-- Serve the foreign key and the cleanup job.
create index prompt_use_keys_prompt_id_idx on private.prompt_use_keys (prompt_id);
create index prompt_use_keys_created_at_idx on private.prompt_use_keys (created_at);

comment on table private.prompt_use_keys is 'One row per use of a prompt that was counted under a key in the last week.';
comment on column private.prompt_use_keys.user_id is 'The user.';
comment on column private.prompt_use_keys.idempotency_key is
  'Idempotency key of the use; reporting the same use again counts once.';
comment on column private.prompt_use_keys.prompt_id is 'The prompt.';
comment on column private.prompt_use_keys.created_at is 'Time when the use was counted.';

-- Foreign keys of earlier tables that reference these.
alter table identity.user_settings
  add constraint user_settings_default_model_id_fkey foreign key (default_model_id) references llm.models on delete set null;
alter table access.user_model_access
  add constraint user_model_access_model_id_fkey foreign key (model_id) references llm.models on delete cascade;

-- Foreign keys of tables that reference each other.
alter table llm.messages
  add constraint messages_chat_id_user_id_fkey
    foreign key (chat_id, user_id) references llm.chats (id, user_id) on delete cascade;

--! Included llm/functions/append_delta.sql
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
  return private.write_delta(
    append_delta.message_id, append_delta.sequence, append_delta.content, append_delta.thinking,
    private.require_user_id(), 'client'
  );
end
$$;

comment on function llm.append_delta(uuid, integer, text, text) is
  E'@resultFieldName lastSequence\n'
  'Appends the next piece of an answer, from sequence 1 on; the same piece again changes nothing. CONFLICT for a gap, a '
  'different text under an existing sequence, or an answer that has ended.';
grant execute on function llm.append_delta(uuid, integer, text, text) to :PLINTH_USER;
--! EndIncluded llm/functions/append_delta.sql
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
  return private.write_deltas(
    append_deltas.message_id, append_deltas.first_sequence, append_deltas.contents, append_deltas.thinking,
    private.require_user_id(), 'client'
  );
end
$$;

comment on function llm.append_deltas(uuid, integer, text[], text[]) is
  E'@resultFieldName lastSequence\n'
  'Appends the next pieces of an answer, up to 1,000 in one call, the first of them under first_sequence; thinking has as many '
  'entries as contents. All or none are written; repeated pieces change nothing. CONFLICT for a gap, a different text under an '
  'existing sequence, or an answer that has ended.';
grant execute on function llm.append_deltas(uuid, integer, text[], text[]) to :PLINTH_USER;
--! EndIncluded llm/functions/append_deltas.sql
--! Included llm/functions/break_off_turn.sql
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
  return private.end_turn(
    break_off_turn.message_id, 'broken_off', 'error', break_off_turn.error_code, break_off_turn.error_message, null, null,
    break_off_turn.input_tokens, break_off_turn.output_tokens, 0, 0, private.require_user_id(), 'client'
  );
end
$$;

comment on function llm.break_off_turn(uuid, text, text, bigint, bigint) is
  E'@resultFieldName message\n'
  'Ends a failed answer with the text that has arrived. An answer that had already ended is returned unchanged.';
grant execute on function llm.break_off_turn(uuid, text, text, bigint, bigint) to :PLINTH_USER;
--! EndIncluded llm/functions/break_off_turn.sql
--! Included llm/functions/cancel_turn.sql
create or replace function llm.cancel_turn(message_id uuid)
  returns llm.messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  return private.end_turn(cancel_turn.message_id, 'cancelled', 'cancelled', user_id => private.require_user_id());
end
$$;

comment on function llm.cancel_turn(uuid) is
  E'@resultFieldName message\n'
  'Ends an answer in the signed-in user''s chat, whichever client writes it, with the text that has arrived; the writer''s next '
  'delta is rejected. An answer that had already ended is returned unchanged.';
grant execute on function llm.cancel_turn(uuid) to :PLINTH_USER;
--! EndIncluded llm/functions/cancel_turn.sql
--! Included llm/functions/chats_active_path.sql
-- The visible chat: from its last message up to the first, through the selected alternatives. Each step is one index lookup, so
-- the last page of a long chat costs the page and not the chat.
create or replace function llm.chats_active_path(
  chat llm.chats,
  max_count integer default null,
  before_depth integer default null
)
  returns setof llm.messages
  language sql
  stable
  set search_path = pg_catalog
as $$
  with recursive head as (
    select m.id, m.parent_id, m.depth
    from llm.messages m
    where m.user_id = chat.user_id
      and m.chat_id = chat.id
      and m.id = coalesce(chat.head_id, llm.newest_message_id(chat.user_id, chat.id))
  ),
  page as (
    select least(h.depth, before_depth - 1) - plinth.checked_count(max_count, 'max_count', null, null) as ends_above from head h
  ),
  path as (
    select h.id, h.parent_id, h.depth from head h
    union all
    select m.id, m.parent_id, m.depth
    from path p
    join llm.messages m on m.user_id = chat.user_id and m.chat_id = chat.id and m.id = p.parent_id
    where (m.depth > (select e.ends_above from page e)) is not false
  )
  select m.*
  from path p
  join llm.messages m on m.user_id = chat.user_id and m.chat_id = chat.id and m.id = p.id
  where (p.depth < before_depth) is not false
    and (p.depth > (select e.ends_above from page e)) is not false
  order by p.depth
$$;

comment on function llm.chats_active_path(llm.chats, integer, integer) is
  'Returns the messages of the active path in order: all, or the last max_count, or those before a depth.';
grant execute on function llm.chats_active_path(llm.chats, integer, integer) to :PLINTH_USER;
--! EndIncluded llm/functions/chats_active_path.sql
--! Included llm/functions/chats_export_json.sql
-- Exports a chat. The JSON contains all messages, including alternatives, and marks the active path; Markdown contains that
-- path, for reading.
create or replace function llm.chats_export_json(chat llm.chats)
  returns jsonb
  language sql
  stable
  set search_path = pg_catalog
as $$
  select jsonb_build_object(
    'format', 'plinth-chat',
    'version', 1,
    'id', chat.id,
    'title', chat.title,
    'isArchived', chat.is_archived,
    'createdAt', chat.created_at,
    'updatedAt', chat.updated_at,
    'activePath', coalesce((select jsonb_agg(m.id order by m.depth) from llm.chats_active_path(chat) m), '[]'),
    'messages', coalesce(
      (
        select jsonb_agg(
          -- Only its own nulls are removed: jsonb_strip_nulls would also remove those inside metadata and tool calls.
          (
            select jsonb_object_agg(part.key, part.value)
            from jsonb_each(jsonb_build_object(
              'id', m.id,
              'parentId', m.parent_id,
              'role', m.role,
              'content', m.content,
              'thinking', m.thinking,
              'toolCalls', m.tool_calls,
              'images', m.images,
              'model', p.name || '/' || mo.name,
              'tokensUsed', m.tokens_used,
              'state', m.state,
              'finishReason', m.finish_reason,
              'errorCode', m.error_code,
              'errorMessage', m.error_message,
              'metadata', nullif(m.extended_metadata, '{}'),
              'createdAt', m.created_at,
              'attachments', (
                select jsonb_agg(
                  jsonb_build_object('url', a.url, 'mimeType', a.mime_type, 'sizeBytes', a.size_bytes, 'name', a.name)
                  order by a.position
                )
                from llm.message_attachments a
                where a.message_id = m.id
              ),
              'feedback', (
                select jsonb_build_object('rating', f.rating, 'comment', f.comment)
                from llm.message_feedback f
                where f.message_id = m.id
              )
            )) as part
            where part.value <> 'null'
          )
          order by m.depth, m.id
        )
        from llm.messages m
        left join llm.models mo on mo.id = m.model_id
        left join llm.model_providers p on p.id = mo.provider_id
        where m.user_id = chat.user_id and m.chat_id = chat.id
      ),
      '[]'
    )
  )
$$;

comment on function llm.chats_export_json(llm.chats) is
  'Returns the whole chat as JSON {format, version, title, activePath: [id], messages: [{id, parentId, role, content, …}]}.';
grant execute on function llm.chats_export_json(llm.chats) to :PLINTH_USER;
--! EndIncluded llm/functions/chats_export_json.sql
--! Included llm/functions/chats_export_markdown.sql
create or replace function llm.chats_export_markdown(chat llm.chats)
  returns text
  language sql
  stable
  set search_path = pg_catalog
as $$
  select
    '# ' || regexp_replace(regexp_replace(chat.title, '[[:cntrl:]]+', ' ', 'g'), '([\\`*_{}<>#|[\]])', '\\\1', 'g') || E'\n'
    || coalesce(
      string_agg(
        E'\n## ' || initcap(m.role) || to_char(m.created_at at time zone 'UTC', ', YYYY-MM-DD HH24:MI "UTC"') || E'\n'
        || case when m.content <> '' then E'\n' || rtrim(m.content, E'\n') || E'\n' else '' end
        || coalesce(
          (
            select string_agg(
              format(
                E'\n- [%s](<%s>) (%s, %s bytes)\n',
                regexp_replace(a.name, '([\\`*_{}<>#|[\]])', '\\\1', 'g'),
                -- Escapes characters that would end the link early; the rest of an address is harmless.
                replace(replace(replace(a.url, '\', '%5C'), '<', '%3C'), '>', '%3E'),
                a.mime_type, a.size_bytes
              ),
              '' order by a.position
            )
            from llm.message_attachments a
            where a.message_id = m.id
          ),
          ''
        )
        || case m.state
          when 'complete' then ''
          else format(E'\n*(%s)*\n', replace(m.state, '_', ' '))
        end,
        '' order by m.depth
      ),
      ''
    )
  from llm.chats_active_path(chat) m
$$;

comment on function llm.chats_export_markdown(llm.chats) is
  'Returns the active path of the chat as Markdown: a heading for each message, its unchanged text, its attachments as links.';
grant execute on function llm.chats_export_markdown(llm.chats) to :PLINTH_USER;
--! EndIncluded llm/functions/chats_export_markdown.sql
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
  v_user_id uuid := private.require_user_id();
  v_original llm.messages;
  v_message llm.messages;
  v_digest constant bytea := private.request_digest(jsonb_build_array(
    'edit', edit_chat_message.message_id, edit_chat_message.content, edit_chat_message.attachments
  ));
begin
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
  E'@resultFieldName message\n'
  'Adds an edited message beside one of the signed-in user''s own and selects it; attachments are kept unless given. NOT_FOUND '
  'for an unknown message, CONFLICT while an answer is being written and for a key that was used for another message.';
grant execute on function llm.edit_chat_message(uuid, text, jsonb, text) to :PLINTH_USER;
--! EndIncluded llm/functions/edit_chat_message.sql
--! Included llm/functions/finish_turn.sql
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
  return private.end_turn(
    finish_turn.message_id, 'complete', finish_turn.finish_reason, null, null, finish_turn.tool_calls,
    finish_turn.last_sequence, finish_turn.input_tokens, finish_turn.output_tokens, 0, 0, private.require_user_id(), 'client'
  );
end
$$;

comment on function llm.finish_turn(uuid, text, integer, jsonb, bigint, bigint) is
  E'@resultFieldName message\n'
  'Ends a complete answer (stop, length, tool_calls, content_filter). With last_sequence, CONFLICT unless exactly that many '
  'deltas arrived. An answer that had already ended is returned unchanged: check its state.';
grant execute on function llm.finish_turn(uuid, text, integer, jsonb, bigint, bigint) to :PLINTH_USER;
--! EndIncluded llm/functions/finish_turn.sql
--! Included llm/functions/fits_prompt_variable.sql
create or replace function llm.fits_prompt_variable(value jsonb, variable jsonb)
  returns boolean
  language sql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
  select case variable ->> 'type'
    when 'text' then jsonb_typeof(value) = 'string'
    when 'number' then jsonb_typeof(value) = 'number'
    -- Through text: a value that is not a number must not be cast.
    when 'integer' then jsonb_typeof(value) = 'number' and (value #>> '{}') ~ '^-?[0-9]+([.]0+)?$'
    when 'boolean' then jsonb_typeof(value) = 'boolean'
    when 'choice' then jsonb_typeof(value) = 'string' and variable -> 'choices' @> value
    else false
  end
$$;

comment on function llm.fits_prompt_variable(jsonb, jsonb) is
  E'@behavior -*\nReturns whether a value is of the type that a prompt variable declares.';
grant execute on function llm.fits_prompt_variable(jsonb, jsonb) to :PLINTH_USER, :PLINTH_ANONYMOUS;
--! EndIncluded llm/functions/fits_prompt_variable.sql
--! Included llm/functions/label_prompt.sql
-- Points a label at a version, or deletes it. For the prompt's owner, or in the library for its editors.
create or replace function llm.label_prompt(prompt_id uuid, label text, version integer default null)
  returns llm.prompt_labels
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_owner uuid;
  v_label llm.prompt_labels;
begin
  perform private.require_user_id();
  select p.user_id into v_owner
  from llm.prompts p
  where p.id = label_prompt.prompt_id
    and (
      p.user_id = plinth.current_user_id()
      or p.user_id is null and access.has_permission('edit_content')
    )
  for key share;
  if not found then
    raise exception 'Prompt not found.' using errcode = 'PL404', column = 'prompt_id';
  end if;
  if label_prompt.version is null then
    delete from llm.prompt_labels l
    where l.prompt_id = label_prompt.prompt_id and l.label = label_prompt.label;
    return null;
  end if;
  if label_prompt.label ~ '^[a-z0-9][a-z0-9_.-]{0,49}$' is not true then
    raise exception 'A label must have 1 to 50 characters: lowercase letters, digits, _ . or -, starting with a letter or digit.' using errcode = 'PL422', column = 'label';
  end if;
  if not exists (
    select
    from llm.prompt_versions v
    where v.prompt_id = label_prompt.prompt_id and v.version = label_prompt.version
  ) then
    raise exception 'Version not found.' using errcode = 'PL404', column = 'version';
  end if;
  insert into llm.prompt_labels as l (prompt_id, label, version)
  values (label_prompt.prompt_id, label_prompt.label, label_prompt.version)
  on conflict on constraint prompt_labels_pkey do update set version = excluded.version
  returning * into v_label;
  return v_label;
end
$$;

comment on function llm.label_prompt(uuid, text, integer) is
  E'@resultFieldName promptLabel\n'
  'Points a label such as production at a version of a prompt; without a version deletes the label. NOT_FOUND for a prompt the '
  'caller may not change.';
grant execute on function llm.label_prompt(uuid, text, integer) to :PLINTH_USER;
--! EndIncluded llm/functions/label_prompt.sql
--! Included llm/functions/message_deltas_after.sql
-- Catching up: the deltas after the client's last one. Only the owner's rows, by policy. If an answer has ended and no deltas
-- are returned although its last_sequence is higher, the deltas were deleted and the message has the whole text.
create or replace function llm.message_deltas_after(message_id uuid, after integer default 0, max_count integer default 100)
  returns setof llm.message_deltas
  language sql
  stable
  set search_path = pg_catalog
as $$
  select d.*
  from llm.message_deltas d
  where d.user_id = (select plinth.current_user_id())
    and d.message_id = message_deltas_after.message_id
    and d.sequence > coalesce(message_deltas_after.after, 0)
  order by d.sequence
  limit plinth.checked_count(message_deltas_after.max_count, 'max_count', 100, 1000)
$$;

comment on function llm.message_deltas_after(uuid, integer, integer) is
  E'@behavior -queryField:resource:connection +queryField:resource:list\n'
  '@listSuffix omit\n'
  'Returns the deltas of an answer after a sequence, in order, up to 1,000.';
grant execute on function llm.message_deltas_after(uuid, integer, integer) to :PLINTH_USER;
--! EndIncluded llm/functions/message_deltas_after.sql
--! Included llm/functions/messages_alternatives.sql
-- The alternatives of a message, itself included, oldest first: for display as "2 of 3".
create or replace function llm.messages_alternatives(message llm.messages)
  returns setof llm.messages
  language sql
  stable
  set search_path = pg_catalog
as $$
  select m.*
  from llm.messages m
  where m.user_id = message.user_id
    and m.chat_id = message.chat_id
    and (m.parent_id = message.parent_id or message.parent_id is null and m.parent_id is null)
  order by m.id
$$;

comment on function llm.messages_alternatives(llm.messages) is
  'Returns the messages with the same parent, this one included, oldest first: edits, or answers to one question.';
grant execute on function llm.messages_alternatives(llm.messages) to :PLINTH_USER;
--! EndIncluded llm/functions/messages_alternatives.sql
--! Included llm/functions/messages_current_content.sql
create or replace function llm.messages_current_content(message llm.messages)
  returns text
  language sql
  stable
  set search_path = pg_catalog
as $$
  select case
    when message.state <> 'streaming' then message.content
    else coalesce(
      (
        select string_agg(d.content, '' order by d.sequence)
        from llm.message_deltas d
        where d.user_id = message.user_id and d.message_id = message.id
      ),
      ''
    )
  end
$$;

comment on function llm.messages_current_content(llm.messages) is
  'Returns the current text: for an answer that streams, the text that has arrived; for any other message, its content.';
grant execute on function llm.messages_current_content(llm.messages) to :PLINTH_USER;
--! EndIncluded llm/functions/messages_current_content.sql
--! Included llm/functions/newest_message_id.sql
-- The newest message of a chat. Compared as rows and not column by column: with user and chat compared to constants, an order
-- by id would let the planner read the primary key backwards through all users' messages, which is slow for last year's chat.
-- Only one index has all three in order.
create or replace function llm.newest_message_id(user_id uuid, chat_id uuid)
  returns uuid
  language sql
  stable
  set search_path = pg_catalog
as $$
  select m.id
  from llm.messages m
  where (m.user_id, m.chat_id, m.id)
    between (newest_message_id.user_id, newest_message_id.chat_id, '00000000-0000-0000-0000-000000000000'::uuid)
    and (newest_message_id.user_id, newest_message_id.chat_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
  order by m.user_id desc, m.chat_id desc, m.id desc
  limit 1
$$;

comment on function llm.newest_message_id(uuid, uuid) is
  E'@behavior -*\nReturns the id of the newest message of a chat, on any path; null when there is none.';
grant execute on function llm.newest_message_id(uuid, uuid) to :PLINTH_USER;
--! EndIncluded llm/functions/newest_message_id.sql
--! Included llm/functions/prompts_usage_count.sql
-- Number of uses of a prompt by all users. A sum, so that concurrent uses by different users never wait for each other; with
-- the owner's rights, because the individual counts are private to their users.
create or replace function llm.prompts_usage_count(prompt llm.prompts)
  returns bigint
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select coalesce(sum(up.usage_count), 0)::bigint from llm.user_prompts up where up.prompt_id = prompt.id
$$;

comment on function llm.prompts_usage_count(llm.prompts) is
  'Returns the number of uses of the prompt by all users whose account still exists.';
grant execute on function llm.prompts_usage_count(llm.prompts) to :PLINTH_USER, :PLINTH_ANONYMOUS;
--! EndIncluded llm/functions/prompts_usage_count.sql
--! Included llm/functions/rate_message.sql
-- Rates an answer up or down. The rating can be changed any number of times; a call without a rating deletes it.
create or replace function llm.rate_message(message_id uuid, rating text default null, comment text default '')
  returns llm.message_feedback
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_message record;
  v_feedback llm.message_feedback;
begin
  perform private.require_user_id();
  select m.user_id, m.chat_id, m.role into v_message
  from llm.messages m
  where m.id = rate_message.message_id and m.user_id = plinth.current_user_id();
  if not found then
    raise exception 'Message not found.' using errcode = 'PL404', column = 'message_id';
  end if;
  if v_message.role <> 'assistant' then
    raise exception 'Only answers can be rated.' using errcode = 'PL422', column = 'message_id';
  end if;
  if rate_message.rating is null then
    delete from llm.message_feedback f where f.message_id = rate_message.message_id;
    return null;
  end if;
  if rate_message.rating not in ('up', 'down') then
    raise exception 'A rating must be up or down.' using errcode = 'PL422', column = 'rating';
  end if;
  insert into llm.message_feedback as f (message_id, user_id, chat_id, rating, comment)
  values (
    rate_message.message_id, v_message.user_id, v_message.chat_id, rate_message.rating, coalesce(rate_message.comment, '')
  )
  on conflict on constraint message_feedback_pkey
  do update set rating = excluded.rating, comment = excluded.comment
  returning * into v_feedback;
  return v_feedback;
end
$$;

comment on function llm.rate_message(uuid, text, text) is
  E'@resultFieldName feedback\n'
  'Rates an answer up or down, with a comment; without a rating deletes it. NOT_FOUND for an unknown message.';
grant execute on function llm.rate_message(uuid, text, text) to :PLINTH_USER;
--! EndIncluded llm/functions/rate_message.sql
--! Included llm/functions/render_prompt.sql
-- Fills in a prompt. Types are checked here, where values meet declarations. In one pass, so that a value's content is never
-- taken for a variable. {{…}} that no variable declares stays as it is: library prompts often contain braces.
create or replace function llm.render_prompt(
  prompt_id uuid,
  prompt_values jsonb default '{}',
  label text default null,
  version integer default null
)
  returns text
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
declare
  v_version integer := version;
  v_prompt record;
  v_variable jsonb;
  v_value jsonb;
  v_texts jsonb := '{}';
  v_unknown text;
begin
  if jsonb_typeof(prompt_values) is distinct from 'object' then
    raise exception 'Values must be an object {name: value}.' using errcode = 'PL422', column = 'prompt_values';
  end if;
  if label is not null and version is not null then
    raise exception 'Give a label or a version, not both.' using errcode = 'PL422', column = 'version';
  end if;
  if label is not null then
    select l.version into v_version
    from llm.prompt_labels l
    where l.prompt_id = render_prompt.prompt_id and l.label = render_prompt.label;
    if not found then
      raise exception 'The prompt has no such label.' using errcode = 'PL404', column = 'label';
    end if;
  end if;
  if v_version is null then
    select p.content, p.variables into v_prompt from llm.prompts p where p.id = render_prompt.prompt_id;
  else
    select v.content, v.variables into v_prompt
    from llm.prompt_versions v
    where v.prompt_id = render_prompt.prompt_id and v.version = v_version;
  end if;
  if not found then
    raise exception 'Prompt or version not found.' using errcode = 'PL404', column = 'prompt_id';
  end if;

  select k.key into v_unknown
  from jsonb_object_keys(prompt_values) as k (key)
  where not v_prompt.variables @> jsonb_build_array(jsonb_build_object('name', k.key))
  order by k.key
  limit 1;
  if found then
    raise exception 'The prompt has no variable "%".', v_unknown using errcode = 'PL422', column = 'prompt_values';
  end if;
  for v_variable in select jsonb_array_elements(v_prompt.variables) loop
    v_value := coalesce(prompt_values -> (v_variable ->> 'name'), v_variable -> 'default');
    if v_value is null then
      raise exception 'The variable "%" needs a value.', v_variable ->> 'name'
        using errcode = 'PL422', column = 'prompt_values';
    end if;
    if not llm.fits_prompt_variable(v_value, v_variable) then
      raise exception 'The variable "%" must be %.', v_variable ->> 'name', case v_variable ->> 'type'
        when 'choice' then 'one of ' || (v_variable ->> 'choices')
        when 'integer' then 'a whole number'
        when 'number' then 'a number'
        when 'boolean' then 'true or false'
        else 'text'
      end
        using errcode = 'PL422', column = 'prompt_values';
    end if;
    v_texts := v_texts || jsonb_build_object(v_variable ->> 'name', v_value #>> '{}');
  end loop;

  return (
    -- Text, placeholder, text, placeholder … text: the pieces between the placeholders, each followed by its value.
    select string_agg(
      pieces.piece || coalesce(v_texts ->> (found.match)[2], (found.match)[1], ''), '' order by pieces.ordinality
    )
    from regexp_split_to_table(v_prompt.content, '\{\{\s*[a-z][A-Za-z0-9_]{0,49}\s*\}\}') with ordinality as pieces (piece, ordinality)
    left join regexp_matches(v_prompt.content, '(\{\{\s*([a-z][A-Za-z0-9_]{0,49})\s*\}\})', 'g')
      with ordinality as found (match, ordinality)
      on found.ordinality = pieces.ordinality
  );
end
$$;

comment on function llm.render_prompt(uuid, jsonb, text, integer) is
  'Returns the content of a prompt (current, or a version, or the version of a label) with its variables filled in. BAD_USER_INPUT for a value that is missing, unknown or of the wrong type; NOT_FOUND for a prompt the caller cannot see.';
grant execute on function llm.render_prompt(uuid, jsonb, text, integer) to :PLINTH_USER, :PLINTH_ANONYMOUS;
--! EndIncluded llm/functions/render_prompt.sql
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
--! Included llm/functions/select_branch.sql
-- Selects an alternative: the active path goes through that message, and from there along the latest messages.
create or replace function llm.select_branch(message_id uuid)
  returns llm.chats
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_message record;
  v_leaf uuid;
  v_chat llm.chats;
begin
  perform private.require_user_id();
  select m.user_id, m.chat_id into v_message
  from llm.messages m
  where m.id = select_branch.message_id and m.user_id = plinth.current_user_id();
  if not found then
    raise exception 'Message not found.' using errcode = 'PL404', column = 'message_id';
  end if;
  perform from llm.chats c where c.id = v_message.chat_id for no key update;
  if exists (select from llm.messages m where m.chat_id = v_message.chat_id and m.state = 'streaming') then
    raise exception 'An answer is being written in this chat.'
      using errcode = 'PL409', column = 'message_id', hint = 'Wait for it, or cancel it.';
  end if;
  with recursive branch as (
    select select_branch.message_id as id
    union all
    select m.id
    from branch b
    join llm.messages m
      on m.user_id = v_message.user_id and m.chat_id = v_message.chat_id and m.parent_id = b.id
  )
  -- Only ends: after a clock was set back a child can have the lower id.
  select b.id into v_leaf
  from branch b
  where not exists (
    select
    from llm.messages m
    where m.user_id = v_message.user_id and m.chat_id = v_message.chat_id and m.parent_id = b.id
  )
  order by b.id desc
  limit 1;
  perform private.move_head(v_message.user_id, v_message.chat_id, v_leaf);
  select c.* into v_chat from llm.chats c where c.id = v_message.chat_id;
  return v_chat;
end
$$;

comment on function llm.select_branch(uuid) is
  E'@resultFieldName chat\n'
  'Makes the active path of a chat go through a message, and from there to the newest end. NOT_FOUND for an unknown message, '
  'CONFLICT while an answer is being written.';
grant execute on function llm.select_branch(uuid) to :PLINTH_USER;
--! EndIncluded llm/functions/select_branch.sql
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
  v_user_id uuid := private.require_user_id();
  v_message llm.messages;
  v_digest constant bytea := private.request_digest(jsonb_build_array(
    'send', send_chat_message.chat_id, send_chat_message.content, send_chat_message.parent_id,
    coalesce(send_chat_message.attachments, '[]')
  ));
begin
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
  E'@resultFieldName message\n'
  'Adds a message of the signed-in user, after parent_id or at the end of the active path, with up to 10 attachments [{url, '
  'mimeType, sizeBytes, name}]. The same key again returns the same message. NOT_FOUND for an unknown chat or parent, CONFLICT '
  'while the previous answer is being written and for a key that was used for another message.';
grant execute on function llm.send_chat_message(uuid, text, uuid, jsonb, text) to :PLINTH_USER;
--! EndIncluded llm/functions/send_chat_message.sql
--! Included llm/functions/start_turn.sql
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
  return private.open_turn(
    private.require_user_id(), start_turn.chat_id, start_turn.model_id, start_turn.parent_id, start_turn.max_tokens, 0,
    start_turn.idempotency_key, start_turn.lease_seconds, 'client'
  );
end
$$;

comment on function llm.start_turn(uuid, uuid, uuid, bigint, text, integer) is
  E'@resultFieldName message\n'
  'Starts an answer that the caller streams in, after parent_id or at the end of the active path. The same key again returns '
  'the same answer. Reserves max_tokens. QUOTA_EXCEEDED when fewer are left, NOT_FOUND for an unknown chat, message or model, '
  'CONFLICT while another answer is being written.';
grant execute on function llm.start_turn(uuid, uuid, uuid, bigint, text, integer) to :PLINTH_USER;
--! EndIncluded llm/functions/start_turn.sql
--! Included llm/functions/use_prompt.sql
-- Counts a use of a prompt. A single upsert, so that concurrent uses are all counted; a use repeated under the same key counts once.
create or replace function llm.use_prompt(prompt_id uuid, idempotency_key text default null)
  returns llm.user_prompts
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_key private.prompt_use_keys;
  v_result llm.user_prompts;
begin
  perform private.require_user_id();
  if length(use_prompt.idempotency_key) between 1 and 255 is false then
    raise exception 'An idempotency key must have 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  -- The same answer for another user's prompt and for one that does not exist.
  if not exists (
    select
    from llm.prompts p
    where p.id = use_prompt.prompt_id
      and (
        p.user_id is null
        or p.user_id = plinth.current_user_id()
        or p.visibility = 'public'
        or p.visibility = 'shared' and exists (
          select from llm.prompt_shares s where s.prompt_id = p.id and s.user_id = plinth.current_user_id()
        )
      )
  ) then
    raise exception 'Prompt not found.' using errcode = 'PL404';
  end if;
  if use_prompt.idempotency_key is not null then
    insert into private.prompt_use_keys (user_id, idempotency_key, prompt_id)
    values (plinth.current_user_id(), use_prompt.idempotency_key, use_prompt.prompt_id)
    on conflict on constraint prompt_use_keys_pkey do nothing;
    if not found then
      select k.* into v_key
      from private.prompt_use_keys k
      where k.user_id = plinth.current_user_id() and k.idempotency_key = use_prompt.idempotency_key;
      if v_key.prompt_id is distinct from use_prompt.prompt_id then
        raise exception 'The idempotency key was used with other arguments.'
          using errcode = 'PL409', column = 'idempotency_key';
      end if;
      select up.* into v_result
      from llm.user_prompts up
      where up.user_id = plinth.current_user_id() and up.prompt_id = use_prompt.prompt_id;
      return v_result;
    end if;
  end if;
  insert into llm.user_prompts as up (user_id, prompt_id, usage_count, last_used_at)
  values (plinth.current_user_id(), use_prompt.prompt_id, 1, now())
  on conflict on constraint user_prompts_pkey
  do update set usage_count = up.usage_count + 1, last_used_at = excluded.last_used_at
  returning * into v_result;
  return v_result;
end
$$;

comment on function llm.use_prompt(uuid, text) is
  'Counts one use of a prompt by the signed-in user; returns the count. The same key again counts nothing. PL404 for a prompt the user cannot see.';
grant execute on function llm.use_prompt(uuid, text) to :PLINTH_USER;
--! EndIncluded llm/functions/use_prompt.sql
--! Included llm/private/append_delta.sql
create or replace function private.append_delta(
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
  return private.write_delta(
    append_delta.message_id, append_delta.sequence, append_delta.content, append_delta.thinking, null, 'service'
  );
end
$$;

comment on function private.append_delta(uuid, integer, text, text) is
  'Appends the next delta of an answer, from sequence 1 on; see private.write_delta.';
grant execute on function private.append_delta(uuid, integer, text, text) to :PLINTH_SERVICE;
--! EndIncluded llm/private/append_delta.sql
--! Included llm/private/append_deltas.sql
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
--! EndIncluded llm/private/append_deltas.sql
--! Included llm/private/bill_turn.sql
-- Settles the usage of an answer, once: the end of the turn calls it, and a turn ends once. An answer that used nothing releases
-- its hold. The caller has locked chat, message and turn, which come before the ledger.
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
--! Included llm/private/break_off_expired_turns.sql
-- Ends one batch of answers that killed writers left behind: the text received stays and is billed, and the chat is free. In the
-- order of chats, so that two runs do not deadlock.
create or replace function private.break_off_expired_turns(batch_size integer default 100)
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
    where t.ended_at is null and t.lease_expires_at <= clock_timestamp()
    order by t.user_id, t.chat_id
    limit batch_size
  loop
    begin
      perform private.end_turn(v_id, 'broken_off', 'expired', only_expired => true);
      v_turns := v_turns + 1;
    exception
      -- The chat was deleted in the meantime, and the turn with it.
      when sqlstate 'PL404' then
        v_turns := v_turns + 1;
      -- A turn that fails is reported and does not block the others.
      when others then
        raise warning 'turn % could not be ended: %', v_id, sqlstate;
    end;
  end loop;
  return v_turns;
end
$$;

comment on function private.break_off_expired_turns(integer) is
  'Ends up to batch_size answers whose writer''s lease has expired; returns their number. A turn that cannot be ended is left with a warning.';
grant execute on function private.break_off_expired_turns(integer) to :PLINTH_WORKER;
--! EndIncluded llm/private/break_off_expired_turns.sql
--! Included llm/private/break_off_turn.sql
create or replace function private.break_off_turn(
  message_id uuid,
  error_code text default null,
  error_message text default null,
  input_tokens bigint default null,
  output_tokens bigint default null,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0
)
  returns llm.messages
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select private.end_turn(
    break_off_turn.message_id, 'broken_off', 'error', break_off_turn.error_code, break_off_turn.error_message, null, null,
    break_off_turn.input_tokens, break_off_turn.output_tokens, break_off_turn.cached_input_tokens,
    break_off_turn.reasoning_tokens, null, 'service'
  )
$$;

comment on function private.break_off_turn(uuid, text, text, bigint, bigint, bigint, bigint) is
  'Ends a failed answer with the text received; see private.end_turn.';
grant execute
  on function private.break_off_turn(uuid, text, text, bigint, bigint, bigint, bigint)
  to :PLINTH_SERVICE;
--! EndIncluded llm/private/break_off_turn.sql
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
--! Included llm/private/delete_ended_turns.sql
-- Deletes one batch of turns that ended a day ago, with their deltas. Messages have the whole text.
create or replace function private.delete_ended_turns(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.check_batch_size(batch_size);
  return private.delete_old_rows('private.turns', 'ended_at', '1 day', batch_size);
end
$$;

comment on function private.delete_ended_turns(integer) is
  'Deletes up to batch_size turns that ended a day ago, with their deltas; returns their number.';
grant execute on function private.delete_ended_turns(integer) to :PLINTH_WORKER;
--! EndIncluded llm/private/delete_ended_turns.sql
--! Included llm/private/delete_old_prompt_use_keys.sql
-- Deletes one batch of the keys of prompt uses. After a week clients no longer retry them.
create or replace function private.delete_old_prompt_use_keys(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.check_batch_size(batch_size);
  return private.delete_old_rows('private.prompt_use_keys', 'created_at', '7 days', batch_size);
end
$$;

comment on function private.delete_old_prompt_use_keys(integer) is
  'Deletes up to batch_size keys of prompt uses that are a week old; returns their number.';
grant execute on function private.delete_old_prompt_use_keys(integer) to :PLINTH_WORKER;
--! EndIncluded llm/private/delete_old_prompt_use_keys.sql
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
    if v_turn.is_usage_estimated and end_turn.writer = 'service' and end_turn.output_tokens is not null then
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
    tokens_used = v_output
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
--! Included llm/private/estimated_tokens.sql
-- Tokenizers need about four bytes a token for plain text, which is close enough to bill uncounted tokens.
create or replace function private.estimated_tokens(bytes integer)
  returns bigint
  language sql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
  select (bytes::bigint + 3) / 4
$$;

comment on function private.estimated_tokens(integer) is 'Returns the approximate number of tokens of a text of so many bytes.';
--! EndIncluded llm/private/estimated_tokens.sql
--! Included llm/private/find_conversation_memory.sql
-- The memory and its encryption key, as of one moment: read separately, a memory that was deleted and rewritten in between would
-- get the wrong key.
create or replace function private.find_conversation_memory(user_id uuid)
  returns table (memory text, wrapped_key text, version bigint, created_at timestamptz, updated_at timestamptz)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select m.memory, k.wrapped_key, m.version, m.created_at, m.updated_at
  from llm.conversation_memories m
  join private.user_keys k on k.id = m.key_id
  where m.user_id = find_conversation_memory.user_id
$$;

comment on function private.find_conversation_memory(uuid) is 'Returns a user''s encrypted memory with its sealed key; no row without a memory.';
grant execute on function private.find_conversation_memory(uuid) to :PLINTH_SERVICE;
--! EndIncluded llm/private/find_conversation_memory.sql
--! Included llm/private/finish_turn.sql
create or replace function private.finish_turn(
  message_id uuid,
  finish_reason text default 'stop',
  last_sequence integer default null,
  tool_calls jsonb default null,
  input_tokens bigint default null,
  output_tokens bigint default null,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0
)
  returns llm.messages
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select private.end_turn(
    finish_turn.message_id, 'complete', finish_turn.finish_reason, null, null, finish_turn.tool_calls,
    finish_turn.last_sequence, finish_turn.input_tokens, finish_turn.output_tokens, finish_turn.cached_input_tokens,
    finish_turn.reasoning_tokens, null, 'service'
  )
$$;

comment on function private.finish_turn(uuid, text, integer, jsonb, bigint, bigint, bigint, bigint) is
  'Ends a complete answer and records its usage; see private.end_turn.';
grant execute
  on function private.finish_turn(uuid, text, integer, jsonb, bigint, bigint, bigint, bigint)
  to :PLINTH_SERVICE;
--! EndIncluded llm/private/finish_turn.sql
--! Included llm/private/import_chats.sql
-- Imports chats of one user, each completely or not at all: {key, id, title, createdAt, updatedAt, isArchived, head, headId,
-- messages: [{key, id, parent, parentId, role, content, thinking, images, toolCalls, model, state, finishReason, errorCode,
-- errorMessage, metadata, createdAt, attachments, feedback}]}, parents before children, keys unique per user. A chat imported
-- before gets the messages it lacks. Ids come from this or another Plinth: an id of the user's own row is the same chat or
-- message, and a free id is kept, so that chats moved between servers are recognized on the way back. A rejected chat is reported
-- and leaves no trace.
create or replace function private.import_chats(chats jsonb, user_id uuid)
  returns table (ordinal integer, outcome text, message text)
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_chat jsonb;
  v_chat_id uuid;
  v_is_new boolean;
  v_added integer;
  v_head uuid;
  v_activity timestamptz;
  v_constraint text;
begin
  -- Of two concurrent imports of one export, the second finds the rows of the first.
  perform pg_advisory_xact_lock(hashtextextended('private.import_chats ' || import_chats.user_id, 0));
  for v_chat, ordinal in
    select c.value, c.ordinality::integer from jsonb_array_elements(import_chats.chats) with ordinality c
  loop
    message := null;
    begin
      select c.id, c.updated_at into v_chat_id, v_activity
      from llm.chats c
      where c.user_id = import_chats.user_id
        and (c.import_key = v_chat ->> 'key' or c.id = (v_chat ->> 'id')::uuid)
      order by c.import_key is not distinct from v_chat ->> 'key' desc
      limit 1
      for no key update;
      v_is_new := not found;
      if v_is_new then
        insert into llm.chats as c (id, user_id, import_key, title, is_archived, created_at, updated_at)
        values (
          coalesce(
            (select (v_chat ->> 'id')::uuid where not exists (select from llm.chats o where o.id = (v_chat ->> 'id')::uuid)),
            plinth.uuid_v7()
          ),
          import_chats.user_id, v_chat ->> 'key', v_chat ->> 'title', (v_chat ->> 'isArchived')::boolean,
          coalesce((v_chat ->> 'createdAt')::timestamptz, now()), coalesce((v_chat ->> 'updatedAt')::timestamptz, now())
        )
        returning c.id, c.updated_at into v_chat_id, v_activity;
      end if;
      v_added := private.import_messages(import_chats.user_id, v_chat_id, v_chat -> 'messages');
      if v_added > 0 then
        v_head := private.imported_message_id(
          import_chats.user_id, v_chat_id, v_chat ->> 'head', (v_chat ->> 'headId')::uuid
        );
        if v_head is not null then
          perform private.move_head(import_chats.user_id, v_chat_id, v_head);
        end if;
      end if;
      -- An import does not count as activity in the chat.
      update llm.chats c
      set updated_at = greatest(v_activity, (v_chat ->> 'updatedAt')::timestamptz)
      where c.id = v_chat_id
        and c.updated_at <> greatest(v_activity, (v_chat ->> 'updatedAt')::timestamptz);
      outcome := case when v_is_new then 'inserted' when v_added > 0 then 'updated' else 'unchanged' end;
    exception
      when integrity_constraint_violation then
        get stacked diagnostics v_constraint = constraint_name;
        outcome := 'rejected';
        message := 'holds a value that is not allowed (' || v_constraint || ')';
      when data_exception or no_data_found then
        outcome := 'rejected';
        message := 'holds a value of the wrong form';
    end;
    return next;
  end loop;
end
$$;

comment on function private.import_chats(jsonb, uuid) is
  'Imports an array of a user''s chats from elsewhere; returns one result for each chat: inserted, updated, unchanged or rejected with the reason.';
--! EndIncluded llm/private/import_chats.sql
--! Included llm/private/import_messages.sql
create or replace function private.import_messages(user_id uuid, chat_id uuid, messages jsonb)
  returns integer
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_message jsonb;
  v_id uuid;
  v_parent_id uuid;
  v_depth integer;
  v_model_id uuid;
  v_chat_created_at timestamptz := (select c.created_at from llm.chats c where c.id = import_messages.chat_id);
  v_added integer := 0;
begin
  for v_message in select m.value from jsonb_array_elements(import_messages.messages) m loop
    if private.imported_message_id(
      import_messages.user_id, import_messages.chat_id, v_message ->> 'key', (v_message ->> 'id')::uuid
    ) is not null then
      continue;
    end if;
    v_parent_id := null;
    v_depth := 0;
    if v_message ->> 'parent' is not null then
      select m.id, m.depth into strict v_parent_id, v_depth
      from llm.messages m
      where m.user_id = import_messages.user_id
        and m.chat_id = import_messages.chat_id
        and m.id = private.imported_message_id(
          import_messages.user_id, import_messages.chat_id, v_message ->> 'parent', (v_message ->> 'parentId')::uuid
        );
    end if;
    v_model_id := (
      select m.id
      from llm.models m
      join llm.model_providers p on p.id = m.provider_id
      where v_message ->> 'role' = 'assistant' and p.name || '/' || m.name = v_message ->> 'model'
    );
    v_id := coalesce(
      (
        select (v_message ->> 'id')::uuid
        where not exists (select from llm.messages o where o.id = (v_message ->> 'id')::uuid)
      ),
      plinth.uuid_v7()
    );
    insert into llm.messages (
      id, chat_id, user_id, parent_id, depth, role, content, thinking, images, tool_calls, model_id, state, finish_reason,
      error_code, error_message, extended_metadata, created_at, idempotency_key
    )
    values (
      v_id, import_messages.chat_id, import_messages.user_id, v_parent_id, v_depth + 1, v_message ->> 'role',
      v_message ->> 'content', v_message ->> 'thinking', nullif(v_message -> 'images', 'null'),
      nullif(v_message -> 'toolCalls', 'null'), v_model_id, coalesce(v_message ->> 'state', 'complete'),
      v_message ->> 'finishReason', v_message ->> 'errorCode', v_message ->> 'errorMessage',
      coalesce(v_message -> 'metadata', '{}')
        || case
          when v_model_id is null and v_message ->> 'model' is not null then jsonb_build_object('model', v_message -> 'model')
          else '{}'
        end,
      coalesce((v_message ->> 'createdAt')::timestamptz, v_chat_created_at), v_message ->> 'key'
    );
    if jsonb_array_length(coalesce(v_message -> 'attachments', '[]')) > 0 then
      insert into llm.message_attachments (user_id, chat_id, message_id, position, url, mime_type, size_bytes, name)
      select
        import_messages.user_id, import_messages.chat_id, v_id, a.ordinality, a.value ->> 'url', a.value ->> 'mimeType',
        (a.value ->> 'sizeBytes')::bigint, a.value ->> 'name'
      from jsonb_array_elements(v_message -> 'attachments') with ordinality a;
    end if;
    if jsonb_typeof(v_message -> 'feedback') = 'object' then
      insert into llm.message_feedback (user_id, chat_id, message_id, rating, comment)
      values (
        import_messages.user_id, import_messages.chat_id, v_id, v_message -> 'feedback' ->> 'rating',
        coalesce(v_message -> 'feedback' ->> 'comment', '')
      );
    end if;
    v_added := v_added + 1;
  end loop;
  return v_added;
end
$$;

comment on function private.import_messages(uuid, uuid, jsonb) is
  'Adds the messages that an imported chat lacks, with their attachments and ratings; returns their number.';
--! EndIncluded llm/private/import_messages.sql
--! Included llm/private/import_models.sql
-- Imports models with their price history, each completely or not at all: {vendor, id, name, priceHistory: [{input, output,
-- inputCached, reasoning, from, to}]}, prices in USD per million tokens, from and to dates (midnight UTC) or null. The file
-- replaces a model's USD prices: periods missing from it are deleted. Repeating it changes nothing. A rejected model leaves no
-- trace; the caller decides whether the others stay.
create or replace function private.import_models(models jsonb, make_public boolean default false)
  returns table (ordinal integer, outcome text, message text)
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_model jsonb;
  v_provider_id uuid;
  v_model_id uuid;
  v_inserted boolean;
  v_changed boolean;
  v_count integer;
begin
  for v_model, ordinal in
    select m.value, m.ordinality::integer from jsonb_array_elements(import_models.models) with ordinality m
  loop
    message := null;
    begin
      -- Without this check, a file without prices would delete them.
      if jsonb_typeof(v_model -> 'priceHistory') is distinct from 'array' then
        raise exception 'priceHistory must be an array.' using errcode = 'PL422';
      end if;
      insert into llm.model_providers as p (name) values (trim(v_model ->> 'vendor'))
      on conflict on constraint model_providers_name_key do nothing;
      select p.id into strict v_provider_id from llm.model_providers p where p.name = trim(v_model ->> 'vendor');

      insert into llm.models as m (provider_id, name, display_name, is_public)
      values (v_provider_id, trim(v_model ->> 'id'), trim(v_model ->> 'name'), import_models.make_public)
      on conflict on constraint models_provider_id_name_key do update
      set display_name = excluded.display_name, is_public = m.is_public or excluded.is_public
      where (m.display_name, m.is_public) is distinct from (excluded.display_name, m.is_public or excluded.is_public)
      returning m.id, m.xmax = 0 into v_model_id, v_inserted;
      v_changed := found;
      if not found then
        v_inserted := false;
        select m.id into strict v_model_id
        from llm.models m
        where m.provider_id = v_provider_id and m.name = trim(v_model ->> 'id');
      end if;

      -- Unchanged periods stay; the rest is deleted before the new periods are inserted.
      delete from billing.model_prices p
      where p.model_id = v_model_id
        and p.currency = 'USD'
        and not exists (
          select
          from private.wanted_prices(v_model -> 'priceHistory') w
          where (
            w.input_price, w.output_price, w.cached_input_price, w.reasoning_price, w.effective_from, w.effective_to
          ) is not distinct from (
            p.input_price_per_million_tokens, p.output_price_per_million_tokens,
            p.cached_input_price_per_million_tokens, p.reasoning_price_per_million_tokens, p.effective_from, p.effective_to
          )
        );
      get diagnostics v_count = row_count;
      v_changed := v_changed or v_count > 0;

      insert into billing.model_prices (
        model_id, input_price_per_million_tokens, output_price_per_million_tokens,
        cached_input_price_per_million_tokens, reasoning_price_per_million_tokens, effective_from, effective_to
      )
      select
        v_model_id, w.input_price, w.output_price, w.cached_input_price, w.reasoning_price, w.effective_from, w.effective_to
      from private.wanted_prices(v_model -> 'priceHistory') w
      where not exists (
        select
        from billing.model_prices p
        where p.model_id = v_model_id
          and p.currency = 'USD'
          and (w.effective_from, w.effective_to) is not distinct from (p.effective_from, p.effective_to)
      );
      get diagnostics v_count = row_count;
      v_changed := v_changed or v_count > 0;

      outcome := case when v_inserted then 'inserted' when v_changed then 'updated' else 'unchanged' end;
    exception
      when data_exception or integrity_constraint_violation or no_data_found or sqlstate 'PL422' then
        outcome := 'rejected';
        message := sqlerrm;
    end;
    return next;
  end loop;
end
$$;

comment on function private.import_models(jsonb, boolean) is
  'Imports an array of models with prices; returns one result for each model: inserted, updated, unchanged or rejected with the reason.';
--! EndIncluded llm/private/import_models.sql
--! Included llm/private/import_prompts.sql
-- Imports library prompts, each completely or not at all: {name, content, type, forDevelopers, contributors}. Repeating it
-- changes nothing. A rejected row is reported and leaves no trace; the caller decides whether the others stay (rollback).
create or replace function private.import_prompts(prompts jsonb)
  returns table (ordinal integer, outcome text, message text)
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_prompt jsonb;
  v_inserted boolean;
begin
  for v_prompt, ordinal in
    select p.value, p.ordinality::integer from jsonb_array_elements(import_prompts.prompts) with ordinality p
  loop
    message := null;
    begin
      insert into llm.prompts as p (user_id, name, content, prompt_type, is_for_developers, contributors)
      values (
        null,
        btrim(v_prompt ->> 'name', E' \t\r\n'),
        v_prompt ->> 'content',
        lower(coalesce(v_prompt ->> 'type', 'text')),
        coalesce((v_prompt ->> 'forDevelopers')::boolean, false),
        array(select jsonb_array_elements_text(coalesce(v_prompt -> 'contributors', '[]')))
      )
      on conflict on constraint prompts_user_id_name_key do update
      set
        content = excluded.content,
        prompt_type = excluded.prompt_type,
        is_for_developers = excluded.is_for_developers,
        contributors = excluded.contributors
      where (p.content, p.prompt_type, p.is_for_developers, p.contributors)
        is distinct from (excluded.content, excluded.prompt_type, excluded.is_for_developers, excluded.contributors)
      -- xmax is 0 in a row that this statement inserted, and not in one that it updated.
      returning p.xmax = 0 into v_inserted;
      outcome := case when not found then 'unchanged' when v_inserted then 'inserted' else 'updated' end;
    exception
      when data_exception or integrity_constraint_violation then
        outcome := 'rejected';
        message := sqlerrm;
    end;
    return next;
  end loop;
end
$$;

comment on function private.import_prompts(jsonb) is
  'Imports an array of library prompts; returns one result for each row: inserted, updated, unchanged or rejected with the reason.';
--! EndIncluded llm/private/import_prompts.sql
--! Included llm/private/imported_message_id.sql
-- A message is the same if it was imported under the key, or if it has the id and belongs to the chat.
create or replace function private.imported_message_id(user_id uuid, chat_id uuid, key text, id uuid)
  returns uuid
  language sql
  stable
  set search_path = pg_catalog
as $$
  select coalesce(
    (
      select m.id
      from llm.messages m
      where m.user_id = imported_message_id.user_id
        and m.chat_id = imported_message_id.chat_id
        and m.idempotency_key = imported_message_id.key
    ),
    (
      select m.id
      from llm.messages m
      where m.user_id = imported_message_id.user_id
        and m.chat_id = imported_message_id.chat_id
        and m.id = imported_message_id.id
    )
  )
$$;

comment on function private.imported_message_id(uuid, uuid, text, uuid) is
  'Returns the id of an imported message if the chat already has it; otherwise null.';
--! EndIncluded llm/private/imported_message_id.sql
--! Included llm/private/insert_attachments.sql
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
--! EndIncluded llm/private/insert_attachments.sql
--! Included llm/private/move_head.sql
-- Makes a message the end of its chat's active path. Usually that is the newest message and nothing is stored, so sending message
-- after message never writes it. The caller has locked the chat.
create or replace function private.move_head(user_id uuid, chat_id uuid, message_id uuid)
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  update llm.chats c
  set head_id = head.id
  from (
    select case
      when move_head.message_id < llm.newest_message_id(move_head.user_id, move_head.chat_id) then move_head.message_id
    end as id
  ) as head
  where c.id = move_head.chat_id
    and c.user_id = move_head.user_id
    and c.head_id is distinct from head.id
$$;

comment on function private.move_head(uuid, uuid, uuid) is 'Makes a message the end of its chat''s active path.';
--! EndIncluded llm/private/move_head.sql
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
      raise exception 'An answer is being written in this chat.'
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
--! EndIncluded llm/private/open_turn.sql
--! Included llm/private/record_message_usage.sql
-- tokens_used of an assistant's message is counted in the ledger exactly once: recorded when it appears, corrected when it
-- changes, ignored when a service has settled the message. It has no parts, so it counts and is priced as output.
create or replace function private.record_message_usage(message llm.messages, at timestamptz default now())
  returns void
  language plpgsql
  volatile
as $$
declare
  v_locked timestamptz;
  v_tokens bigint := coalesce(message.tokens_used, 0);
  v_counted billing.usage_events;
  v_event billing.usage_events;
  v_taken record;
begin
  -- The writer holds the message or its chat, which rank after the account.
  perform private.ensure_grants_at(message.user_id, now(), false)
  where not exists (
    select from billing.usage_tracking t where t.user_id = message.user_id and t.entitled_until > now()
  );
  v_locked := private.lock_usage(message.user_id, record_message_usage.at);
  select e.* into v_counted
  from private.usage_keys k
  join billing.usage_events e on e.id = k.event_id
  where k.user_id = message.user_id and k.operation = 'message' and k.idempotency_key = message.id::text;
  if found then
    if v_counted.source in ('message', 'self_reported') then
      perform private.apply_correction(v_counted.id, 0, v_tokens, 0, 0, null, record_message_usage.at);
    end if;
    return;
  end if;
  if v_tokens = 0 then
    return;
  end if;
  v_taken := private.take_tokens(message.user_id, v_tokens, false, record_message_usage.at);
  v_event.id := plinth.uuid_v7();
  v_event.user_id := message.user_id;
  v_event.model_id := message.model_id;
  v_event.chat_id := message.chat_id;
  v_event.message_id := message.id;
  v_event.kind := 'usage';
  v_event.source := case when plinth.current_user_id() is null then 'message' else 'self_reported' end;
  v_event.input_tokens := 0;
  v_event.output_tokens := v_tokens;
  v_event.cached_input_tokens := 0;
  v_event.reasoning_tokens := 0;
  v_event.grant_ids := v_taken.grant_ids;
  v_event.grant_tokens := v_taken.grant_tokens;
  v_event.overdraft_tokens := v_taken.missing;
  v_event.occurred_at := least(message.created_at, record_message_usage.at);
  v_event.created_at := record_message_usage.at;
  v_event := private.post_usage_event(v_event);
  insert into private.usage_keys (user_id, operation, idempotency_key, arguments, event_id)
  values (message.user_id, 'message', message.id::text, '{}', v_event.id);
end
$$;

comment on function private.record_message_usage(llm.messages, timestamptz) is
  'Brings the ledger up to a message''s tokens_used, unless a service has settled the message.';
--! EndIncluded llm/private/record_message_usage.sql
--! Included llm/private/report_turn_usage.sql
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
  'Corrects the billed usage of an ended answer to the model''s count, for a day, whichever client wrote it. The same report again changes nothing. PL404 for an unknown turn, PL409 for one that has not ended or another report, PL422.';
grant execute on function private.report_turn_usage(uuid, bigint, bigint, bigint, bigint) to :PLINTH_SERVICE;
--! EndIncluded llm/private/report_turn_usage.sql
--! Included llm/private/set_conversation_memory.sql
-- Writes a memory that the service encrypted. The key is locked during the write: if the key were shredded in between, the
-- function would report success for a memory that cannot be read.
create or replace function private.set_conversation_memory(
  user_id uuid,
  key_id uuid,
  memory text,
  expected_version bigint default null
)
  returns table (version bigint, created_at timestamptz, updated_at timestamptz)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  -- The account before its rows, as everywhere.
  perform from identity.users u where u.id = set_conversation_memory.user_id for key share;
  perform from private.user_keys k
  where k.id = set_conversation_memory.key_id and k.user_id = set_conversation_memory.user_id
  for key share;
  if not found then
    return;
  end if;

  return query
    update llm.conversation_memories m
    set key_id = set_conversation_memory.key_id, memory = set_conversation_memory.memory, version = default
    where m.user_id = set_conversation_memory.user_id
      and (set_conversation_memory.expected_version is null or m.version = set_conversation_memory.expected_version)
    returning m.version, m.created_at, m.updated_at;
  if found then
    return;
  end if;

  -- If the memory to replace is missing or has another version, the call conflicts; null or version 0 creates a new one.
  if coalesce(set_conversation_memory.expected_version, 0) = 0 then
    return query
      insert into llm.conversation_memories (user_id, key_id, memory)
      values (set_conversation_memory.user_id, set_conversation_memory.key_id, set_conversation_memory.memory)
      on conflict (user_id) do update
        set key_id = excluded.key_id, memory = excluded.memory, version = default
        where set_conversation_memory.expected_version is null
      returning version, created_at, updated_at;
    if found then
      return;
    end if;
  end if;
  raise exception 'The memory was changed in the meantime.'
    using errcode = 'PL409', column = 'expected_version', hint = 'Read it again and repeat the change.';
end
$$;

comment on function private.set_conversation_memory(uuid, uuid, text, bigint) is
  'Writes a user''s encrypted memory; no row when the key was deleted. PL409 when its version is not the expected one (0: no memory yet).';
grant execute on function private.set_conversation_memory(uuid, uuid, text, bigint) to :PLINTH_SERVICE;
--! EndIncluded llm/private/set_conversation_memory.sql
--! Included llm/private/start_turn.sql
-- Answers written by a service: only the service appends to them, ends them and reports their usage. Their owner may cancel them.
create or replace function private.start_turn(
  user_id uuid,
  chat_id uuid,
  model_id uuid,
  parent_id uuid default null,
  max_tokens bigint default 4096,
  input_tokens bigint default 0,
  idempotency_key text default null,
  lease_seconds integer default 60
)
  returns llm.messages
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select private.open_turn(
    start_turn.user_id, start_turn.chat_id, start_turn.model_id, start_turn.parent_id, start_turn.max_tokens,
    start_turn.input_tokens, start_turn.idempotency_key, start_turn.lease_seconds, 'service'
  )
$$;

comment on function private.start_turn(uuid, uuid, uuid, uuid, bigint, bigint, text, integer) is
  'Starts an answer that the service writes, after parent_id or at the end of the active path; see private.open_turn.';
grant execute on function private.start_turn(uuid, uuid, uuid, uuid, bigint, bigint, text, integer) to :PLINTH_SERVICE;
--! EndIncluded llm/private/start_turn.sql
--! Included llm/private/title_of.sql
-- The title of an untitled chat is the first line of its first message, cut after a word.
create or replace function private.title_of(content text)
  returns text
  language sql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
  select case
    when length(line) <= 80 then nullif(line, '')
    else regexp_replace(left(line, 79), '(?<=.{40})[[:space:]]+[^[:space:]]*$', '') || '…'
  end
  from (
    select btrim(regexp_replace(substring(left(content, 2000) from '[^[:space:]][^\r\n]*'), '[[:space:][:cntrl:]]+', ' ', 'g')) as line
  ) as first
$$;

comment on function private.title_of(text) is 'Returns the first line of a text as a title of up to 80 characters; null without one.';
--! EndIncluded llm/private/title_of.sql
--! Included llm/private/turn_context.sql
-- The context of an answer for the model: the messages before it on its own path, so that edited messages and other answers never
-- leak in.
create or replace function private.turn_context(message_id uuid, max_count integer default 50)
  returns setof llm.messages
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  with recursive path as (
    select m.id, m.user_id, m.chat_id, m.parent_id, 0 as distance
    from llm.messages m
    where m.id = turn_context.message_id
    union all
    select m.id, m.user_id, m.chat_id, m.parent_id, p.distance + 1
    from path p
    join llm.messages m on m.user_id = p.user_id and m.chat_id = p.chat_id and m.id = p.parent_id
    where p.distance < turn_context.max_count
  )
  select m.*
  from path p
  join llm.messages m on m.id = p.id
  where p.distance > 0
  order by p.distance desc
$$;

comment on function private.turn_context(uuid, integer) is
  'Returns the last max_count messages before an answer, oldest first: the model''s input.';
grant execute on function private.turn_context(uuid, integer) to :PLINTH_SERVICE;
--! EndIncluded llm/private/turn_context.sql
--! Included llm/private/wanted_prices.sql
-- The price periods of an imported model, as rows shaped like billing.model_prices.
create or replace function private.wanted_prices(price_history jsonb)
  returns table (
    input_price numeric,
    output_price numeric,
    cached_input_price numeric,
    reasoning_price numeric,
    effective_from timestamptz,
    effective_to timestamptz
  )
  language sql
  stable
  set search_path = pg_catalog
  -- A date is its midnight in UTC.
  set timezone = 'UTC'
as $$
  -- Kept as written: a price that the table would reject must not be rounded to one that it accepts.
  select
    (h ->> 'input')::numeric,
    (h ->> 'output')::numeric,
    (h ->> 'inputCached')::numeric,
    (h ->> 'reasoning')::numeric,
    (h ->> 'from')::date,
    (h ->> 'to')::date
  from jsonb_array_elements(coalesce(price_history, '[]')) h
$$;

comment on function private.wanted_prices(jsonb) is 'Returns the price history of a model to import; USD per million tokens.';
--! EndIncluded llm/private/wanted_prices.sql
--! Included llm/private/write_delta.sql
-- Appends a delta of an answer: one narrow row updated in place, one row added. The sequence must be the next one; a retry of a
-- stored delta changes nothing. A late writer may continue until its turn is ended: an expired lease only allows others to end
-- it.
create or replace function private.write_delta(
  message_id uuid,
  sequence integer,
  content text,
  thinking text,
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
  v_bytes integer := coalesce(octet_length(write_delta.content), 0) + coalesce(octet_length(write_delta.thinking), 0);
  v_owner uuid;
  v_turn private.turns;
begin
  if v_bytes not between 1 and 65536 then
    raise exception 'A delta must have 1 to 65,536 bytes.' using errcode = 'PL422', column = 'content';
  end if;
  update private.turns t
  set
    last_sequence = t.last_sequence + 1,
    streamed_bytes = t.streamed_bytes + v_bytes,
    lease_expires_at = clock_timestamp() + t.lease
  where t.message_id = write_delta.message_id
    and t.last_sequence = write_delta.sequence - 1
    and t.ended_at is null
    and t.writer = write_delta.writer
    and (write_delta.user_id is null or t.user_id = write_delta.user_id)
    and t.streamed_bytes + v_bytes <= 1000000
  returning t.user_id into v_owner;
  if found then
    insert into llm.message_deltas (user_id, message_id, sequence, content, thinking)
    values (
      v_owner, write_delta.message_id, write_delta.sequence, coalesce(write_delta.content, ''),
      coalesce(write_delta.thinking, '')
    );
    perform plinth.announce('turn:' || write_delta.message_id, write_delta.sequence);
    return write_delta.sequence;
  end if;

  select t.* into v_turn
  from private.turns t
  where t.message_id = write_delta.message_id
    and t.writer = write_delta.writer
    and (write_delta.user_id is null or t.user_id = write_delta.user_id);
  if not found then
    raise exception 'Turn not found.' using errcode = 'PL404', column = 'message_id';
  end if;
  if write_delta.sequence between 1 and v_turn.last_sequence then
    if exists (
      select
      from llm.message_deltas d
      where d.user_id = v_turn.user_id
        and d.message_id = v_turn.message_id
        and d.sequence = write_delta.sequence
        and d.content = coalesce(write_delta.content, '')
        and d.thinking = coalesce(write_delta.thinking, '')
    ) then
      return v_turn.last_sequence;
    end if;
    raise exception 'Delta % was already stored with another text.', write_delta.sequence using errcode = 'PL409', column = 'sequence';
  end if;
  if v_turn.ended_at is not null then
    raise exception 'The turn has ended.'
      using errcode = 'PL409', column = 'message_id', hint = 'It was finished, cancelled, or ended when its lease expired.';
  end if;
  if v_turn.last_sequence <> write_delta.sequence - 1 or write_delta.sequence is null then
    raise exception 'The next delta is %, not %.', v_turn.last_sequence + 1, coalesce(write_delta.sequence::text, 'null')
      using errcode = 'PL409', column = 'sequence';
  end if;
  raise exception 'An answer can have at most 1,000,000 bytes.'
    using errcode = 'PL422', column = 'content', hint = 'Finish it with the reason length.';
end
$$;

comment on function private.write_delta(uuid, integer, text, text, uuid, text) is
  'Appends a delta; returns the last sequence. The same delta again changes nothing. PL409 for a gap, another text or a turn that ended, PL404 for an unknown turn, PL422 for its size.';
--! EndIncluded llm/private/write_delta.sql
--! Included llm/private/write_deltas.sql
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
--! EndIncluded llm/private/write_deltas.sql
--! Included llm/triggers/messages.sql
-- A chat's updated_at is its last activity: now, or the time of a message that has an earlier one (imported, restored). Once
-- per statement, not per message: bulk inserts update each chat once, with users in the order of their ids as in the ledger
-- that follows (llm.record_messages_usage), so that two writers do not deadlock.
create or replace function llm.touch_chats()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  update llm.chats c
  set updated_at = greatest(c.updated_at, case when touched.newest < now() then touched.newest else clock_timestamp() end)
  from (
    select l.id, n.newest
    from (
      select n.chat_id, n.user_id, max(n.created_at) as newest
      from new_messages n
      group by n.chat_id, n.user_id
    ) as n
    join llm.chats l on l.id = n.chat_id and l.user_id = n.user_id
    order by l.user_id, l.id
    for no key update of l
  ) as touched
  where c.id = touched.id;
  return null;
end
$$;

comment on function llm.touch_chats() is 'Trigger: a new message updates its chat''s time of last activity.';

create or replace trigger _500_touch_chats
  after insert on llm.messages
  referencing new table as new_messages
  for each statement
  execute function llm.touch_chats();

-- Messages feed the ledger. Once per statement and after the chats were touched, so that every writer locks chat before ledger;
-- users in the order of their ids, so that two bulk writers do not deadlock.
create or replace function llm.record_messages_usage()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_message llm.messages;
begin
  if tg_op = 'INSERT' then
    for v_message in
      select n.* from new_messages n where n.role = 'assistant' and n.tokens_used > 0 order by n.user_id, n.id
    loop
      perform private.record_message_usage(v_message);
    end loop;
  else
    for v_message in
      select n.*
      from new_messages n
      join old_messages o on o.id = n.id
      where n.role = 'assistant' and n.tokens_used is distinct from o.tokens_used
      order by n.user_id, n.id
    loop
      perform private.record_message_usage(v_message);
    end loop;
  end if;
  return null;
end
$$;

comment on function llm.record_messages_usage() is 'Trigger: records tokens_used of an assistant''s message as usage of its owner.';

create or replace trigger _700_record_usage
  after insert on llm.messages
  referencing new table as new_messages
  for each statement
  execute function llm.record_messages_usage();

create or replace trigger _700_record_changed_usage
  after update on llm.messages
  referencing old table as old_messages new table as new_messages
  for each statement
  execute function llm.record_messages_usage();

-- Places a message in the tree: after the message it names, or at the end of the active path. Functions that know the place set
-- the depth, and this does not run. The chat's lock orders the messages of one chat.
create or replace function llm.place_message()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_chat record;
  v_newest uuid;
  v_parent record;
begin
  -- Account before chat, as everywhere: changing a chat twice in one transaction checks its account again, and a concurrent
  -- deletion of the account may by then be waiting for the chat.
  perform from identity.users u where u.id = new.user_id for key share;
  select c.head_id, c.title into v_chat
  from llm.chats c
  where c.id = new.chat_id and c.user_id = new.user_id
  for no key update;
  if not found then
    -- The foreign key rejects it, with the same answer for another user's chat and for one that does not exist.
    new.depth := 1;
    new.parent_id := null;
    return new;
  end if;
  v_newest := llm.newest_message_id(new.user_id, new.chat_id);
  new.parent_id := coalesce(new.parent_id, v_chat.head_id, v_newest);
  if new.parent_id is null then
    new.depth := 1;
    if new.role = 'user' and v_chat.title = 'New chat' then
      update llm.chats c set title = private.title_of(new.content)
      where c.id = new.chat_id and private.title_of(new.content) is not null;
    end if;
  else
    select m.depth, m.state into v_parent
    from llm.messages m
    where m.user_id = new.user_id and m.chat_id = new.chat_id and m.id = new.parent_id;
    if not found then
      raise exception 'Message not found in this chat.' using errcode = 'PL404', column = 'parent_id';
    end if;
    if v_parent.state = 'streaming' then
      raise exception 'The answer is still being written.' using errcode = 'PL409', column = 'parent_id';
    end if;
    new.depth := v_parent.depth + 1;
  end if;
  -- As private.move_head, for a message that is not stored yet. Ids of two servers, or after a clock was set back, need not
  -- increase.
  if v_chat.head_id is not null and new.id > v_newest then
    update llm.chats c set head_id = null where c.id = new.chat_id;
  elsif new.id < v_newest then
    -- The foreign key waits for the row.
    set constraints llm.chats_head_id_fkey deferred;
    update llm.chats c set head_id = new.id where c.id = new.chat_id;
  end if;
  return new;
end
$$;

comment on function llm.place_message() is 'Trigger: places a message after the one it names, or at the end of the active path.';

create or replace trigger _200_place_message
  before insert on llm.messages
  for each row
  when (new.depth is null)
  execute function llm.place_message();
--! EndIncluded llm/triggers/messages.sql
--! Included llm/triggers/prompt_versions.sql
create or replace function llm.refuse_version_change()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  -- Deleting an account removes its name; nothing else may change.
  if new.created_by is null
    and (new.prompt_id, new.version, new.content, new.variables, new.created_at)
      is not distinct from (old.prompt_id, old.version, old.content, old.variables, old.created_at)
  then
    return new;
  end if;
  raise exception 'A version of a prompt cannot be changed.' using errcode = 'PL403';
end
$$;

comment on function llm.refuse_version_change() is 'Trigger: rejects changes to versions of prompts.';

create or replace trigger _100_refuse_change
  before update on llm.prompt_versions
  for each row
  execute function llm.refuse_version_change();
--! EndIncluded llm/triggers/prompt_versions.sql
--! Included llm/triggers/prompts.sql
-- Every content a prompt has had is a version. Two writers of one prompt wait for each other at its row, so numbers have no
-- gaps.
create or replace function llm.count_prompt_version()
  returns trigger
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'INSERT' then
    new.current_version := 1;
  elsif (new.content, new.variables) is distinct from (old.content, old.variables) then
    new.current_version := old.current_version + 1;
  else
    new.current_version := old.current_version;
  end if;
  return new;
end
$$;

comment on function llm.count_prompt_version() is 'Trigger: numbers new content or variables as the next version.';

create or replace function llm.keep_prompt_version()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'INSERT' or new.current_version <> old.current_version then
    insert into llm.prompt_versions (prompt_id, version, content, variables)
    values (new.id, new.current_version, new.content, new.variables);
  end if;
  return null;
end
$$;

comment on function llm.keep_prompt_version() is 'Trigger: stores each version of a prompt.';

-- See rooms/triggers/chat_rooms.sql: a version names its author, and prompts are deleted with their owner.
create or replace trigger _100_lock_account
  before update of content, variables on llm.prompts
  for each statement
  execute function private.lock_acting_account();

create or replace trigger _200_count_prompt_version
  before insert or update on llm.prompts
  for each row
  execute function llm.count_prompt_version();

create or replace trigger _500_keep_prompt_version
  after insert or update on llm.prompts
  for each row
  execute function llm.keep_prompt_version();
--! EndIncluded llm/triggers/prompts.sql
--! Included llm/triggers/record_data_change.sql
-- An address may contain a key, and so may a model's configuration.
create or replace trigger _700_record_data_change
  after insert or update or delete on llm.model_providers
  for each row
  execute function private.record_data_change('id', '', 'updated_at', 'api_url');

create or replace trigger _700_record_data_change
  after insert or update or delete on llm.models
  for each row
  execute function private.record_data_change('id', '', 'updated_at', 'config');
--! EndIncluded llm/triggers/record_data_change.sql
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
--! Included llm/triggers/turns.sql
-- A chat may be deleted while an answer streams. The text streamed so far is billed all the same; otherwise deletion would avoid
-- payment. The account's deletion removes its ledger, so there is nothing to bill.
create or replace function private.bill_deleted_turn()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_model_id uuid;
begin
  if exists (select from identity.users u where u.id = old.user_id) then
    select h.model_id into v_model_id from billing.token_holds h where h.id = old.hold_id;
    perform private.bill_turn(
      old, v_model_id, old.input_tokens, private.estimated_tokens(old.streamed_bytes)
    );
  end if;
  return old;
end
$$;

comment on function private.bill_deleted_turn() is 'Trigger: bills the text streamed so far when a streaming answer is deleted.';

create or replace trigger _200_bill_deleted_turn
  before delete on private.turns
  for each row
  when (old.ended_at is null)
  execute function private.bill_deleted_turn();
--! EndIncluded llm/triggers/turns.sql
--! Included llm/policies/chats.sql
-- A chat is visible only to its owner, not even to administrators.
revoke all on llm.chats from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, insert (title), update (title, is_archived), delete on llm.chats to :PLINTH_USER;

drop policy if exists all_own on llm.chats;
create policy all_own on llm.chats
  for all to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy all_own on llm.chats is 'Users read and write their own chats.';
--! EndIncluded llm/policies/chats.sql
--! Included llm/policies/conversation_memories.sql
-- Written and read through private.set_conversation_memory and private.find_conversation_memory, because only the service can
-- encrypt. The owner may see that a memory exists and when it changed; no role is granted the ciphertext.
revoke all on llm.conversation_memories from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select (user_id, version, created_at, updated_at) on llm.conversation_memories to :PLINTH_USER;

drop policy if exists select_own on llm.conversation_memories;
create policy select_own on llm.conversation_memories
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.conversation_memories is 'Users see whether they have a memory.';
--! EndIncluded llm/policies/conversation_memories.sql
--! Included llm/policies/message_attachments.sql
-- The owner of the chat reads them. They are added with a message (llm.send_chat_message) and never change.
revoke all on llm.message_attachments from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on llm.message_attachments to :PLINTH_USER;

drop policy if exists select_own on llm.message_attachments;
create policy select_own on llm.message_attachments
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.message_attachments is 'Users read attachments of their own messages.';
--! EndIncluded llm/policies/message_attachments.sql
--! Included llm/policies/message_deltas.sql
-- The owner of the chat reads them. private.write_delta adds them, in order.
revoke all on llm.message_deltas from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on llm.message_deltas to :PLINTH_USER;

drop policy if exists select_own on llm.message_deltas;
create policy select_own on llm.message_deltas
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.message_deltas is 'Users read deltas of their own answers.';
--! EndIncluded llm/policies/message_deltas.sql
--! Included llm/policies/message_feedback.sql
-- The owner of the chat reads them. llm.rate_message writes them.
revoke all on llm.message_feedback from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on llm.message_feedback to :PLINTH_USER;

drop policy if exists select_own on llm.message_feedback;
create policy select_own on llm.message_feedback
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.message_feedback is 'Users read their own ratings.';
--! EndIncluded llm/policies/message_feedback.sql
--! Included llm/policies/messages.sql
-- A message is visible only to the owner of its chat, not even to administrators. No update: messages never change, and an edit
-- is another message; functions write the answers that stream in. No delete: messages are deleted with their chat.
revoke all on llm.messages from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (chat_id, parent_id, role, content, thinking, tool_calls, images, model_id, tokens_used, extended_metadata)
  on llm.messages to :PLINTH_USER;

drop policy if exists select_own on llm.messages;
create policy select_own on llm.messages
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.messages is 'Users read the messages of their own chats.';

drop policy if exists insert_own on llm.messages;
create policy insert_own on llm.messages
  for insert to :PLINTH_USER
  with check (
    user_id = (select plinth.current_user_id())
    and (model_id is null or access.can_use_model(model_id))
  );
comment on policy insert_own on llm.messages is
  'Users add messages to their own chats, naming only models they may use.';
--! EndIncluded llm/policies/messages.sql
--! Included llm/policies/model_providers.sql
-- Visitors and users see what they may use; users with manage_models see and write the whole catalogue.
revoke all on llm.model_providers from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on llm.model_providers to :PLINTH_ANONYMOUS;
grant
  select,
  insert (name, api_url, auth_type, is_active),
  update (name, api_url, auth_type, is_active),
  delete
  on llm.model_providers to :PLINTH_USER;

drop policy if exists select_usable on llm.model_providers;
create policy select_usable on llm.model_providers
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (
    is_active
    and id in (select m.provider_id from llm.models m where m.id in (select access.usable_model_ids()))
  );
comment on policy select_usable on llm.model_providers is
  'Visitors see providers of public models, users also those of models granted to them.';

drop policy if exists all_manager on llm.model_providers;
create policy all_manager on llm.model_providers
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_models')))
  with check ((select access.has_permission('manage_models')));
comment on policy all_manager on llm.model_providers is 'Users with manage_models read and write all providers.';
--! EndIncluded llm/policies/model_providers.sql
--! Included llm/policies/models.sql
-- Visitors and users see what they may use; users with manage_models see and write the whole catalogue.
revoke all on llm.models from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on llm.models to :PLINTH_ANONYMOUS;
grant
  select,
  insert (provider_id, name, display_name, description, config, is_active, is_public),
  update (name, display_name, description, config, is_active, is_public),
  delete
  on llm.models to :PLINTH_USER;

drop policy if exists select_usable on llm.models;
create policy select_usable on llm.models
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (id in (select access.usable_model_ids()));
comment on policy select_usable on llm.models is 'Visitors see public models, users also those granted to them.';

drop policy if exists all_manager on llm.models;
create policy all_manager on llm.models
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_models')))
  with check ((select access.has_permission('manage_models')));
comment on policy all_manager on llm.models is 'Users with manage_models read and write all models.';
--! EndIncluded llm/policies/models.sql
--! Included llm/policies/prompt_labels.sql
-- Users who may read a prompt, by the policies of llm.prompts, read its labels. llm.label_prompt sets them.
revoke all on llm.prompt_labels from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on llm.prompt_labels to :PLINTH_ANONYMOUS, :PLINTH_USER;

drop policy if exists select_readable on llm.prompt_labels;
create policy select_readable on llm.prompt_labels
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (exists (select from llm.prompts p where p.id = prompt_id));
comment on policy select_readable on llm.prompt_labels is 'Users who read a prompt read its labels.';
--! EndIncluded llm/policies/prompt_labels.sql
--! Included llm/policies/prompt_shares.sql
-- The owner shares a prompt and revokes shares; recipients see their share and may delete it.
revoke all on llm.prompt_shares from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, insert (prompt_id, user_id), delete on llm.prompt_shares to :PLINTH_USER;

drop policy if exists all_owner on llm.prompt_shares;
create policy all_owner on llm.prompt_shares
  for all to :PLINTH_USER
  using (owner_id = (select plinth.current_user_id()))
  with check (owner_id = (select plinth.current_user_id()));
comment on policy all_owner on llm.prompt_shares is 'Owners of prompts share them and revoke shares.';

drop policy if exists select_receiver on llm.prompt_shares;
create policy select_receiver on llm.prompt_shares
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_receiver on llm.prompt_shares is 'Users see prompts shared with them.';

drop policy if exists delete_receiver on llm.prompt_shares;
create policy delete_receiver on llm.prompt_shares
  for delete to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy delete_receiver on llm.prompt_shares is 'Users may decline prompts shared with them.';
--! EndIncluded llm/policies/prompt_shares.sql
--! Included llm/policies/prompt_versions.sql
-- Users who may read a prompt, by the policies of llm.prompts, read its versions. Triggers add them.
revoke all on llm.prompt_versions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on llm.prompt_versions to :PLINTH_ANONYMOUS, :PLINTH_USER;

drop policy if exists select_readable on llm.prompt_versions;
create policy select_readable on llm.prompt_versions
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (exists (select from llm.prompts p where p.id = prompt_id));
comment on policy select_readable on llm.prompt_versions is 'Users who read a prompt read its versions.';
--! EndIncluded llm/policies/prompt_versions.sql
--! Included llm/policies/prompts.sql
-- Everyone reads the library (prompts without an owner) and users with edit_content write it; users write their own prompts and
-- decide which users may read them.
revoke all on llm.prompts from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on llm.prompts to :PLINTH_ANONYMOUS;
grant
  select,
  insert (user_id, name, content, prompt_type, is_for_developers, contributors, variables, visibility),
  update (name, content, prompt_type, is_for_developers, contributors, variables, visibility),
  delete
  on llm.prompts to :PLINTH_USER;

drop policy if exists select_library on llm.prompts;
create policy select_library on llm.prompts
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (user_id is null);
comment on policy select_library on llm.prompts is 'Everyone reads the shared library.';

drop policy if exists select_public on llm.prompts;
create policy select_public on llm.prompts
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (visibility = 'public');
comment on policy select_public on llm.prompts is 'Everyone reads prompts that their owner made public.';

drop policy if exists select_shared on llm.prompts;
create policy select_shared on llm.prompts
  for select to :PLINTH_USER
  using (
    visibility = 'shared'
    and id in (
      select s.prompt_id from llm.prompt_shares s where s.user_id = (select plinth.current_user_id())
    )
  );
comment on policy select_shared on llm.prompts is 'Users read prompts shared with them.';

drop policy if exists all_own on llm.prompts;
create policy all_own on llm.prompts
  for all to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy all_own on llm.prompts is 'Users read and write their own prompts.';

drop policy if exists all_editor on llm.prompts;
create policy all_editor on llm.prompts
  for all to :PLINTH_USER
  using (user_id is null and (select access.has_permission('edit_content')))
  with check (user_id is null and (select access.has_permission('edit_content')));
comment on policy all_editor on llm.prompts is 'Users with edit_content write the shared library.';
--! EndIncluded llm/policies/prompts.sql
--! Included llm/policies/user_prompts.sql
-- Users see their own counts; llm.use_prompt writes them.
revoke all on llm.user_prompts from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on llm.user_prompts to :PLINTH_USER;

drop policy if exists select_own on llm.user_prompts;
create policy select_own on llm.user_prompts
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.user_prompts is 'Users read their own counts.';
--! EndIncluded llm/policies/user_prompts.sql
