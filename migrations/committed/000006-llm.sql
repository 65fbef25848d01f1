--! Previous: sha1:3bc557c279fb8990f3bf925a218310fcf4d2b662
--! Hash: sha1:56d56fa358ece182754d4929e8cfc692098538a3
--! Message: llm

-- The model catalogue, prompts, chats and messages, and who may use which model.

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

comment on table llm.model_providers is 'One row per vendor of models, or own model server.';
comment on column llm.model_providers.id is 'UUIDv7.';
comment on column llm.model_providers.name is 'Unique name, such as openai.';
comment on column llm.model_providers.api_url is 'Base address for requests, or null when the application knows it.';
comment on column llm.model_providers.auth_type is 'How the provider authenticates callers: none, api_key, bearer or oauth2. Keys are not kept here.';
comment on column llm.model_providers.created_by is 'Administrator who added it; null for an import or a deleted account.';
comment on column llm.model_providers.is_active is 'Inactive providers and their models are hidden and unusable.';
comment on column llm.model_providers.created_at is 'When it was added.';
comment on column llm.model_providers.updated_at is 'When the row last changed.';

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

alter table identity.user_settings
  add constraint user_settings_default_model_id_fkey
  foreign key (default_model_id) references llm.models on delete set null;
-- Serves the foreign key.
create index user_settings_default_model_id_idx on identity.user_settings (default_model_id);

create table access.user_model_access (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  model_id uuid not null references llm.models on delete cascade,
  granted_by uuid default plinth.current_user_id() references identity.users on delete set null,
  granted_at timestamptz not null default now(),
  is_active boolean not null default true,
  constraint user_model_access_user_id_model_id_key unique (user_id, model_id)
);

alter table access.user_model_access enable row level security;

-- Serve the foreign keys; the unique key serves user_id.
create index user_model_access_model_id_idx on access.user_model_access (model_id);
create index user_model_access_granted_by_idx on access.user_model_access (granted_by);

comment on table access.user_model_access is 'One row per user and model granted to them; public models need none.';
comment on column access.user_model_access.id is 'UUIDv7.';
comment on column access.user_model_access.user_id is 'Who may use the model.';
comment on column access.user_model_access.model_id is 'The model.';
comment on column access.user_model_access.granted_by is 'Who granted it; null for the system or a deleted account.';
comment on column access.user_model_access.granted_at is 'When it was granted.';
comment on column access.user_model_access.is_active is 'False suspends the grant and keeps its history.';

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
  -- A name is unique in the library, and among each user's own; taken names of others stay their secret.
  constraint prompts_user_id_name_key unique nulls not distinct (user_id, name),
  constraint prompts_name_check check (length(name) between 1 and 200 and name = trim(name)),
  constraint prompts_content_check check (length(content) >= 1 and octet_length(content) <= 1000000),
  constraint prompts_prompt_type_check check (prompt_type in ('text', 'structured', 'image')),
  constraint prompts_contributors_has_no_null check (array_position(contributors, null) is null)
);

alter table llm.prompts enable row level security;

-- Search by name across owners; the unique key leads with the owner.
create index prompts_name_idx on llm.prompts (name);

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

create table llm.user_prompts (
  user_id uuid not null references identity.users on delete cascade,
  prompt_id uuid not null references llm.prompts on delete cascade,
  usage_count bigint not null default 0,
  last_used_at timestamptz,
  primary key (user_id, prompt_id),
  constraint user_prompts_usage_count_is_not_negative check (usage_count >= 0)
);

alter table llm.user_prompts enable row level security;

-- Serves the foreign key and "how often is this prompt used".
create index user_prompts_prompt_id_idx on llm.user_prompts (prompt_id);

comment on table llm.user_prompts is 'One row per user and prompt they used.';
comment on column llm.user_prompts.user_id is 'Who used it.';
comment on column llm.user_prompts.prompt_id is 'The prompt.';
comment on column llm.user_prompts.usage_count is 'How many times.';
comment on column llm.user_prompts.last_used_at is 'When last.';

create table llm.chats (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null default plinth.current_user_id() references identity.users on delete cascade,
  title text not null default 'New chat',
  is_archived boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  -- Ties a message's owner to its chat's.
  constraint chats_id_user_id_key unique (id, user_id),
  constraint chats_title_check check (length(title) between 1 and 255)
);

