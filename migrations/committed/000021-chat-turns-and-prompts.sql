--! Previous: sha1:37fb89770be948ca4b7ffa469ca97faeb8481126
--! Hash: sha1:bf1008a04fcb06c582af2ed613db3ccd3e11ff5b
--! Message: chat turns and prompts

-- Chats as trees with answers that stream in, and prompts with versions, labels, variables and readers.

create extension if not exists btree_gin with schema plinth;

--! Included plinth/functions/announce.sql
-- Tells the servers that a live topic has news. The payload is a hint and no news itself: any database role may NOTIFY, so servers re-read what
-- changed under each subscriber's own claims. Equal announcements of one transaction are merged by PostgreSQL.
create or replace function plinth.announce(topic text, sequence bigint)
  returns void
  language sql
  volatile
  set search_path = pg_catalog
begin atomic
  select pg_notify('plinth_live', topic || ' ' || sequence);
end;

comment on function plinth.announce(text, bigint) is
  '@behavior -*
Tells listening servers that a live topic (room:<id>, typing:<id>, presence:<id>, turn:<id>, user:<id>) reached a sequence; sent when the transaction commits.';
--! EndIncluded plinth/functions/announce.sql

-- Messages: a tree in each chat.

-- The same columns as the index it replaces; as a constraint, parents and what belongs to a message can point at it.
drop index llm.messages_user_id_chat_id_id_idx;
alter table llm.messages
  add column parent_id uuid,
  add column depth integer,
  add column state text not null default 'complete',
  add column finish_reason text,
  add column error_code text,
  add column error_message text,
  add column last_sequence integer not null default 0,
  add column idempotency_key text,
  add constraint messages_user_id_chat_id_id_key unique (user_id, chat_id, id);

-- What was a list becomes a path.
update llm.messages m
set parent_id = placed.parent_id, depth = placed.depth
from (
  select l.id, lag(l.id) over chat as parent_id, row_number() over chat as depth
  from llm.messages l
  window chat as (partition by l.user_id, l.chat_id order by l.id)
) as placed
where m.id = placed.id;

alter table llm.messages
  alter column depth set not null,
  add constraint messages_parent_id_fkey
    foreign key (user_id, chat_id, parent_id) references llm.messages (user_id, chat_id, id) on delete cascade,
  add constraint messages_first_ones_have_no_parent check ((parent_id is null) = (depth = 1)),
  add constraint messages_depth_is_positive check (depth >= 1),
  add constraint messages_state_check check (state in ('streaming', 'complete', 'broken_off', 'cancelled')),
  add constraint messages_finish_reason_check check (
    finish_reason in ('stop', 'length', 'tool_calls', 'content_filter', 'error', 'expired', 'cancelled')
  ),
  add constraint messages_only_answers_stream_and_finish check (
    role = 'assistant' or (state = 'complete' and finish_reason is null)
  ),
  add constraint messages_finish_reason_fits_state check (
    case state
      when 'streaming' then finish_reason is null
      when 'complete' then finish_reason in ('stop', 'length', 'tool_calls', 'content_filter') is not false
      when 'broken_off' then finish_reason in ('error', 'expired') is true
      when 'cancelled' then finish_reason = 'cancelled' is true
    end
  ),
  add constraint messages_only_broken_off_ones_have_an_error check (
    state = 'broken_off' or (error_code is null and error_message is null)
  ),
  add constraint messages_error_code_check check (length(error_code) between 1 and 100),
  add constraint messages_error_message_check check (length(error_message) <= 2000),
  add constraint messages_last_sequence_is_not_negative check (last_sequence >= 0),
  add constraint messages_idempotency_key_check check (length(idempotency_key) between 1 and 255);

-- The children of a message; also serves the foreign key. The parent comes first, so that nobody mistakes it for an index of
-- a chat's messages.
create index messages_parent_id_idx on llm.messages (parent_id, chat_id, user_id);
-- One answer at a time: the next turn of a chat waits until this one has ended.
create unique index messages_one_turn_a_chat_idx on llm.messages (chat_id) where state = 'streaming';
create unique index messages_user_id_idempotency_key_idx on llm.messages (user_id, idempotency_key)
  where idempotency_key is not null;
-- Search finds a user's own words without reading anybody else's.
create index messages_search_idx
  on llm.messages
  using gin (user_id, to_tsvector('pg_catalog.english', left(content, 100000)))
  where role in ('user', 'assistant');

comment on constraint messages_parent_id_fkey on llm.messages is
  E'@fieldName parent\n@foreignFieldName children\nThe message it follows.';
comment on column llm.messages.parent_id is 'The message it follows; null for the first of a chat. Two with one parent are alternatives: an edit, or another answer.';
comment on column llm.messages.depth is 'How many messages there are from the first to this one, 1 for the first.';
comment on column llm.messages.state is 'complete; or of an answer: streaming, broken_off or cancelled, the last two with what had arrived.';
comment on column llm.messages.finish_reason is
  'Why an answer ended: stop, length, tool_calls, content_filter; error or expired when broken off; cancelled. Null when unknown.';
comment on column llm.messages.error_code is 'What broke an answer off, for programs.';
comment on column llm.messages.error_message is 'What broke an answer off, for people.';
comment on column llm.messages.last_sequence is 'How many deltas an answer consisted of, known when it has ended.';
comment on column llm.messages.idempotency_key is E'@behavior -*\nNames the request that made it, unique per user: the same request again gives this message.';

alter table llm.chats
  add column head_id uuid,
  add column import_key text,
  add constraint chats_head_id_fkey
    foreign key (user_id, id, head_id) references llm.messages (user_id, chat_id, id)
    on delete set null (head_id)
    deferrable,
  add constraint chats_import_key_check check (length(import_key) between 1 and 255);

-- Serves the foreign key.
create index chats_head_id_idx on llm.chats (head_id, user_id, id);
create unique index chats_user_id_import_key_idx on llm.chats (user_id, import_key) where import_key is not null;

comment on constraint chats_head_id_fkey on llm.chats is E'@behavior -*';
comment on column llm.chats.head_id is
  E'@behavior -*\nLast message of the active path when that is not the chat''s newest message; see llm.chats_active_path.';
comment on column llm.chats.import_key is E'@behavior -*\nWhere an imported chat came from, such as chatgpt:<id>; imported again, it is the same chat.';

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
  hold_id uuid references billing.token_holds on delete set null,
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
)
-- Updated with each delta: room in the page keeps the indexes out of it.
with (fillfactor = 50);

alter table private.turns enable row level security;

-- Serve the foreign keys.
create index turns_user_id_message_id_chat_id_idx on private.turns (user_id, message_id, chat_id);
create index turns_hold_id_idx on private.turns (hold_id);
-- The few that run, for the job that ends what expired. Without the time, which changes with each delta.
create index turns_running_idx on private.turns (message_id) where ended_at is null;
create index turns_ended_at_idx on private.turns (ended_at) where ended_at is not null;

comment on table private.turns is 'One row per answer that streams, or did until lately: what changes with each delta, and who pays. Its deltas go with it.';
comment on column private.turns.message_id is 'The answer.';
comment on column private.turns.user_id is 'The chat''s owner.';
comment on column private.turns.chat_id is 'The chat.';
comment on column private.turns.writer is 'Who appends: client (the owner, through the API) or service (private.append_delta).';
comment on column private.turns.last_sequence is 'Sequence of the last delta; 0 before the first.';
comment on column private.turns.streamed_bytes is 'Bytes of content and thinking so far.';
comment on column private.turns.lease is 'How long the writer may be silent.';
comment on column private.turns.lease_expires_at is 'From then on others may end the turn. Each delta moves it.';
comment on column private.turns.max_tokens is 'Tokens set aside for it.';
comment on column private.turns.input_tokens is 'Tokens of the question, as told at the start; counted when the writer never tells what was used.';
comment on column private.turns.hold_id is 'The tokens set aside; settled or released when the turn ends.';
comment on column private.turns.is_usage_estimated is 'True when it was billed for what streamed because its writer never told what was used; a service may still tell.';
comment on column private.turns.created_at is 'When it was started.';
comment on column private.turns.ended_at is 'When it ended; null while it runs.';

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
)
-- Every row is written once and deleted a day later: clean up often.
with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);

