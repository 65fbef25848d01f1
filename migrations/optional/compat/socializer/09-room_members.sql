create view compat_socializer.room_members as
select x.number as id, r.number as room_id, u.number as user_id, m.role, m.joined_at, m.last_read_at
from rooms.room_members m
join plinth.external_ids x on x.system = 'socializer' and x.relation = 'room_members' and x.row_id = m.id
join plinth.external_ids r on r.system = 'socializer' and r.relation = 'chat_rooms' and r.row_id = m.room_id
left join plinth.external_ids u on u.system = 'socializer' and u.relation = 'users' and u.row_id = m.user_id;

comment on view compat_socializer.room_members is 'Members of rooms. Grain: one row per member, the AI too.';
comment on column compat_socializer.room_members.id is 'Number of the membership.';
comment on column compat_socializer.room_members.room_id is 'Number of the room.';
comment on column compat_socializer.room_members.user_id is 'Number of the user; null for the AI.';
comment on column compat_socializer.room_members.role is 'Role: creator, moderator, member or ai.';
comment on column compat_socializer.room_members.joined_at is 'Time when the member joined.';
comment on column compat_socializer.room_members.last_read_at is 'Time when the member last marked messages as read.';

create function compat_socializer.add_member(room_id uuid, user_id uuid)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform compat.check_user(null);
  perform private.lock_accounts(array[add_member.user_id]);
  perform private.add_to_room(add_member.room_id, add_member.user_id);
end
$$;

comment on function compat_socializer.add_member(uuid, uuid) is
  'Makes a user a member for the application; PL403 for a banned user, and if it acts for a user.';
grant execute on function compat_socializer.add_member(uuid, uuid) to :PLINTH_APPLICATION;

create function compat_socializer.set_ai(room_id uuid, is_enabled boolean)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  update rooms.chat_rooms r set ai_enabled = set_ai.is_enabled where r.id = set_ai.room_id;
  if not found then
    raise exception 'Only moderators of the room may do this.' using errcode = 'PL403';
  end if;
end
$$;

comment on function compat_socializer.set_ai(uuid, boolean) is 'Adds the AI to a room or removes it; PL403 for a user who does not moderate the room.';
grant execute on function compat_socializer.set_ai(uuid, boolean) to :PLINTH_APPLICATION, :PLINTH_USER;

-- A new room has its creator and its AI already, so that the document's rows of both are the ones that exist.
create function compat_socializer.write_room_members()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_room constant uuid := compat.row_id('socializer', 'chat_rooms', case when tg_op = 'DELETE' then old.room_id else new.room_id end);
  v_user constant uuid := compat.row_id('socializer', 'users', case when tg_op = 'DELETE' then old.user_id else new.user_id end);
  v_creator constant uuid := (select r.creator_id from rooms.chat_rooms r where r.id = v_room);
  v_caller constant uuid := nullif(current_setting('jwt.claims.user_id', true), '');
  v_before text;
  v_member compat_socializer.room_members;
begin
  if tg_op = 'INSERT' then
    new.role := coalesce(new.role, 'member');
    select m.* into v_member
    from compat_socializer.room_members m
    where m.room_id = new.room_id and m.user_id is not distinct from new.user_id;
    if v_member.role in ('creator', 'ai') and v_member.role = new.role then
      return v_member;
    elsif v_member.id is not null then
      raise exception 'This user is already a member.' using errcode = '23505', table = 'room_members';
    elsif v_user is null then
      perform compat_socializer.set_ai(v_room, true);
    elsif v_caller is null then
      perform compat_socializer.add_member(v_room, v_user);
    elsif v_user = v_caller then
      perform rooms.join_room(v_room);
    else
      perform rooms.invite_to_room(v_room, v_user);
      raise notice 'The user was invited, and is no member yet: let the user accept the row in room_invites.';
    end if;
  else
    v_before := compat.act_for(case when tg_op = 'UPDATE' and new.role = old.role then v_user else v_creator end);
    if tg_op = 'DELETE' then
      if v_user is null then
        perform compat_socializer.set_ai(v_room, false);
      elsif v_user = plinth.current_user_id() then
        perform rooms.leave_room(v_room);
      else
        perform rooms.remove_room_member(v_room, v_user);
      end if;
    elsif new.role <> old.role then
      perform rooms.set_room_role(v_room, v_user, new.role);
    elsif new.last_read_at is distinct from old.last_read_at then
      perform rooms.mark_room_read(v_room);
    end if;
    perform compat.act_as_before(v_before);
  end if;
  if tg_op = 'DELETE' then
    return old;
  end if;
  select m.* into v_member
  from compat_socializer.room_members m
  where m.room_id = new.room_id and m.user_id is not distinct from new.user_id;
  return coalesce(v_member, new);
end
$$;

comment on function compat_socializer.write_room_members() is
  'Trigger: for the application, adds a member; a user joins, or invites another. Changes roles, marks all messages as read, removes.';

call compat.write_through('socializer', 'room_members', 'insert or update or delete');

grant insert, update (role, last_read_at), delete on compat_socializer.room_members to :PLINTH_APPLICATION, :PLINTH_USER;
