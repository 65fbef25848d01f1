create view compat_socializer.room_messages as
select
  x.number as id,
  r.number as room_id,
  u.number as sender_id,
  m.sender_type,
  m.message_type,
  case when (select compat.reads_personal_data()) then m.content end as content,
  case when (select compat.reads_personal_data()) then m.metadata end as metadata,
  m.created_at,
  m.edited_at,
  m.is_deleted
from rooms.room_messages m
join plinth.external_ids x on x.system = 'socializer' and x.relation = 'room_messages' and x.row_id = m.id
join plinth.external_ids r on r.system = 'socializer' and r.relation = 'chat_rooms' and r.row_id = m.room_id
left join plinth.external_ids u on u.system = 'socializer' and u.relation = 'users' and u.row_id = m.sender_id;

comment on view compat_socializer.room_messages is 'Messages of rooms. Grain: one row per message; members see those of their rooms.';
comment on column compat_socializer.room_messages.id is 'Number of the message.';
comment on column compat_socializer.room_messages.room_id is 'Number of the room.';
comment on column compat_socializer.room_messages.sender_id is 'Number of the sender; null for the AI, the system and deleted accounts.';
comment on column compat_socializer.room_messages.sender_type is 'Type of sender: user, ai or system.';
comment on column compat_socializer.room_messages.message_type is 'Type of message: text, invite or system.';
comment on column compat_socializer.room_messages.content is 'Text; empty if the message was deleted, null for analysts.';
comment on column compat_socializer.room_messages.metadata is 'Data of the application (JSON object); null for analysts.';
comment on column compat_socializer.room_messages.created_at is 'Time when the message was posted.';
comment on column compat_socializer.room_messages.edited_at is 'Time of the last edit, or null.';
comment on column compat_socializer.room_messages.is_deleted is 'Whether the message was deleted.';

create function compat_socializer.post_for_ai(room_id uuid, content text, metadata jsonb)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform compat.check_user(null);
  return (
    select m.id
    from private.post_ai_message(post_for_ai.room_id, post_for_ai.content, null, null, null, post_for_ai.metadata) m
  );
end
$$;

comment on function compat_socializer.post_for_ai(uuid, text, jsonb) is
  'Posts a message of the room''s AI for the application; PL403 in a room without one, and if the application acts for a user.';
grant execute on function compat_socializer.post_for_ai(uuid, text, jsonb) to :PLINTH_APPLICATION;

create function compat_socializer.write_room_messages()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_id uuid := case when tg_op <> 'INSERT' then compat.row_id('socializer', 'room_messages', old.id) end;
  v_room constant uuid := compat.row_id('socializer', 'chat_rooms', case when tg_op = 'INSERT' then new.room_id else old.room_id end);
  v_sender constant uuid := compat.row_id('socializer', 'users', case when tg_op = 'INSERT' then new.sender_id else old.sender_id end);
  v_before text;
begin
  if tg_op = 'INSERT' then
    new.sender_type := coalesce(new.sender_type, 'user');
    new.message_type := coalesce(new.message_type, 'text');
    if (new.sender_type, new.message_type) = ('ai', 'text') then
      v_id := compat_socializer.post_for_ai(v_room, new.content, new.metadata);
    elsif (new.sender_type, new.message_type) = ('user', 'text') then
      v_before := compat.act_as(v_sender);
      select m.id into v_id from rooms.post_room_message(v_room, new.content, null, null, null, new.metadata) m;
      perform compat.act_as_before(v_before);
    else
      insert into rooms.room_messages as m (room_id, sender_id, sender_type, message_type, content, metadata)
      values (v_room, v_sender, new.sender_type, new.message_type, new.content, coalesce(new.metadata, '{}'))
      returning m.id into v_id;
    end if;
    new.id := compat.new_number('socializer', 'room_messages', v_id, new.id);
  else
    v_before := compat.act_for(
      coalesce(v_sender, (select r.creator_id from rooms.chat_rooms r where r.id = v_room))
    );
    if tg_op = 'DELETE' or new.is_deleted and not old.is_deleted then
      perform rooms.delete_room_message(v_id);
    elsif old.is_deleted and not new.is_deleted then
      perform rooms.restore_room_message(v_id);
    elsif new.content <> old.content then
      perform rooms.edit_room_message(v_id, new.content);
    end if;
    perform compat.act_as_before(v_before);
    if tg_op = 'DELETE' then
      return old;
    end if;
  end if;
  select v.* into new from compat_socializer.room_messages v where v.id = compat.number_of('socializer', 'room_messages', v_id);
  return new;
end
$$;

comment on function compat_socializer.write_room_messages() is
  'Trigger: posts as the sender, the AI or, for the application, the system; edits, deletes and restores. A deleted row stays, marked.';

call compat.write_through('socializer', 'room_messages', 'insert or update or delete');

grant insert, update (content, is_deleted), delete on compat_socializer.room_messages to :PLINTH_APPLICATION, :PLINTH_USER;