alter table llm.chats enable row level security;

-- A user's chats by last activity; also serves the foreign key.
create index chats_user_id_updated_at_idx on llm.chats (user_id, updated_at desc);

comment on table llm.chats is 'One row per conversation of a user with models.';
comment on column llm.chats.id is 'UUIDv7.';
comment on column llm.chats.user_id is 'Whose chat.';
comment on column llm.chats.title is 'Title, 1 to 255 characters.';
comment on column llm.chats.is_archived is 'Archived chats are kept, and hidden by clients.';
comment on column llm.chats.created_at is 'When it was started.';
comment on column llm.chats.updated_at is 'Last activity: the last message, or change of the chat itself.';

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
  constraint messages_chat_id_user_id_fkey
    foreign key (chat_id, user_id) references llm.chats (id, user_id) on delete cascade,
  constraint messages_role_check check (role in ('user', 'assistant', 'system', 'tool')),
  constraint messages_content_check check (octet_length(content) <= 1000000),
  constraint messages_thinking_check check (octet_length(thinking) <= 1000000),
  constraint messages_tool_calls_check check (jsonb_typeof(tool_calls) = 'array'),
  constraint messages_images_check check (jsonb_typeof(images) = 'array'),
  constraint messages_model_id_only_for_assistant check (model_id is null or role = 'assistant'),
  constraint messages_thinking_only_for_assistant check (thinking is null or role = 'assistant'),
  constraint messages_tool_calls_only_for_assistant check (tool_calls is null or role = 'assistant'),
  constraint messages_tokens_used_is_not_negative check (tokens_used >= 0),
  constraint messages_extended_metadata_is_an_object check (jsonb_typeof(extended_metadata) = 'object')
);

alter table llm.messages enable row level security;

-- A chat's messages in order (UUIDv7 sorts by time). One index for owner, chat and order: separate ones tempt the planner
-- into combining them with bad estimates. Also serves the foreign key.
create index messages_user_id_chat_id_id_idx on llm.messages (user_id, chat_id, id);
-- A user's latest messages over all chats; without it a quiet user would read everybody's to find their own.
create index messages_user_id_id_idx on llm.messages (user_id, id);
-- Messages by time across chats, for analysts and retention.
create index messages_created_at_idx on llm.messages (created_at);
-- Serves the foreign key, and usage by model.
create index messages_model_id_idx on llm.messages (model_id);

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

--! Included access/functions/usable_model_ids.sql
-- The models the user may use: active ones of active providers that are public or granted. One set for all policies.
create or replace function access.usable_model_ids()
  returns setof uuid
  language sql
  stable
  security definer
  parallel safe
  set search_path = pg_catalog
as $$
  select m.id
  from llm.models m
  join llm.model_providers p on p.id = m.provider_id
  where m.is_active
    and p.is_active
    and (
      m.is_public
      or exists (
        select
        from access.user_model_access a
        where a.user_id = plinth.current_user_id()
          and a.model_id = m.id
          and a.is_active
      )
    )
$$;

comment on function access.usable_model_ids() is
  E'@behavior -*\nIds of the models that the caller may use: public ones, and those granted to them.';
grant execute on function access.usable_model_ids() to :PLINTH_ANONYMOUS, :PLINTH_USER;

create or replace function access.can_use_model(model_id uuid)
  returns boolean
  language sql
  stable
  security definer
  parallel safe
  set search_path = pg_catalog
as $$
  select exists (select from access.usable_model_ids() as usable (id) where usable.id = can_use_model.model_id)
$$;

comment on function access.can_use_model(uuid) is 'Whether the signed-in user may use the model.';
grant execute on function access.can_use_model(uuid) to :PLINTH_USER;
--! EndIncluded access/functions/usable_model_ids.sql
--! Included llm/functions/use_prompt.sql
-- Counts a use of a prompt. One upsert, so parallel uses are all counted.
create or replace function llm.use_prompt(prompt_id uuid)
  returns llm.user_prompts
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function llm.use_prompt(uuid) is
  'Counts one use of a prompt by the signed-in user; returns the count. PL404 for a prompt the user cannot see.';
grant execute on function llm.use_prompt(uuid) to :PLINTH_USER;
--! EndIncluded llm/functions/use_prompt.sql
--! Included llm/triggers/chats_activity.sql
-- A chat's updated_at is its last activity. Once a statement, not once a message: bulk inserts touch each chat once.
create or replace function llm.touch_chats()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
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

