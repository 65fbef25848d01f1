create view compat_rovertchat.messages as
select
  m.id,
  m.chat_id,
  m.role::varchar as role,
  case when t.are_read then m.content end as content,
  case when t.are_read then m.thinking end as thinking,
  case when t.are_read then m.tool_calls::json end as tool_calls,
  case when t.are_read then m.images::json end as images,
  m.model_id,
  m.created_at at time zone 'UTC' as created_at,
  m.tokens_used,
  case when t.are_read then m.extended_metadata::json end as extended_metadata
from llm.messages m
cross join (select (select compat.reads_personal_data()) as are_read) t;

comment on view compat_rovertchat.messages is 'Messages of chats, on all branches. Grain: one row per message.';
comment on column compat_rovertchat.messages.id is 'Id of the message.';
comment on column compat_rovertchat.messages.chat_id is 'The chat.';
comment on column compat_rovertchat.messages.role is 'user, assistant, system or tool.';
comment on column compat_rovertchat.messages.content is 'Text; null for analysts.';
comment on column compat_rovertchat.messages.thinking is 'Thoughts of the assistant; null for analysts.';
comment on column compat_rovertchat.messages.tool_calls is 'Calls of tools by the assistant (JSON list); null for analysts.';
comment on column compat_rovertchat.messages.images is 'Images in base64 (JSON list); null for analysts.';
comment on column compat_rovertchat.messages.model_id is 'The model that answered.';
comment on column compat_rovertchat.messages.created_at is 'Time of the message, in UTC.';
comment on column compat_rovertchat.messages.tokens_used is 'Number of tokens; those of an answer are counted as usage of its owner.';
comment on column compat_rovertchat.messages.extended_metadata is 'Other data about the message (JSON object); null for analysts.';

create function compat_rovertchat.write_messages()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'UPDATE' then
    update llm.messages m
    set
      content = coalesce(new.content, ''),
      thinking = new.thinking,
      tool_calls = new.tool_calls::jsonb,
      images = new.images::jsonb,
      tokens_used = new.tokens_used,
      extended_metadata = coalesce(new.extended_metadata::jsonb, '{}')
    where m.id = old.id;
  elsif compat.is_application() then
    insert into llm.messages as m (
      id, chat_id, user_id, role, content, thinking, tool_calls, images, model_id, created_at, tokens_used, extended_metadata
    )
    values (
      coalesce(new.id, plinth.uuid_v7()), new.chat_id, (select c.user_id from llm.chats c where c.id = new.chat_id), new.role,
      coalesce(new.content, ''), new.thinking, new.tool_calls::jsonb, new.images::jsonb, new.model_id,
      compat_rovertchat.utc(new.created_at), new.tokens_used, coalesce(new.extended_metadata::jsonb, '{}')
    )
    returning m.id into new.id;
  else
    perform compat_rovertchat.check_defaults(new.id::text, new.created_at::text);
    insert into llm.messages as m (
      chat_id, role, content, thinking, tool_calls, images, model_id, tokens_used, extended_metadata
    )
    values (
      new.chat_id, new.role, coalesce(new.content, ''), new.thinking, new.tool_calls::jsonb, new.images::jsonb, new.model_id,
      new.tokens_used, coalesce(new.extended_metadata::jsonb, '{}')
    )
    returning m.id into new.id;
  end if;
  select v.* into new from compat_rovertchat.messages v where v.id = new.id;
  return new;
end
$$;

comment on function compat_rovertchat.write_messages() is
  'Trigger: adds messages at the end of the chat''s active path; the application also completes answers.';

call compat.write_through('rovertchat', 'messages', 'insert or update');
