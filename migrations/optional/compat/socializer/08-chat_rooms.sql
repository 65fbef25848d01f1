create view compat_socializer.chat_rooms as
select
  x.number as id,
  u.number as creator_id,
  case when (select compat.reads_personal_data()) then r.name end as name,
  r.room_type,
  r.ai_enabled,
  r.is_public,
  null::text as password,
  r.created_at
from rooms.chat_rooms r
join plinth.external_ids x on x.system = 'socializer' and x.relation = 'chat_rooms' and x.row_id = r.id
left join plinth.external_ids u on u.system = 'socializer' and u.relation = 'users' and u.row_id = r.creator_id;

comment on view compat_socializer.chat_rooms is 'Rooms. Grain: one row per room; users see theirs, public ones and those they are invited to.';
comment on column compat_socializer.chat_rooms.id is 'Number of the room.';
comment on column compat_socializer.chat_rooms.creator_id is 'Number of the creator; null for a deleted account.';
comment on column compat_socializer.chat_rooms.name is 'Name; null for analysts. A room that is inserted without one is named after its type.';
comment on column compat_socializer.chat_rooms.room_type is 'Type: direct, group or private.';
comment on column compat_socializer.chat_rooms.ai_enabled is 'Whether the AI is a member.';
comment on column compat_socializer.chat_rooms.is_public is 'Whether all users may join; groups only.';
comment on column compat_socializer.chat_rooms.password is
  'Always null: the hash stays in the schema private, and joinRoomWithPassword verifies passwords. A hash that is inserted or updated is stored.';
comment on column compat_socializer.chat_rooms.created_at is 'Time when the room was created.';

-- A room whose password cannot be verified would be open, so it is not created.
create function compat_socializer.set_room_password(room_id uuid, password_hash text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if compat.password_cost(set_room_password.password_hash) not in ('fit', 'low') then
    raise exception 'The format of the room''s password hash is unknown, or its cost is too high.'
      using errcode = 'PL422', column = 'password', hint = 'Use setRoomPassword of the API.';
  end if;
  perform private.set_room_password(set_room_password.room_id, set_room_password.password_hash);
end
$$;

comment on function compat_socializer.set_room_password(uuid, text) is
  'Stores the hash of a room''s password for one of its moderators; PL422 for an unknown format or too high a cost.';
grant execute on function compat_socializer.set_room_password(uuid, text) to :PLINTH_APPLICATION;

create function compat_socializer.write_chat_rooms()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_id uuid := case when tg_op <> 'INSERT' then compat.row_id('socializer', 'chat_rooms', old.id) end;
  v_before text;
begin
  if tg_op = 'DELETE' then
    delete from rooms.chat_rooms r where r.id = v_id;
    return case when found then old end;
  elsif tg_op = 'INSERT' then
    new.room_type := coalesce(new.room_type, 'group');
    v_before := compat.act_as(compat.row_id('socializer', 'users', new.creator_id));
    select r.id into v_id
    from rooms.create_room(
      coalesce(nullif(trim(new.name), ''), initcap(new.room_type collate "C") || ' room'), new.room_type, '', coalesce(new.is_public, false),
      coalesce(new.ai_enabled, false)
    ) r;
    if new.password is not null then
      perform compat_socializer.set_room_password(v_id, new.password);
    end if;
    perform compat.act_as_before(v_before);
    new.id := compat.new_number('socializer', 'chat_rooms', v_id, new.id);
  else
    update rooms.chat_rooms r
    set name = coalesce(new.name, ''), ai_enabled = new.ai_enabled, is_public = new.is_public
    where r.id = v_id;
    -- A user who sees a room need not moderate it.
    if not found then
      return null;
    end if;
    if new.password is not null then
      v_before := compat.act_for(compat.row_id('socializer', 'users', old.creator_id));
      perform compat_socializer.set_room_password(v_id, new.password);
      perform compat.act_as_before(v_before);
    end if;
  end if;
  select v.* into new from compat_socializer.chat_rooms v where v.id = compat.number_of('socializer', 'chat_rooms', v_id);
  return new;
end
$$;

comment on function compat_socializer.write_chat_rooms() is
  'Trigger: creates a room as its creator, changes its name and settings, and deletes it. A direct room is made with createDirectRoom.';

call compat.write_through('socializer', 'chat_rooms', 'insert or update or delete');

grant insert, update (name, ai_enabled, is_public, password), delete on compat_socializer.chat_rooms to :PLINTH_APPLICATION;
grant insert, update (name, ai_enabled, is_public), delete on compat_socializer.chat_rooms to :PLINTH_USER;
