--! Previous: sha1:73f2f33756dc1b232518477161d78b17b3d58ade
--! Hash: sha1:eeac6866eec4b20e749e3db5c209d20e699e80cd
--! Message: odd inputs

-- How many rows are asked for: one rule for every function.
--! Included llm/functions/active_path.sql
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
--! EndIncluded llm/functions/active_path.sql
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
  E'@behavior -queryField:resource:connection +queryField:resource:list\n@listSuffix omit\nReturns the deltas of an answer after a sequence, in order, up to 1,000.';
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
  'Returns the current text: for an answer that streams, the text that has arrived; for any other message, its content.';
grant execute on function llm.messages_current_content(llm.messages) to :PLINTH_USER;
--! EndIncluded llm/functions/message_deltas_after.sql
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
--! Included rooms/views/room_events.sql
-- The log of a room as a subscriber reads it: each message is the event of its posting. Grain: one row per event.
create or replace view rooms.room_events
  with (security_invoker = true)
as
select m.room_id, m.event_sequence as sequence, 'message_posted' as kind, m.id as message_id, m.sender_id as user_id, m.created_at
from rooms.room_messages m
union all
select c.room_id, c.sequence, c.kind, c.message_id, c.user_id, c.created_at
from rooms.room_changes c;

comment on view rooms.room_events is
  E'@primaryKey room_id,sequence\n@behavior -query:resource:list -query:resource:connection -query:resource:single\n@foreignKey (message_id) references rooms.room_messages (id)|@fieldName message|@behavior -manyRelation:resource:list -manyRelation:resource:connection\n@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior -manyRelation:resource:list -manyRelation:resource:connection\nGrain: one row per event of a room that the reader may see. Numbers have no gaps in the room; a reader''s numbers may, where an event is hidden from them.';
comment on column rooms.room_events.room_id is E'@notNull\nThe room.';
comment on column rooms.room_events.sequence is E'@notNull\nNumber of the event in the room.';
comment on column rooms.room_events.kind is
  E'@notNull\nKind of event: message_posted, message_edited, message_deleted, message_restored, reactions_changed, member_joined, member_left, member_changed or room_changed.';
comment on column rooms.room_events.message_id is 'The message concerned, or null.';
comment on column rooms.room_events.user_id is 'The sender, the member concerned, or the actor; null for the AI and deleted accounts.';
comment on column rooms.room_events.created_at is E'@notNull\nTime of the event.';
revoke all on rooms.room_events from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.room_events to :PLINTH_USER;

-- Two ranges of two indexes, merged: the limit is in each, or PostgreSQL would read all rows.
create or replace function rooms.room_events_after(room_id uuid, after bigint, max_count integer default 100)
  returns setof rooms.room_events
  language sql
  stable
  set search_path = pg_catalog
as $$
  select e.*
  from rooms.room_events e
  where e.room_id = room_events_after.room_id and e.sequence > room_events_after.after
  order by e.sequence
  limit plinth.checked_count(room_events_after.max_count, 'max_count', 100, 1000)
$$;

comment on function rooms.room_events_after(uuid, bigint, integer) is
  E'@behavior -*\nReturns the next events of a room after a number that the caller may see, in order; at most 1000.';
grant execute on function rooms.room_events_after(uuid, bigint, integer) to :PLINTH_USER;
--! EndIncluded rooms/views/room_events.sql
--! Included rooms/functions/recent_room_messages.sql
-- The same rows as the policy allows, with the start of the member's history as an index bound: a member who has just joined a
-- room of millions without shared history does not wait for a scan of all of them.
create or replace function rooms.recent_room_messages(room_id uuid, before_id uuid default null, max_count integer default 50)
  returns setof rooms.room_messages
  language sql
  stable
  set search_path = pg_catalog
as $$
  select m.*
  from rooms.room_messages m
  where m.room_id = recent_room_messages.room_id
    and m.event_sequence > (
      select o.visible_after
      from rooms.room_members o
      where o.room_id = recent_room_messages.room_id and o.user_id = (select plinth.current_user_id())
    )
    and m.event_sequence < case
      when before_id is null then 9223372036854775807
      else (
        select b.event_sequence
        from rooms.room_messages b
        where b.id = before_id and b.room_id = recent_room_messages.room_id
      )
    end
    and not m.is_deleted
  order by m.event_sequence desc
  limit plinth.checked_count(max_count, 'max_count', 50, 200)