create or replace trigger _500_touch_chats
  after insert on llm.messages
  referencing new table as new_messages
  for each statement
  execute function llm.touch_chats();
--! EndIncluded llm/triggers/chats_activity.sql
--! Included llm/triggers/updated_at.sql
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

-- Its time of last activity is given by llm.touch_chats, so that only an edit of the chat itself is stamped here.
create or replace trigger _900_touch_updated_at
  before update of title, is_archived on llm.chats
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded llm/triggers/updated_at.sql
--! Included llm/policies/model_providers.sql
-- Visitors and users see what they may use; manage_models sees and writes the whole catalogue.
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
comment on policy all_manager on llm.model_providers is 'The permission manage_models reads and writes all providers.';
--! EndIncluded llm/policies/model_providers.sql
--! Included llm/policies/models.sql
-- Visitors and users see what they may use; manage_models sees and writes the whole catalogue.
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
comment on policy all_manager on llm.models is 'The permission manage_models reads and writes all models.';
--! EndIncluded llm/policies/models.sql
--! Included access/policies/user_model_access.sql
-- Users see what was granted to them; grant_model_access sees, gives and takes everybody's.
revoke all on access.user_model_access from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (user_id, model_id, is_active),
  update (is_active),
  delete
  on access.user_model_access to :PLINTH_USER;

drop policy if exists select_own on access.user_model_access;
create policy select_own on access.user_model_access
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on access.user_model_access is 'Users read the grants made to them.';

drop policy if exists all_manager on access.user_model_access;
create policy all_manager on access.user_model_access
  for all to :PLINTH_USER
  using ((select access.has_permission('grant_model_access')))
  with check ((select access.has_permission('grant_model_access')));
comment on policy all_manager on access.user_model_access is
  'The permission grant_model_access reads, gives and takes all grants.';
--! EndIncluded access/policies/user_model_access.sql
--! Included llm/policies/prompts.sql
-- The library (no owner) is everybody's to read and edit_content's to write; a user's own prompts are theirs alone.
revoke all on llm.prompts from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on llm.prompts to :PLINTH_ANONYMOUS;
grant
  select,
  insert (user_id, name, content, prompt_type, is_for_developers, contributors),
  update (name, content, prompt_type, is_for_developers, contributors),
  delete
  on llm.prompts to :PLINTH_USER;

drop policy if exists select_library on llm.prompts;
create policy select_library on llm.prompts
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (user_id is null);
comment on policy select_library on llm.prompts is 'Everybody reads the shared library.';

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
comment on policy all_editor on llm.prompts is 'The permission edit_content writes the shared library.';
--! EndIncluded llm/policies/prompts.sql
--! Included llm/policies/user_prompts.sql
-- Users see their own counts; llm.use_prompt keeps them.
revoke all on llm.user_prompts from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on llm.user_prompts to :PLINTH_USER;

drop policy if exists select_own on llm.user_prompts;
create policy select_own on llm.user_prompts
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.user_prompts is 'Users read their own counts.';
--! EndIncluded llm/policies/user_prompts.sql
--! Included llm/policies/chats.sql
-- A chat is its owner's alone, administrators included.
revoke all on llm.chats from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, insert (title), update (title, is_archived), delete on llm.chats to :PLINTH_USER;

drop policy if exists all_own on llm.chats;
create policy all_own on llm.chats
  for all to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy all_own on llm.chats is 'Users read and write their own chats.';
--! EndIncluded llm/policies/chats.sql
--! Included llm/policies/messages.sql
-- A message is its chat's owner's alone, administrators included. No update: what was said stays said. No delete: messages
-- go with their chat.
revoke all on llm.messages from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (chat_id, role, content, thinking, tool_calls, images, model_id, tokens_used, extended_metadata)
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
--! Included private/functions/import_prompts.sql
-- Imports library prompts, each or not at all: {name, content, type, forDevelopers, contributors}. Repeating it changes
-- nothing. A rejected row is reported and leaves no trace; whether the others stay is the caller's decision (rollback).
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
      -- xmax is 0 in a row that this statement made, and not in one that it changed.
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
  'Imports an array of library prompts; one answer a row: inserted, updated, unchanged or rejected with the reason.';
--! EndIncluded private/functions/import_prompts.sql
