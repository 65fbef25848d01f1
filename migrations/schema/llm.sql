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
  constraint chats_pkey primary key (id),
  constraint chats_id_user_id_key unique (id, user_id),
  constraint chats_title_check check (length(title) >= 1 and length(title) <= 255),
  constraint chats_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table llm.chats enable row level security;

create index chats_user_id_updated_at_idx on llm.chats using btree (user_id, updated_at desc);

create trigger _900_touch_updated_at
  before update of title, is_archived on llm.chats
  for each row
  execute function plinth.touch_updated_at();

comment on table llm.chats is 'One row per conversation of a user with models.';
comment on column llm.chats.id is 'UUIDv7.';
comment on column llm.chats.user_id is 'Whose chat.';
comment on column llm.chats.title is 'Title, 1 to 255 characters.';
comment on column llm.chats.is_archived is 'Archived chats are kept, and hidden by clients.';
comment on column llm.chats.created_at is 'When it was started.';
comment on column llm.chats.updated_at is 'Last activity: the last message, or change of the chat itself.';

create policy all_own on llm.chats
  for all to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy all_own on llm.chats is 'Users read and write their own chats.';

grant select, insert (title), update (title, is_archived), delete on llm.chats to :PLINTH_USER;

-- One row per user with a memory: what an assistant remembers, encrypted under the user's key.
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

comment on table llm.conversation_memories is E'@behavior -*\nOne row per user with a memory: what an assistant remembers, encrypted under the user''s key.';
comment on column llm.conversation_memories.user_id is 'Whose memory.';
comment on column llm.conversation_memories.key_id is 'The user''s key that encrypted it; the row goes with the key.';
comment on column llm.conversation_memories.memory is 'Fernet token of a JSON document.';
comment on column llm.conversation_memories.version is 'Another one with each change, never used twice.';
comment on column llm.conversation_memories.created_at is 'When the user first had a memory, since it was last deleted.';
comment on column llm.conversation_memories.updated_at is 'When it last changed.';

create policy select_own on llm.conversation_memories
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.conversation_memories is 'Users see that they have a memory.';

grant select (user_id, version, created_at, updated_at) on llm.conversation_memories to :PLINTH_USER;

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
  constraint messages_pkey primary key (id),
  constraint messages_content_check check (octet_length(content) <= 1000000),
  constraint messages_extended_metadata_is_an_object check (jsonb_typeof(extended_metadata) = 'object'::text),
  constraint messages_images_check check (jsonb_typeof(images) = 'array'::text),
  constraint messages_model_id_only_for_assistant check (model_id is null or role = 'assistant'::text),
  constraint messages_role_check check (role = any (array['user'::text, 'assistant'::text, 'system'::text, 'tool'::text])),
  constraint messages_thinking_check check (octet_length(thinking) <= 1000000),
  constraint messages_thinking_only_for_assistant check (thinking is null or role = 'assistant'::text),
  constraint messages_tokens_used_is_not_negative check (tokens_used >= 0),
  constraint messages_tool_calls_check check (jsonb_typeof(tool_calls) = 'array'::text),
  constraint messages_tool_calls_only_for_assistant check (tool_calls is null or role = 'assistant'::text),
  constraint messages_chat_id_user_id_fkey foreign key (chat_id, user_id) references llm.chats(id, user_id) on delete cascade,
  constraint messages_model_id_fkey foreign key (model_id) references llm.models(id) on delete set null
);

alter table llm.messages enable row level security;

create index messages_created_at_idx on llm.messages using btree (created_at);
create index messages_model_id_idx on llm.messages using btree (model_id);
create index messages_user_id_chat_id_id_idx on llm.messages using btree (user_id, chat_id, id);
create index messages_user_id_id_idx on llm.messages using btree (user_id, id);

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
comment on column llm.messages.id is 'UUIDv7: messages of a chat sort by it.';
comment on column llm.messages.chat_id is 'The chat.';
comment on column llm.messages.user_id is 'The chat''s owner, repeated so that policies need no join.';
comment on column llm.messages.role is 'Who speaks: user, assistant, system or tool.';
comment on column llm.messages.content is 'The text, up to 1,000,000 bytes.';
comment on column llm.messages.thinking is 'The assistant''s reasoning, or null.';
comment on column llm.messages.tool_calls is 'Tools the assistant called (JSON array), or null.';
comment on column llm.messages.images is 'Images of the message (JSON array), or null.';
comment on column llm.messages.model_id is 'Model that answered; assistant messages only.';
comment on column llm.messages.tokens_used is 'Tokens counted for this message, or null when unknown.';
comment on column llm.messages.extended_metadata is 'What the application adds (JSON object).';
comment on column llm.messages.created_at is 'When it was written.';

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
  insert (chat_id, role, content, thinking, tool_calls, images, model_id, tokens_used, extended_metadata)
  on llm.messages to :PLINTH_USER;