$$;

comment on function rooms.recent_room_messages(uuid, uuid, integer) is
  'Returns the last messages of a room, or the last before a given one, newest first and without deleted ones; at most 200.';
grant execute on function rooms.recent_room_messages(uuid, uuid, integer) to :PLINTH_USER;
--! EndIncluded rooms/functions/recent_room_messages.sql
--! Included rooms/functions/room_context.sql
-- The messages an AI member may use before it answers in a room. Its answer reaches every member, so it may use only what every
-- member may see: no message from before a member joined a room that does not share its history, none by a user whom a member
-- has blocked, no private message, no deleted one. For an answer to one member only (a private one), that member's view
-- decides. The last messages, oldest first.
create or replace function private.room_context(room_id uuid, max_count integer default 50, audience_id uuid default null)
  returns table (
    message_id uuid,
    sequence bigint,
    sender_id uuid,
    sender_type text,
    sender_name text,
    reply_to_id uuid,
    content text,
    created_at timestamptz,
    audience_version bigint
  )
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_visible_after bigint;
  v_audience uuid[];
  v_hidden uuid[];
begin
  select array_agg(m.user_id), max(m.visible_after)
  into v_audience, v_visible_after
  from rooms.room_members m
  where m.room_id = room_context.room_id
    and m.user_id is not null
    and (room_context.audience_id is null or m.user_id = room_context.audience_id);
  v_hidden := array(select distinct b.blocked_id from rooms.user_blocks b where b.user_id = any (v_audience));
  return query
    select
      last.id, last.sequence, last.sender_id, last.sender_type, u.username, last.reply_to_id, last.content, last.created_at,
      last.audience_version
    from (
      select m.*, r.audience_version
      from rooms.room_messages m
      join rooms.chat_rooms r on r.id = m.room_id
      where m.room_id = room_context.room_id
        and m.event_sequence > v_visible_after
        and not m.is_deleted
        and (m.sender_id is null or not m.sender_id = any (v_hidden))
        and (
          not m.is_private
          or (
            room_context.audience_id is not null
            and (
              m.sender_id = room_context.audience_id
              or exists (
                select
                from rooms.room_message_recipients p
                where p.message_id = m.id and p.user_id = room_context.audience_id
              )
            )
          )
        )
      order by m.event_sequence desc
      limit least(greatest(room_context.max_count, 0), 500)
    ) as last
    left join identity.users u on u.id = last.sender_id
    order by last.event_sequence;
end
$$;

comment on function private.room_context(uuid, integer, uuid) is 'Runs rooms.room_context for the service, which acts for the AI of any room.';
grant execute on function private.room_context(uuid, integer, uuid) to :PLINTH_SERVICE;

-- For members, who may see the result: for the whole room or for themselves.
create or replace function rooms.room_context(room_id uuid, max_count integer default 50, audience_id uuid default null)
  returns table (
    message_id uuid,
    sequence bigint,
    sender_id uuid,
    sender_type text,
    sender_name text,
    reply_to_id uuid,
    content text,
    created_at timestamptz,
    audience_version bigint
  )
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.current_room_role(room_context.room_id);
  if room_context.audience_id <> plinth.current_user_id() then
    raise exception 'The audience must be you or all members.' using errcode = 'PL403', column = 'audience_id';
  end if;
  return query
    select c.*
    from private.room_context(
      room_context.room_id,
      plinth.checked_count(room_context.max_count, 'max_count', 50, 500),
      room_context.audience_id
    ) c;
end
$$;

comment on function rooms.room_context(uuid, integer, uuid) is
  'Returns the last messages of a room that every member may see, or those that the signed-in user may see if they are the audience: the context for an AI''s answer. Oldest first, at most 500. Post the answer with the audience_version. PL403, PL404 for a caller who is not a member.';
