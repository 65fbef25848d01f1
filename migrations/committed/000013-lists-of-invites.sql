--! Previous: sha1:e6428d3cbe235ff1eec70b8154fce0d597d0fd8e
--! Hash: sha1:9e19908a1c5ae23f1a967b801f2c7479af5f157b
--! Message: lists of invites

-- Lists of invites read the caller's invites by index, however many others there are.
--! Included rooms/functions/my_invite_ids.sql
-- For lists: the policies of room_invites are an OR, with which PostgreSQL walks the invites of all users to find a page of the
-- caller's. Definer rights: each part then reads one index, without the policies.
create or replace function rooms.my_invite_ids()
  returns setof uuid
  language sql
  stable
  security definer
  parallel safe
  set search_path = pg_catalog
as $$
  select i.id from rooms.room_invites i where i.invitee_id = plinth.current_user_id()
  union
  select i.id from rooms.room_invites i where i.inviter_id = plinth.current_user_id()
  union
  select i.id from rooms.room_invites i where i.room_id = any (array(select rooms.moderated_room_ids()))
$$;

comment on function rooms.my_invite_ids() is
  E'@behavior -*\n'
  'Returns the ids of the invites that the caller sees: received, sent, or to a room that the caller moderates.';
grant execute on function rooms.my_invite_ids() to :PLINTH_USER;
--! EndIncluded rooms/functions/my_invite_ids.sql