-- One row per vendor of models, or own model server.
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

create trigger _700_record_data_change
  after insert or delete or update on llm.model_providers
  for each row
  execute function private.record_data_change('id', '', 'updated_at', 'api_url');
create trigger _900_touch_updated_at
  before update on llm.model_providers
  for each row
  execute function plinth.touch_updated_at();

comment on table llm.model_providers is 'One row per vendor of models, or own model server.';
comment on column llm.model_providers.id is 'UUIDv7.';
comment on column llm.model_providers.name is 'Unique name, such as openai.';
comment on column llm.model_providers.api_url is 'Base address for requests, or null when the application knows it.';
comment on column llm.model_providers.auth_type is 'How the provider authenticates callers: none, api_key, bearer or oauth2. Keys are not kept here.';
comment on column llm.model_providers.created_by is 'Administrator who added it; null for an import or a deleted account.';
comment on column llm.model_providers.is_active is 'Inactive providers and their models are hidden and unusable.';
comment on column llm.model_providers.created_at is 'When it was added.';
comment on column llm.model_providers.updated_at is 'When the row last changed.';

create policy all_manager on llm.model_providers
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_models'::text)))
  with check ((select access.has_permission('manage_models'::text)));
comment on policy all_manager on llm.model_providers is 'The permission manage_models reads and writes all providers.';
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

-- One row per model that can be asked.
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

comment on table llm.models is 'One row per model that can be asked.';
comment on column llm.models.id is 'UUIDv7.';
comment on column llm.models.provider_id is 'Who offers it.';
comment on column llm.models.name is 'The provider''s name for it, unique per provider.';
comment on column llm.models.display_name is 'Name shown to people.';
comment on column llm.models.description is 'What it is good for.';
comment on column llm.models.config is 'Settings for calling it (JSON object).';
comment on column llm.models.is_active is 'Inactive models are hidden and unusable.';
comment on column llm.models.is_public is 'Seen by visitors and usable by every signed-in user; otherwise only by those it was granted to.';
comment on column llm.models.created_at is 'When it was added.';
comment on column llm.models.updated_at is 'When the row last changed.';

create policy all_manager on llm.models
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_models'::text)))
  with check ((select access.has_permission('manage_models'::text)));
comment on policy all_manager on llm.models is 'The permission manage_models reads and writes all models.';
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

-- One row per prompt: the shared library and users' own.
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
  constraint prompts_pkey primary key (id),
  constraint prompts_user_id_name_key unique nulls not distinct (user_id, name),
  constraint prompts_content_check check (length(content) >= 1 and octet_length(content) <= 1000000),
  constraint prompts_contributors_has_no_null check (array_position(contributors, null::text) is null),
  constraint prompts_name_check check (length(name) >= 1 and length(name) <= 200 and name = trim(both from name)),
  constraint prompts_prompt_type_check check (prompt_type = any (array['text'::text, 'structured'::text, 'image'::text])),
  constraint prompts_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table llm.prompts enable row level security;

create index prompts_name_idx on llm.prompts using btree (name);

create trigger _900_touch_updated_at
  before update on llm.prompts
  for each row
  execute function plinth.touch_updated_at();

comment on table llm.prompts is 'One row per prompt: the shared library and users'' own.';
comment on column llm.prompts.id is 'UUIDv7.';
comment on column llm.prompts.user_id is 'Owner; null for the shared library.';
comment on column llm.prompts.name is 'Unique in the library and per owner, 1 to 200 characters.';
comment on column llm.prompts.content is 'The prompt, up to 1,000,000 bytes.';
comment on column llm.prompts.prompt_type is 'What the answer is: text, structured (JSON and the like) or image.';
comment on column llm.prompts.is_for_developers is 'Whether it is meant for software developers.';
comment on column llm.prompts.contributors is 'Names of the people who wrote it.';
comment on column llm.prompts.created_at is 'When it was added.';
comment on column llm.prompts.updated_at is 'When the row last changed.';

