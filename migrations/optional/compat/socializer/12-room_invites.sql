create view compat_socializer.room_invites as
select
  x.number as id,
  r.number as room_id,
  i.number as inviter_id,
  u.number as invitee_id,
  m.number as message_id,
  v.status,
  v.created_at
from rooms.room_invites v
join plinth.external_ids x on x.system = 'socializer' and x.relation = 'room_invites' and x.row_id = v.id
join plinth.external_ids r on r.system = 'socializer' and r.relation = 'chat_rooms' and r.row_id = v.room_id
join plinth.external_ids i on i.system = 'socializer' and i.relation = 'users' and i.row_id = v.inviter_id
join plinth.external_ids u on u.system = 'socializer' and u.relation = 'users' and u.row_id = v.invitee_id
left join plinth.external_ids m on m.system = 'socializer' and m.relation = 'room_messages' and m.row_id = v.message_id;

comment on view compat_socializer.room_invites is 'Invites. Grain: one row per room and invited user.';
comment on column compat_socializer.room_invites.id is 'Number of the invite.';
comment on column compat_socializer.room_invites.room_id is 'Number of the room.';
comment on column compat_socializer.room_invites.inviter_id is 'Number of the user who invites.';
comment on column compat_socializer.room_invites.invitee_id is 'Number of the user who is invited.';
comment on column compat_socializer.room_invites.message_id is 'Number of the message that announced the invite, or null.';
comment on column compat_socializer.room_invites.status is 'State: pending, accepted or declined.';
comment on column compat_socializer.room_invites.created_at is 'Time when the invite was created.';

create function compat_socializer.keep_answered_invite(room_id uuid, inviter_id uuid, invitee_id uuid)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform compat.check_user(null);
  insert into rooms.room_invites (room_id, inviter_id, invitee_id, status, responded_at)
  values (keep_answered_invite.room_id, keep_answered_invite.inviter_id, keep_answered_invite.invitee_id, 'accepted', now());
end
$$;

comment on function compat_socializer.keep_answered_invite(uuid, uuid, uuid) is
  'Stores the invite of a member, for the application; 23505 if there is one.';
grant execute on function compat_socializer.keep_answered_invite(uuid, uuid, uuid) to :PLINTH_APPLICATION;

-- The document invites a user whom it has just made a member: such an invite is accepted already.
create function compat_socializer.write_room_invites()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_id uuid := case when tg_op <> 'INSERT' then compat.row_id('socializer', 'room_invites', old.id) end;
  v_room constant uuid := compat.row_id('socializer', 'chat_rooms', case when tg_op = 'INSERT' then new.room_id else old.room_id end);
  v_inviter constant uuid := compat.row_id('socializer', 'users', case when tg_op = 'INSERT' then new.inviter_id else old.inviter_id end);
  v_invitee constant uuid := compat.row_id('socializer', 'users', case when tg_op = 'INSERT' then new.invitee_id else old.invitee_id end);
  v_before text;
begin
  if tg_op = 'INSERT' then
    if (select compat.writes_all())
      and exists (select from rooms.room_members m where m.room_id = v_room and m.user_id = v_invitee)
    then
      perform compat_socializer.keep_answered_invite(v_room, v_inviter, v_invitee);
    else
      v_before := compat.act_as(v_inviter);
      perform rooms.invite_to_room(v_room, v_invitee);
      perform compat.act_as_before(v_before);
    end if;
  elsif tg_op = 'DELETE' then
    v_before := compat.act_for(v_inviter);
    perform rooms.revoke_invite(v_id);
    perform compat.act_as_before(v_before);
    return old;
  elsif new.status <> old.status then
    v_before := compat.act_as(v_invitee);
    perform rooms.respond_to_invite(v_id, case new.status when 'accepted' then true when 'declined' then false end);
    perform compat.act_as_before(v_before);
  end if;
  select i.* into new
  from compat_socializer.room_invites i
  where (i.room_id, i.invitee_id)
    = (compat.number_of('socializer', 'chat_rooms', v_room), compat.number_of('socializer', 'users', v_invitee));
  return new;
end
$$;

comment on function compat_socializer.write_room_invites() is
  'Trigger: invites as the inviter, answers as the invitee, and revokes. The invite of a member is accepted at once.';

call compat.write_through('socializer', 'room_invites', 'insert or update or delete');

grant insert, update (status), delete on compat_socializer.room_invites to :PLINTH_APPLICATION, :PLINTH_USER;
