--! Previous: sha1:c42e6b4c6c65a961a859910feddb1c67bdcb8608
--! Hash: sha1:6741f0ef39a79711da479d68e429553f1fe7bab4
--! Message: imports

-- Chats and rooms that are imported keep the time of their last activity; exports are complete and can be imported again.
--! Included llm/triggers/chats_activity.sql
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
--! EndIncluded llm/triggers/chats_activity.sql
--! Included rooms/triggers/room_messages.sql
-- Numbers every message that has no numbers yet (those of rooms.post_room_message and of a restored dump have them), under the
-- room's lock: numbers have no gaps, times increase with them, and readers see them appear in order.
create or replace function private.number_room_message()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  update rooms.chat_rooms r
  set
    last_sequence = r.last_sequence + 1,
    last_event_sequence = r.last_event_sequence + 1,
    -- A message with an earlier time (imported) keeps it. No message precedes the last one, whatever its time and even if the
    -- clock was set back.
    last_activity_at = case
      when new.created_at < now() and r.last_sequence = 0 then new.created_at
      when new.created_at < now() then greatest(new.created_at, r.last_activity_at)
      else greatest(clock_timestamp(), r.last_activity_at)
    end
  where r.id = new.room_id
  returning r.last_sequence, r.last_event_sequence, r.last_activity_at
  into new.sequence, new.event_sequence, new.created_at;
  if not found then
    -- The foreign key will reject it.
    return new;
  end if;
  new.sender_sequence := 0;
  if new.sender_id is not null then
    new.sender_sequence := coalesce((
      select m.sender_sequence
      from rooms.room_messages m
      where m.sender_id = new.sender_id and m.room_id = new.room_id
      order by m.sequence desc
      limit 1
    ), 0) + (not new.is_private)::integer;
  end if;
  perform plinth.announce('room:' || new.room_id, new.event_sequence);
  return new;
end
$$;

comment on function private.number_room_message() is 'Trigger: sets the numbers and time of a message, and announces it.';

create or replace trigger _100_number
  before insert on rooms.room_messages
  for each row
  when (new.sequence = 0)
  execute function private.number_room_message();

-- A private message is unread only for its recipients, and is counted with them.
create or replace function private.count_private_message()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.count_in_room(new.room_id, 'uncounted', null, null, new.sequence, 1);
  return new;
end
$$;

comment on function private.count_private_message() is 'Trigger: excludes a private message from the common count.';

create or replace trigger _200_count_private
  before insert on rooms.room_messages
  for each row
  when (new.is_private)
  execute function private.count_private_message();

-- Whichever user deletes or restores, the counts and the log follow.
create or replace function private.follow_room_message()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if new.is_deleted is distinct from old.is_deleted then
    perform private.append_room_event(
      new.room_id, case when new.is_deleted then 'message_deleted' else 'message_restored' end, new.id, plinth.current_user_id()
    );
    -- The old values: the same update clears the sender of a deleted account.
    perform private.count_message(old, case when new.is_deleted then -1 else 1 end);
  elsif new.content is distinct from old.content then
    perform private.append_room_event(new.room_id, 'message_edited', new.id, plinth.current_user_id());
  end if;
  return null;
end
$$;

comment on function private.follow_room_message() is 'Trigger: corrects the counts and logs the event when a message is edited, deleted or restored.';

create or replace trigger _500_follow
  after update of content, is_deleted on rooms.room_messages
  for each row
  when (new.is_deleted is distinct from old.is_deleted or new.content is distinct from old.content)
  execute function private.follow_room_message();
--! EndIncluded rooms/triggers/room_messages.sql
--! Included llm/functions/export_chat.sql
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
--! EndIncluded llm/functions/export_chat.sql
--! Included private/functions/import_messages.sql
-- The messages of one imported chat, see private.import_chats. The caller has locked the chat.

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
--! EndIncluded private/functions/import_messages.sql
--! Included private/functions/import_chats.sql
-- Imports chats of one user, each completely or not at all: {key, id, title, createdAt, updatedAt, isArchived, head, headId,
-- messages: [{key, id, parent, parentId, role, content, thinking, images, toolCalls, model, state, finishReason, errorCode,
-- errorMessage, metadata, createdAt, attachments, feedback}]}, parents before children, keys unique per user. A chat imported
-- before gets the messages it lacks. Ids come from this or another Plinth: an id of the user's own row is the same chat or
-- message, and a free id is kept, so that chats moved between servers are recognised on the way back. A rejected chat is reported
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
--! EndIncluded private/functions/import_chats.sql