grant execute on function rooms.room_context(uuid, integer, uuid) to :PLINTH_USER;
--! EndIncluded rooms/functions/room_context.sql
--! Included rooms/functions/search_room_messages.sql
-- Definer rights: under the policies PostgreSQL may not use the index, because the operator could leak hidden rows. The
-- function applies the same rules. Room by room, by an index that begins with the room: a common word costs only its matches in
-- the caller's own rooms. Blocks and privacy are checked from the newest match on, until there are enough.
create or replace function rooms.search_room_messages(query text, room_id uuid default null, max_count integer default 50)
  returns setof rooms.room_messages
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select msg.*
  from (
    select found.id
    from (
      select o.id, o.created_at
      from rooms.room_members m
      cross join (select plinth.search_query('en', search_room_messages.query) as query offset 0) asked
      -- `offset 0`: each room's matches are found before any other check on them.
      cross join lateral (
        select r.id, r.created_at
        from rooms.room_messages r
        where r.room_id = m.room_id
          and plinth.search_document('en', r.content) @@ asked.query
          and not r.is_deleted
          and r.event_sequence > m.visible_after
        offset 0
      ) o
      where m.user_id = plinth.current_user_id()
        and (search_room_messages.room_id is null or m.room_id = search_room_messages.room_id)
      order by o.created_at desc, o.id desc
      offset 0
    ) found
    where private.sees_message(found.id, plinth.current_user_id())
    limit plinth.checked_count(search_room_messages.max_count, 'max_count', 50, 200)
  ) seen
  join rooms.room_messages msg on msg.id = seen.id
  order by msg.created_at desc, msg.id desc
$$;

comment on function rooms.search_room_messages(text, uuid, integer) is
  'Returns the messages with all of these words (or "a phrase", or -without) in the rooms of the signed-in user, or in one of them, newest first; at most 200.';
grant execute on function rooms.search_room_messages(text, uuid, integer) to :PLINTH_USER;
--! EndIncluded rooms/functions/search_room_messages.sql
--! Included learning/functions/recommend_items.sql
-- Recommends items to learn next, with reasons. A few hundred candidates are found by index (begun, next in a begun course,
-- teaching a skill that the user trains or has, popular, new); the access rule is applied only to these, and the rest are
-- scored. Every number in the score is a column.
create or replace function learning.recommend_items(max_count integer default 10)
  returns table (
    item_id uuid,
    slug text,
    title text,
    reason text,
    score numeric,
    level_fit numeric,
    popularity numeric,
    trains_skill boolean,
    is_begun boolean,
    is_next_in_course boolean,
    item_level integer,
    user_level numeric,
    skill_names text[],
    prerequisites_completed integer
  )
  language plpgsql
  stable
  security definer
  rows 10
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := plinth.current_user_id();
  v_general_level numeric;
  v_candidates uuid[];
  v_limit integer;