create policy all_editor on llm.prompts
  for all to :PLINTH_USER
  using (user_id is null and (select access.has_permission('edit_content'::text)))
  with check (user_id is null and (select access.has_permission('edit_content'::text)));
comment on policy all_editor on llm.prompts is 'The permission edit_content writes the shared library.';
create policy all_own on llm.prompts
  for all to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy all_own on llm.prompts is 'Users read and write their own prompts.';
create policy select_library on llm.prompts
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (user_id is null);
comment on policy select_library on llm.prompts is 'Everybody reads the shared library.';

grant
  select,
  insert (user_id, name, content, prompt_type, is_for_developers, contributors),
  update (name, content, prompt_type, is_for_developers, contributors),
  delete
  on llm.prompts to :PLINTH_USER;
grant select on llm.prompts to :PLINTH_ANONYMOUS;

-- One row per user and prompt they used.
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

comment on table llm.user_prompts is 'One row per user and prompt they used.';
comment on column llm.user_prompts.user_id is 'Who used it.';
comment on column llm.user_prompts.prompt_id is 'The prompt.';
comment on column llm.user_prompts.usage_count is 'How many times.';
comment on column llm.user_prompts.last_used_at is 'When last.';

create policy select_own on llm.user_prompts
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.user_prompts is 'Users read their own counts.';

grant select on llm.user_prompts to :PLINTH_USER;

-- Functions -------------------------------------------------------------------------------------------

-- The model's price at a moment, now by default, or null when none is known.
create or replace function llm.models_price(m llm.models, at timestamp with time zone default now(), currency text default 'USD'::text)
  returns billing.model_prices
  language sql
  stable
as $$
  select p
  from billing.model_prices p
  where p.model_id = m.id
    and p.currency = models_price.currency
    and tstzrange(p.effective_from, p.effective_to) @> models_price.at
$$;

comment on function llm.models_price(m llm.models, at timestamp with time zone, currency text) is 'The model''s price at a moment, now by default, or null when none is known.';
revoke execute on function llm.models_price(m llm.models, at timestamp with time zone, currency text) from public;
grant execute on function llm.models_price(m llm.models, at timestamp with time zone, currency text) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Trigger: tokens_used of an assistant's message is usage of its owner.
create or replace function llm.record_messages_usage()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function llm.record_messages_usage() is 'Trigger: tokens_used of an assistant''s message is usage of its owner.';
revoke execute on function llm.record_messages_usage() from public;

-- Trigger: a new message is activity of its chat.
create or replace function llm.touch_chats()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  update llm.chats c
  set updated_at = clock_timestamp()
  from (select distinct n.chat_id, n.user_id from new_messages n) as touched
  where c.id = touched.chat_id and c.user_id = touched.user_id;
  return null;
end
$$;

comment on function llm.touch_chats() is 'Trigger: a new message is activity of its chat.';
revoke execute on function llm.touch_chats() from public;

-- Counts one use of a prompt by the signed-in user; returns the count. PL404 for a prompt the user cannot see.
create or replace function llm.use_prompt(prompt_id uuid)
  returns llm.user_prompts
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_result llm.user_prompts;
begin
  if plinth.current_user_id() is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  -- The same answer for a prompt of somebody else and one that does not exist.
  if not exists (
    select
    from llm.prompts p
    where p.id = use_prompt.prompt_id
      and (p.user_id is null or p.user_id = plinth.current_user_id())
  ) then
    raise exception 'There is no such prompt.' using errcode = 'PL404';
  end if;
  insert into llm.user_prompts as up (user_id, prompt_id, usage_count, last_used_at)
  values (plinth.current_user_id(), use_prompt.prompt_id, 1, now())
  on conflict on constraint user_prompts_pkey
  do update set usage_count = up.usage_count + 1, last_used_at = excluded.last_used_at
  returning * into v_result;
  return v_result;
end
$$;

comment on function llm.use_prompt(prompt_id uuid) is 'Counts one use of a prompt by the signed-in user; returns the count. PL404 for a prompt the user cannot see.';
revoke execute on function llm.use_prompt(prompt_id uuid) from public;
grant execute on function llm.use_prompt(prompt_id uuid) to :PLINTH_USER;
