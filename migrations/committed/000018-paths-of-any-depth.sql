--! Previous: sha1:a6c6c484b42f4a24d2556be0fa40baaaccbc12e3
--! Hash: sha1:a146eebe21aa0ff22a4d7a317ddd50ad8f70b04f
--! Message: paths of any depth

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
    -- In bigint, because the least depth less one is no integer; whether that is an error depended on the query's plan.
    select least(h.depth, before_depth::bigint - 1) - plinth.checked_count(max_count, 'max_count', null, null) as ends_above
    from head h
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