begin
  if v_user_id is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  v_limit := plinth.checked_count(max_count, 'max_count', 10, 100);
  -- An item without skills is compared with the user's overall level.
  select coalesce(avg(us.level), 0) into v_general_level from learning.user_skills us where us.user_id = v_user_id;

  v_candidates := array(
    (
      select p.item_id
      from learning.content_progress p
      where p.user_id = v_user_id and p.completed_at is null
      order by p.last_activity_at desc
      limit 100
    )
    union
    -- The first part of each begun course that is not completed.
    select part.id
    from (
      select distinct i.course_id
      from learning.content_progress p
      join learning.content_items i on i.id = p.item_id
      where p.user_id = v_user_id and i.course_id is not null
    ) begun
    cross join lateral (
      select i.id
      from learning.content_items i
      where i.course_id = begun.course_id
        and i.available_from <= now()
        and not exists (
          select
          from learning.content_progress p
          where p.user_id = v_user_id and p.item_id = i.id and p.completed_at is not null
        )
      order by i.position, i.id
      limit 1
    ) part
    union
    (
      select cs.item_id
      from learning.user_skills us
      join learning.content_skills cs on cs.skill_id = us.skill_id
      join learning.content_items i on i.id = cs.item_id
      left join learning.training t on t.user_id = us.user_id and t.skill_id = us.skill_id
      where us.user_id = v_user_id
        and i.available_from <= now()
        and not exists (
          select
          from learning.content_progress p
          where p.user_id = v_user_id and p.item_id = i.id and p.completed_at is not null
        )
      order by t.status = 'active' desc nulls last, abs(i.level - us.level), i.id
      limit 200
    )
    union
    (select cp.item_id from analytics.content_popularity cp order by cp.popularity_score desc limit 200)
    union
    (select i.id from learning.content_items i where i.available_from <= now() order by i.available_from desc, i.id limit 100)
  );

  return query
    with candidates as (
      select
        i.id, i.slug, i.title, i.level, i.course_id, i.position,
        p.user_id is not null as is_begun,
        coalesce(cp.popularity_score, 0) as popularity_score,
        s.skill_names,
        coalesce(s.trains_skill, false) as trains_skill,
        coalesce(s.user_level, v_general_level) as user_level
      from learning.my_content_access a
      join learning.content_items i on i.id = a.content_id
      left join learning.content_progress p on p.user_id = v_user_id and p.item_id = i.id
      left join analytics.content_popularity cp on cp.item_id = i.id
      left join lateral (
        select
          array_agg(sk.skill_name order by sk.skill_name) as skill_names,
          bool_or(t.status = 'active') as trains_skill,
          max(coalesce(us.level, 0)) as user_level
        from learning.content_skills cs
        join learning.skills sk on sk.id = cs.skill_id and sk.is_active
        left join learning.user_skills us on us.user_id = v_user_id and us.skill_id = cs.skill_id
        left join learning.training t on t.user_id = v_user_id and t.skill_id = cs.skill_id
        where cs.item_id = i.id
      ) s on true
      where a.content_id = any (v_candidates)
        and a.has_access
        -- An editor has access to everything, including content that is not available to learners.
        and i.available_from <= now()
        and (i.available_until is null or i.available_until > now())
        and i.content_type <> 'course'
        and p.completed_at is null
        -- Regardless of the reason for access, items whose prerequisites are missing are not recommended.
        and not exists (
          select
          from learning.content_prerequisites pr
          join learning.content_items required on required.id = pr.required_item_id
          where pr.item_id in (i.id, i.course_id)
            and required.available_from <= now()
            and (required.available_until is null or required.available_until > now())
            and not learning.has_completed(v_user_id, required.id)
        )
        -- Only the next part of a course.
        and (i.course_id is null or p.user_id is not null or not exists (
          select
          from learning.content_items earlier
          left join learning.content_progress done on done.user_id = v_user_id and done.item_id = earlier.id
          where earlier.course_id = i.course_id
            and (earlier.position, earlier.id) < (i.position, i.id)
            and earlier.available_from <= now()
            and (earlier.available_until is null or earlier.available_until > now())
            and done.completed_at is null
        ))
    ),
    measured as (
      select
        c.*,
        round(1 - abs(c.level - c.user_level) / 10, 4) as level_fit,
        round(c.popularity_score / nullif(max(c.popularity_score) over (), 0), 4) as popularity,
        c.course_id is not null and exists (
          select
          from learning.content_items sibling
          join learning.content_progress p on p.item_id = sibling.id and p.user_id = v_user_id
          where sibling.course_id = c.course_id
        ) as is_next_in_course,
        (
          select count(*)::integer from learning.content_prerequisites pr where pr.item_id in (c.id, c.course_id)
        ) as prerequisites_completed
      from candidates c
    )
    select
      m.id, m.slug, m.title,
      case
        when m.is_begun then 'begun'
        when m.is_next_in_course then 'next_in_course'
        when m.trains_skill then 'trains_skill'
        when m.popularity >= 0.5 then 'popular'
        when m.level_fit >= 0.8 then 'fits_level'
        else 'available'
      end,
      0.4 * m.level_fit + 0.2 * coalesce(m.popularity, 0) + 0.2 * m.trains_skill::integer
        + 0.1 * m.is_begun::integer + 0.1 * m.is_next_in_course::integer,
      m.level_fit, coalesce(m.popularity, 0), m.trains_skill, m.is_begun, m.is_next_in_course,
      m.level::integer, m.user_level, coalesce(m.skill_names, '{}'), m.prerequisites_completed
    from measured m
    order by 5 desc, m.id
    limit v_limit;
end
$$;

comment on function learning.recommend_items(integer) is
  E'Returns the items that the signed-in user may learn next, best first: available, accessible, not completed, with all prerequisites completed, and only the next part of a course.\nscore = 0.4 × level_fit + 0.2 × popularity + 0.2 × trains_skill + 0.1 × is_begun + 0.1 × is_next_in_course.\nlevel_fit is 1 - |item_level - user_level| / 10, popularity the share of the most popular candidate''s score. reason is the first that applies: begun, next_in_course, trains_skill, popular (0.5 and more), fits_level (0.8 and more), available.';