alter table llm.message_deltas enable row level security;

comment on table llm.message_deltas is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single -node:node\nOne row per piece of an answer, as it streamed in. Gone a day after the answer ended: the message has the whole text then.';
comment on column llm.message_deltas.user_id is 'The chat''s owner.';
comment on column llm.message_deltas.message_id is 'The answer.';
comment on column llm.message_deltas.sequence is '1, 2, 3 … without a gap.';
comment on column llm.message_deltas.content is 'Text to add to the content.';
comment on column llm.message_deltas.thinking is 'Text to add to the thinking.';
comment on column llm.message_deltas.created_at is 'When it was appended.';

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
  -- With the unique key: at most ten.
  constraint message_attachments_are_at_most_ten check (position between 1 and 10),
  constraint message_attachments_url_is_https check (
    url ~ '^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][^[:space:][:cntrl:]]*)?$' and length(url) <= 2048
  ),
  -- What a browser would run (HTML, SVG) is not among them.
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

comment on table llm.message_attachments is 'One row per file of a message, by reference: the file itself is elsewhere. At most ten a message.';
comment on constraint message_attachments_message_id_fkey on llm.message_attachments is
  E'@fieldName message\n@foreignFieldName attachments\nThe message.';
comment on constraint message_attachments_message_id_position_key on llm.message_attachments is E'@behavior -*';
comment on column llm.message_attachments.id is 'UUIDv7.';
comment on column llm.message_attachments.user_id is 'The chat''s owner.';
comment on column llm.message_attachments.chat_id is 'The chat.';
comment on column llm.message_attachments.message_id is 'The message.';
comment on column llm.message_attachments.position is '1 to 10, in the order they were given.';
comment on column llm.message_attachments.url is 'Where it is: https, without a user or password, up to 2,048 characters.';
comment on column llm.message_attachments.mime_type is 'What it is; images, sound, film, plain text and office files.';
comment on column llm.message_attachments.size_bytes is 'Bytes, up to 100 MiB, as the sender says.';
comment on column llm.message_attachments.name is 'File name, without a path.';
comment on column llm.message_attachments.created_at is 'When it was attached.';

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

comment on table llm.message_feedback is 'One row per answer that its reader rated.';
comment on constraint message_feedback_message_id_fkey on llm.message_feedback is
  E'@fieldName message\n@foreignFieldName feedback\nThe answer.';
comment on column llm.message_feedback.message_id is 'The answer.';
comment on column llm.message_feedback.user_id is 'Who rated it: the chat''s owner.';
comment on column llm.message_feedback.chat_id is 'The chat.';
comment on column llm.message_feedback.rating is 'up or down.';
comment on column llm.message_feedback.comment is 'Why, up to 2,000 characters.';
comment on column llm.message_feedback.created_at is 'When it was first rated.';
comment on column llm.message_feedback.updated_at is 'When the rating last changed.';

-- Prompts.

--! Included llm/functions/are_prompt_variables.sql
-- The shape of llm.prompts.variables. A function, because a CHECK may not look into the elements of an array by itself.
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
  E'@behavior -*\nWhether this is a list of up to 50 declarations {name, type, choices, default, description} with different names.';
grant execute on function llm.are_prompt_variables(jsonb) to :PLINTH_USER;

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
    -- Through the text: what is no number must not be cast.
    when 'integer' then jsonb_typeof(value) = 'number' and (value #>> '{}') ~ '^-?[0-9]+([.]0+)?$'
    when 'boolean' then jsonb_typeof(value) = 'boolean'
    when 'choice' then jsonb_typeof(value) = 'string' and variable -> 'choices' @> value
    else false
  end
$$;

comment on function llm.fits_prompt_variable(jsonb, jsonb) is
  E'@behavior -*\nWhether a value is of the type that a variable of a prompt declares.';
grant execute on function llm.fits_prompt_variable(jsonb, jsonb) to :PLINTH_USER, :PLINTH_ANONYMOUS;
--! EndIncluded llm/functions/are_prompt_variables.sql

alter table llm.prompts
  add column variables jsonb not null default '[]',
  add column visibility text not null default 'private',
  add column current_version integer not null default 1,
  -- Lets a share name the prompt and its owner at once.
  add constraint prompts_id_user_id_key unique (id, user_id),
  add constraint prompts_variables_are_declarations check (llm.are_prompt_variables(variables)),
  add constraint prompts_visibility_check check (visibility in ('private', 'shared', 'public')),
  add constraint prompts_current_version_is_positive check (current_version >= 1);

comment on column llm.prompts.variables is
  'What {{name}} in the content stands for: [{name, type: text | integer | number | boolean | choice, choices, default, description}].';
comment on column llm.prompts.visibility is
  'Who else reads a user''s prompt: private (nobody), shared (whom llm.prompt_shares names) or public. The library is always public.';
comment on column llm.prompts.current_version is 'Version of the content and variables as they are now.';

create table llm.prompt_versions (
  prompt_id uuid not null references llm.prompts on delete cascade,
  version integer not null,
  content text not null,
  variables jsonb not null,
  created_by uuid default plinth.current_user_id() references identity.users on delete set null,
  created_at timestamptz not null default now(),
  primary key (prompt_id, version),
  constraint prompt_versions_version_is_positive check (version >= 1)
);

alter table llm.prompt_versions enable row level security;

-- Serves the foreign key.
create index prompt_versions_created_by_idx on llm.prompt_versions (created_by);

comment on table llm.prompt_versions is 'One row per state a prompt''s content and variables ever had. Never changed.';
comment on constraint prompt_versions_prompt_id_fkey on llm.prompt_versions is
  E'@fieldName prompt\n@foreignFieldName versions\nThe prompt.';
comment on column llm.prompt_versions.prompt_id is 'The prompt.';
comment on column llm.prompt_versions.version is '1, 2, 3 … without a gap.';
comment on column llm.prompt_versions.content is 'The content of that version.';
comment on column llm.prompt_versions.variables is 'The variables of that version.';
comment on column llm.prompt_versions.created_by is 'Who wrote it; null for an import or a deleted account.';
comment on column llm.prompt_versions.created_at is 'When it was written.';

insert into llm.prompt_versions (prompt_id, version, content, variables, created_by, created_at)
select p.id, 1, p.content, p.variables, p.user_id, p.updated_at
from llm.prompts p;

create table llm.prompt_labels (
  prompt_id uuid not null,
  label text not null,
  version integer not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (prompt_id, label),
  constraint prompt_labels_version_fkey
    foreign key (prompt_id, version) references llm.prompt_versions (prompt_id, version) on delete cascade,
  constraint prompt_labels_label_check check (label ~ '^[a-z0-9][a-z0-9_.-]{0,49}$')
);

alter table llm.prompt_labels enable row level security;

-- Serves the foreign key.
create index prompt_labels_prompt_id_version_idx on llm.prompt_labels (prompt_id, version);

comment on table llm.prompt_labels is 'One row per name, such as production, that points at a version of a prompt.';
comment on constraint prompt_labels_version_fkey on llm.prompt_labels is
  E'@fieldName promptVersion\n@foreignFieldName labels\nThe version it points at.';
comment on column llm.prompt_labels.prompt_id is 'The prompt.';
comment on column llm.prompt_labels.label is 'Lowercase letters, digits, _ . and -, such as production or staging.';
comment on column llm.prompt_labels.version is 'The version it points at.';
comment on column llm.prompt_labels.created_at is 'When the label was first set.';
comment on column llm.prompt_labels.updated_at is 'When it was last moved.';

create table llm.prompt_shares (
  prompt_id uuid not null,
  owner_id uuid not null default plinth.current_user_id(),
  user_id uuid not null references identity.users on delete cascade,
  created_at timestamptz not null default now(),
  primary key (prompt_id, user_id),
  -- Only an owner shares: the library, which has none, is everybody's anyway.
  constraint prompt_shares_prompt_id_owner_id_fkey
    foreign key (prompt_id, owner_id) references llm.prompts (id, user_id) on delete cascade,
  constraint prompt_shares_are_with_others check (owner_id <> user_id)
);

alter table llm.prompt_shares enable row level security;

-- Serve the foreign keys, and "what is shared with me".
create index prompt_shares_user_id_idx on llm.prompt_shares (user_id);
create index prompt_shares_owner_id_prompt_id_idx on llm.prompt_shares (owner_id, prompt_id);

comment on table llm.prompt_shares is 'One row per prompt and user who may read it while its visibility is shared.';
comment on constraint prompt_shares_prompt_id_owner_id_fkey on llm.prompt_shares is
  E'@fieldName prompt\n@foreignFieldName shares\nThe prompt.';
comment on column llm.prompt_shares.prompt_id is 'The prompt.';
comment on column llm.prompt_shares.owner_id is 'Its owner, repeated so that policies need no join.';
comment on column llm.prompt_shares.user_id is 'Who may read it.';
comment on column llm.prompt_shares.created_at is 'Since when.';

create table private.prompt_use_keys (
  user_id uuid not null references identity.users on delete cascade,
  idempotency_key text not null,
  prompt_id uuid not null references llm.prompts on delete cascade,
  created_at timestamptz not null default now(),
  primary key (user_id, idempotency_key),
  constraint prompt_use_keys_idempotency_key_check check (length(idempotency_key) between 1 and 255)
);

alter table private.prompt_use_keys enable row level security;

-- Serve the foreign key and the clean-up.
create index prompt_use_keys_prompt_id_idx on private.prompt_use_keys (prompt_id);
create index prompt_use_keys_created_at_idx on private.prompt_use_keys (created_at);

comment on table private.prompt_use_keys is 'One row per use of a prompt that was counted under a key in the last week.';
comment on column private.prompt_use_keys.user_id is 'Who used it.';
comment on column private.prompt_use_keys.idempotency_key is 'The key: the same use told again counts once.';
comment on column private.prompt_use_keys.prompt_id is 'The prompt.';
comment on column private.prompt_use_keys.created_at is 'When it was counted.';

-- It takes a key now.
drop function llm.use_prompt(uuid);

--! Included private/functions/can_user_use_model.sql
-- As access.can_use_model, for a user named by a service.
create or replace function private.can_user_use_model(user_id uuid, model_id uuid)
  returns boolean
  language sql
  stable
  parallel safe
  set search_path = pg_catalog
as $$
  select exists (
    select
    from llm.models m
    join llm.model_providers p on p.id = m.provider_id
    where m.id = can_user_use_model.model_id
      and m.is_active
      and p.is_active
      and (
        m.is_public
        or exists (
          select
          from access.user_model_access a
          where a.user_id = can_user_use_model.user_id
            and a.model_id = m.id
            and a.is_active
        )
      )
  )
$$;

comment on function private.can_user_use_model(uuid, uuid) is 'Whether a user may use a model.';
--! EndIncluded private/functions/can_user_use_model.sql
--! Included private/functions/title_of.sql
-- A chat without a title is called by the first line that was said in it, cut after a word.
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

comment on function private.title_of(text) is 'First line of a text as a title of up to 80 characters; null when there is none.';
--! EndIncluded private/functions/title_of.sql
--! Included llm/functions/newest_message_id.sql
-- The newest message of a chat. In rows and not column by column: with user and chat equal to something, an order by id would let
-- the planner read the primary key from its end, through everybody's messages, which is long for a chat of last year. All
-- three in order are in one index only.
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
  E'@behavior -*\nId of the newest message of a chat, whatever its place; null when there is none.';
grant execute on function llm.newest_message_id(uuid, uuid) to :PLINTH_USER;
--! EndIncluded llm/functions/newest_message_id.sql
--! Included private/functions/move_head.sql
-- Makes a message the end of its chat's active path. As a rule that is the newest message, and nothing is stored; so sending
-- message after message never writes it. The caller has locked the chat.
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
--! EndIncluded private/functions/move_head.sql
--! Included llm/triggers/place_message.sql
-- Gives a message its place in the tree: after the message it names, or at the end of the active path. Functions that know the
-- place give the depth, and this does not run. The chat's lock makes messages of one chat follow each other.
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
  -- The account before the chat, as everywhere: changing a chat twice in one transaction looks at its account again, and who
  -- deletes the account may wait for the chat by then.
  perform from identity.users u where u.id = new.user_id for key share;
  select c.head_id, c.title into v_chat
  from llm.chats c
  where c.id = new.chat_id and c.user_id = new.user_id
  for no key update;
  if not found then
    -- The foreign key refuses it, with the same answer for a chat of somebody else and for none.
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
      raise exception 'There is no such message in the chat.' using errcode = 'PL404', column = 'parent_id';
    end if;
    if v_parent.state = 'streaming' then
      raise exception 'The answer is still under way.' using errcode = 'PL409', column = 'parent_id';
    end if;
    new.depth := v_parent.depth + 1;
  end if;
  -- As private.move_head, of a message that is not there yet. Ids of two servers, or after a clock was set back, need not rise.
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

comment on function llm.place_message() is 'Trigger: a message follows the one it names, or the end of the active path.';

create or replace trigger _200_place_message
  before insert on llm.messages
  for each row
  when (new.depth is null)
  execute function llm.place_message();
--! EndIncluded llm/triggers/place_message.sql
--! Included llm/triggers/prompt_versions.sql
-- Every content a prompt ever had is a version. Two writers of one prompt wait for each other at its row, so numbers have no gap.
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

comment on function llm.count_prompt_version() is 'Trigger: new content or variables are the next version.';

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

comment on function llm.keep_prompt_version() is 'Trigger: keeps each version of a prompt.';

create or replace function llm.refuse_version_change()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  -- An account that is deleted leaves its name out, and that is all that may change.
  if new.created_by is null
    and (new.prompt_id, new.version, new.content, new.variables, new.created_at)
      is not distinct from (old.prompt_id, old.version, old.content, old.variables, old.created_at)
  then
    return new;
  end if;
  raise exception 'A version of a prompt is never changed.' using errcode = 'PL403';
end
$$;

comment on function llm.refuse_version_change() is 'Trigger: versions of prompts stay as they were written.';

create or replace trigger _200_count_prompt_version
  before insert or update on llm.prompts
  for each row
  execute function llm.count_prompt_version();

create or replace trigger _500_keep_prompt_version
  after insert or update on llm.prompts
  for each row
  execute function llm.keep_prompt_version();

create or replace trigger _100_refuse_change
  before update on llm.prompt_versions
  for each row
  execute function llm.refuse_version_change();
--! EndIncluded llm/triggers/prompt_versions.sql
--! Included llm/triggers/chat_tables_updated_at.sql
-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on llm.message_feedback
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on llm.prompt_labels
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded llm/triggers/chat_tables_updated_at.sql
--! Included private/functions/insert_attachments.sql
-- The constraints of llm.message_attachments are the limits; here they become errors that name the list.
create or replace function private.insert_attachments(message llm.messages, attachments jsonb)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  if jsonb_typeof(insert_attachments.attachments) is distinct from 'array' then
    raise exception 'Attachments are a list.' using errcode = 'PL422', column = 'attachments';
  end if;
  if jsonb_array_length(insert_attachments.attachments) > 10 then
    raise exception 'A message has at most 10 attachments.' using errcode = 'PL422', column = 'attachments';
  end if;
  insert into llm.message_attachments (user_id, chat_id, message_id, position, url, mime_type, size_bytes, name)
  select
    message.user_id, message.chat_id, message.id, a.ordinality,
    a.value ->> 'url', a.value ->> 'mimeType', (a.value ->> 'sizeBytes')::bigint, a.value ->> 'name'
  from jsonb_array_elements(insert_attachments.attachments) with ordinality a
  order by a.ordinality;
exception
  when check_violation or not_null_violation or data_exception then
    raise exception 'An attachment is {url, mimeType, sizeBytes, name}: %', sqlerrm
      using errcode = 'PL422', column = 'attachments';
end
$$;

comment on function private.insert_attachments(llm.messages, jsonb) is
  'Attaches [{url, mimeType, sizeBytes, name}] to a new message. PL422 for more than 10 and for what a constraint refuses.';
--! EndIncluded private/functions/insert_attachments.sql
--! Included private/functions/bill_turn.sql
-- Settles what an answer used, once: the turn's end is what calls it, and a turn ends once. What used nothing gives its hold back. The
-- caller has locked chat, message and turn, which come before the ledger.
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
begin
  if turn.hold_id is null then
    perform private.record_usage(
      turn.user_id, bill_turn.model_id, bill_turn.input_tokens, bill_turn.output_tokens, 'turn:' || turn.message_id,
      bill_turn.cached_input_tokens, bill_turn.reasoning_tokens, null, bill_turn.message_id
    );
  elsif bill_turn.input_tokens + bill_turn.output_tokens > 0 then
    perform private.settle_hold(
      turn.hold_id, bill_turn.input_tokens, bill_turn.output_tokens, bill_turn.cached_input_tokens,
      bill_turn.reasoning_tokens, null, bill_turn.message_id
    );
  else
    perform private.release_hold(turn.hold_id);
  end if;
end
$$;

comment on function private.bill_turn(private.turns, uuid, bigint, bigint, bigint, bigint, uuid) is
  'Settles the hold of a turn for what it used, or releases it.';

-- Four bytes a token is what tokenizers make of plain text, near enough to bill what nobody counted.
create or replace function private.estimated_tokens(bytes integer)
  returns bigint
  language sql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
  select (bytes::bigint + 3) / 4
$$;

comment on function private.estimated_tokens(integer) is 'About how many tokens a text of so many bytes has.';

-- A service tells what an answer used that was cancelled or expired meanwhile: the estimate it was billed for is corrected. The
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
  select h.usage_event_id into v_event_id from billing.token_holds h where h.id = turn.hold_id;
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
  'Replaces the estimate that an ended turn was billed for by what its writer counted.';
--! EndIncluded private/functions/bill_turn.sql
--! Included private/triggers/turns.sql
-- A chat may be deleted while an answer streams in. What had streamed is billed all the same, or deleting would be a way not to
-- pay. With the account goes its ledger, and there is nothing to bill.
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

comment on function private.bill_deleted_turn() is 'Trigger: an answer deleted while it streams is billed for what had come.';

create or replace trigger _200_bill_deleted_turn
  before delete on private.turns
  for each row
  when (old.ended_at is null)
  execute function private.bill_deleted_turn();
--! EndIncluded private/triggers/turns.sql
--! Included private/functions/end_turn.sql
-- Ends an answer, once: what had arrived becomes the message's text, and the chat is free. Whoever comes later, the writer
-- itself told again, a cancel that lost the race or the job, gets the message as it ended. Locks chat, then turn; an append
-- takes the turn's lock alone, so it comes before or after, never in between.
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
    -- Turns are forgotten a day after their end; the message is not.
    select m.* into v_message
    from llm.messages m
    where m.id = end_turn.message_id
      and m.role = 'assistant'
      and m.state <> 'streaming'
      and (end_turn.user_id is null or m.user_id = end_turn.user_id);
    if found then
      return v_message;
    end if;
    raise exception 'There is no such turn.' using errcode = 'PL404', column = 'message_id';
  end if;
  if end_turn.state = 'complete'
    and (end_turn.finish_reason in ('stop', 'length', 'tool_calls', 'content_filter')) is not true
  then
    raise exception 'An answer is finished by stop, length, tool_calls or content_filter.'
      using errcode = 'PL422', column = 'finish_reason';
  end if;
  if coalesce(end_turn.input_tokens, 0) < 0 or coalesce(end_turn.output_tokens, 0) < 0 then
    raise exception 'Token counts are not negative.' using errcode = 'PL422', column = 'output_tokens';
  end if;
  -- The account before what belongs to it, as everywhere.
  perform from identity.users u where u.id = v_turn.user_id for no key update;
  perform from llm.chats c where c.id = v_turn.chat_id for no key update;
  select m.* into v_message from llm.messages m where m.id = end_turn.message_id for no key update;
  select t.* into v_turn from private.turns t where t.message_id = end_turn.message_id for no key update;
  if not found then
    raise exception 'There is no such turn.' using errcode = 'PL404', column = 'message_id';
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
    raise exception 'There are % deltas, not %.', v_turn.last_sequence, end_turn.expected_sequence
      using errcode = 'PL409', column = 'last_sequence';
  end if;

  select
    coalesce(string_agg(d.content, '' order by d.sequence), '') as content,
    nullif(string_agg(d.thinking, '' order by d.sequence), '') as thinking
  into v_text
  from llm.message_deltas d
  where d.user_id = v_turn.user_id and d.message_id = v_turn.message_id;
  -- A client may not count less than it streamed.
  v_output := case
    when end_turn.output_tokens is null or v_turn.writer = 'client'
      then greatest(end_turn.output_tokens, private.estimated_tokens(v_turn.streamed_bytes))
    else end_turn.output_tokens
  end;
  -- Before the message says how many, so that the ledger does not count them a second time.
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
  'Ends an answer with what had arrived and counts what it used; one that has ended comes back as it is. PL404 for no such turn, PL409 when the deltas are not as many as expected.';
--! EndIncluded private/functions/end_turn.sql
--! Included private/functions/open_turn.sql
-- Starts an answer. The chat's lock makes starters wait for each other, so of two with one key the second finds the first's turn.
-- A turn whose writer fell silent is ended here, so that a killed writer never keeps a chat.
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
begin
  if open_turn.max_tokens between 1 and 1000000000 is not true then
    raise exception 'max_tokens must be from 1 to 10^9.' using errcode = 'PL422', column = 'max_tokens';
  end if;
  if open_turn.input_tokens between 0 and 1000000000 is not true then
    raise exception 'input_tokens must be from 0 to 10^9.' using errcode = 'PL422', column = 'input_tokens';
  end if;
  if open_turn.lease_seconds between 5 and 3600 is not true then
    raise exception 'A lease lasts from 5 to 3600 seconds.' using errcode = 'PL422', column = 'lease_seconds';
  end if;
  if length(open_turn.idempotency_key) between 1 and 255 is false then
    raise exception 'An idempotency key has 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  -- The account before what belongs to it, as everywhere: also because a new period's tokens may have to be granted.
  perform from identity.users u where u.id = open_turn.user_id for no key update;
  select c.head_id into v_head
  from llm.chats c
  where c.id = open_turn.chat_id and c.user_id = open_turn.user_id
  for no key update;
  if not found then
    raise exception 'There is no such chat.' using errcode = 'PL404', column = 'chat_id';
  end if;

  select m.* into v_message
  from llm.messages m
  where m.user_id = open_turn.user_id and m.idempotency_key = open_turn.idempotency_key;
  if found then
    if v_message.chat_id <> open_turn.chat_id
      or v_message.role <> 'assistant'
      or v_message.model_id is distinct from open_turn.model_id
      or v_message.parent_id <> open_turn.parent_id
    then
      raise exception 'The idempotency key was used with other arguments.'
        using errcode = 'PL409', column = 'idempotency_key';
    end if;
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
    raise exception 'There is no such model.' using errcode = 'PL404', column = 'model_id';
  end if;
  -- Its place comes from llm.place_message.
  insert into llm.messages (chat_id, user_id, parent_id, role, model_id, state, idempotency_key)
  values (
    open_turn.chat_id, open_turn.user_id, open_turn.parent_id, 'assistant', open_turn.model_id, 'streaming',
    open_turn.idempotency_key
  )
  returning * into v_message;
  -- Its end settles the hold long before that, if only the job does.
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
  'Starts an answer of a model in a chat; the same key again gives the same one. PL402 when the user has not that many tokens, PL404 for no such chat, message or model, PL409 while another answer is under way.';
--! EndIncluded private/functions/open_turn.sql
--! Included private/functions/write_delta.sql
-- Appends a piece of an answer: one narrow row changed in place, one row added. The sequence must be the next; the piece
-- that is already there, sent again because its answer was lost, changes nothing. A late writer whose turn nobody has
-- ended may go on: what the lease is over for is that others may end it.
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
    raise exception 'A delta has 1 to 65,536 bytes.' using errcode = 'PL422', column = 'content';
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
    raise exception 'There is no such turn.' using errcode = 'PL404', column = 'message_id';
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
    raise exception 'Delta % says something else.', write_delta.sequence using errcode = 'PL409', column = 'sequence';
  end if;
  if v_turn.ended_at is not null then
    raise exception 'The turn has ended.'
      using errcode = 'PL409', column = 'message_id', hint = 'It was finished, cancelled, or broken off when its lease ended.';
  end if;
  if v_turn.last_sequence <> write_delta.sequence - 1 or write_delta.sequence is null then
    raise exception 'The next delta is %, not %.', v_turn.last_sequence + 1, coalesce(write_delta.sequence::text, 'null')
      using errcode = 'PL409', column = 'sequence';
  end if;
  raise exception 'An answer has at most 1,000,000 bytes.'
    using errcode = 'PL422', column = 'content', hint = 'Finish it with the reason length.';
end
$$;

comment on function private.write_delta(uuid, integer, text, text, uuid, text) is
  'Appends a delta; returns the last sequence there is. The same delta again changes nothing. PL409 for a gap, another text or a turn that ended, PL404 for no such turn, PL422 for its size.';
--! EndIncluded private/functions/write_delta.sql
--! Included private/functions/write_turns.sql
-- Answers that a service writes: it alone appends to them, ends them and says what they used. Their owner may cancel.
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
  'Appends the next piece of an answer, from sequence 1 on; see private.write_delta.';
grant execute on function private.append_delta(uuid, integer, text, text) to :PLINTH_SERVICE;

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
  'Ends an answer that is whole and says what it used; see private.end_turn.';
grant execute
  on function private.finish_turn(uuid, text, integer, jsonb, bigint, bigint, bigint, bigint)
  to :PLINTH_SERVICE;

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
  'Ends an answer that failed, with what had arrived; see private.end_turn.';
grant execute
  on function private.break_off_turn(uuid, text, text, bigint, bigint, bigint, bigint)
  to :PLINTH_SERVICE;
--! EndIncluded private/functions/write_turns.sql
--! Included private/functions/turn_context.sql
-- What the model is to be shown for an answer: the messages before it on its own path, so that what was edited away or belongs
-- to another answer never leaks in.
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
  'The last max_count messages before an answer, oldest first: what the model is asked with.';
grant execute on function private.turn_context(uuid, integer) to :PLINTH_SERVICE;
--! EndIncluded private/functions/turn_context.sql
--! Included private/functions/break_off_expired_turns.sql
-- One batch of ending what killed writers left behind: the text that had arrived stays, is billed, and the chat is free. In the
-- order of chats, so that two of these do not wait for each other in turn.
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
  if batch_size is null or batch_size not between 1 and 10000 then
    raise exception 'batch_size must be from 1 to 10000.' using errcode = 'PL422';
  end if;
  for v_id in
    select t.message_id
    from private.turns t
    where t.ended_at is null and t.lease_expires_at <= clock_timestamp()
    order by t.user_id, t.chat_id
    limit batch_size
  loop
    begin
      perform private.end_turn(v_id, 'broken_off', 'expired', only_expired => true);
    exception
      -- Its chat was deleted meanwhile, and the turn with it.
      when sqlstate 'PL404' then null;
    end;
    v_turns := v_turns + 1;
  end loop;
  return v_turns;
end
$$;

comment on function private.break_off_expired_turns(integer) is
  'Ends up to batch_size answers whose writer fell silent; returns how many it looked at.';
grant execute on function private.break_off_expired_turns(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/break_off_expired_turns.sql
--! Included private/functions/delete_ended_turns.sql
-- One batch of the clean-up of turns that ended a day ago; their deltas go with them. Messages have the whole text.
create or replace function private.delete_ended_turns(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_turns integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;

  with old as (
    select t.message_id
    from private.turns t
    where t.ended_at <= now() - interval '1 day'
    order by t.ended_at
    limit batch_size
    for update skip locked
  )
  delete from private.turns t using old o where t.message_id = o.message_id;
  get diagnostics v_turns = row_count;
  return v_turns;
end
$$;

comment on function private.delete_ended_turns(integer) is
  'Deletes up to batch_size turns that ended a day ago, with their deltas; returns how many.';
grant execute on function private.delete_ended_turns(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/delete_ended_turns.sql
--! Included private/functions/delete_old_prompt_use_keys.sql
-- One batch of forgetting which uses of prompts were told under which key: after a week nobody tells them again.
create or replace function private.delete_old_prompt_use_keys(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_keys integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;

  with old as (
    select k.user_id, k.idempotency_key
    from private.prompt_use_keys k
    where k.created_at <= now() - interval '7 days'
    order by k.created_at
    limit batch_size
    for update skip locked
  )
  delete from private.prompt_use_keys k
  using old o
  where k.user_id = o.user_id and k.idempotency_key = o.idempotency_key;
  get diagnostics v_keys = row_count;
  return v_keys;
end
$$;

comment on function private.delete_old_prompt_use_keys(integer) is
  'Deletes up to batch_size keys of uses of prompts that are a week old; returns how many.';
grant execute on function private.delete_old_prompt_use_keys(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/delete_old_prompt_use_keys.sql
--! Included private/functions/import_chats.sql
-- Imports chats of one user, each whole or not at all: {key, title, createdAt, updatedAt, isArchived, head, messages: [{key, parent,
-- role, content, thinking, images, metadata, createdAt}]}, parents before children, keys unique per user. A chat imported
-- before gets the messages it lacks. A rejected one is reported and leaves no trace.
create or replace function private.import_chats(chats jsonb, user_id uuid)
  returns table (ordinal integer, outcome text, message text)
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_chat jsonb;
  v_message jsonb;
  v_chat_id uuid;
  v_is_new boolean;
  v_added integer;
  v_parent_id uuid;
  v_depth integer;
  v_head uuid;
  v_activity timestamptz;
begin
  for v_chat, ordinal in
    select c.value, c.ordinality::integer from jsonb_array_elements(import_chats.chats) with ordinality c
  loop
    message := null;
    begin
      insert into llm.chats as c (user_id, import_key, title, is_archived, created_at, updated_at)
      values (
        import_chats.user_id, v_chat ->> 'key', v_chat ->> 'title', (v_chat ->> 'isArchived')::boolean,
        (v_chat ->> 'createdAt')::timestamptz, (v_chat ->> 'updatedAt')::timestamptz
      )
      on conflict (user_id, import_key) where import_key is not null do nothing
      returning c.id into v_chat_id;
      v_is_new := found;
      if not v_is_new then
        select c.id into strict v_chat_id
        from llm.chats c
        where c.user_id = import_chats.user_id and c.import_key = v_chat ->> 'key'
        for no key update;
      end if;
      select c.updated_at into v_activity from llm.chats c where c.id = v_chat_id;
      v_added := 0;
      for v_message in select jsonb_array_elements(v_chat -> 'messages') loop
        if exists (
          select
          from llm.messages m
          where m.user_id = import_chats.user_id and m.idempotency_key = v_message ->> 'key'
        ) then
          continue;
        end if;
        v_parent_id := null;
        v_depth := 0;
        if v_message ->> 'parent' is not null then
          select m.id, m.depth into strict v_parent_id, v_depth
          from llm.messages m
          where m.user_id = import_chats.user_id
            and m.chat_id = v_chat_id
            and m.idempotency_key = v_message ->> 'parent';
        end if;
        insert into llm.messages (
          chat_id, user_id, parent_id, depth, role, content, thinking, images, extended_metadata, created_at, idempotency_key
        )
        values (
          v_chat_id, import_chats.user_id, v_parent_id, v_depth + 1, v_message ->> 'role',
          v_message ->> 'content', v_message ->> 'thinking', nullif(v_message -> 'images', 'null'),
          coalesce(v_message -> 'metadata', '{}'), (v_message ->> 'createdAt')::timestamptz, v_message ->> 'key'
        );
        v_added := v_added + 1;
      end loop;
      if v_added > 0 then
        select m.id into v_head
        from llm.messages m
        where m.user_id = import_chats.user_id and m.chat_id = v_chat_id and m.idempotency_key = v_chat ->> 'head';
        if v_head is not null then
          perform private.move_head(import_chats.user_id, v_chat_id, v_head);
        end if;
      end if;
      -- Importing is no activity of the chat.
      update llm.chats c
      set updated_at = greatest(v_activity, (v_chat ->> 'updatedAt')::timestamptz)
      where c.id = v_chat_id
        and c.updated_at <> greatest(v_activity, (v_chat ->> 'updatedAt')::timestamptz);
      outcome := case when v_is_new then 'inserted' when v_added > 0 then 'updated' else 'unchanged' end;
    exception
      when data_exception or integrity_constraint_violation or no_data_found then
        outcome := 'rejected';
        message := sqlerrm;
    end;
    return next;
  end loop;
end
$$;

comment on function private.import_chats(jsonb, uuid) is
  'Imports an array of a user''s chats from elsewhere; one answer a chat: inserted, updated, unchanged or rejected with the reason.';
--! EndIncluded private/functions/import_chats.sql
--! Included llm/functions/message_deltas_after.sql
-- Catching up: what came after the last delta one has. The rows of the owner alone, by policy. When an answer has ended and
-- nothing comes although its last_sequence is higher, the deltas are gone and the message has the whole text.
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
  limit least(message_deltas_after.max_count, 1000)
$$;

comment on function llm.message_deltas_after(uuid, integer, integer) is
  E'@behavior -queryField:resource:connection +queryField:resource:list\n@listSuffix omit\nDeltas of an answer after a sequence, in order, up to 1,000.';
grant execute on function llm.message_deltas_after(uuid, integer, integer) to :PLINTH_USER;

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
  'The text so far: of an answer that streams what has arrived, of any other message its content.';
grant execute on function llm.messages_current_content(llm.messages) to :PLINTH_USER;
--! EndIncluded llm/functions/message_deltas_after.sql
--! Included llm/functions/write_turns.sql
-- Answers that the owner's own client writes, such as a backend that passes the user's token on. For what must be counted
-- whatever the client says, a service writes (private.start_turn).
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
  if plinth.current_user_id() is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  return private.open_turn(
    plinth.current_user_id(), start_turn.chat_id, start_turn.model_id, start_turn.parent_id, start_turn.max_tokens, 0,
    start_turn.idempotency_key, start_turn.lease_seconds, 'client'
  );
end
$$;

comment on function llm.start_turn(uuid, uuid, uuid, bigint, text, integer) is
  E'@resultFieldName message\nStarts an answer that the caller streams in, after parent_id or at the end of the active path. The same key again gives the same answer. Sets max_tokens aside. QUOTA_EXCEEDED when there are not that many, NOT_FOUND for no such chat, message or model, CONFLICT while another answer is under way.';
grant execute on function llm.start_turn(uuid, uuid, uuid, bigint, text, integer) to :PLINTH_USER;

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
  if plinth.current_user_id() is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  return private.write_delta(
    append_delta.message_id, append_delta.sequence, append_delta.content, append_delta.thinking,
    plinth.current_user_id(), 'client'
  );
end
$$;

comment on function llm.append_delta(uuid, integer, text, text) is
  E'@resultFieldName lastSequence\nAppends the next piece of an answer, from sequence 1 on; the same piece again changes nothing. CONFLICT for a gap, another text under that sequence, or an answer that has ended.';
grant execute on function llm.append_delta(uuid, integer, text, text) to :PLINTH_USER;

create or replace function llm.finish_turn(
  message_id uuid,
  finish_reason text default 'stop',
  last_sequence integer default null,
  tool_calls jsonb default null,
  output_tokens bigint default null
)
  returns llm.messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if plinth.current_user_id() is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  return private.end_turn(
    finish_turn.message_id, 'complete', finish_turn.finish_reason, null, null, finish_turn.tool_calls,
    finish_turn.last_sequence, null, finish_turn.output_tokens, 0, 0, plinth.current_user_id(), 'client'
  );
end
$$;

comment on function llm.finish_turn(uuid, text, integer, jsonb, bigint) is
  E'@resultFieldName message\nEnds an answer that is whole (stop, length, tool_calls, content_filter). With last_sequence, CONFLICT unless exactly that many deltas arrived. One that had ended comes back as it ended: look at its state.';
grant execute on function llm.finish_turn(uuid, text, integer, jsonb, bigint) to :PLINTH_USER;

create or replace function llm.break_off_turn(
  message_id uuid,
  error_code text default null,
  error_message text default null,
  output_tokens bigint default null
)
  returns llm.messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if plinth.current_user_id() is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  return private.end_turn(
    break_off_turn.message_id, 'broken_off', 'error', break_off_turn.error_code, break_off_turn.error_message, null, null,
    null, break_off_turn.output_tokens, 0, 0, plinth.current_user_id(), 'client'
  );
end
$$;

comment on function llm.break_off_turn(uuid, text, text, bigint) is
  E'@resultFieldName message\nEnds an answer that failed, with what had arrived. One that had ended comes back as it ended.';
grant execute on function llm.break_off_turn(uuid, text, text, bigint) to :PLINTH_USER;

create or replace function llm.cancel_turn(message_id uuid)
  returns llm.messages
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if plinth.current_user_id() is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  return private.end_turn(cancel_turn.message_id, 'cancelled', 'cancelled', user_id => plinth.current_user_id());
end
$$;

comment on function llm.cancel_turn(uuid) is
  E'@resultFieldName message\nEnds an answer of one''s own, whoever writes it, with what had arrived; the writer''s next delta is refused. One that had ended comes back as it ended.';
grant execute on function llm.cancel_turn(uuid) to :PLINTH_USER;
--! EndIncluded llm/functions/write_turns.sql
--! Included llm/functions/send_chat_message.sql
-- A message of the user with its attachments, once however often it is sent: the key finds the first one. Whoever needs neither
-- may as well insert into llm.messages.
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
begin
  if v_user_id is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  perform from identity.users u where u.id = v_user_id for key share;
  perform
  from llm.chats c
  where c.id = send_chat_message.chat_id and c.user_id = v_user_id
  for no key update;
  if not found then
    raise exception 'There is no such chat.' using errcode = 'PL404', column = 'chat_id';
  end if;
  select m.* into v_message
  from llm.messages m
  where m.user_id = v_user_id and m.idempotency_key = send_chat_message.idempotency_key;
  if found then
    if v_message.chat_id <> send_chat_message.chat_id
      or v_message.role <> 'user'
      or v_message.content is distinct from send_chat_message.content
    then
      raise exception 'The idempotency key was used with other arguments.'
        using errcode = 'PL409', column = 'idempotency_key';
    end if;
    return v_message;
  end if;
  insert into llm.messages (chat_id, user_id, parent_id, role, content, idempotency_key)
  values (
    send_chat_message.chat_id, v_user_id, send_chat_message.parent_id, 'user', send_chat_message.content,
    send_chat_message.idempotency_key
  )
  returning * into v_message;
  perform private.insert_attachments(v_message, send_chat_message.attachments);
  return v_message;
end
$$;

comment on function llm.send_chat_message(uuid, text, uuid, jsonb, text) is
  E'@resultFieldName message\nAdds a message of the signed-in user, after parent_id or at the end of the active path, with up to 10 attachments [{url, mimeType, sizeBytes, name}]. The same key again gives the same message. NOT_FOUND for no such chat or parent, CONFLICT while the answer before it is under way.';
grant execute on function llm.send_chat_message(uuid, text, uuid, jsonb, text) to :PLINTH_USER;
--! EndIncluded llm/functions/send_chat_message.sql
--! Included llm/functions/edit_chat_message.sql
-- What was said stays said: an edit is another message at the same place, and the active path goes through it from now on.
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
begin
  if v_user_id is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  perform from identity.users u where u.id = v_user_id for key share;
  select m.* into v_original
  from llm.messages m
  where m.id = edit_chat_message.message_id and m.user_id = v_user_id;
  if not found then
    raise exception 'There is no such message.' using errcode = 'PL404', column = 'message_id';
  end if;
  if v_original.role not in ('user', 'system') then
    raise exception 'Only what the user wrote is edited; for another answer start a turn with the same parent.'
      using errcode = 'PL422', column = 'message_id';
  end if;
  perform from llm.chats c where c.id = v_original.chat_id for no key update;
  select m.* into v_message
  from llm.messages m
  where m.user_id = v_user_id and m.idempotency_key = edit_chat_message.idempotency_key;
  if found then
    if v_message.chat_id <> v_original.chat_id
      or v_message.parent_id is distinct from v_original.parent_id
      or v_message.content is distinct from edit_chat_message.content
    then
      raise exception 'The idempotency key was used with other arguments.'
        using errcode = 'PL409', column = 'idempotency_key';
    end if;
    return v_message;
  end if;
  if exists (select from llm.messages m where m.chat_id = v_original.chat_id and m.state = 'streaming') then
    raise exception 'An answer is under way in this chat.'
      using errcode = 'PL409', column = 'message_id', hint = 'Wait for it, or cancel it.';
  end if;
  insert into llm.messages (chat_id, user_id, parent_id, depth, role, content, images, idempotency_key)
  values (
    v_original.chat_id, v_user_id, v_original.parent_id, v_original.depth, v_original.role, edit_chat_message.content,
    v_original.images, edit_chat_message.idempotency_key
  )
  returning * into v_message;
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
  E'@resultFieldName message\nAdds a changed message beside one of the user''s own and makes it the active one; attachments are kept unless given. NOT_FOUND for no such message, CONFLICT while an answer is under way.';
grant execute on function llm.edit_chat_message(uuid, text, jsonb, text) to :PLINTH_USER;
--! EndIncluded llm/functions/edit_chat_message.sql
--! Included llm/functions/active_path.sql
-- The chat as one reads it: from its last message up to the first, through the alternatives that are chosen. Each step is one
-- look into an index, so the last page of a long chat costs the page and not the chat.
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
    select least(h.depth, before_depth - 1) - max_count as ends_above from head h
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
  'The messages of the active path in order: all, or the last max_count, or those before a depth.';
grant execute on function llm.chats_active_path(llm.chats, integer, integer) to :PLINTH_USER;

-- The alternatives at a message's place, itself included, oldest first: what "2 of 3" needs.
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
  'The messages with the same parent, this one included, oldest first: edits, or answers to one question.';
grant execute on function llm.messages_alternatives(llm.messages) to :PLINTH_USER;
--! EndIncluded llm/functions/active_path.sql
--! Included llm/functions/select_branch.sql
-- Chooses an alternative: the active path goes through that message, and from there on along what was said last.
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
  if plinth.current_user_id() is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  select m.user_id, m.chat_id into v_message
  from llm.messages m
  where m.id = select_branch.message_id and m.user_id = plinth.current_user_id();
  if not found then
    raise exception 'There is no such message.' using errcode = 'PL404', column = 'message_id';
  end if;
  perform from llm.chats c where c.id = v_message.chat_id for no key update;
  if exists (select from llm.messages m where m.chat_id = v_message.chat_id and m.state = 'streaming') then
    raise exception 'An answer is under way in this chat.'
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
  -- Ends only: after a clock was set back a child can have the lower id.
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
  E'@resultFieldName chat\nMakes the active path of a chat go through a message, and from there to the newest end. NOT_FOUND for no such message, CONFLICT while an answer is under way.';
grant execute on function llm.select_branch(uuid) to :PLINTH_USER;
--! EndIncluded llm/functions/select_branch.sql
--! Included llm/functions/rate_message.sql
-- Thumbs up or down on an answer, changed as often as one likes, taken back with no rating at all.
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
  if plinth.current_user_id() is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  select m.user_id, m.chat_id, m.role into v_message
  from llm.messages m
  where m.id = rate_message.message_id and m.user_id = plinth.current_user_id();
  if not found then
    raise exception 'There is no such message.' using errcode = 'PL404', column = 'message_id';
  end if;
  if v_message.role <> 'assistant' then
    raise exception 'Only answers are rated.' using errcode = 'PL422', column = 'message_id';
  end if;
  if rate_message.rating is null then
    delete from llm.message_feedback f where f.message_id = rate_message.message_id;
    return null;
  end if;
  if rate_message.rating not in ('up', 'down') then
    raise exception 'A rating is up or down.' using errcode = 'PL422', column = 'rating';
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
  E'@resultFieldName feedback\nRates an answer up or down, with a comment; without a rating takes it back. NOT_FOUND for no such message.';
grant execute on function llm.rate_message(uuid, text, text) to :PLINTH_USER;
--! EndIncluded llm/functions/rate_message.sql
--! Included llm/functions/search_chat_messages.sql
-- Search in one's own words. With the owner's rights, because row security would keep the index from answering: a match is no
-- leakproof condition. So the owner is named here, and is the first column of the index. Of very many matches the newest 1,000
-- are ranked.
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
  v_query tsquery := websearch_to_tsquery('pg_catalog.english', left(search_chat_messages.query, 1000));
begin
  if search_chat_messages.max_count not between 1 and 100 then
    raise exception 'max_count must be from 1 to 100.' using errcode = 'PL422', column = 'max_count';
  end if;
  return query
    with matches as (
      select m.id, m.chat_id, c.title, m.role, m.content, m.created_at
      from llm.messages m
      join llm.chats c on c.user_id = m.user_id and c.id = m.chat_id
      where m.user_id = plinth.current_user_id()
        and m.role in ('user', 'assistant')
        and to_tsvector('pg_catalog.english', left(m.content, 100000)) operator(pg_catalog.@@) v_query
        and (search_chat_messages.include_archived or not c.is_archived)
      order by m.id desc
      limit 1000
    ),
    page as (
      select
        s.*,
        ts_rank_cd(to_tsvector('pg_catalog.english', left(s.content, 100000)), v_query, 1) as rank
      from matches s
      order by rank desc, s.id desc
      limit search_chat_messages.max_count
      offset greatest(search_chat_messages.skip, 0)
    )
    select
      p.id, p.chat_id, p.title, p.role,
      -- The marks are characters that no text keeps here, so that all of the text can be made harmless before they become
      -- markup: the only tags in a headline are <mark> and </mark>.
      replace(replace(replace(replace(replace(replace(replace(
        ts_headline(
          'pg_catalog.english',
          translate(left(p.content, 100000), E'\uE000\uE001', ''),
          v_query,
          E'StartSel=\uE000, StopSel=\uE001, MaxFragments=2, MaxWords=30, MinWords=10, ShortWord=0, FragmentDelimiter=" … "'
        ),
        '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;'),
        E'\uE000', '<mark>'), E'\uE001', '</mark>'),
      p.rank, p.created_at
    from page p
    order by p.rank desc, p.id desc;
end
$$;

comment on function llm.search_chat_messages(text, integer, integer, boolean) is
  'Searches one''s own messages: words, "phrases", or, -not. Best first. headline is HTML: escaped text in which <mark> stands around what was found.';
grant execute on function llm.search_chat_messages(text, integer, integer, boolean) to :PLINTH_USER;
--! EndIncluded llm/functions/search_chat_messages.sql
--! Included llm/functions/export_chat.sql
-- A chat to take away. The JSON has everything, alternatives included, and says which path is active; Markdown is that path, to read.
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
          jsonb_strip_nulls(
            jsonb_build_object(
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
            )
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
  'The whole chat as JSON {format, version, title, activePath: [id], messages: [{id, parentId, role, content, …}]}.';
grant execute on function llm.chats_export_json(llm.chats) to :PLINTH_USER;

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
                -- What would end the link early; the rest of an address is harmless.
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
  'The active path of the chat as Markdown: a heading for each message, its text as it is, its attachments as links.';
grant execute on function llm.chats_export_markdown(llm.chats) to :PLINTH_USER;
--! EndIncluded llm/functions/export_chat.sql
--! Included llm/functions/use_prompt.sql
-- Counts a use of a prompt. One upsert, so parallel uses are all counted; one told twice under a key counts once.
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
  if plinth.current_user_id() is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  if length(use_prompt.idempotency_key) between 1 and 255 is false then
    raise exception 'An idempotency key has 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  -- The same answer for a prompt of somebody else and one that does not exist.
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
    raise exception 'There is no such prompt.' using errcode = 'PL404';
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
--! Included llm/functions/prompt_usage_count.sql
-- How often a prompt was used by all who use it. A sum, so that parallel uses by different people never wait for each other; with the
-- owner's rights, because the single counts are their users' own.
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
  'How many times the prompt was used, by everybody who still has an account.';
grant execute on function llm.prompts_usage_count(llm.prompts) to :PLINTH_USER, :PLINTH_ANONYMOUS;
--! EndIncluded llm/functions/prompt_usage_count.sql
--! Included llm/functions/render_prompt.sql
-- Fills a prompt in. Types are checked here, where values meet declarations. In one pass, so that what a value holds is never
-- taken for a variable. {{…}} that no variable declares stays as it is: libraries are full of other people's braces.
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
    raise exception 'Values are an object {name: value}.' using errcode = 'PL422', column = 'prompt_values';
  end if;
  if label is not null and version is not null then
    raise exception 'Name a label or a version, not both.' using errcode = 'PL422', column = 'version';
  end if;
  if label is not null then
    select l.version into v_version
    from llm.prompt_labels l
    where l.prompt_id = render_prompt.prompt_id and l.label = render_prompt.label;
    if not found then
      raise exception 'There is no such label on the prompt.' using errcode = 'PL404', column = 'label';
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
    raise exception 'There is no such prompt, or no such version of it.' using errcode = 'PL404', column = 'prompt_id';
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
      raise exception 'The variable "%" has no value.', v_variable ->> 'name'
        using errcode = 'PL422', column = 'prompt_values';
    end if;
    if not llm.fits_prompt_variable(v_value, v_variable) then
      raise exception 'The variable "%" takes %.', v_variable ->> 'name', case v_variable ->> 'type'
        when 'choice' then 'one of ' || (v_variable ->> 'choices')
        when 'integer' then 'a whole number'
        when 'number' then 'a number'
        when 'boolean' then 'true or false'
        else 'a text'
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
  'The content of a prompt (as it is now, or a version, or what a label points at) with its variables filled in. BAD_USER_INPUT for a value that is missing, unknown or of the wrong type; NOT_FOUND for a prompt the caller cannot see.';
grant execute on function llm.render_prompt(uuid, jsonb, text, integer) to :PLINTH_USER, :PLINTH_ANONYMOUS;
--! EndIncluded llm/functions/render_prompt.sql
--! Included llm/functions/label_prompt.sql
-- Points a label at a version, or takes it away: the owner of the prompt, or for the library who edits it.
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
  if plinth.current_user_id() is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  select p.user_id into v_owner
  from llm.prompts p
  where p.id = label_prompt.prompt_id
    and (
      p.user_id = plinth.current_user_id()
      or p.user_id is null and access.has_permission('edit_content')
    )
  for key share;
  if not found then
    raise exception 'There is no such prompt.' using errcode = 'PL404', column = 'prompt_id';
  end if;
  if label_prompt.version is null then
    delete from llm.prompt_labels l
    where l.prompt_id = label_prompt.prompt_id and l.label = label_prompt.label;
    return null;
  end if;
  if label_prompt.label ~ '^[a-z0-9][a-z0-9_.-]{0,49}$' is not true then
    raise exception 'A label has up to 50 lowercase letters, digits, _ . or -.' using errcode = 'PL422', column = 'label';
  end if;
  if not exists (
    select
    from llm.prompt_versions v
    where v.prompt_id = label_prompt.prompt_id and v.version = label_prompt.version
  ) then
    raise exception 'There is no such version.' using errcode = 'PL404', column = 'version';
  end if;
  insert into llm.prompt_labels as l (prompt_id, label, version)
  values (label_prompt.prompt_id, label_prompt.label, label_prompt.version)
  on conflict on constraint prompt_labels_pkey do update set version = excluded.version
  returning * into v_label;
  return v_label;
end
$$;

comment on function llm.label_prompt(uuid, text, integer) is
  E'@resultFieldName promptLabel\nPoints a label such as production at a version of a prompt; without a version takes the label away. NOT_FOUND for a prompt one may not change.';
grant execute on function llm.label_prompt(uuid, text, integer) to :PLINTH_USER;
--! EndIncluded llm/functions/label_prompt.sql
--! Included llm/policies/messages.sql
-- A message is its chat's owner's alone, administrators included. No update: what was said stays said, and an edit is another
-- message; answers that stream in are written by functions. No delete: messages go with their chat.
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
--! Included llm/policies/message_attachments.sql
-- The owner of the chat reads them. They come with a message (llm.send_chat_message) and stay as they are.
revoke all on llm.message_attachments from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on llm.message_attachments to :PLINTH_USER;

drop policy if exists select_own on llm.message_attachments;
create policy select_own on llm.message_attachments
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.message_attachments is 'Users read attachments of their own messages.';
--! EndIncluded llm/policies/message_attachments.sql
--! Included llm/policies/message_feedback.sql
-- The owner of the chat reads them. llm.rate_message keeps them.
revoke all on llm.message_feedback from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on llm.message_feedback to :PLINTH_USER;

drop policy if exists select_own on llm.message_feedback;
create policy select_own on llm.message_feedback
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.message_feedback is 'Users read their own ratings.';
--! EndIncluded llm/policies/message_feedback.sql
--! Included llm/policies/prompts.sql
-- The library (no owner) is everybody's to read and edit_content's to write; a user's own prompts are theirs to write, and read by
-- whom they let.
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
comment on policy select_library on llm.prompts is 'Everybody reads the shared library.';

drop policy if exists select_public on llm.prompts;
create policy select_public on llm.prompts
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (visibility = 'public');
comment on policy select_public on llm.prompts is 'Everybody reads what its owner made public.';

drop policy if exists select_shared on llm.prompts;
create policy select_shared on llm.prompts
  for select to :PLINTH_USER
  using (
    visibility = 'shared'
    and id in (
      select s.prompt_id from llm.prompt_shares s where s.user_id = (select plinth.current_user_id())
    )
  );
comment on policy select_shared on llm.prompts is 'Users read what was shared with them.';

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
--! Included llm/policies/prompt_versions.sql
-- Who reads a prompt reads its versions: the policies of llm.prompts say who that is. Triggers add them.
revoke all on llm.prompt_versions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on llm.prompt_versions to :PLINTH_ANONYMOUS, :PLINTH_USER;

drop policy if exists select_readable on llm.prompt_versions;
create policy select_readable on llm.prompt_versions
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (exists (select from llm.prompts p where p.id = prompt_id));
comment on policy select_readable on llm.prompt_versions is 'Who reads a prompt reads its versions.';
--! EndIncluded llm/policies/prompt_versions.sql
--! Included llm/policies/prompt_labels.sql
-- Who reads a prompt reads its labels: the policies of llm.prompts say who that is. llm.label_prompt sets them.
revoke all on llm.prompt_labels from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on llm.prompt_labels to :PLINTH_ANONYMOUS, :PLINTH_USER;

drop policy if exists select_readable on llm.prompt_labels;
create policy select_readable on llm.prompt_labels
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (exists (select from llm.prompts p where p.id = prompt_id));
comment on policy select_readable on llm.prompt_labels is 'Who reads a prompt reads its labels.';
--! EndIncluded llm/policies/prompt_labels.sql
--! Included llm/policies/prompt_shares.sql
-- The owner shares and takes back; whom a prompt is shared with sees that it is, and may leave.
revoke all on llm.prompt_shares from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, insert (prompt_id, user_id), delete on llm.prompt_shares to :PLINTH_USER;

drop policy if exists all_owner on llm.prompt_shares;
create policy all_owner on llm.prompt_shares
  for all to :PLINTH_USER
  using (owner_id = (select plinth.current_user_id()))
  with check (owner_id = (select plinth.current_user_id()));
comment on policy all_owner on llm.prompt_shares is 'Owners of prompts say with whom they share them.';

drop policy if exists select_receiver on llm.prompt_shares;
create policy select_receiver on llm.prompt_shares
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_receiver on llm.prompt_shares is 'Users see what was shared with them.';

drop policy if exists delete_receiver on llm.prompt_shares;
create policy delete_receiver on llm.prompt_shares
  for delete to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy delete_receiver on llm.prompt_shares is 'Users may decline what was shared with them.';
--! EndIncluded llm/policies/prompt_shares.sql