grant execute on function learning.recommend_items(integer) to :PLINTH_USER;
--! EndIncluded learning/functions/recommend_items.sql
--! Included learning/functions/search_content.sql
-- Searches with the owner's rights and the public rule written out, because row security would prevent use of the index: the
-- planner may not let an operator see a row before the policy has.
-- Plans are made for the given filters.
create or replace function learning.search_content(
  query text default '',
  language text default null,
  content_types text[] default null,
  category_id uuid default null,
  tags text[] default null,
  min_level integer default null,
  max_level integer default null,
  max_results integer default 20,
  skip integer default 0
)
  returns table (item learning.content_items, rank real, title_html text, summary_html text, is_similar boolean)
  language plpgsql
  stable
  security definer
  rows 20
  set search_path = pg_catalog
  set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_variable
declare
  v_text constant text := left(btrim(coalesce(query, '')), 500);
  v_terms record;
  v_categories constant uuid[] := case when category_id is not null
    then coalesce(private.content_subtree(category_id), '{}') end;
  v_tags constant text[] := array(select lower(btrim(t)) from unnest(tags) as t);
  v_limit constant integer := plinth.checked_count(max_results, 'max_results', 20, 100);
  v_skip constant integer := greatest(coalesce(skip, 0), 0);
begin
  select * into v_terms from private.content_search_terms(v_text, language);

  if v_text = '' then
    -- Without a query: newest first.
    return query
      select m, null::real, private.escape_html(m.title), private.escape_html(m.summary), false
      from private.content_matching(
        null, v_terms.languages, null, null, content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
      ) m
      order by m.available_from desc, m.id
      limit v_limit offset v_skip;
    return;
  end if;

  if numnode(v_terms.any_query) > 0 then
    return query
      with hits as (
        select
          m.id,
          ts_rank(
            m.search_document,
            case when cardinality(v_terms.queries) = 1 then v_terms.any_query
              else v_terms.queries[array_position(v_terms.languages, m.language)] end
          ) as rank
        from private.content_matching(
          v_terms.any_query, v_terms.languages, v_terms.queries, null,
          content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
        ) m
        order by 2 desc, 1
        limit v_limit offset v_skip
      )
      -- Marks are set only for the page.
      select
        i,
        h.rank,
        plinth.search_headline(
          i.language, i.title, v_terms.queries[array_position(v_terms.languages, i.language)], 'HighlightAll=true'
        ),
        plinth.search_headline(
          i.language, i.summary, v_terms.queries[array_position(v_terms.languages, i.language)], 'MaxWords=40, MinWords=20'
        ),
        false
      from hits h
      join learning.content_items i on i.id = h.id
      order by h.rank desc, i.id;
    -- A later page may be empty while an earlier one was not.
    if found or exists (
      select
      from private.content_matching(
        v_terms.any_query, v_terms.languages, v_terms.queries, null,
        content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
      )
    ) then
      return;
    end if;
  end if;

  -- If no item has these words: the most similar titles, with their matching words marked.
  perform private.look_for_similar_titles();
  return query
    with hits as (
      select m.id, plinth.word_similarity(v_text, m.title) as rank
      from private.content_matching(
        null, v_terms.languages, null, v_text, content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
      ) m
      order by 2 desc, 1
      limit v_limit offset v_skip
    )
    select
      i,
      h.rank,
      ts_headline(
        'pg_catalog.simple', private.escape_html(i.title), websearch_to_tsquery('pg_catalog.simple', alike.words),
        'StartSel=<mark>, StopSel=</mark>, HighlightAll=true'
      ),
      private.escape_html(i.summary),
      true
    from hits h
    join learning.content_items i on i.id = h.id
    cross join lateral (
      select coalesce(string_agg(format('"%s"', t.word), ' or '), '') as words
      from regexp_split_to_table(i.title, '[^[:alnum:]]+') as t (word)
      where t.word <> ''
        and exists (
          select from regexp_split_to_table(v_text, '[^[:alnum:]]+') as a (word)
          where a.word <> '' and plinth.similarity(a.word, t.word) >= 0.25
        )
    ) alike
    order by h.rank desc, i.id;
end
$$;

comment on function learning.search_content(text, text, text[], uuid, text[], integer, integer, integer, integer) is
  E'Searches available content by title, tags and summary, best first; without a query, newest first.\nquery: words, "a phrase", or, -not. language: only that language and its regional variants; by default each item is searched in its own. categoryId: with all subcategories. tags: all of them. maxResults: up to 100.\ntitleHtml and summaryHtml are escaped, with <mark> around matches. isSimilar: no item has the words; these titles are similar.';
grant execute on function learning.search_content(text, text, text[], uuid, text[], integer, integer, integer, integer)
  to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- The number of hits that a further filter would leave. It counts all hits, which costs more than the first page of them.
create or replace function learning.content_search_facets(
  query text default '',
  language text default null,
  content_types text[] default null,
  category_id uuid default null,
  tags text[] default null,
  min_level integer default null,
  max_level integer default null
)
  returns table (facet text, value text, label text, item_count bigint)
  language plpgsql
  stable
  security definer
  rows 50
  set search_path = pg_catalog
  set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_variable
declare
  v_text constant text := left(btrim(coalesce(query, '')), 500);
  v_terms record;
  v_query tsquery;
  v_similar text;
  v_categories constant uuid[] := case when category_id is not null
    then coalesce(private.content_subtree(category_id), '{}') end;
  v_tags constant text[] := array(select lower(btrim(t)) from unnest(tags) as t);
begin
  select * into v_terms from private.content_search_terms(v_text, language);
  if v_text <> '' then
    if numnode(v_terms.any_query) > 0 and exists (
      select
      from private.content_matching(
        v_terms.any_query, v_terms.languages, v_terms.queries, null,
        content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
      )
    ) then
      v_query := v_terms.any_query;
    else
      v_similar := v_text;
      perform private.look_for_similar_titles();
    end if;
  end if;
  return query
    with hits as materialized (
      select m.content_type, m.level, m.language, m.category_id, m.tags
      from private.content_matching(
        v_query, v_terms.languages, v_terms.queries, v_similar,
        content_types, v_categories, nullif(v_tags, '{}'), min_level, max_level
      ) m
    ),
    counts as (
      select 'content_type' as facet, h.content_type as value, h.content_type as label, count(*) as item_count
      from hits h
      group by h.content_type
      union all
      select 'level', h.level::text, h.level::text, count(*) from hits h group by h.level
      union all
      select 'language', h.language, h.language, count(*) from hits h group by h.language
      union all
      select 'category', c.id::text, c.name, h.item_count
      from (select h.category_id, count(*) as item_count from hits h group by h.category_id) h
      join learning.content_categories c on c.id = h.category_id
      union all
      (
        select 'tag', t.tag, t.tag, count(*)
        from hits h
        cross join unnest(h.tags) as t (tag)
        group by t.tag
        order by 4 desc, 2
        limit 30
      )
    )
    select c.facet, c.value, c.label, c.item_count from counts c order by c.facet, c.item_count desc, c.value;
end
$$;

comment on function learning.content_search_facets(text, text, text[], uuid, text[], integer, integer) is
  E'Returns the number of items in a search (the same arguments) by content_type, level, language, category and tag (the 30 most frequent), largest first.';
grant execute on function learning.content_search_facets(text, text, text[], uuid, text[], integer, integer)
  to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/search_content.sql

-- JSON's null in a column that is not null: the API promises a value, so one such row made the whole list of its owner fail. A number that
-- was too large became one. It says no more than that there is no such preference.
delete from identity.user_preferences where preference_value = 'null';
alter table identity.user_preferences
  drop constraint if exists user_preferences_preference_value_is_a_value,
  add constraint user_preferences_preference_value_is_a_value check (preference_value <> 'null');
comment on constraint user_preferences_preference_value_is_a_value on identity.user_preferences is
  'A preference without a value is deleted.';

alter table llm.prompt_versions
  drop constraint if exists prompt_versions_variables_is_a_list,
  add constraint prompt_versions_variables_is_a_list check (jsonb_typeof(variables) = 'array');
comment on constraint prompt_versions_variables_is_a_list on llm.prompt_versions is
  'As they were in the prompt, where they are checked.';
